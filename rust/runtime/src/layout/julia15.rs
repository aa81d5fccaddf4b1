//! The layouts of Julia 1.5 on 64-bit little-endian machines.
//!
//! Source: `src/julia.h` and `src/julia_threads.h` of that release, and `fieldoffset(DataType, i)` of a running 1.5.3.
//! Emitted code loads some of these fields itself; nothing here may move.

use super::Value;
use std::mem::{offset_of, size_of};

/// The archive's `abi` that this file describes.
pub const ABI: &str = "julia-1.5-64le";
/// Those whose code runs on it: capture makes what the code generator of 1.10 leaves into what that of 1.5 leaves (tags of
/// objects above all), arrays, strings, symbols and structs lie alike in both, and of a `DataType` only the fields that lie
/// alike are read.
pub const ABIS: [&str; 2] = [ABI, "julia-1.10-64le"];

/// Bytes of the tag word before every object.
pub const TAG_BYTES: usize = 8;
/// The bits of a tag that are the type's address.
pub const TAG_MASK: usize = !15;
/// The marks in the tag of an object that outlives calls. Julia's collector calls it "old and marked": emitted write
/// barriers look at it.
pub const TAG_CONSTANT: usize = 3;

/// Objects are aligned to this.
pub const OBJECT_ALIGN: usize = 16;
/// Data of large arrays is aligned to this.
pub const CACHE_ALIGN: usize = 64;
/// Up to this many bytes, array data lies behind the array header in the same object.
pub const ARRAY_INLINE_BYTES: usize = 2048 * size_of::<usize>();

/// Where a string's bytes start.
pub const STRING_DATA: usize = 8;
/// Where a symbol's name starts.
pub const SYMBOL_NAME: usize = 24;
/// Where a simple vector's references start.
pub const SVEC_DATA: usize = 8;

/// Julia's `DataType`.
#[repr(C)]
pub struct DataType {
    /// `TypeName`.
    pub name: *mut Value,
    /// Supertype.
    pub super_: *mut DataType,
    /// `SimpleVector` of parameters.
    pub parameters: *mut Value,
    /// `SimpleVector` of field types.
    pub types: *mut Value,
    /// `SimpleVector` of field names.
    pub names: *mut Value,
    /// The only instance, of a type that has but one.
    pub instance: *mut Value,
    /// Field layout.
    pub layout: *const TypeLayout,
    /// Size of an instance.
    pub size: i32,
    /// How many fields `new` always sets.
    pub ninitialized: i32,
    /// The type's `objectid`.
    pub hash: u32,
    /// Abstract type.
    pub is_abstract: u8,
    /// `mutable struct`.
    pub is_mutable: u8,
    /// Holds free type variables.
    pub has_free_typevars: u8,
    /// May have instances.
    pub is_concrete: u8,
    /// A tuple of concrete types.
    pub is_dispatch_tuple: u8,
    /// No references inside.
    pub is_bits: u8,
    /// Instances start as zeros.
    pub zero_init: u8,
    /// Stored inline in fields and arrays.
    pub is_inline_alloc: u8,
    /// Some concrete type is below it.
    pub has_concrete_subtype: u8,
}

/// Julia's `jl_datatype_layout_t`, without the field descriptors that follow it.
#[repr(C)]
pub struct TypeLayout {
    /// Number of fields.
    pub nfields: u32,
    /// Number of reference slots.
    pub npointers: u32,
    /// The first reference slot, in words, or −1.
    pub first_ptr: i32,
    /// Alignment.
    pub alignment: u16,
    /// Bit 0: has padding; bits 1–2: width of the field descriptors (0: 8 bits, 1: 16, 2: 32).
    pub flags: u16,
}

/// Julia's `TypeName`.
#[repr(C)]
pub struct TypeName {
    /// `Symbol`.
    pub name: *mut Value,
    /// `Module`.
    pub module: *mut Value,
    /// `SimpleVector` of field names.
    pub names: *mut Value,
    /// The type, or the `UnionAll` over its parameters.
    pub wrapper: *mut Value,
    /// Instantiations, sorted.
    pub cache: *mut Value,
    /// Instantiations, unsorted.
    pub linearcache: *mut Value,
    /// Hash of the name.
    pub hash: isize,
    /// Method table.
    pub mt: *mut Value,
    /// Incomplete instantiations.
    pub partial: *mut Value,
}

/// Julia's `Symbol`, without its name.
#[repr(C)]
pub struct Symbol {
    /// Left subtree (unused here).
    pub left: *mut Value,
    /// Right subtree (unused here).
    pub right: *mut Value,
    /// Hash of the name.
    pub hash: u64,
}

/// Julia's `Array`: the header. Further dimensions, the owner's address or the data follow it.
#[repr(C)]
pub struct Array {
    /// First element.
    pub data: *mut u8,
    /// Number of elements.
    pub length: usize,
    /// See the `ARRAY_…` masks.
    pub flags: u16,
    /// Bytes from one element to the next.
    pub elsize: u16,
    /// Free elements before `data` (vectors only).
    pub offset: u32,
    /// First dimension.
    pub nrows: usize,
    /// Vectors: room for so many elements, `offset` included. Otherwise the second dimension.
    pub maxsize: usize,
}

/// Bits 0–1 of [`Array::flags`]: who owns the data.
pub const ARRAY_HOW: u16 = 3;
/// The data is inside the array object, or nobody's business.
pub const ARRAY_HOW_INLINE: u16 = 0;
/// The data is a buffer of the arena.
pub const ARRAY_HOW_BUFFER: u16 = 1;
/// The data is a block of its own that this array owns.
pub const ARRAY_HOW_BLOCK: u16 = 2;
/// The data belongs to another object, named behind the header.
pub const ARRAY_HOW_OWNER: u16 = 3;
/// Where the number of dimensions starts (nine bits).
pub const ARRAY_NDIMS_SHIFT: u16 = 2;
/// The nine bits of the number of dimensions, shifted down.
pub const ARRAY_NDIMS_MASK: u16 = 0x1ff;
/// The array object is small.
pub const ARRAY_POOLED: u16 = 1 << 11;
/// Elements are references.
pub const ARRAY_PTRARRAY: u16 = 1 << 12;
/// Elements hold references.
pub const ARRAY_HASPTR: u16 = 1 << 13;
/// Several arrays share the data.
pub const ARRAY_SHARED: u16 = 1 << 14;
/// The data was allocated with an alignment.
pub const ARRAY_ALIGNED: u16 = 1 << 15;

/// What emitted code knows of the state of its thread (`jl_ptls_t`).
#[repr(C)]
pub struct ThreadHead {
    /// Roots of the collector: never used here.
    pub pgcstack: *mut u8,
    /// World age.
    pub world_age: usize,
    /// Thread number.
    pub tid: i16,
    /// Seed of the thread's generator.
    pub rngseed: u64,
    /// A word that emitted code reads to be stopped.
    pub safepoint: *const usize,
    /// Is the thread asleep?
    pub sleep_check_state: i8,
    /// Collector state.
    pub gc_state: i8,
    /// Runs a finaliser.
    pub in_finalizer: i8,
    /// Collector switched off.
    pub disable_gc: i8,
}

/// Bytes of Julia's `jl_handler_t` on x86-64: what code lowered elsewhere gives us for a handler.
pub const FOREIGN_HANDLER_BYTES: usize = 256;

const _: () = {
    assert!(size_of::<DataType>() == 80);
    assert!(offset_of!(DataType, super_) == 8);
    assert!(offset_of!(DataType, parameters) == 16);
    assert!(offset_of!(DataType, types) == 24);
    assert!(offset_of!(DataType, names) == 32);
    assert!(offset_of!(DataType, instance) == 40);
    assert!(offset_of!(DataType, layout) == 48);
    assert!(offset_of!(DataType, size) == 56);
    assert!(offset_of!(DataType, ninitialized) == 60);
    assert!(offset_of!(DataType, hash) == 64);
    assert!(offset_of!(DataType, is_abstract) == 68);
    assert!(offset_of!(DataType, is_mutable) == 69);
    assert!(offset_of!(DataType, is_concrete) == 71);
    assert!(offset_of!(DataType, is_bits) == 73);
    assert!(offset_of!(DataType, has_concrete_subtype) == 76);
    assert!(size_of::<TypeLayout>() == 16);
    assert!(offset_of!(TypeLayout, alignment) == 12);
    assert!(size_of::<TypeName>() == 72);
    assert!(offset_of!(TypeName, hash) == 48);
    assert!(size_of::<Symbol>() == SYMBOL_NAME);
    assert!(size_of::<Array>() == 40);
    assert!(offset_of!(Array, length) == 8);
    assert!(offset_of!(Array, flags) == 16);
    assert!(offset_of!(Array, elsize) == 18);
    assert!(offset_of!(Array, offset) == 20);
    assert!(offset_of!(Array, nrows) == 24);
    assert!(offset_of!(Array, maxsize) == 32);
    assert!(offset_of!(ThreadHead, world_age) == 8);
    assert!(offset_of!(ThreadHead, tid) == 16);
    assert!(offset_of!(ThreadHead, safepoint) == 32);
    assert!(offset_of!(ThreadHead, gc_state) == 41);
};
