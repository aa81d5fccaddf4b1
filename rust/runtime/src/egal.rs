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
    if string::is_string(ta) {
        // SAFETY: both are strings.
        return unsafe { string::same_bytes(a, b) };
    }
    // SAFETY: the type of a live object.
    let cell = unsafe { TypeCell::of(ta) };
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

/// `objectid(value)`.
///
/// # Safety
/// - `value` is an object.
pub(crate) unsafe extern "C" fn jl_object_id(value: *const Value) -> u64 {
    // SAFETY: the caller's promise.
    let ty = unsafe { type_of(value) };
    // SAFETY: a value of its type.
    unsafe { jl_object_id_(ty, value) }
}

/// `objectid` of a value whose type the caller knows, boxed or not.
///
/// # Safety
/// - `value` is a value of type `ty`.
pub(crate) unsafe extern "C" fn jl_object_id_(ty: *const DataType, value: *const Value) -> u64 {
    let ty = ((ty as usize) & TAG_MASK) as *const DataType;
    // SAFETY: the caller's promise.
    let cell = unsafe { TypeCell::of(ty) };
    match cell.record().builtin {
        // SAFETY: a symbol.
        id::SYMBOL => unsafe { (*value.cast::<Symbol>()).hash },
        // SAFETY: a string.
        id::STRING => memhash_seed(unsafe { string_bytes(value) }, STRING_SEED),
        // SAFETY: a type object.
        id::DATA_TYPE => u64::from(unsafe { TypeCell::of(value.cast()) }.hash()),
        // SAFETY: a simple vector.
        id::SIMPLE_VECTOR => unsafe { svec_id(value) },
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
        _ => unsafe { immutable_id(cell, value.cast(), u64::from(cell.hash())) },
    }
}

unsafe fn svec_id(value: *const Value) -> u64 {
    // SAFETY: a simple vector starts with its length.
    let length = unsafe { value.cast::<usize>().read() };
    (0..length).fold(0, |hash, i| {
        // SAFETY: inside the vector.
        let item = unsafe { reference_at(value, SVEC_DATA + 8 * i) };
        // SAFETY: null or an object.
        bitmix(hash, unsafe { reference_id(item) })
    })
}

unsafe fn reference_id(value: *const Value) -> u64 {
    if value.is_null() {
        0
    } else {
        // SAFETY: not null, so an object.
        unsafe { jl_object_id(value) }
    }
}

/// The id of what a slot refers to.
unsafe fn slot_id(slot: *const u8) -> u64 {
    // SAFETY: a reference slot, says the caller.
    let value = unsafe { reference_at(slot.cast(), 0) };
    // SAFETY: null or an object.
    unsafe { reference_id(value) }
}

unsafe fn immutable_id(cell: &TypeCell, value: *const u8, hash: u64) -> u64 {
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
            let item = unsafe { reference_at(value.cast(), at as usize) };
            // SAFETY: null or an object.
            bitmix(hash, unsafe { reference_id(item) })
        });
    }
    fields.iter().fold(hash, |hash, field| {
        let at = value.wrapping_add(field.offset as usize);
        let id = match (field.kind, &field.ty) {
            // SAFETY: a reference field.
            (FieldKind::Reference, _) => unsafe { slot_id(at) },
            // SAFETY: a field of that type.
            (FieldKind::Inline, Some(ty)) => unsafe { immutable_id(ty, at, 0) },
            // SAFETY: a field of that size.
            _ => bits_hash(unsafe { std::slice::from_raw_parts(at, field.size as usize) }),
        };
        bitmix(hash, id)
    })
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
}
