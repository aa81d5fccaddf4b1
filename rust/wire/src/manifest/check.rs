//! Whether a manifest that decodes also makes sense: indices, offsets, sizes, supertypes.
//!
//! The room that builds the objects relies on every rule here (they are listed in `docs/ARCHIVE.md`), and walks no
//! index, offset or parent that was not checked.

use super::object::{
    ArrayObject, DataObject, ElementFlags, Field, FieldKind, Object, TypeFlags, TypeObject,
};
use super::{MAX_DEPENDENCIES, MAX_DIMS, MAX_OBJECTS, MAX_SYMBOLS, Manifest, REFERENCE_BYTES};
use std::fmt;

/// A manifest whose parts contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistent {
    /// The object at fault, with its kind's name; `None` when it is the manifest itself.
    pub object: Option<(u32, &'static str)>,
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: ManifestProblem,
}

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("manifest: ")?;
        if let Some((index, kind)) = self.object {
            write!(f, "object {index} ({kind}): ")?;
        }
        write!(f, "`{}`: {}", self.field, self.problem)
    }
}

impl std::error::Error for Inconsistent {}

/// What is wrong (see [`Inconsistent`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestProblem {
    /// More items than allowed.
    #[error("{found} is over the limit of {limit}")]
    OverLimit {
        /// The count.
        found: usize,
        /// The largest allowed.
        limit: usize,
    },
    /// A symbol that no linker could look up.
    #[error("a symbol is empty or holds a NUL")]
    BadSymbol,
    /// An index names no object.
    #[error("object {index} does not exist, there are {count}")]
    NoSuchObject {
        /// The index.
        index: u32,
        /// The number of objects.
        count: usize,
    },
    /// An index names an object of a kind that cannot stand there.
    #[error("object {index} is a {found}, {wanted} is needed")]
    WrongKind {
        /// The index.
        index: u32,
        /// The kind it names.
        found: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// A chain of supertypes that never ends.
    #[error("its supertypes run in a circle")]
    ParentCircle,
    /// An offset of a reference that is not aligned, not ascending, or not inside the object.
    #[error(
        "offset {offset} is not a reference slot inside {size} bytes (aligned, ascending, {REFERENCE_BYTES} bytes)"
    )]
    BadOffset {
        /// The offset.
        offset: u32,
        /// Bytes of the object.
        size: u64,
    },
    /// An alignment that is no power of two.
    #[error("{0} is neither 0 nor a power of two")]
    BadAlign(u16),
    /// A field that is not inside its struct, or a reference field that is none of the struct's reference slots.
    #[error(
        "a field of {size} bytes at offset {offset} does not fit a struct of {whole} bytes or its reference slots"
    )]
    BadField {
        /// Where the field starts.
        offset: u32,
        /// Its bytes.
        size: u32,
        /// Bytes of the struct.
        whole: u32,
    },
    /// A reference slot that holds something: addresses do not cross.
    #[error("the reference slot at offset {0} is not zero")]
    SlotNotZero(u32),
    /// More than one bit of the element flags is set.
    #[error("{0:#x} names more than one kind of element")]
    ElementKind(u32),
    /// An array of structs that hold references, of which it does not say where.
    #[error("its elements hold references, and their type does not say where inside of them")]
    InlineReferences,
    /// A number that differs from what other fields say it must be.
    #[error("is {found}, but {why} make it {wanted}")]
    Mismatch {
        /// The number.
        found: u64,
        /// What it must be.
        wanted: u64,
        /// The fields that say so.
        why: &'static str,
    },
    /// Dimensions whose product does not fit 64 bits.
    #[error("the dimensions' product overflows")]
    Overflow,
}

impl Manifest<'_> {
    /// Checks what the fields mean; see `docs/ARCHIVE.md` for the rules. Decoding and encoding do this by themselves.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), Inconsistent> {
        let whole = At { object: None };
        whole.limit("imports", self.imports.len(), MAX_SYMBOLS)?;
        whole.limit("dependencies", self.dependencies.len(), MAX_DEPENDENCIES)?;
        whole.limit("objects", self.objects.len(), MAX_OBJECTS)?;
        whole.symbol("entry", self.entry)?;
        self.imports
            .iter()
            .try_for_each(|import| whole.symbol("imports", import))?;
        for dependency in &self.dependencies {
            whole.symbol("soname", dependency.soname)?;
            whole.limit("symbols", dependency.symbols.len(), MAX_SYMBOLS)?;
            dependency
                .symbols
                .iter()
                .try_for_each(|symbol| whole.symbol("symbols", symbol))?;
        }
        for (index, object) in (0..).zip(&self.objects) {
            self.check_object(
                At {
                    object: Some((index, object.kind_name())),
                },
                object,
            )?;
        }
        self.check_parents()
    }

    fn check_object(&self, at: At, object: &Object<'_>) -> Result<(), Inconsistent> {
        match object {
            Object::Type(ty) => self.check_type(at, ty),
            Object::Instance { ty } => self.ty(at, *ty).map(|_| ()),
            Object::Data(data) => self.check_data(at, data),
            Object::Array(array) => self.check_array(at, array),
            Object::Slot(target) => self.reference(at, "target", *target),
            Object::Symbol(_) | Object::String(_) | Object::Opaque { .. } => Ok(()),
        }
    }

    fn check_type(&self, at: At, ty: &TypeObject<'_>) -> Result<(), Inconsistent> {
        if ty.align != 0 && !ty.align.is_power_of_two() {
            return Err(at.fault("align", ManifestProblem::BadAlign(ty.align)));
        }
        at.offsets("pointers", ty.pointers.iter().copied(), u64::from(ty.size))?;
        at.limit("ndims", ty.ndims as usize, MAX_DIMS)?;
        if ty.element_flags.0.count_ones() > 1 {
            return Err(at.fault(
                "element_flags",
                ManifestProblem::ElementKind(ty.element_flags.0),
            ));
        }
        if ty.element_flags.contains(ElementFlags::REFERENCES) && ty.element != REFERENCE_BYTES {
            let problem = ManifestProblem::Mismatch {
                found: ty.element.into(),
                wanted: REFERENCE_BYTES.into(),
                why: "elements that are references",
            };
            return Err(at.fault("element", problem));
        }
        ty.fields
            .iter()
            .try_for_each(|field| self.check_field(at, ty, field))?;
        self.type_or_opaque(at, "element_type", ty.element_type)?;
        self.type_or_opaque(at, "parent", ty.parent)
    }

    fn check_field(&self, at: At, ty: &TypeObject<'_>, field: &Field) -> Result<(), Inconsistent> {
        let reference = field.kind == FieldKind::Reference;
        let end = u64::from(field.offset) + u64::from(field.size);
        let is_slot =
            field.size == REFERENCE_BYTES && ty.pointers.binary_search(&field.offset).is_ok();
        if end > ty.size.into() || (reference && !is_slot) {
            let problem = ManifestProblem::BadField {
                offset: field.offset,
                size: field.size,
                whole: ty.size,
            };
            return Err(at.fault("fields", problem));
        }
        self.type_or_opaque(at, "fields", field.ty)
    }

    fn check_data(&self, at: At, data: &DataObject<'_>) -> Result<(), Inconsistent> {
        let ty = self.ty(at, data.ty)?;
        let offsets = data.relocations.iter().map(|relocation| relocation.offset);
        at.offsets("relocations", offsets.clone(), data.bytes.len() as u64)?;
        at.zero_slots(data.bytes, offsets)?;
        at.zero_slots(data.bytes, ty.pointers.iter().copied())?;
        data.relocations
            .iter()
            .try_for_each(|relocation| self.reference(at, "relocations", relocation.target))
    }

    fn check_array(&self, at: At, array: &ArrayObject<'_>) -> Result<(), Inconsistent> {
        let ty = self.ty(at, array.ty)?;
        if !ty.flags.contains(TypeFlags::ARRAY) {
            return Err(at.fault(
                "type",
                ManifestProblem::WrongKind {
                    index: array.ty,
                    found: "TYPE without ARRAY",
                    wanted: "a TYPE of arrays",
                },
            ));
        }
        at.equal(
            "dims",
            array.dims.len() as u64,
            ty.ndims.into(),
            "the type's dimensions",
        )?;
        let overflow = || at.fault("dims", ManifestProblem::Overflow);
        // An empty array may have any other dimensions, as in Julia, as long as they fit.
        let length = array
            .dims
            .iter()
            .try_fold(1_u64, |product, dim| product.checked_mul(*dim))
            .ok_or_else(overflow)?;
        let slots = self.slots_of_elements(at, ty, length)?;
        let references = ty.element_flags.contains(ElementFlags::REFERENCES);
        let each = match (references, ty.element_flags.contains(ElementFlags::UNION)) {
            (true, _) => 0,
            (false, selector) => u64::from(ty.element) + u64::from(selector),
        };
        let bytes = length.checked_mul(each).ok_or_else(overflow)?;
        let each = if references { 1 } else { slots.len() as u64 };
        let count = length.checked_mul(each).ok_or_else(overflow)?;
        at.equal(
            "bytes",
            array.bytes.len() as u64,
            bytes,
            "its dimensions and element size",
        )?;
        at.equal(
            "references",
            array.references.len() as u64,
            count,
            "its dimensions and element kind",
        )?;
        let elements = array.bytes.chunks_exact(ty.element.max(1) as usize);
        if !slots.is_empty() {
            elements
                .into_iter()
                .try_for_each(|element| at.zero_slots(element, slots.iter().copied()))?;
        }
        array
            .references
            .iter()
            .try_for_each(|target| self.reference(at, "references", *target))
    }

    /// Where structs that are elements of an array of this type hold references; nowhere in other elements, and where there are none.
    fn slots_of_elements(
        &self,
        at: At,
        array: &TypeObject<'_>,
        length: u64,
    ) -> Result<&[u32], Inconsistent> {
        if !array
            .element_flags
            .contains(ElementFlags::INLINE_REFERENCES)
            || length == 0
        {
            return Ok(&[]);
        }
        let unknown = || at.fault("bytes", ManifestProblem::InlineReferences);
        let element = self.ty(at, array.element_type.ok_or_else(unknown)?)?;
        let stride = array.element;
        let fits = |slot: &u32| u64::from(*slot) + u64::from(REFERENCE_BYTES) <= stride.into();
        let aligned = stride.is_multiple_of(REFERENCE_BYTES);
        if element.pointers.is_empty() || !aligned || !element.pointers.iter().all(fits) {
            return Err(unknown());
        }
        Ok(&element.pointers)
    }

    /// Every chain of parents ends. Each object is walked once: a walk stops where an earlier one has been.
    fn check_parents(&self) -> Result<(), Inconsistent> {
        // 0: not seen; otherwise the number of the walk that saw it, plus one.
        let mut seen = vec![0_u32; self.objects.len()];
        for (start, object) in (0..).zip(&self.objects) {
            let mut next = Some((start, object));
            while let Some((index, object)) = next {
                match seen.get_mut(index as usize) {
                    Some(mark) if *mark == start + 1 => {
                        return Err(At {
                            object: Some((index, object.kind_name())),
                        }
                        .fault("parent", ManifestProblem::ParentCircle));
                    }
                    Some(mark) if *mark == 0 => *mark = start + 1,
                    _ => break,
                }
                next = match object {
                    Object::Type(ty) => ty
                        .parent
                        .and_then(|parent| Some((parent, self.objects.get(parent as usize)?))),
                    _ => None,
                };
            }
        }
        Ok(())
    }

    fn object(&self, at: At, field: &'static str, index: u32) -> Result<&Object<'_>, Inconsistent> {
        let missing = ManifestProblem::NoSuchObject {
            index,
            count: self.objects.len(),
        };
        self.objects
            .get(index as usize)
            .ok_or_else(|| at.fault(field, missing))
    }

    fn ty(&self, at: At, index: u32) -> Result<&TypeObject<'_>, Inconsistent> {
        match self.object(at, "type", index)? {
            Object::Type(ty) => Ok(ty),
            other => Err(at.wrong_kind("type", index, other, "a TYPE")),
        }
    }

    /// A type that is only looked up, never laid out: it may be known by its name alone.
    fn type_or_opaque(
        &self,
        at: At,
        field: &'static str,
        index: Option<u32>,
    ) -> Result<(), Inconsistent> {
        match index {
            Some(index) => match self.object(at, field, index)? {
                Object::Type(_) | Object::Opaque { .. } => Ok(()),
                other => Err(at.wrong_kind(field, index, other, "a TYPE or an OPAQUE")),
            },
            None => Ok(()),
        }
    }

    /// A reference to a Julia object. A SLOT is none: its address is that of a pointer.
    fn reference(
        &self,
        at: At,
        field: &'static str,
        target: Option<u32>,
    ) -> Result<(), Inconsistent> {
        match target {
            Some(index) => match self.object(at, field, index)? {
                slot @ Object::Slot(_) => {
                    Err(at.wrong_kind(field, index, slot, "an object with a value"))
                }
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// Where a check stands.
#[derive(Clone, Copy)]
struct At {
    object: Option<(u32, &'static str)>,
}

impl At {
    const fn fault(self, field: &'static str, problem: ManifestProblem) -> Inconsistent {
        Inconsistent {
            object: self.object,
            field,
            problem,
        }
    }

    const fn wrong_kind(
        self,
        field: &'static str,
        index: u32,
        found: &Object<'_>,
        wanted: &'static str,
    ) -> Inconsistent {
        self.fault(
            field,
            ManifestProblem::WrongKind {
                index,
                found: found.kind_name(),
                wanted,
            },
        )
    }

    fn limit(self, field: &'static str, found: usize, limit: usize) -> Result<(), Inconsistent> {
        if found > limit {
            Err(self.fault(field, ManifestProblem::OverLimit { found, limit }))
        } else {
            Ok(())
        }
    }

    fn symbol(self, field: &'static str, name: &str) -> Result<(), Inconsistent> {
        let bad = name.is_empty() || name.contains('\0');
        if bad {
            Err(self.fault(field, ManifestProblem::BadSymbol))
        } else {
            Ok(())
        }
    }

    fn equal(
        self,
        field: &'static str,
        found: u64,
        wanted: u64,
        why: &'static str,
    ) -> Result<(), Inconsistent> {
        if found == wanted {
            Ok(())
        } else {
            Err(self.fault(field, ManifestProblem::Mismatch { found, wanted, why }))
        }
    }

    /// Reference slots: aligned, ascending, inside `size` bytes.
    fn offsets(
        self,
        field: &'static str,
        offsets: impl Iterator<Item = u32>,
        size: u64,
    ) -> Result<(), Inconsistent> {
        let mut free = 0;
        for offset in offsets {
            let start = u64::from(offset);
            let end = start + u64::from(REFERENCE_BYTES);
            if offset % REFERENCE_BYTES != 0 || start < free || end > size {
                return Err(self.fault(field, ManifestProblem::BadOffset { offset, size }));
            }
            free = end;
        }
        Ok(())
    }

    /// Reference slots inside `bytes` hold nothing yet.
    fn zero_slots(
        self,
        bytes: &[u8],
        mut offsets: impl Iterator<Item = u32>,
    ) -> Result<(), Inconsistent> {
        let holds = |offset: &u32| {
            let start = *offset as usize;
            bytes
                .get(start..start + REFERENCE_BYTES as usize)
                .is_some_and(|slot| slot.iter().any(|byte| *byte != 0))
        };
        match offsets.find(holds) {
            Some(offset) => Err(self.fault("bytes", ManifestProblem::SlotNotZero(offset))),
            None => Ok(()),
        }
    }
}
