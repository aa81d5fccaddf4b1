//! Julia types: one object per type in the process, whoever names it first.
//!
//! A type's identity is its canonical name and its layout. Archives describe the types that their code refers to; the
//! runtime describes those it makes values of itself (`builtin.rs`). Both meet here, so that `===` on types holds between
//! what the code compares and what the runtime made. Types live as long as something holds their [`TypeRef`].

mod declared;
mod trace;

pub(crate) use declared::{Declared, Inner, each_inner};
pub(crate) use trace::Trace;

use crate::builtin::Builtins;
use crate::layout::{DataType, TAG_BYTES, TAG_CONSTANT, TypeLayout, TypeName, Value, type_of};
use crate::symbol::{self, SymbolRef};
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::fmt;
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Keeps a type alive.
pub type TypeRef = Arc<TypeCell>;

/// What a type is: bits of [`TypeDescription::flags`], the same numbers as in an archive.
pub mod flag {
    /// `mutable struct`.
    pub const MUTABLE: u32 = 1;
    /// No references inside.
    pub const BITS: u32 = 2;
    /// Has exactly one instance.
    pub const SINGLETON: u32 = 4;
    /// Abstract.
    pub const ABSTRACT: u32 = 8;
    /// `Array`.
    pub const ARRAY: u32 = 16;
    /// `primitive type`.
    pub const PRIMITIVE: u32 = 32;
    /// `Tuple`.
    pub const TUPLE: u32 = 64;
    /// May have instances.
    pub const CONCRETE: u32 = 128;
    /// Has bytes that mean nothing.
    pub const PADDING: u32 = 256;
    /// Instances must start as zeros.
    pub const ZERO_INIT: u32 = 512;
    /// Made here, with a layout that only the runtime knows (`String`, `Symbol`, `SimpleVector`, `DataType`, …).
    pub(crate) const SPECIAL: u32 = 1 << 31;
}

/// What an array's elements are: bits of [`TypeDescription::element_flags`].
pub mod element {
    /// References.
    pub const REFERENCES: u32 = 1;
    /// A union of bits types: a selector byte per element behind the data.
    pub const UNION: u32 = 2;
    /// Structs with references inside.
    pub const INLINE_REFERENCES: u32 = 4;
}

/// How a field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// The bytes themselves.
    Inline,
    /// A reference.
    Reference,
    /// The bytes of one of several types, and a selector byte at the end.
    Union,
}

/// Everything about a type that fits into words.
#[derive(Clone, Copy, Debug)]
pub struct TypeDescription<'a> {
    /// Canonical name, parameters included: `"Core.Array{Core.Float64,1}"`.
    pub name: &'a str,
    /// See [`flag`].
    pub flags: u32,
    /// Bytes of an instance.
    pub size: u32,
    /// Alignment of an instance.
    pub align: u16,
    /// Byte offsets of the reference slots.
    pub pointers: &'a [u32],
    /// Arrays: bytes of an element.
    pub element: u32,
    /// Arrays: see [`element`].
    pub element_flags: u32,
    /// Arrays: number of dimensions.
    pub ndims: u32,
    /// The type's `objectid`; 0 if unknown.
    pub hash: u32,
}

/// A field, with the type it is declared with, if that is known and concrete.
#[derive(Clone)]
pub struct Field {
    /// Where it starts.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
    /// How it is stored.
    pub kind: FieldKind,
    /// Its type.
    pub ty: Option<TypeRef>,
    /// The name of its type, where that is none with a type object here (a union, a type with parameters left open).
    pub name: Option<Box<str>>,
}

/// What a type refers to.
#[derive(Clone, Default)]
pub struct Links {
    /// Supertype, if it is not `Any`.
    pub parent: Option<TypeRef>,
    /// Element type of an array.
    pub element: Option<TypeRef>,
    /// The name of the element type, where that is none with a type object here.
    pub element_name: Option<Box<str>>,
    /// Fields in order; empty if unknown or none.
    pub fields: Vec<Field>,
}

/// The same name with another layout: made for another Julia, or broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutMismatch {
    /// The type's name.
    pub name: String,
}

impl fmt::Display for LayoutMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "type {} is described with a layout that is not Julia 1.5's",
            self.name
        )
    }
}

impl std::error::Error for LayoutMismatch {}

/// The memory of one type: Julia's `DataType` object in front of what the runtime knows.
#[repr(C, align(16))]
pub struct TypeCell {
    before_tag: usize,
    tag: AtomicUsize,
    data: UnsafeCell<DataType>,
    after_data: [usize; 2],
    before_instance_tag: usize,
    instance_tag: AtomicUsize,
    instance: [usize; 4],
    before_name_tag: usize,
    name_tag: AtomicUsize,
    type_name: UnsafeCell<TypeName>,
    layout: TypeLayout,
    record: Record,
    links: OnceLock<Links>,
    /// What came with the fields, if they were not told at first.
    whole: OnceLock<Links>,
    symbol: Option<SymbolRef>,
}

/// What the runtime knows of a type besides Julia's own fields.
#[derive(Debug)]
pub struct Record {
    /// Canonical name.
    pub name: Box<str>,
    /// See [`flag`].
    pub flags: u32,
    /// Bytes of an instance.
    pub size: u32,
    /// Alignment of an instance.
    pub align: u16,
    /// Number in the table of built-in types, or 0.
    pub builtin: u16,
    /// Byte offsets of the reference slots.
    pub pointers: Box<[u32]>,
    /// Arrays: bytes of an element.
    pub element: u32,
    /// Arrays: see [`element`].
    pub element_flags: u32,
    /// Arrays: number of dimensions.
    pub ndims: u32,
    /// Where its objects refer to others.
    pub(crate) trace: Trace,
}

const DATA_OFFSET: usize = offset_of!(TypeCell, data);

const _: () = {
    assert!(DATA_OFFSET == 16);
    assert!(offset_of!(TypeCell, instance).is_multiple_of(16));
    assert!(offset_of!(TypeCell, instance) - offset_of!(TypeCell, instance_tag) == TAG_BYTES);
    assert!(offset_of!(TypeCell, type_name).is_multiple_of(16));
    assert!(offset_of!(TypeCell, type_name) - offset_of!(TypeCell, name_tag) == TAG_BYTES);
};

// SAFETY: Julia's fields are written before anybody else sees the cell, later ones atomically; the rest is immutable.
unsafe impl Send for TypeCell {}
// SAFETY: as above.
unsafe impl Sync for TypeCell {}

impl TypeCell {
    /// The type object, as Julia code sees it.
    pub fn data_type(&self) -> *mut DataType {
        self.data.get()
    }

    /// The type object as a value.
    pub fn value(&self) -> *mut Value {
        self.data_type().cast()
    }

    /// The only instance; meaningful for singleton types.
    pub fn instance(&self) -> *mut Value {
        (&raw const self.instance).cast_mut().cast()
    }

    /// What the runtime knows.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What the type refers to, as far as somebody said.
    pub fn links(&self) -> Option<&Links> {
        self.whole.get().or_else(|| self.links.get())
    }

    /// Is this one of the flags of [`flag`]?
    pub fn is(&self, flag: u32) -> bool {
        self.record.flags & flag != 0
    }

    /// The cell of a type object.
    ///
    /// # Safety
    /// - `data_type` came from [`TypeCell::data_type`] of a cell that lives for `'a`.
    pub unsafe fn of<'a>(data_type: *const DataType) -> &'a TypeCell {
        let cell = data_type
            .cast::<u8>()
            .wrapping_sub(DATA_OFFSET)
            .cast::<TypeCell>();
        // SAFETY: the caller says that this is the `data` field of a live cell.
        unsafe { &*cell }
    }

    /// The cell of an object's type.
    ///
    /// # Safety
    /// - `value` points to a Julia object whose type lives for `'a`.
    pub(crate) unsafe fn of_value<'a>(value: *const Value) -> &'a TypeCell {
        // SAFETY: an object, says the caller.
        let ty = unsafe { type_of(value) };
        // SAFETY: the type of a live object.
        unsafe { Self::of(ty) }
    }

    /// Says what the type refers to. The first to say it is believed, and of its fields the first to know them: archives leave them out where
    /// their code does not need them.
    pub fn link(&self, links: Links) {
        let parent = links.parent.as_ref().map(|parent| parent.data_type());
        let named = !links.fields.is_empty()
            || links.parent.is_some()
            || links.element.is_some()
            || links.element_name.is_some();
        if !named {
            return;
        }
        match self.links.set(links) {
            Ok(()) => {
                if let Some(parent) = parent {
                    self.super_slot().store(parent, Ordering::Release);
                }
            }
            Err(links) if !links.fields.is_empty() && self.lacks_fields() => {
                // What another thread said meanwhile is the same.
                let _ = self.whole.set(links);
            }
            Err(_) => {}
        }
    }

    fn lacks_fields(&self) -> bool {
        self.links().is_some_and(|known| known.fields.is_empty())
    }

    fn super_slot(&self) -> &AtomicPtr<DataType> {
        // SAFETY: `data` is a live DataType.
        let slot = unsafe { &raw mut (*self.data.get()).super_ };
        // SAFETY: a pointer field of a shared object, only ever written through this.
        unsafe { AtomicPtr::from_ptr(slot) }
    }

    fn hash_slot(&self) -> &AtomicU32 {
        // SAFETY: `data` is a live DataType.
        let slot = unsafe { &raw mut (*self.data.get()).hash };
        // SAFETY: a 32-bit field of a shared object, only ever written through this.
        unsafe { AtomicU32::from_ptr(slot) }
    }

    /// The type's `objectid`, 0 if nobody said it yet.
    pub fn hash(&self) -> u32 {
        self.hash_slot().load(Ordering::Relaxed)
    }

    /// Makes a cell. `meta` is the address of `DataType`'s own type object, of `TypeName`'s and of `Symbol`'s.
    pub(crate) fn new(description: &TypeDescription<'_>, builtin: u16, meta: &Meta) -> TypeRef {
        let is = |flag: u32| u8::from(description.flags & flag != 0);
        let first_ptr = description
            .pointers
            .first()
            .map_or(-1, |first| (*first / 8) as i32);
        let flags = description.flags;
        let bits = is(flag::BITS);
        let immutable_inline =
            flags & (flag::MUTABLE | flag::ABSTRACT) == 0 && flags & flag::CONCRETE != 0;
        let symbol = (meta.symbol_type != 0)
            .then(|| symbol::intern_as(short_name(description.name), meta.symbol_type));
        let cell = Arc::new(TypeCell {
            before_tag: 0,
            tag: AtomicUsize::new(meta.data_type | TAG_CONSTANT),
            data: UnsafeCell::new(DataType {
                name: ptr::null_mut(),
                super_: meta.any,
                parameters: meta.empty_svec,
                types: meta.empty_svec,
                names: meta.empty_svec,
                instance: ptr::null_mut(),
                layout: ptr::null(),
                size: description.size as i32,
                ninitialized: 0,
                hash: description.hash,
                is_abstract: is(flag::ABSTRACT),
                is_mutable: is(flag::MUTABLE),
                has_free_typevars: 0,
                is_concrete: is(flag::CONCRETE),
                is_dispatch_tuple: is(flag::TUPLE) & is(flag::CONCRETE),
                is_bits: bits,
                zero_init: is(flag::ZERO_INIT),
                is_inline_alloc: u8::from(immutable_inline),
                has_concrete_subtype: 1,
            }),
            after_data: [0; 2],
            before_instance_tag: 0,
            instance_tag: AtomicUsize::new(0),
            instance: [0; 4],
            before_name_tag: 0,
            name_tag: AtomicUsize::new(meta.type_name | TAG_CONSTANT),
            type_name: UnsafeCell::new(TypeName {
                name: symbol
                    .as_ref()
                    .map_or(ptr::null_mut(), |symbol| symbol.value()),
                module: ptr::null_mut(),
                names: meta.empty_svec,
                wrapper: ptr::null_mut(),
                cache: meta.empty_svec,
                linearcache: meta.empty_svec,
                hash: 0,
                mt: ptr::null_mut(),
                partial: ptr::null_mut(),
            }),
            layout: TypeLayout {
                nfields: 0,
                npointers: description.pointers.len() as u32,
                first_ptr,
                alignment: description.align,
                flags: u16::from(is(flag::PADDING)),
            },
            record: Record {
                name: description.name.into(),
                flags,
                size: description.size,
                align: description.align,
                builtin,
                pointers: description.pointers.into(),
                element: description.element,
                element_flags: description.element_flags,
                ndims: description.ndims,
                trace: Trace::of(description, builtin),
            },
            links: OnceLock::new(),
            whole: OnceLock::new(),
            symbol,
        });
        cell.tie_inner_pointers();
        cell
    }

    /// Fills in the addresses that are only known once the cell has its place.
    fn tie_inner_pointers(&self) {
        let data = self.data.get();
        self.instance_tag
            .store(data as usize | TAG_CONSTANT, Ordering::Relaxed);
        // SAFETY: nobody else has seen the cell yet.
        unsafe { (*data).name = self.type_name.get().cast() };
        // SAFETY: as above.
        unsafe { (*self.type_name.get()).wrapper = data.cast() };
        if self.is(flag::CONCRETE) {
            // SAFETY: as above.
            unsafe { (*data).layout = &raw const self.layout };
        }
        if self.is(flag::SINGLETON) {
            // SAFETY: as above.
            unsafe { (*data).instance = self.instance() };
        }
    }

    /// Patches the tags of a cell that was made before the types of its tags were there.
    pub(crate) fn retag(&self, meta: &Meta) {
        self.tag
            .store(meta.data_type | TAG_CONSTANT, Ordering::Relaxed);
        self.name_tag
            .store(meta.type_name | TAG_CONSTANT, Ordering::Relaxed);
        self.super_slot().store(meta.any, Ordering::Relaxed);
        let data = self.data.get();
        // SAFETY: called while the built-in types are made, before anybody else sees them.
        let data = unsafe { &mut *data };
        data.parameters = meta.empty_svec;
        data.types = meta.empty_svec;
        data.names = meta.empty_svec;
    }

    /// Do this cell and this description mean the same type?
    fn agrees(&self, other: &TypeDescription<'_>) -> bool {
        const SHAPE: u32 = flag::MUTABLE | flag::ARRAY | flag::ABSTRACT;
        let mine = &self.record;
        if mine.flags & flag::SPECIAL != 0 {
            return true;
        }
        let same_hash =
            self.hash() == other.hash || self.hash() == 0 || other.hash == 0 || mine.builtin != 0;
        same_hash
            && mine.flags & SHAPE == other.flags & SHAPE
            && (mine.size == other.size || mine.flags & flag::ARRAY != 0)
            && *mine.pointers == *other.pointers
            && mine.element == other.element
            && mine.element_flags & 3 == other.element_flags & 3
            && mine.ndims == other.ndims
    }
}

impl fmt::Debug for TypeCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeCell")
            .field("name", &self.record.name)
            .finish_non_exhaustive()
    }
}

/// The addresses that every type object holds.
#[derive(Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) data_type: usize,
    pub(crate) type_name: usize,
    pub(crate) symbol_type: usize,
    pub(crate) any: *mut DataType,
    pub(crate) empty_svec: *mut Value,
}

/// `"Core.Array{Core.Int64,1}"` → `"Array"`.
fn short_name(canonical: &str) -> &str {
    let plain = canonical
        .split_once('{')
        .map_or(canonical, |(plain, _)| plain);
    plain.rsplit_once('.').map_or(plain, |(_, last)| last)
}

#[derive(Default)]
struct Table {
    by_name: HashMap<Box<str>, Vec<Weak<TypeCell>>>,
    sweep_at: usize,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(|| Mutex::new(Table::default()));

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters a cell that was made outside [`intern`].
pub(crate) fn register(cell: &TypeRef) {
    table()
        .by_name
        .entry(cell.record.name.clone())
        .or_default()
        .push(Arc::downgrade(cell));
}

/// The type that this describes: the one that is there, or a new one.
///
/// # Errors
/// The name is a built-in type's and the layout is not.
pub fn intern(description: &TypeDescription<'_>) -> Result<TypeRef, LayoutMismatch> {
    let meta = Builtins::get().meta();
    let mut table = table();
    if let Some(cells) = table.by_name.get_mut(description.name) {
        cells.retain(|cell| cell.strong_count() > 0);
        for cell in cells.iter().filter_map(Weak::upgrade) {
            if cell.agrees(description) {
                if description.hash != 0 && cell.hash() == 0 {
                    cell.hash_slot().store(description.hash, Ordering::Relaxed);
                }
                return Ok(cell);
            }
            if cell.record.builtin != 0 {
                return Err(LayoutMismatch {
                    name: description.name.into(),
                });
            }
        }
    }
    if table.by_name.len() >= table.sweep_at {
        table
            .by_name
            .retain(|_, cells| cells.iter().any(|cell| cell.strong_count() > 0));
        table.sweep_at = 2 * table.by_name.len() + 256;
    }
    let plain = TypeDescription {
        flags: description.flags & !flag::SPECIAL,
        ..*description
    };
    let cell = TypeCell::new(&plain, 0, &meta);
    table
        .by_name
        .entry(description.name.into())
        .or_default()
        .push(Arc::downgrade(&cell));
    Ok(cell)
}

/// A type of this name, if somebody made one.
pub(crate) fn find(name: &str) -> Option<TypeRef> {
    table().by_name.get(name)?.iter().find_map(Weak::upgrade)
}

/// Is a value of type `ty` also one of type `ancestor`, as far as chains of supertypes tell?
pub fn is_subtype(ty: &TypeCell, ancestor: *const DataType) -> bool {
    let any = Builtins::get().meta().any;
    if ancestor == any {
        return true;
    }
    let mut at = ty;
    loop {
        if ptr::eq(at.data_type(), ancestor) {
            return true;
        }
        match at.links().and_then(|links| links.parent.as_deref()) {
            Some(parent) => at = parent,
            None => return false,
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;
    use crate::layout::{reference_at, symbol_bytes};

    fn description(name: &str) -> TypeDescription<'_> {
        TypeDescription {
            name,
            flags: flag::CONCRETE | flag::BITS,
            size: 16,
            align: 8,
            pointers: &[],
            element: 0,
            element_flags: 0,
            ndims: 0,
            hash: 0,
        }
    }

    #[test]
    fn same_name_and_layout_is_the_same_type() {
        let a = intern(&description("Test.Same")).unwrap();
        let b = intern(&description("Test.Same")).unwrap();
        assert!(Arc::ptr_eq(&a, &b));
    }

    #[test]
    fn another_layout_or_another_hash_is_another_type() {
        let a = intern(&TypeDescription {
            hash: 1,
            ..description("Test.Redefined")
        })
        .unwrap();
        let b = intern(&TypeDescription {
            hash: 2,
            ..description("Test.Redefined")
        })
        .unwrap();
        let c = intern(&TypeDescription {
            size: 24,
            hash: 1,
            ..description("Test.Redefined")
        })
        .unwrap();
        assert!(!Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &c));
        assert!(Arc::ptr_eq(
            &a,
            &intern(&TypeDescription {
                hash: 1,
                ..description("Test.Redefined")
            })
            .unwrap()
        ));
    }

    #[test]
    fn types_leave_the_table_with_their_last_holder() {
        let address = intern(&description("Test.Left")).unwrap().data_type();
        let names = table().by_name.get("Test.Left").map_or(0, |cells| {
            cells.iter().filter(|c| c.strong_count() > 0).count()
        });
        assert_eq!(names, 0, "{address:?} is gone");
    }

    #[test]
    fn a_built_in_name_must_have_its_layout() {
        let wrong = TypeDescription {
            size: 4,
            ..description("Core.Int64")
        };
        let error = intern(&wrong).unwrap_err();
        assert_eq!(error.name, "Core.Int64");
        assert!(error.to_string().contains("Core.Int64"));
    }

    #[test]
    fn a_type_object_reads_like_julias() {
        let ty = intern(&TypeDescription {
            flags: flag::SINGLETON | flag::CONCRETE,
            size: 0,
            ..description("Main.Outer.T{1}")
        });
        let ty = ty.unwrap();
        let value = ty.value();
        assert_eq!(value as usize % 16, 0);
        // SAFETY: `ty` keeps the type, its name object and its instance alive.
        unsafe {
            assert_eq!(
                type_of(value),
                Builtins::get().meta().data_type as *mut DataType
            );
            let name = reference_at(value, 0);
            assert_eq!(symbol_bytes(reference_at(name, 0)), b"T");
            assert_eq!((*ty.data_type()).instance, ty.instance());
            assert_eq!(type_of(ty.instance()), ty.data_type());
            assert_eq!((*(*ty.data_type()).layout).alignment, 8);
            assert!(ptr::eq(TypeCell::of(ty.data_type()), &*ty));
        }
    }

    #[test]
    fn fields_may_be_told_later() {
        let parent = intern(&description("Test.Parent")).unwrap();
        let ty = intern(&description("Test.ToldLater")).unwrap();
        let field = |offset| Field {
            offset,
            size: 8,
            kind: FieldKind::Inline,
            ty: None,
            name: None,
        };
        let links = |offsets: &[u32]| Links {
            parent: Some(parent.clone()),
            fields: offsets.iter().copied().map(field).collect(),
            ..Links::default()
        };
        let offsets = || -> Vec<_> {
            let links = ty.links().unwrap();
            links.fields.iter().map(|field| field.offset).collect()
        };
        ty.link(links(&[]));
        assert_eq!(offsets(), []);
        ty.link(links(&[0, 8]));
        assert_eq!(offsets(), [0, 8]);
        ty.link(links(&[0]));
        ty.link(links(&[]));
        assert_eq!(offsets(), [0, 8]);
    }

    #[test]
    fn subtypes_follow_the_chain() {
        let number = intern(&TypeDescription {
            flags: flag::ABSTRACT,
            size: 0,
            ..description("Test.Number")
        })
        .unwrap();
        let real = intern(&TypeDescription {
            flags: flag::ABSTRACT,
            size: 0,
            ..description("Test.Real")
        })
        .unwrap();
        let x = intern(&description("Test.X")).unwrap();
        real.link(Links {
            parent: Some(number.clone()),
            ..Links::default()
        });
        x.link(Links {
            parent: Some(real.clone()),
            ..Links::default()
        });
        assert!(is_subtype(&x, number.data_type()));
        assert!(is_subtype(&x, x.data_type()));
        assert!(is_subtype(&x, Builtins::get().meta().any));
        assert!(!is_subtype(&number, x.data_type()));
        // SAFETY: `x` is alive.
        assert_eq!(unsafe { (*x.data_type()).super_ }, real.data_type());
    }
}
