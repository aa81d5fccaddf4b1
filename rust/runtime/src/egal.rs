//! `===` and `objectid`, with Julia's answers: objects of the same type with the same bits are the same, mutable ones
//! only if they are one.

use crate::builtin::{Builtins, id};
use crate::constant::OPAQUE_ID;
use crate::hash::{STRING_SEED, bitmix, bits_hash, int64hash, memhash_seed};
use crate::layout::{
    DataType, SVEC_DATA, Symbol, TAG_MASK, Value, reference_at, string_bytes, type_of,
};
use crate::string;
use crate::types::{FieldKind, TypeCell, flag};
use std::ptr;

/// `a === b`.
///
/// # Safety
/// - both are objects.
pub(crate) unsafe extern "C" fn jl_egal(a: *const Value, b: *const Value) -> i32 {
    // SAFETY: the caller's promise.
    i32::from(unsafe { egal(a, b) })
}

/// As [`jl_egal`].
///
/// # Safety
/// - both are objects.
pub(crate) unsafe fn egal(a: *const Value, b: *const Value) -> bool {
    if ptr::eq(a, b) {
        return true;
    }
    // SAFETY: the caller's promise.
    let ta = unsafe { type_of(a) };
    // SAFETY: the caller's promise.
    let tb = unsafe { type_of(b) };
    if !ptr::eq(ta, tb) {
        return false;
    }
    // SAFETY: two objects of this type.
    unsafe { egal_as(ta, a, b) }
}

/// `jl_egal__unboxed`: `a === b` of objects whose tags are the same, `tag`, and whose addresses are not.
///
/// # Safety
/// - both are objects of that type.
pub(crate) unsafe extern "C" fn egal_tagged(a: *const Value, b: *const Value, tag: usize) -> i32 {
    // SAFETY: the caller's promise.
    i32::from(unsafe { egal_as((tag & TAG_MASK) as *const DataType, a, b) })
}

unsafe fn egal_as(ty: *const DataType, a: *const Value, b: *const Value) -> bool {
    if string::is_string(ty) {
        // SAFETY: both are strings.
        return unsafe { string::same_bytes(a, b) };
    }
    // SAFETY: the type of a live object.
    let cell = unsafe { TypeCell::of(ty) };
    if cell.record().builtin == id::SIMPLE_VECTOR {
        // SAFETY: both are simple vectors.
        return unsafe { egal_svec(a, b) };
    }
    if cell.is(flag::MUTABLE) {
        return false;
    }
    // SAFETY: both are values of this type.
    unsafe { egal_bits(cell, a.cast(), b.cast()) }
}

unsafe fn egal_svec(a: *const Value, b: *const Value) -> bool {
    // SAFETY: a simple vector starts with its length.
    let n = unsafe { a.cast::<usize>().read() };
    // SAFETY: as above.
    let m = unsafe { b.cast::<usize>().read() };
    n == m
        && (0..n).all(|i| {
            let at = SVEC_DATA + 8 * i;
            // SAFETY: inside both.
            unsafe { egal_slots(a.cast(), b.cast(), at) }
        })
}

/// Compares what the slots at byte `at` of two objects refer to.
unsafe fn egal_slots(a: *const u8, b: *const u8, at: usize) -> bool {
    // SAFETY: a reference slot of both, says the caller.
    let x = unsafe { reference_at(a.cast(), at) };
    // SAFETY: as above.
    let y = unsafe { reference_at(b.cast(), at) };
    // SAFETY: null or objects.
    unsafe { egal_references(x, y) }
}

unsafe fn egal_references(a: *const Value, b: *const Value) -> bool {
    if ptr::eq(a, b) {
        return true;
    }
    // SAFETY: not null, so objects.
    !a.is_null() && !b.is_null() && unsafe { egal(a, b) }
}

/// Compares the bytes of two immutable values.
unsafe fn egal_bits(cell: &TypeCell, a: *const u8, b: *const u8) -> bool {
    let record = cell.record();
    let size = record.size as usize;
    let fields = cell.links().map_or(&[][..], |links| &links.fields);
    if !cell.is(flag::PADDING) || fields.is_empty() {
        // Without field descriptions: all bytes but the references', then what those refer to.
        // SAFETY: both have `size` bytes.
        return unsafe { egal_between(&record.pointers, size, a, b) };
    }
    fields.iter().all(|field| {
        let (a, b) = (
            a.wrapping_add(field.offset as usize),
            b.wrapping_add(field.offset as usize),
        );
        let size = field.size as usize;
        match (field.kind, &field.ty) {
            // SAFETY: a reference field of both.
            (FieldKind::Reference, _) => unsafe { egal_slots(a, b, 0) },
            // SAFETY: a field of that type in both.
            (FieldKind::Inline, Some(ty)) => unsafe { egal_bits(ty, a, b) },
            // SAFETY: a field of that size in both.
            _ => unsafe { bytes_equal(a, b, size) },
        }
    })
}

unsafe fn egal_between(pointers: &[u32], size: usize, a: *const u8, b: *const u8) -> bool {
    let mut at = 0;
    for &pointer in pointers {
        let pointer = pointer as usize;
        // SAFETY: between two reference slots, inside both.
        if !unsafe { bytes_equal(a.wrapping_add(at), b.wrapping_add(at), pointer - at) } {
            return false;
        }
        // SAFETY: a reference slot of both.
        if !unsafe { egal_slots(a, b, pointer) } {
            return false;
        }
        at = pointer + size_of::<*mut Value>();
    }
    // SAFETY: behind the last reference slot, inside both.
    unsafe { bytes_equal(a.wrapping_add(at), b.wrapping_add(at), size - at) }
}

unsafe fn bytes_equal(a: *const u8, b: *const u8, size: usize) -> bool {
    // SAFETY: the caller's promise.
    let a = unsafe { std::slice::from_raw_parts(a, size) };
    // SAFETY: as above.
    let b = unsafe { std::slice::from_raw_parts(b, size) };
    a == b
}

/// How one origin's Julia makes `objectid`s: what an archive that asks for them holds, as 37 words of 32 bits (docs/ABI.md,
/// "Identities").
#[derive(Clone, Copy)]
struct Identities {
    words: *const u8,
}

/// Words that say nothing: symbols as they are kept, types as archives describe them.
static NOTHING_SAID: [u8; 4 * (1 + id::LAST_PUBLIC as usize)] =
    [0; 4 * (1 + id::LAST_PUBLIC as usize)];

impl Identities {
    /// Bit of word 0: hashes of symbols are mixed once more, and a field that is undefined counts as nothing. (Julia 1.7 and later:
    /// `hash_symbol` in its src/symbol.c, `immut_id_` in src/builtins.c.)
    const MODERN: u32 = 1;

    const KEPT: Self = Self {
        words: NOTHING_SAID.as_ptr(),
    };

    fn word(self, index: u16) -> u32 {
        let at = self
            .words
            .wrapping_add(4 * usize::from(index))
            .cast::<u32>();
        // SAFETY: 37 words, says who made it; `index` is below that.
        unsafe { at.read_unaligned() }
    }

    fn is_modern(self) -> bool {
        self.word(0) & Self::MODERN != 0
    }

    /// The hash of a type: of a built-in one, which every Julia has with a hash of its own, as this origin has it.
    fn hash_of(self, cell: &TypeCell) -> u64 {
        let number = cell.record().builtin;
        let told = if (1..=id::LAST_PUBLIC).contains(&number) {
            self.word(number)
        } else {
            0
        };
        u64::from(if told == 0 { cell.hash() } else { told })
    }

    /// `objectid` of a value of type `ty`, boxed or not.
    ///
    /// # Safety
    /// - `value` is a value of type `ty`.
    unsafe fn of(self, ty: *const DataType, value: *const Value) -> u64 {
        let ty = ((ty as usize) & TAG_MASK) as *const DataType;
        // SAFETY: the caller's promise.
        let cell = unsafe { TypeCell::of(ty) };
        match cell.record().builtin {
            // SAFETY: a symbol.
            id::SYMBOL => match unsafe { (*value.cast::<Symbol>()).hash } {
                hash if self.is_modern() => int64hash(hash.wrapping_neg()),
                hash => hash,
            },
            // SAFETY: a string.
            id::STRING => memhash_seed(unsafe { string_bytes(value) }, STRING_SEED),
            // SAFETY: a type object.
            id::DATA_TYPE => self.hash_of(unsafe { TypeCell::of(value.cast()) }),
            // SAFETY: a simple vector.
            id::SIMPLE_VECTOR => unsafe { self.of_svec(value) },
            // SAFETY: an archive's object, which has its number at its end, or zero.
            id::OPAQUE => match unsafe {
                value
                    .cast::<u8>()
                    .wrapping_add(OPAQUE_ID)
                    .cast::<u64>()
                    .read()
            } {
                0 => int64hash(value as u64),
                number => number,
            },
            _ if cell.is(flag::MUTABLE) => int64hash(value as u64),
            // SAFETY: a value of this type.
            _ => unsafe { self.of_immutable(cell, value.cast(), self.hash_of(cell)) },
        }
    }

    unsafe fn of_svec(self, value: *const Value) -> u64 {
        // SAFETY: a simple vector starts with its length.
        let length = unsafe { value.cast::<usize>().read() };
        (0..length).fold(0, |hash, i| {
            // SAFETY: inside the vector.
            let item = unsafe { reference_at(value, SVEC_DATA + 8 * i) };
            // SAFETY: null or an object.
            bitmix(hash, unsafe { self.of_reference(item) })
        })
    }

    unsafe fn of_reference(self, value: *const Value) -> u64 {
        if value.is_null() {
            return 0;
        }
        // SAFETY: not null, so an object.
        let ty = unsafe { type_of(value) };
        // SAFETY: a value of its type.
        unsafe { self.of(ty, value) }
    }

    /// The id of what a slot refers to.
    unsafe fn of_slot(self, slot: *const u8) -> u64 {
        // SAFETY: a reference slot, says the caller.
        let value = unsafe { reference_at(slot.cast(), 0) };
        // SAFETY: null or an object.
        unsafe { self.of_reference(value) }
    }

    unsafe fn of_immutable(self, cell: &TypeCell, value: *const u8, hash: u64) -> u64 {
        let record = cell.record();
        let size = record.size as usize;
        if size == 0 {
            return !hash;
        }
        let fields = cell.links().map_or(&[][..], |links| &links.fields);
        if fields.is_empty() && record.pointers.is_empty()
            || !cell.is(flag::PADDING) && record.pointers.is_empty()
        {
            // SAFETY: a value of `size` bytes.
            return bits_hash(unsafe { std::slice::from_raw_parts(value, size) }) ^ hash;
        }
        if fields.is_empty() {
            // Fields are not described: references only, in order.
            return record.pointers.iter().fold(hash, |hash, &at| {
                // SAFETY: a reference slot.
                bitmix(hash, unsafe {
                    self.of_slot(value.wrapping_add(at as usize))
                })
            });
        }
        fields.iter().fold(hash, |hash, field| {
            let at = value.wrapping_add(field.offset as usize);
            let id = match (field.kind, &field.ty) {
                // SAFETY: a reference field.
                (FieldKind::Reference, _) => unsafe { self.of_slot(at) },
                // SAFETY: a field of that type.
                (FieldKind::Inline, Some(ty)) => unsafe { self.of_inline(ty, at) },
                // SAFETY: a field of that size.
                _ => bits_hash(unsafe { std::slice::from_raw_parts(at, field.size as usize) }),
            };
            bitmix(hash, id)
        })
    }

    /// The id of a struct that lies in another: undefined if its first reference is.
    unsafe fn of_inline(self, cell: &TypeCell, value: *const u8) -> u64 {
        if let (true, Some(first)) = (self.is_modern(), cell.record().pointers.first()) {
            let slot = value.wrapping_add(*first as usize);
            // SAFETY: a reference slot.
            if unsafe { reference_at(slot.cast(), 0) }.is_null() {
                return 0;
            }
        }
        // SAFETY: a value of this type.
        unsafe { self.of_immutable(cell, value, 0) }
    }
}

/// `objectid(value)`, with hashes of symbols and types as the node has them.
///
/// # Safety
/// - `value` is an object.
pub(crate) unsafe extern "C" fn jl_object_id(value: *const Value) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { Identities::KEPT.of_reference(value) }
}

/// `objectid` of a value whose type the caller knows, boxed or not.
///
/// # Safety
/// - `value` is a value of type `ty`.
pub(crate) unsafe extern "C" fn jl_object_id_(ty: *const DataType, value: *const Value) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { Identities::KEPT.of(ty, value) }
}

/// `objectid(value)` as the origin has it that made these 37 words.
///
/// # Safety
/// - `value` is an object, `words` the address of 37 words of 32 bits.
pub(crate) unsafe extern "C" fn bc_object_id(value: *const Value, words: *const u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { Identities { words }.of_reference(value) }
}

/// The same of a value whose type the caller knows, boxed or not.
///
/// # Safety
/// - `value` is a value of type `ty`, `words` the address of 37 words of 32 bits.
pub(crate) unsafe extern "C" fn bc_object_id_of(
    ty: *const DataType,
    value: *const Value,
    words: *const u8,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { Identities { words }.of(ty, value) }
}

/// `a === b` for boxed arguments.
pub(crate) unsafe fn is(a: *const Value, b: *const Value) -> *mut Value {
    // SAFETY: the caller's promise.
    Builtins::get().bool(unsafe { egal(a, b) })
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;
    use crate::boxes::{jl_box_float64, jl_box_int64};
    use crate::memory::{object, struct_of};
    use crate::string::from_bytes;
    use crate::thread::attach;
    use crate::types::{Field, Links, TypeDescription, TypeRef, intern};

    fn ty(name: &str, flags: u32, size: u32, pointers: &[u32], hash: u32) -> TypeRef {
        intern(&TypeDescription {
            name,
            flags,
            size,
            align: 8,
            pointers,
            element: 0,
            element_flags: 0,
            ndims: 0,
            hash,
        })
        .unwrap()
    }

    #[test]
    fn boxes_and_strings_are_the_same_by_value() {
        attach();
        // SAFETY: on an attached thread, with memory enough.
        unsafe {
            assert!(egal(jl_box_int64(100_000), jl_box_int64(100_000)));
            assert!(!egal(jl_box_int64(100_000), jl_box_int64(100_001)));
            assert!(!egal(jl_box_int64(0), jl_box_float64(0.0)));
            assert!(!egal(jl_box_float64(0.0), jl_box_float64(-0.0)));
            assert!(egal(jl_box_float64(f64::NAN), jl_box_float64(f64::NAN)));
            assert!(egal(from_bytes(b"abc"), from_bytes(b"abc")));
            let string = Builtins::get().ty(id::STRING) as usize;
            let abc = from_bytes(b"abc");
            assert_eq!(egal_tagged(abc, from_bytes(b"abc"), string | 3), 1);
            assert_eq!(egal_tagged(abc, from_bytes(b"abd"), string), 0);
            assert!(!egal(from_bytes(b"abc"), from_bytes(b"abd")));
        }
    }

    #[test]
    fn padding_does_not_count() {
        attach();
        let padded = ty(
            "Test.Padded",
            flag::CONCRETE | flag::BITS | flag::PADDING,
            16,
            &[],
            7,
        );
        let builtins = Builtins::get();
        let field = |offset, size, number| Field {
            offset,
            size,
            kind: FieldKind::Inline,
            ty: Some(builtins.cell(number).clone()),
            name: None,
        };
        padded.link(Links {
            fields: vec![field(0, 1, id::UINT8), field(8, 8, id::INT64)],
            ..Links::default()
        });
        // SAFETY: on an attached thread; both objects have 16 bytes.
        unsafe {
            let (a, b) = (
                object(16, padded.data_type()),
                object(16, padded.data_type()),
            );
            a.cast::<[u64; 2]>().write([0xaaaa_aa01, 5]);
            b.cast::<[u64; 2]>().write([0x5555_5501, 5]);
            assert!(egal(a, b));
            assert_eq!(jl_object_id(a), jl_object_id(b));
            b.cast::<u8>().write(2);
            assert!(!egal(a, b));
        }
    }

    #[test]
    fn references_are_compared_and_mutables_are_not() {
        attach();
        let holder = ty("Test.Holder", flag::CONCRETE | flag::PADDING, 8, &[0], 9);
        let cell = ty("Test.Cell", flag::CONCRETE | flag::MUTABLE, 8, &[], 9);
        // SAFETY: on an attached thread; the types have these sizes.
        unsafe {
            let text = |s: &[u8]| struct_of(holder.data_type(), [from_bytes(s)]);
            assert!(egal(text(b"x"), text(b"x")));
            assert!(!egal(text(b"x"), text(b"y")));
            let a = object(8, cell.data_type());
            let b = object(8, cell.data_type());
            a.cast::<u64>().write(1);
            b.cast::<u64>().write(1);
            assert!(!egal(a, b));
            assert!(egal(a, a));
            assert!(!egal(
                struct_of(holder.data_type(), [a]),
                struct_of(holder.data_type(), [b])
            ));
            assert!(!egal(
                struct_of(holder.data_type(), [ptr::null_mut()]),
                text(b"x")
            ));
        }
    }

    #[test]
    fn object_ids_follow_julias_rules() {
        attach();
        let word = ty("Test.Word", flag::CONCRETE | flag::BITS, 8, &[], 0x1234);
        // SAFETY: on an attached thread.
        unsafe {
            let value = object(8, word.data_type());
            value.cast::<u64>().write(77);
            assert_eq!(jl_object_id(value), int64hash(77) ^ 0x1234);
            assert_eq!(jl_object_id(word.value()), 0x1234);
            let text = from_bytes(b"some text");
            assert_eq!(jl_object_id(text), memhash_seed(b"some text", STRING_SEED));
        }
    }
    #[test]
    fn the_origin_says_what_it_makes_of_symbols_and_builtin_types() {
        attach();
        let mut words = [0_u32; 37];
        words[0] = Identities::MODERN;
        words[usize::from(id::INT64)] = 0xabcd;
        let words = words.as_ptr().cast::<u8>();
        let symbol = crate::symbol::intern("a_symbol_with_an_identity");
        let hash = crate::hash::symbol_hash(b"a_symbol_with_an_identity");
        // SAFETY: on an attached thread; 37 words.
        unsafe {
            let number = jl_box_int64(100_000);
            assert_eq!(bc_object_id(number, words), int64hash(100_000) ^ 0xabcd);
            assert_eq!(
                bc_object_id_of(Builtins::get().ty(id::INT64), number, words),
                int64hash(100_000) ^ 0xabcd
            );
            assert_eq!(jl_object_id(symbol.value()), hash);
            let mixed = int64hash(hash.wrapping_neg());
            assert_eq!(bc_object_id(symbol.value(), words), mixed);
        }
    }
}
