//! Arrays that lose elements.

use super::Header;
use super::grow::unshare;
use crate::error::jl_bounds_error_int;
use crate::layout::{ARRAY_HOW_BLOCK, ARRAY_HOW_OWNER, Array, STRING_DATA, type_of};
use crate::memory::{array_data, free_block};
use crate::string;

/// Cuts the room of a vector down to `count` elements, where the memory comes back: in a block of its own.
///
/// # Safety
/// - called from shipped code: may throw; `count` is at least what is used.
pub(crate) unsafe fn shrink_storage(header: Header, count: usize) {
    if header.how() != ARRAY_HOW_BLOCK || header.is_shared() {
        return;
    }
    let (size, offset, n) = (header.size(), header.offset() as usize, header.nrows());
    let elements = header.elements();
    let Some(bytes) = elements.bytes(count) else {
        return;
    };
    let old = header.data().wrapping_sub(offset * size);
    let old_selectors = elements.union.then(|| header.selectors());
    // SAFETY: the caller's promise.
    let (new, block) = unsafe { array_data(bytes, header.holds_references()) };
    let used =
        (offset + n) * size + usize::from(size == 1 && !elements.union && !elements.references);
    // SAFETY: both have room for what is used.
    unsafe { new.copy_from_nonoverlapping(old, used) };
    header.set_data(new.wrapping_add(offset * size));
    header.set_maxsize(count);
    if !block {
        header.set_how(crate::layout::ARRAY_HOW_BUFFER);
    }
    if let Some(selectors) = old_selectors {
        // SAFETY: a byte per element in both.
        unsafe { header.selectors().copy_from_nonoverlapping(selectors, n) };
    }
    // SAFETY: its content was moved, and it was this array's alone.
    unsafe { free_block(old) };
}

/// Keeps the room in front of a vector from growing for ever, when it loses elements there and gains them at its end.
fn limited_offset(header: Header, offset: usize) -> usize {
    let mut offset = offset;
    if offset >= 13 * header.maxsize() / 20 {
        offset = 17 * (header.maxsize() - header.nrows()) / 100;
    }
    while offset > u32::MAX as usize {
        offset /= 2;
    }
    offset
}

/// Removes `dec` elements from index `index` on, by moving what comes before.
///
/// # Safety
/// - the elements exist; the data is the array's own.
unsafe fn delete_at_beginning(header: Header, index: usize, dec: usize) {
    let (n, size, before) = (header.nrows(), header.size(), header.offset() as usize);
    let union = header.elements().union;
    let old = header.data();
    let old_selectors = union.then(|| header.selectors());
    header.set_nrows(n - dec);
    header.set_length(n - dec);
    let offset = before + dec;
    let limited = limited_offset(header, offset);
    let new = old.wrapping_sub(before * size).wrapping_add(limited * size);
    if index > 0 {
        // SAFETY: inside the storage.
        unsafe { new.copy_from(old, index * size) };
    }
    if limited != offset {
        let nul = usize::from(size == 1 && !union);
        // SAFETY: inside the storage, with the NUL after bytes.
        unsafe {
            new.wrapping_add(index * size).copy_from(
                old.wrapping_add((index + dec) * size),
                (n - dec - index) * size + nul,
            )
        };
    }
    if let Some(old) = old_selectors {
        let new = old.wrapping_sub(before).wrapping_add(limited);
        // SAFETY: a byte per element, inside the storage.
        unsafe { new.copy_from(old, index) };
        if limited != offset {
            // SAFETY: as above.
            unsafe {
                new.wrapping_add(index)
                    .copy_from(old.wrapping_add(index + dec), n - dec - index)
            };
        }
    }
    header.set_data(new);
    header.set_offset(limited as u32);
}

/// Removes `dec` elements from index `index` on, by moving what follows.
///
/// # Safety
/// - as for [`delete_at_beginning`].
unsafe fn delete_at_end(header: Header, index: usize, dec: usize) {
    let (n, size) = (header.nrows(), header.size());
    let union = header.elements().union;
    let data = header.data();
    let last = index + dec;
    if n > last {
        // SAFETY: inside the storage.
        unsafe {
            data.wrapping_add(index * size)
                .copy_from(data.wrapping_add(last * size), (n - last) * size)
        };
        if union {
            let selectors = header.selectors();
            // SAFETY: a byte per element.
            unsafe {
                selectors
                    .wrapping_add(index)
                    .copy_from(selectors.wrapping_add(last), n - last)
            };
        }
    }
    header.set_nrows(n - dec);
    header.set_length(n - dec);
    header.end_with_nul();
}

/// Removes `dec` elements from index `index` (from 0) on.
///
/// # Safety
/// - called from shipped code: may throw; `array` is a vector.
pub(crate) unsafe extern "C" fn jl_array_del_at(array: *mut Array, index: isize, dec: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let n = header.nrows();
    let last = (index as usize).wrapping_add(dec);
    if index < 0 {
        // SAFETY: the caller's promise.
        unsafe { jl_bounds_error_int(array.cast(), index as i64 + 1) }
    }
    if last > n || last < dec {
        // SAFETY: the caller's promise.
        unsafe { jl_bounds_error_int(array.cast(), last as i64) }
    }
    // SAFETY: the caller's promise.
    unsafe { unshare(header) };
    if (index as usize) < n - last {
        // SAFETY: the elements exist.
        unsafe { delete_at_beginning(header, index as usize, dec) };
    } else {
        // SAFETY: the elements exist.
        unsafe { delete_at_end(header, index as usize, dec) };
    }
}

/// Removes the first `dec` elements.
///
/// # Safety
/// - as for [`jl_array_del_at`].
pub(crate) unsafe extern "C" fn jl_array_del_beg(array: *mut Array, dec: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    if dec > header.nrows() {
        // SAFETY: the caller's promise.
        unsafe { jl_bounds_error_int(array.cast(), dec as i64) }
    }
    // SAFETY: the caller's promise.
    unsafe { unshare(header) };
    if dec > 0 {
        // SAFETY: the elements exist.
        unsafe { delete_at_beginning(header, 0, dec) };
    }
}

/// Removes the last `dec` elements.
///
/// # Safety
/// - as for [`jl_array_del_at`].
pub(crate) unsafe extern "C" fn jl_array_del_end(array: *mut Array, dec: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let n = header.nrows();
    if dec > n {
        // SAFETY: the caller's promise.
        unsafe { jl_bounds_error_int(array.cast(), 0) }
    }
    // SAFETY: the caller's promise.
    unsafe { unshare(header) };
    if dec > 0 {
        // SAFETY: the elements exist.
        unsafe { delete_at_end(header, n - dec, dec) };
    }
}

/// `String(array)`: takes the bytes out of the vector, without copying where they already are a string's.
///
/// # Safety
/// - called from shipped code: may throw; `array` is a vector of bytes.
pub(crate) unsafe extern "C" fn jl_array_to_string(array: *mut Array) -> *mut crate::layout::Value {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let length = header.len();
    let data = header.data();
    let owner = header.owner();
    let whole = header.how() == ARRAY_HOW_OWNER
        && header.offset() == 0
        && header.size() == 1
        // SAFETY: the owner of live data is a live object.
        && string::is_string(unsafe { type_of(owner) })
        && std::ptr::eq(data, owner.cast::<u8>().wrapping_add(STRING_DATA));
    let text = if whole && length > 0 {
        header.set(crate::layout::ARRAY_SHARED, true);
        // SAFETY: the string has room for at least `length` bytes and the NUL.
        unsafe { owner.cast::<usize>().write(length) };
        // SAFETY: as above.
        unsafe { data.wrapping_add(length).write(0) };
        owner
    } else {
        // SAFETY: the array has `length` bytes.
        unsafe { string::jl_pchar_to_string(data, length) }
    };
    header.set_nrows(0);
    header.set_length(0);
    header.set_maxsize(0);
    text
}
