//! The Julia objects that an archive's code refers to, built once when it is compiled and kept as long as its code.
//!
//! Types, symbols and singletons are the process's (see `types.rs`, `symbol.rs`); everything else lies in one block of
//! this archive's own. References between objects may point forward: addresses are given out first, contents follow.

use crate::builtin::{Builtins, id};
use crate::layout::{
    ARRAY_HASPTR, ARRAY_HOW_INLINE, ARRAY_NDIMS_MASK, ARRAY_NDIMS_SHIFT, ARRAY_PTRARRAY,
    ARRAY_SHARED, Array, CACHE_ALIGN, OBJECT_ALIGN, STRING_DATA, SVEC_DATA, TAG_BYTES,
    TAG_CONSTANT, Value, round_up, set_tag,
};
use crate::symbol::{self, SymbolRef};
use crate::types::{
    self, Field, FieldKind, LayoutMismatch, Links, TypeCell, TypeDescription, TypeRef, element,
    flag,
};
use std::collections::HashMap;
use std::fmt;
use std::ptr;

/// Bytes of an object that has an identity and nothing else.
pub const OPAQUE_BYTES: usize = 512;
/// Where such an object keeps its `objectid`: at the very end, since code may read fields of what it takes it for.
pub(crate) const OPAQUE_ID: usize = OPAQUE_BYTES - 8;

/// A field, as an archive describes it.
#[derive(Clone, Copy, Debug)]
pub struct FieldDescription {
    /// Where it starts.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
    /// How it is stored.
    pub kind: FieldKind,
    /// Its type's object, if described.
    pub ty: Option<u32>,
}

/// One object, as an archive describes it. Numbers name objects of the same archive.
#[derive(Clone, Debug)]
pub enum Description<'a> {
    /// A type.
    Type {
        /// What the type is.
        ty: TypeDescription<'a>,
        /// Supertype.
        parent: Option<u32>,
        /// Element type of an array.
        element: Option<u32>,
        /// Fields.
        fields: Vec<FieldDescription>,
    },
    /// The only instance of a type.
    Instance(u32),
    /// A symbol.
    Symbol(&'a str),
    /// A string.
    String(&'a [u8]),
    /// A value in Julia's layout.
    Data {
        /// Its type.
        ty: u32,
        /// Its bytes; reference slots are zero.
        bytes: &'a [u8],
        /// Which slot refers to which object.
        references: Vec<(u32, u32)>,
    },
    /// An array.
    Array {
        /// Its type.
        ty: u32,
        /// Its dimensions.
        dims: &'a [u64],
        /// Its elements, with the selectors of unions behind.
        bytes: &'a [u8],
        /// Its elements, when they are references, or the reference slots of each.
        references: Vec<Option<u32>>,
    },
    /// A word that holds the address of an object.
    Slot(Option<u32>),
    /// Something with an identity.
    Opaque {
        /// A name for people.
        name: &'a str,
        /// What `objectid` answers, 0 for a number of its own.
        id: u64,
    },
}

/// Why an archive's objects could not be built. Numbers name objects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A type is not what it is here.
    Layout(LayoutMismatch),
    /// An object refers to one that is not there, or of the wrong kind.
    BadReference {
        /// The object.
        object: u32,
        /// What it refers to.
        to: u32,
    },
    /// An object's bytes do not fit its type.
    BadBytes {
        /// The object.
        object: u32,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(mismatch) => write!(f, "{mismatch}"),
            Self::BadReference { object, to } => {
                write!(
                    f,
                    "object {object} refers to object {to}, which is missing or of the wrong kind"
                )
            }
            Self::BadBytes { object } => {
                write!(f, "the bytes of object {object} do not fit its type")
            }
        }
    }
}

impl std::error::Error for BuildError {}

impl From<LayoutMismatch> for BuildError {
    fn from(mismatch: LayoutMismatch) -> Self {
        Self::Layout(mismatch)
    }
}

/// The objects of one archive.
pub struct Constants {
    addresses: Vec<*mut Value>,
    by_address: HashMap<usize, u32>,
    names: HashMap<usize, Box<str>>,
    bytes: usize,
    /// Slots of global bindings: no objects.
    slots: Box<[u32]>,
    types: Vec<Option<TypeRef>>,
    _memory: Box<[Line]>,
    _symbols: Vec<SymbolRef>,
}

// SAFETY: the objects are shared by every call like any other memory of shipped code; the tables are immutable.
unsafe impl Send for Constants {}
// SAFETY: as above.
unsafe impl Sync for Constants {}

impl Constants {
    /// Builds them.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(descriptions: &[Description<'_>]) -> Result<Self, BuildError> {
        Builder::new(descriptions).build()
    }

    /// The address that the image means by `bc.obj.<index>`.
    pub fn address(&self, index: u32) -> Option<*mut Value> {
        self.addresses.get(index as usize).copied()
    }

    /// The object of this number, if it is one (the slot of a global binding is not).
    pub(crate) fn object(&self, index: u32) -> Option<*mut Value> {
        let address = self.address(index)?;
        (!self.slots.contains(&index)).then_some(address)
    }

    /// The type of this number, if it is one.
    pub(crate) fn type_cell(&self, index: u32) -> Option<&TypeRef> {
        self.types.get(index as usize)?.as_ref()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Bytes of memory that are this archive's own.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the object at this address.
    pub(crate) fn index_of(&self, value: *const Value) -> Option<u32> {
        self.by_address.get(&(value as usize)).copied()
    }

    /// The name of an opaque object.
    pub(crate) fn name_of(&self, value: *const Value) -> Option<&str> {
        self.names.get(&(value as usize)).map(|name| &**name)
    }
}

impl fmt::Debug for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constants")
            .field("len", &self.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// A cache line of the archive's memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; CACHE_ALIGN]);

struct Builder<'a, 'b> {
    descriptions: &'b [Description<'a>],
    cells: Vec<Option<TypeRef>>,
    symbols: Vec<Option<SymbolRef>>,
    offsets: Vec<Option<usize>>,
    bytes: usize,
}

impl<'a, 'b> Builder<'a, 'b> {
    fn new(descriptions: &'b [Description<'a>]) -> Self {
        let count = descriptions.len();
        Self {
            descriptions,
            cells: vec![None; count],
            symbols: vec![None; count],
            offsets: vec![None; count],
            bytes: 0,
        }
    }

    fn build(mut self) -> Result<Constants, BuildError> {
        self.intern()?;
        self.link()?;
        self.place()?;
        let mut memory =
            vec![Line([0; CACHE_ALIGN]); self.bytes.div_ceil(CACHE_ALIGN)].into_boxed_slice();
        let base = memory.as_mut_ptr().cast::<u8>();
        let addresses = (0..self.descriptions.len())
            .map(|i| self.address(base, i))
            .collect::<Result<Vec<_>, _>>()?;
        for index in 0..self.descriptions.len() {
            self.fill(&addresses, index)?;
        }
        let by_address = addresses
            .iter()
            .zip(0..)
            .map(|(address, index)| (*address as usize, index));
        let names =
            self.descriptions
                .iter()
                .zip(&addresses)
                .filter_map(|(description, address)| match description {
                    Description::Opaque { name, .. } => Some((*address as usize, Box::from(*name))),
                    _ => None,
                });
        let slots = (0_u32..)
            .zip(self.descriptions)
            .filter(|(_, description)| matches!(description, Description::Slot(_)));
        Ok(Constants {
            by_address: by_address.collect(),
            names: names.collect(),
            bytes: self.bytes,
            slots: slots.map(|(index, _)| index).collect(),
            addresses,
            types: self.cells,
            _memory: memory,
            _symbols: self.symbols.into_iter().flatten().collect(),
        })
    }

    /// Types and symbols: the process's, or new ones for all.
    fn intern(&mut self) -> Result<(), BuildError> {
        for (index, description) in self.descriptions.iter().enumerate() {
            match description {
                Description::Type { ty, .. } => self.cells[index] = Some(types::intern(ty)?),
                Description::Symbol(name) => self.symbols[index] = Some(symbol::intern(name)),
                _ => {}
            }
        }
        Ok(())
    }

    fn cell(&self, object: usize, to: u32) -> Result<&TypeRef, BuildError> {
        let cell = self.cells.get(to as usize).and_then(Option::as_ref);
        cell.ok_or(BuildError::BadReference {
            object: object as u32,
            to,
        })
    }

    fn link(&self) -> Result<(), BuildError> {
        for (index, description) in self.descriptions.iter().enumerate() {
            let Description::Type {
                parent,
                element,
                fields,
                ..
            } = description
            else {
                continue;
            };
            // What a type refers to may be no type object here (a union, a type with parameters left open).
            let find = |to: Option<u32>| to.and_then(|to| self.cells.get(to as usize)?.clone());
            let name = |to: Option<u32>| match self.descriptions.get(to? as usize)? {
                Description::Opaque { name, .. } => Some(Box::from(*name)),
                _ => None,
            };
            let fields = fields.iter().map(|field| Field {
                offset: field.offset,
                size: field.size,
                kind: field.kind,
                ty: find(field.ty),
                name: name(field.ty),
            });
            let links = Links {
                parent: find(*parent),
                element: find(*element),
                element_name: name(*element),
                fields: fields.collect(),
            };
            self.cell(index, index as u32)?.link(links);
        }
        Ok(())
    }

    /// Gives every object of our own its place.
    fn place(&mut self) -> Result<(), BuildError> {
        for (index, description) in self.descriptions.iter().enumerate() {
            let bytes = match description {
                Description::Type { .. } | Description::Instance(_) | Description::Symbol(_) => {
                    continue;
                }
                Description::String(bytes) => STRING_DATA + bytes.len() + 1,
                Description::Data { ty, bytes, .. } => {
                    let cell = self.cell(index, *ty)?;
                    if identity(cell, bytes).is_some() {
                        continue;
                    }
                    bytes.len().max(cell.record().size as usize)
                }
                Description::Array {
                    ty, dims, bytes, ..
                } => {
                    let cell = self.cell(index, *ty)?;
                    array_head(dims.len())
                        + array_bytes(cell, dims, bytes).ok_or(BuildError::BadBytes {
                            object: index as u32,
                        })?
                }
                Description::Slot(_) => size_of::<usize>(),
                Description::Opaque { .. } => OPAQUE_BYTES,
            };
            let align = if matches!(description, Description::Array { .. }) {
                CACHE_ALIGN
            } else {
                OBJECT_ALIGN
            };
            let start = round_up(self.bytes + TAG_BYTES, align);
            self.offsets[index] = Some(start);
            self.bytes = start + bytes;
        }
        Ok(())
    }

    fn address(&self, base: *mut u8, index: usize) -> Result<*mut Value, BuildError> {
        if let Some(offset) = self.offsets[index] {
            return Ok(base.wrapping_add(offset).cast());
        }
        if let Some(symbol) = &self.symbols[index] {
            return Ok(symbol.value());
        }
        match &self.descriptions[index] {
            Description::Instance(ty) => {
                let cell = self.cell(index, *ty)?;
                if cell.is(flag::SINGLETON) {
                    Ok(cell.instance())
                } else {
                    Err(BuildError::BadReference {
                        object: index as u32,
                        to: *ty,
                    })
                }
            }
            Description::Data { ty, bytes, .. } => {
                identity(self.cell(index, *ty)?, bytes).ok_or(BuildError::BadBytes {
                    object: index as u32,
                })
            }
            _ => self.cell(index, index as u32).map(|cell| cell.value()),
        }
    }

    fn fill(&self, addresses: &[*mut Value], index: usize) -> Result<(), BuildError> {
        if self.offsets[index].is_none() {
            return Ok(());
        }
        let at = addresses[index];
        let bad = BuildError::BadBytes {
            object: index as u32,
        };
        let find = |to: u32| {
            let found = addresses.get(to as usize).copied();
            found.ok_or(BuildError::BadReference {
                object: index as u32,
                to,
            })
        };
        let builtins = Builtins::get();
        let tag = match &self.descriptions[index] {
            Description::String(bytes) => {
                // SAFETY: placed with room for the length, the bytes and the NUL.
                unsafe { at.cast::<usize>().write(bytes.len()) };
                // SAFETY: as above.
                unsafe { copy(at, STRING_DATA, bytes) };
                builtins.ty(id::STRING)
            }
            Description::Data {
                ty,
                bytes,
                references,
            } => {
                let cell = self.cell(index, *ty)?;
                let slots = slots_of(cell, bytes).ok_or(bad.clone())?;
                // SAFETY: placed with room for the bytes.
                unsafe { copy(at, 0, bytes) };
                for &(offset, to) in references {
                    // Outside of the type's references it is a pointer to the other's memory.
                    if !slots.contains(offset) && !holds_pointer(offset, bytes) {
                        return Err(bad);
                    }
                    let to = find(to)?;
                    // SAFETY: a word inside the object.
                    unsafe { crate::layout::set_reference_at(at, offset as usize, to) };
                }
                cell.data_type()
            }
            Description::Array {
                ty,
                dims,
                bytes,
                references,
            } => {
                let cell = self.cell(index, *ty)?;
                let references = references
                    .iter()
                    .map(|to| to.map_or(Ok(ptr::null_mut()), find));
                let references = references.collect::<Result<Vec<_>, _>>()?;
                // SAFETY: placed with room for the header and the elements.
                unsafe { fill_array(at.cast(), cell, dims, bytes, &references) }.ok_or(bad)?;
                cell.data_type()
            }
            Description::Slot(to) => {
                let to = to.map_or(Ok(ptr::null_mut()), find)?;
                // SAFETY: placed with room for one word.
                unsafe { at.cast::<*mut Value>().write(to) };
                return Ok(());
            }
            Description::Opaque { id, .. } => {
                // SAFETY: placed with room for `OPAQUE_BYTES`.
                unsafe {
                    at.cast::<u8>()
                        .wrapping_add(OPAQUE_ID)
                        .cast::<u64>()
                        .write(*id)
                };
                builtins.ty(id::OPAQUE)
            }
            _ => builtins.ty(id::OPAQUE),
        };
        // SAFETY: placed with a word before the object.
        unsafe { set_tag(at, tag as usize | TAG_CONSTANT) };
        Ok(())
    }
}

/// Objects that must be the one that the runtime has: `true`, `false`, the empty simple vector, instances of singletons.
fn identity(cell: &TypeCell, bytes: &[u8]) -> Option<*mut Value> {
    let builtins = Builtins::get();
    match (cell.record().builtin, bytes) {
        (id::BOOL, [byte]) => Some(builtins.bool(byte & 1 != 0)),
        (id::SIMPLE_VECTOR, [0, 0, 0, 0, 0, 0, 0, 0]) => Some(builtins.empty_svec()),
        _ if cell.is(flag::SINGLETON) && bytes.is_empty() => Some(cell.instance()),
        _ => None,
    }
}

/// Is there a word at `offset` that may become a pointer: inside, aligned, and zero so far?
fn holds_pointer(offset: u32, bytes: &[u8]) -> bool {
    let start = offset as usize;
    offset.is_multiple_of(8)
        && bytes
            .get(start..start + 8)
            .is_some_and(|word| word.iter().all(|byte| *byte == 0))
}

/// Where an object has reference slots.
enum Slots<'a> {
    At(&'a [u32]),
    /// All words from an offset to an end.
    From(u32, u32),
}

impl Slots<'_> {
    fn contains(&self, offset: u32) -> bool {
        match self {
            Self::At(offsets) => offsets.contains(&offset),
            Self::From(start, end) => offset.is_multiple_of(8) && (*start..*end).contains(&offset),
        }
    }
}

/// The slots of an object with these bytes, if they are as many as its type wants.
fn slots_of<'c>(cell: &'c TypeCell, bytes: &[u8]) -> Option<Slots<'c>> {
    let record = cell.record();
    if record.builtin == id::SIMPLE_VECTOR {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let fits = (rest.len() as u64).is_multiple_of(8)
            && u64::from_le_bytes(*length) == rest.len() as u64 / 8;
        return fits.then_some(Slots::From(SVEC_DATA as u32, bytes.len() as u32));
    }
    let fits = record.flags & (flag::SPECIAL | flag::ARRAY | flag::ABSTRACT) == 0
        && bytes.len() == record.size as usize;
    let inside = record
        .pointers
        .iter()
        .all(|pointer| *pointer as usize + 8 <= bytes.len());
    (fits && inside).then_some(Slots::At(&record.pointers))
}

fn array_head(ndims: usize) -> usize {
    round_up(
        size_of::<Array>() + 8 * ndims.saturating_sub(2),
        CACHE_ALIGN,
    )
}

fn element_count(dims: &[u64]) -> Option<usize> {
    let count = dims
        .iter()
        .try_fold(1_u64, |count, dim| count.checked_mul(*dim))?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= isize::MAX as usize)
}

/// Bytes of the elements, with a NUL behind; none if the description does not fit.
fn array_bytes(cell: &TypeCell, dims: &[u64], bytes: &[u8]) -> Option<usize> {
    let record = cell.record();
    let is_array = record.flags & flag::ARRAY != 0 && record.ndims as usize == dims.len();
    if !is_array || dims.len() > ARRAY_NDIMS_MASK as usize {
        return None;
    }
    let count = element_count(dims)?;
    let data = if record.element_flags & element::REFERENCES != 0 {
        count.checked_mul(8)?
    } else {
        let union = if record.element_flags & element::UNION != 0 {
            count
        } else {
            0
        };
        let data = count
            .checked_mul(record.element as usize)?
            .checked_add(union)?;
        let known = count == 0 || inline_slots(cell).is_some();
        (data == bytes.len() && known).then_some(data)?
    };
    data.checked_add(1)
}

/// Where elements that are structs hold references: nowhere, for elements of other kinds; `None` if nobody has said.
fn inline_slots(cell: &TypeCell) -> Option<&[u32]> {
    let record = cell.record();
    if record.element_flags & element::INLINE_REFERENCES == 0 {
        return Some(&[]);
    }
    let slots = &cell.links()?.element.as_ref()?.record().pointers;
    let inside = |slot: &u32| slot.is_multiple_of(8) && *slot + 8 <= record.element;
    (record.element.is_multiple_of(8) && slots.iter().all(inside)).then_some(slots)
}

unsafe fn fill_array(
    at: *mut Array,
    cell: &TypeCell,
    dims: &[u64],
    bytes: &[u8],
    references: &[*mut Value],
) -> Option<()> {
    let record = cell.record();
    let count = element_count(dims)?;
    let is_references = record.element_flags & element::REFERENCES != 0;
    let slots = if is_references || count == 0 {
        &[]
    } else {
        inline_slots(cell)?
    };
    let each = if is_references { 1 } else { slots.len() };
    if references.len() != count * each {
        return None;
    }
    let data = at.cast::<u8>().wrapping_add(array_head(dims.len()));
    let mut flags = ((dims.len() as u16) << ARRAY_NDIMS_SHIFT) | ARRAY_HOW_INLINE | ARRAY_SHARED;
    flags |= if is_references { ARRAY_PTRARRAY } else { 0 };
    flags |= if record.element_flags & element::INLINE_REFERENCES != 0 {
        ARRAY_HASPTR
    } else {
        0
    };
    let head = Array {
        data,
        length: count,
        flags,
        elsize: if is_references {
            8
        } else {
            record.element as u16
        },
        offset: 0,
        nrows: dims.first().map_or(count, |dim| *dim as usize),
        maxsize: if dims.len() < 2 {
            count
        } else {
            dims[1] as usize
        },
    };
    // SAFETY: placed with room for the header.
    unsafe { at.write(head) };
    for (i, dim) in dims.iter().enumerate().skip(2) {
        let slot = at.wrapping_add(1).cast::<u64>().wrapping_add(i - 2);
        // SAFETY: placed with room for the dimensions.
        unsafe { slot.write(*dim) };
    }
    if is_references {
        // SAFETY: placed with room for the elements.
        unsafe {
            data.cast::<*mut Value>()
                .copy_from_nonoverlapping(references.as_ptr(), count)
        };
    } else {
        // SAFETY: placed with room for the elements.
        unsafe { copy(data.cast(), 0, bytes) };
        let elements = (0..count).map(|i| data.wrapping_add(i * record.element as usize));
        let places = elements.flat_map(|at| slots.iter().map(move |slot| (at, *slot)));
        for ((at, slot), to) in places.zip(references) {
            // SAFETY: a word inside an element.
            unsafe { crate::layout::set_reference_at(at.cast(), slot as usize, *to) };
        }
    }
    Some(())
}

/// # Safety
/// - `at` has room for `bytes` from `offset` on.
unsafe fn copy(at: *mut Value, offset: usize, bytes: &[u8]) {
    let to = at.cast::<u8>().wrapping_add(offset);
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

/// Empties the reference slots of a constant object that point to objects of a call: those without a constant's mark.
///
/// # Safety
/// - `object` is a constant.
pub(crate) unsafe fn forget_call_references(object: *mut Value) {
    // SAFETY: the caller's promise.
    let cell = unsafe { TypeCell::of_value(object) };
    let record = cell.record();
    let forget = |slot: *mut *mut Value| {
        // SAFETY: a reference slot of the object.
        let value = unsafe { slot.read() };
        // SAFETY: a reference is null or an object's.
        if !value.is_null() && unsafe { crate::layout::tag_of(value) } & TAG_CONSTANT == 0 {
            // SAFETY: as above.
            unsafe { slot.write(ptr::null_mut()) };
        }
    };
    if record.flags & flag::ARRAY != 0 && record.element_flags & element::REFERENCES != 0 {
        // SAFETY: an array of references.
        let Array { data, length, .. } = unsafe { object.cast::<Array>().read() };
        (0..length).for_each(|i| forget(data.cast::<*mut Value>().wrapping_add(i)));
    } else if record.flags & flag::ARRAY != 0 {
        // SAFETY: an array.
        let Array { data, length, .. } = unsafe { object.cast::<Array>().read() };
        let slots = inline_slots(cell).unwrap_or_default();
        for at in (0..length).map(|i| data.wrapping_add(i * record.element as usize)) {
            let slot = |slot: &u32| at.wrapping_add(*slot as usize).cast();
            slots.iter().map(slot).for_each(forget);
        }
    }
    for &pointer in &record.pointers {
        forget(object.cast::<u8>().wrapping_add(pointer as usize).cast());
    }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests;
