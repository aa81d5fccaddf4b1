//! Single elements and properties of arrays, for code that does not know the array's type.

use super::Header;
use crate::boxes::{jl_box_int64, jl_new_bits};
use crate::builtin::id;
use crate::error::{error, jl_bounds_error_int};
use crate::exception::throw_instance;
use crate::layout::{Array, Value};
use crate::memory::check_store;
use crate::types::{TypeCell, flag};

/// Element `index` (from 0), boxed.
///
/// # Safety
/// - called from shipped code: may throw; `index` is below the length.
pub(crate) unsafe extern "C" fn jl_arrayref(array: *mut Array, index: usize) -> *mut Value {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let at = header.data().wrapping_add(index * header.size());
    if header.is_reference_array() {
        // SAFETY: inside the data.
        let element = unsafe { at.cast::<*mut Value>().read() };
        if element.is_null() {
            // SAFETY: the caller's promise.
            unsafe { throw_instance(id::UNDEF_REF_ERROR) }
        }
        return element;
    }
    // SAFETY: an array has a tag.
    let cell = unsafe { TypeCell::of_value(array.cast()) };
    match cell.links().and_then(|links| links.element.as_ref()) {
        // SAFETY: inside the data; the element's type is this.
        Some(ty) if !header.elements().union => unsafe { jl_new_bits(ty.data_type(), at) },
        // SAFETY: the caller's promise.
        _ => unsafe { error("the node does not know the element type of this array") },
    }
}

/// Stores into element `index` (from 0).
///
/// # Safety
/// - called from shipped code: may throw; `index` is below the length, `value` of the element type.
pub(crate) unsafe extern "C" fn jl_arrayset(array: *mut Array, value: *mut Value, index: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let at = header.data().wrapping_add(index * header.size());
    if header.is_reference_array() {
        // SAFETY: the caller's promise.
        unsafe { check_store(array.cast(), value) };
        // SAFETY: inside the data.
        unsafe { at.cast::<*mut Value>().write(value) };
    } else if header.elements().union {
        // SAFETY: the caller's promise.
        unsafe {
            error(
                "the node cannot store into an array of unions whose type is not known statically",
            )
        }
    } else {
        // SAFETY: an object has a tag.
        let size = unsafe { TypeCell::of_value(value) }.record().size as usize;
        // SAFETY: inside the data; the value has that many bytes.
        unsafe { at.copy_from_nonoverlapping(value.cast(), size.min(header.size())) };
    }
}

/// Empties element `index` (from 0).
///
/// # Safety
/// - called from shipped code: may throw.
pub(crate) unsafe extern "C" fn jl_arrayunset(array: *mut Array, index: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    if index >= header.len() {
        // SAFETY: the caller's promise.
        unsafe { jl_bounds_error_int(array.cast(), index as i64 + 1) }
    }
    if header.holds_references() {
        // SAFETY: inside the data.
        unsafe {
            header
                .data()
                .wrapping_add(index * header.size())
                .write_bytes(0, header.size())
        };
    }
}

/// `isassigned(array, index + 1)`.
///
/// # Safety
/// - `index` is below the length.
pub(crate) unsafe extern "C" fn jl_array_isassigned(array: *mut Array, index: usize) -> i32 {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    if !header.holds_references() {
        return 1;
    }
    let mut at = header.data().wrapping_add(index * header.size());
    if !header.is_reference_array() {
        // SAFETY: an array has a tag.
        let cell = unsafe { TypeCell::of_value(array.cast()) };
        let element = cell.links().and_then(|links| links.element.as_ref());
        let first = element
            .and_then(|ty| ty.record().pointers.first().copied())
            .unwrap_or(0);
        at = at.wrapping_add(first as usize);
    }
    // SAFETY: inside the data.
    i32::from(!unsafe { at.cast::<*mut Value>().read() }.is_null())
}

/// Copies references from array to array.
///
/// # Safety
/// - called from shipped code: may throw; both ranges of `count` references exist.
pub(crate) unsafe extern "C" fn jl_array_ptr_copy(
    target: *mut Array,
    to: *mut *mut Value,
    _source: *mut Array,
    from: *const *mut Value,
    count: isize,
) {
    let count = count.max(0) as usize;
    for index in 0..count {
        // SAFETY: the caller's promise.
        let value = unsafe { from.wrapping_add(index).read() };
        // SAFETY: as above.
        unsafe { check_store(target.cast(), value) };
    }
    // SAFETY: the caller's promise; the ranges may overlap.
    unsafe { to.copy_from(from, count) };
}

/// The object that owns the data.
///
/// # Safety
/// - `array` is an array.
pub(crate) unsafe extern "C" fn jl_array_data_owner(array: *mut Array) -> *mut Value {
    // SAFETY: the caller's promise.
    unsafe { Header::new(array) }.owner()
}

/// The data.
///
/// # Safety
/// - `array` is an array.
pub(crate) unsafe extern "C" fn jl_array_ptr(array: *mut Array) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { Header::new(array) }.data()
}

/// Where the selectors are of an array of unions.
///
/// # Safety
/// - `array` is an array of unions of bits types.
pub(crate) unsafe extern "C" fn jl_array_typetagdata(array: *mut Array) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { Header::new(array) }.selectors()
}

/// The number of dimensions.
///
/// # Safety
/// - `array` is an array.
pub(crate) unsafe extern "C" fn jl_array_rank(array: *mut Array) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { Header::new(array) }.ndims() as i32
}

/// The intrinsic `arraylen`, for code that does not know that it is an array: the length, boxed.
///
/// # Safety
/// - called from shipped code: throws if `array` is none.
pub(crate) unsafe extern "C" fn jl_arraylen(array: *mut Value) -> *mut Value {
    // SAFETY: an object has a tag.
    if !unsafe { TypeCell::of_value(array) }.is(flag::ARRAY) {
        // SAFETY: the caller's promise.
        unsafe { error("arraylen: expected an array") }
    }
    // SAFETY: an array.
    let header = unsafe { Header::new(array.cast()) };
    // SAFETY: the caller's promise.
    unsafe { jl_box_int64(header.len() as i64) }
}

/// Dimension `index` (from 0).
///
/// # Safety
/// - `array` is an array.
pub(crate) unsafe extern "C" fn jl_array_size(array: *mut Array, index: i32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { Header::new(array) }.dim(index.max(0) as usize)
}

/// A vector of bytes that ends with NUL, for C.
///
/// # Safety
/// - called from shipped code: may throw; `array` is a vector of bytes.
pub(crate) unsafe extern "C" fn jl_array_cconvert_cstring(array: *mut Array) -> *mut Array {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    // Foreign data may lack the byte behind; a copy has it.
    let foreign = !header.has_room_for_nul()
        || header.is_shared() && header.how() != crate::layout::ARRAY_HOW_BUFFER;
    let array = if foreign {
        // SAFETY: the caller's promise.
        unsafe { super::jl_array_copy(array) }
    } else {
        array
    };
    // SAFETY: as above.
    let header = unsafe { Header::new(array) };
    // SAFETY: our own storage of bytes has one more.
    unsafe { header.data().wrapping_add(header.nrows()).write(0) };
    array
}
