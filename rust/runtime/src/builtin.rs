//! The types and values that the runtime makes itself: numbers for boxes, exceptions, strings, `nothing`, `true`…
//!
//! Made once, at first use, and kept for as long as the process runs. The numbers of the types are those of
//! docs/ABI.md: an exception that travels names its built-in types by them.

use crate::layout::{DataType, OBJECT_ALIGN, TAG_CONSTANT, Value};
use crate::types::{self, Meta, TypeCell, TypeDescription, TypeRef, element, flag};
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Numbers of the built-in types: those that may travel inside an exception, and a few of our own.
pub mod id {
    #![allow(missing_docs, reason = "each name is the type's own")]
    pub const INT8: u16 = 1;
    pub const INT16: u16 = 2;
    pub const INT32: u16 = 3;
    pub const INT64: u16 = 4;
    pub const INT128: u16 = 5;
    pub const UINT8: u16 = 6;
    pub const UINT16: u16 = 7;
    pub const UINT32: u16 = 8;
    pub const UINT64: u16 = 9;
    pub const UINT128: u16 = 10;
    pub const FLOAT16: u16 = 11;
    pub const FLOAT32: u16 = 12;
    pub const FLOAT64: u16 = 13;
    pub const BOOL: u16 = 14;
    pub const CHAR: u16 = 15;
    pub const STRING: u16 = 16;
    pub const SYMBOL: u16 = 17;
    pub const NOTHING: u16 = 18;
    pub const BOUNDS_ERROR: u16 = 19;
    pub const DIVIDE_ERROR: u16 = 20;
    pub const OVERFLOW_ERROR: u16 = 21;
    pub const UNDEF_REF_ERROR: u16 = 22;
    pub const STACK_OVERFLOW_ERROR: u16 = 23;
    pub const OUT_OF_MEMORY_ERROR: u16 = 24;
    pub const ERROR_EXCEPTION: u16 = 25;
    pub const ARGUMENT_ERROR: u16 = 26;
    pub const TYPE_ERROR: u16 = 27;
    pub const UNDEF_VAR_ERROR: u16 = 28;
    pub const DOMAIN_ERROR: u16 = 29;
    pub const INEXACT_ERROR: u16 = 30;
    pub const READ_ONLY_MEMORY_ERROR: u16 = 31;
    pub const METHOD_ERROR: u16 = 32;
    pub const SIMPLE_VECTOR: u16 = 33;
    pub const DATA_TYPE: u16 = 34;
    pub const INTERRUPT_EXCEPTION: u16 = 35;
    pub const UNDEF_KEYWORD_ERROR: u16 = 36;
    /// The last number that may travel.
    pub const LAST_PUBLIC: u16 = 36;
    // Never travel.
    pub(crate) const ANY: u16 = 37;
    pub(crate) const TYPE_NAME: u16 = 38;
    pub(crate) const OPAQUE: u16 = 39;
    pub(crate) const EMPTY_TUPLE: u16 = 40;
    pub(crate) const VECTOR_UINT8: u16 = 41;
    pub(crate) const VECTOR_ANY: u16 = 42;
    pub(crate) const COUNT: usize = 43;
}

const fn bits(name: &'static str, size: u32, align: u16) -> TypeDescription<'static> {
    let flags = flag::BITS | flag::PRIMITIVE | flag::CONCRETE;
    TypeDescription {
        name,
        flags,
        size,
        align,
        pointers: &[],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    }
}

/// A struct of references, or of none.
const fn fields(
    name: &'static str,
    size: u32,
    pointers: &'static [u32],
) -> TypeDescription<'static> {
    let flags = if size == 0 {
        flag::BITS | flag::SINGLETON | flag::CONCRETE
    } else {
        flag::CONCRETE | flag::PADDING
    };
    let align = if size == 0 { 1 } else { 8 };
    TypeDescription {
        name,
        flags,
        size,
        align,
        pointers,
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    }
}

const fn special(name: &'static str, flags: u32) -> TypeDescription<'static> {
    TypeDescription {
        name,
        flags: flags | flag::SPECIAL,
        size: 0,
        align: 8,
        pointers: &[],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    }
}

const fn vector(name: &'static str, element: u32, element_flags: u32) -> TypeDescription<'static> {
    let flags = flag::MUTABLE | flag::ARRAY | flag::CONCRETE;
    TypeDescription {
        name,
        flags,
        size: 0,
        align: 8,
        pointers: &[],
        element,
        element_flags,
        ndims: 1,
        hash: 0,
    }
}

const OBJECT: u32 = flag::MUTABLE | flag::CONCRETE;

/// In the order of their numbers, from 1. `Int128` is aligned to 8 in Julia 1.5.
const DESCRIPTIONS: [TypeDescription<'static>; id::COUNT - 1] = [
    bits("Core.Int8", 1, 1),
    bits("Core.Int16", 2, 2),
    bits("Core.Int32", 4, 4),
    bits("Core.Int64", 8, 8),
    bits("Core.Int128", 16, 8),
    bits("Core.UInt8", 1, 1),
    bits("Core.UInt16", 2, 2),
    bits("Core.UInt32", 4, 4),
    bits("Core.UInt64", 8, 8),
    bits("Core.UInt128", 16, 8),
    bits("Core.Float16", 2, 2),
    bits("Core.Float32", 4, 4),
    bits("Core.Float64", 8, 8),
    bits("Core.Bool", 1, 1),
    bits("Core.Char", 4, 4),
    special("Core.String", OBJECT),
    special("Core.Symbol", OBJECT),
    fields("Core.Nothing", 0, &[]),
    fields("Core.BoundsError", 16, &[0, 8]),
    fields("Core.DivideError", 0, &[]),
    fields("Core.OverflowError", 8, &[0]),
    fields("Core.UndefRefError", 0, &[]),
    fields("Core.StackOverflowError", 0, &[]),
    fields("Core.OutOfMemoryError", 0, &[]),
    fields("Core.ErrorException", 8, &[0]),
    fields("Core.ArgumentError", 8, &[0]),
    fields("Core.TypeError", 32, &[0, 8, 16, 24]),
    fields("Core.UndefVarError", 8, &[0]),
    fields("Core.DomainError", 16, &[0, 8]),
    fields("Core.InexactError", 24, &[0, 8, 16]),
    fields("Core.ReadOnlyMemoryError", 0, &[]),
    fields("Core.MethodError", 24, &[0, 8]),
    special("Core.SimpleVector", OBJECT),
    special("Core.DataType", OBJECT),
    fields("Core.InterruptException", 0, &[]),
    fields("Core.UndefKeywordError", 8, &[0]),
    special("Core.Any", flag::ABSTRACT),
    special("Core.TypeName", OBJECT),
    special("BitCode.Opaque", OBJECT),
    fields("Core.Tuple{}", 0, &[]),
    vector("Core.Array{Core.UInt8,1}", 1, 0),
    vector("Core.Array{Core.Any,1}", 8, element::REFERENCES),
];

/// A run of preallocated boxes.
struct Boxes {
    memory: Box<[u128]>,
}

impl Boxes {
    /// Boxes of type `ty` around `count` values, the first of which is `first`.
    fn new(ty: &TypeCell, first: i64, count: usize) -> Self {
        let tag = ((ty.data_type() as usize | TAG_CONSTANT) as u128) << 64;
        let mut memory = vec![tag; count + 1].into_boxed_slice();
        let mask = u64::MAX >> (64 - 8 * ty.record().size.min(8));
        for (unit, value) in memory[1..].iter_mut().zip(first..) {
            *unit |= u128::from(value as u64 & mask);
        }
        Self { memory }
    }

    fn at(&self, index: usize) -> *mut Value {
        self.memory
            .as_ptr()
            .wrapping_add(index + 1)
            .cast_mut()
            .cast()
    }
}

/// Cached signed boxes hold −512…511; unsigned ones 0…1023.
const CACHED: i64 = 512;

/// Everything the runtime makes once.
pub struct Builtins {
    types: Vec<TypeRef>,
    meta: Meta,
    /// `Core.Symbol`.
    pub(crate) symbol_type: *mut DataType,
    bools: Boxes,
    int8: Boxes,
    uint8: Boxes,
    small: Vec<Option<Boxes>>,
    empty_string: Box<[u128]>,
    _empty_svec: Box<[u128]>,
    index_tuples: Mutex<Vec<Option<TypeRef>>>,
}

// SAFETY: everything in here is immutable once made; `index_tuples` has its lock.
unsafe impl Send for Builtins {}
// SAFETY: as above.
unsafe impl Sync for Builtins {}

static BUILTINS: OnceLock<Builtins> = OnceLock::new();

impl Builtins {
    /// The one table.
    #[inline]
    pub fn get() -> &'static Self {
        BUILTINS.get_or_init(Self::make)
    }

    fn make() -> Self {
        let none = Meta {
            data_type: 0,
            type_name: 0,
            symbol_type: 0,
            any: ptr::null_mut(),
            empty_svec: ptr::null_mut(),
        };
        let cell = |number: u16, meta: &Meta| {
            TypeCell::new(&DESCRIPTIONS[number as usize - 1], number, meta)
        };
        // The five types that every type object refers to come first, without the references.
        let first = [
            id::DATA_TYPE,
            id::TYPE_NAME,
            id::SYMBOL,
            id::ANY,
            id::SIMPLE_VECTOR,
        ]
        .map(|n| cell(n, &none));
        let [data_type, type_name, symbol, any, svec] = &first;
        let empty_svec = object(svec, &[0]);
        let meta = Meta {
            data_type: data_type.data_type() as usize,
            type_name: type_name.data_type() as usize,
            symbol_type: symbol.data_type() as usize,
            any: any.data_type(),
            empty_svec: object_address(&empty_svec),
        };
        for early in &first {
            early.retag(&meta);
        }
        let types: Vec<TypeRef> = (1..id::COUNT as u16)
            .map(|number| {
                let early = first.iter().find(|early| early.record().builtin == number);
                early.map_or_else(|| cell(number, &meta), Arc::clone)
            })
            .collect();
        for ty in &types {
            types::register(ty);
        }
        let ty = |number: u16| &*types[number as usize - 1];
        let small = (0..id::COUNT as u16).map(|number| match number {
            id::INT16 | id::INT32 | id::INT64 => {
                Some(Boxes::new(ty(number), -CACHED, 2 * CACHED as usize))
            }
            id::UINT16 | id::UINT32 | id::UINT64 => {
                Some(Boxes::new(ty(number), 0, 2 * CACHED as usize))
            }
            _ => None,
        });
        Self {
            bools: Boxes::new(ty(id::BOOL), 0, 2),
            int8: Boxes::new(ty(id::INT8), -128, 256),
            uint8: Boxes::new(ty(id::UINT8), 0, 256),
            small: small.collect(),
            empty_string: object(ty(id::STRING), &[0, 0]),
            symbol_type: symbol.data_type(),
            meta,
            _empty_svec: empty_svec,
            types,
            index_tuples: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn meta(&self) -> Meta {
        self.meta
    }

    /// The cell of built-in type number `number`.
    pub fn cell(&self, number: u16) -> &TypeRef {
        &self.types[number as usize - 1]
    }

    /// Built-in type number `number`.
    #[inline]
    pub fn ty(&self, number: u16) -> *mut DataType {
        self.cell(number).data_type()
    }

    /// The only instance of a built-in singleton type.
    pub fn instance(&self, number: u16) -> *mut Value {
        self.cell(number).instance()
    }

    /// `nothing`.
    pub fn nothing(&self) -> *mut Value {
        self.instance(id::NOTHING)
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&self, value: bool) -> *mut Value {
        self.bools.at(usize::from(value))
    }

    /// The box of an `Int8`.
    pub fn int8(&self, value: i8) -> *mut Value {
        self.int8.at((i32::from(value) + 128) as usize)
    }

    /// The box of a `UInt8`.
    pub fn uint8(&self, value: u8) -> *mut Value {
        self.uint8.at(usize::from(value))
    }

    /// The cached box of a small integer, if there is one.
    #[inline]
    pub fn small(&self, number: u16, value: i64) -> Option<*mut Value> {
        let boxes = self.small.get(number as usize)?.as_ref()?;
        let signed = matches!(number, id::INT16 | id::INT32 | id::INT64);
        let index = if signed {
            value.wrapping_add(CACHED)
        } else {
            value
        } as u64;
        (index < 2 * CACHED as u64).then(|| boxes.at(index as usize))
    }

    /// `""`.
    pub fn empty_string(&self) -> *mut Value {
        object_address(&self.empty_string)
    }

    /// `Core.svec()`.
    pub fn empty_svec(&self) -> *mut Value {
        self.meta.empty_svec
    }

    /// The type of a tuple of `count` `Int64`s, as bounds errors hold it.
    pub fn index_tuple(&self, count: usize) -> *mut DataType {
        if count == 0 {
            return self.ty(id::EMPTY_TUPLE);
        }
        let mut known = self
            .index_tuples
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() <= count {
            known.resize(count + 1, None);
        }
        known[count]
            .get_or_insert_with(|| make_index_tuple(count))
            .data_type()
    }

    /// Is this a type that [`Builtins::index_tuple`] made? Then of how many integers?
    pub(crate) fn index_tuple_length(&self, ty: *const DataType) -> Option<usize> {
        let known = self
            .index_tuples
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.iter().position(|made| {
            made.as_ref()
                .is_some_and(|made| ptr::eq(made.data_type(), ty))
        })
    }
}

fn make_index_tuple(count: usize) -> TypeRef {
    let name = format!("Core.Tuple{{{}}}", vec!["Core.Int64"; count].join(","));
    let description = TypeDescription {
        name: &name,
        flags: flag::TUPLE | flag::BITS | flag::CONCRETE,
        size: 8 * count as u32,
        align: 8,
        pointers: &[],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    };
    // The name is no built-in type's, so there is no layout to disagree with.
    types::intern(&description).unwrap_or_else(|mismatch| unreachable!("{mismatch}"))
}

/// Memory of a constant object with these words; see [`object_address`].
fn object(ty: &TypeCell, words: &[u64]) -> Box<[u128]> {
    let mut memory = vec![0_u128; 1 + words.len().div_ceil(2)].into_boxed_slice();
    memory[0] = ((ty.data_type() as usize | TAG_CONSTANT) as u128) << 64;
    for (unit, pair) in memory[1..].iter_mut().zip(words.chunks(2)) {
        *unit = u128::from(pair[0]) | u128::from(pair.get(1).copied().unwrap_or(0)) << 64;
    }
    memory
}

fn object_address(memory: &[u128]) -> *mut Value {
    memory
        .as_ptr()
        .wrapping_byte_add(OBJECT_ALIGN)
        .cast_mut()
        .cast()
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;
    use crate::layout::{string_bytes, type_of};

    #[test]
    fn every_number_has_its_name() {
        let builtins = Builtins::get();
        for (index, name) in [
            (1, "Core.Int8"),
            (16, "Core.String"),
            (19, "Core.BoundsError"),
            (36, "Core.UndefKeywordError"),
        ] {
            assert_eq!(&*builtins.cell(index).record().name, name);
        }
        for (index, cell) in builtins.types.iter().enumerate() {
            assert_eq!(cell.record().builtin as usize, index + 1);
            // SAFETY: built-in types live for ever.
            assert_eq!(unsafe { type_of(cell.value()) }, builtins.ty(id::DATA_TYPE));
        }
    }

    #[test]
    fn cached_boxes_hold_their_values() {
        let builtins = Builtins::get();
        for value in [-512_i64, -1, 0, 7, 511] {
            let boxed = builtins.small(id::INT64, value).unwrap();
            // SAFETY: a box of an Int64.
            let found = unsafe { (boxed.cast::<i64>().read(), type_of(boxed)) };
            assert_eq!(found, (value, builtins.ty(id::INT64)));
        }
        assert!(builtins.small(id::INT64, 512).is_none());
        assert!(builtins.small(id::INT64, i64::MIN).is_none());
        assert!(builtins.small(id::UINT16, -1).is_none());
        assert!(builtins.small(id::FLOAT64, 0).is_none());
        // SAFETY: boxes of one byte.
        unsafe {
            assert_eq!(builtins.int8(-128).cast::<i8>().read(), -128);
            assert_eq!(builtins.uint8(255).cast::<u8>().read(), 255);
            assert_eq!(builtins.bool(true).cast::<u8>().read(), 1);
            assert_eq!(type_of(builtins.bool(false)), builtins.ty(id::BOOL));
        }
    }

    #[test]
    fn the_empty_string_is_empty() {
        let empty = Builtins::get().empty_string();
        // SAFETY: a string that lives for ever.
        assert_eq!(unsafe { string_bytes(empty) }, b"");
    }

    #[test]
    fn index_tuples_are_the_types_that_archives_name() {
        let builtins = Builtins::get();
        let pair = builtins.index_tuple(2);
        let description = TypeDescription {
            name: "Core.Tuple{Core.Int64,Core.Int64}",
            flags: flag::TUPLE | flag::BITS | flag::CONCRETE,
            size: 16,
            align: 8,
            pointers: &[],
            element: 0,
            element_flags: 0,
            ndims: 0,
            hash: 12345,
        };
        assert_eq!(types::intern(&description).unwrap().data_type(), pair);
        assert_eq!(builtins.index_tuple_length(pair), Some(2));
        assert_eq!(builtins.index_tuple_length(builtins.ty(id::INT64)), None);
    }
}
