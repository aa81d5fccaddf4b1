//! Arrays that grow: at the end, at the beginning, in between.

use super::{Header, shrink_storage};
use crate::error::{error, jl_bounds_error_int};
use crate::layout::{
    ARRAY_ALIGNED, ARRAY_HOW_BLOCK, ARRAY_HOW_BUFFER, ARRAY_HOW_OWNER, ARRAY_SHARED, Array,
    STRING_DATA, type_of,
};
use crate::memory::{array_data, free_block, or_throw};
use crate::string;

/// Bytes of the data of a vector with room for `count` elements.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`.
unsafe fn storage_bytes(header: Header, count: usize) -> usize {
    match header.elements().bytes(count) {
        Some(bytes) => bytes,
        // SAFETY: the caller's promise.
        None => unsafe { or_throw(Err(crate::heap::Exhausted)) },
    }
}

/// Moves the data of a vector to new memory with room for `count` elements, `keep` bytes of it at the same place.
/// Returns the old beginning of the storage; a block that is no longer needed is the caller's to free.
///
/// # Safety
/// - called from shipped code: may throw.
unsafe fn move_storage(header: Header, count: usize) -> *mut u8 {
    let old = header
        .data()
        .wrapping_sub(header.offset() as usize * header.size());
    let in_string = header.how() == ARRAY_HOW_OWNER && {
        let owner = header.owner();
        // SAFETY: the owner of live data is a live object.
        string::is_string(unsafe { type_of(owner) })
    };
    if in_string && !header.elements().union {
        // Data in a string stays in a string, so that `String(take!(io))` need not copy.
        // SAFETY: the caller's promise.
        let bytes = unsafe { storage_bytes(header, count) };
        // SAFETY: the caller's promise.
        let text = unsafe { string::jl_alloc_string(bytes - usize::from(header.size() == 1)) };
        // SAFETY: such an array has the slot.
        unsafe { header.owner_slot().write(text) };
        header.set_data(text.cast::<u8>().wrapping_add(STRING_DATA));
    } else {
        // SAFETY: the caller's promise.
        let bytes = unsafe { storage_bytes(header, count) };
        // SAFETY: the caller's promise.
        let (data, block) = unsafe { array_data(bytes, header.holds_references()) };
        header.set_data(data);
        header.set_how(if block {
            ARRAY_HOW_BLOCK
        } else {
            ARRAY_HOW_BUFFER
        });
        header.set(ARRAY_ALIGNED, true);
    }
    header.set(ARRAY_SHARED, false);
    header.set_maxsize(count);
    old
}

/// The block behind this array's data, if it is the array's own.
fn own_block(header: Header) -> Option<*mut u8> {
    let start = header
        .data()
        .wrapping_sub(header.offset() as usize * header.size());
    (header.how() == ARRAY_HOW_BLOCK && !header.is_shared()).then_some(start)
}

/// Gives the array data of its own, where other arrays share it.
///
/// # Safety
/// - called from shipped code: throws when the data is not Julia's.
pub(super) unsafe fn unshare(header: Header) {
    if !header.is_shared() {
        return;
    }
    if header.how() != ARRAY_HOW_OWNER {
        // SAFETY: the caller's promise.
        unsafe { error("cannot resize array with shared data") }
    }
    // SAFETY: the owner of live data is a live object.
    if string::is_string(unsafe { type_of(header.owner()) }) {
        return;
    }
    let room = header.maxsize();
    // SAFETY: the caller's promise.
    let bytes = unsafe { storage_bytes(header, room) }
        - usize::from(header.size() == 1 && !header.elements().union);
    // SAFETY: the caller's promise.
    let old = unsafe { move_storage(header, room) };
    // SAFETY: both have room for so many elements.
    unsafe { header.data().copy_from_nonoverlapping(old, bytes) };
}

/// Inserts `inc` elements before index `index`, by moving what follows.
///
/// # Safety
/// - called from shipped code: may throw; `index` ≤ length.
unsafe fn grow_at_end(header: Header, index: usize, inc: usize) {
    if header.is_shared() {
        if header.how() != ARRAY_HOW_OWNER {
            // SAFETY: the caller's promise.
            unsafe { error("cannot resize array with shared data") }
        }
        if inc == 0 {
            // SAFETY: the caller's promise.
            unsafe { unshare(header) };
            return;
        }
    }
    let (n, size, offset) = (header.nrows(), header.size(), header.offset() as usize);
    let union = header.elements().union;
    let wanted = offset.checked_add(n).and_then(|used| used.checked_add(inc));
    let Some(wanted) = wanted else {
        // SAFETY: the caller's promise.
        unsafe { or_throw::<()>(Err(crate::heap::Exhausted)) };
        return;
    };
    let behind = n - index;
    let gap = index * size;
    if wanted > header.maxsize() {
        let doubled = header.maxsize().saturating_mul(2);
        let room = if wanted >= doubled {
            wanted.max(4)
        } else {
            doubled
        };
        let (data, selectors, block) = (
            header.data(),
            union.then(|| header.selectors()),
            own_block(header),
        );
        // SAFETY: the caller's promise.
        unsafe { move_storage(header, room) };
        let new = header.data().wrapping_add(offset * size);
        header.set_data(new);
        // SAFETY: the new storage has room for the old elements and the gap.
        unsafe { new.copy_from_nonoverlapping(data, gap) };
        // SAFETY: as above.
        unsafe {
            new.wrapping_add(gap + inc * size)
                .copy_from_nonoverlapping(data.wrapping_add(gap), behind * size)
        };
        if let Some(old) = selectors {
            let new = header.selectors();
            // SAFETY: as above, a byte per element.
            unsafe { new.copy_from_nonoverlapping(old, index) };
            // SAFETY: as above.
            unsafe {
                new.wrapping_add(index + inc)
                    .copy_from_nonoverlapping(old.wrapping_add(index), behind)
            };
        }
        if let Some(block) = block {
            // SAFETY: its content was moved, and it was this array's alone.
            unsafe { free_block(block) };
        }
    } else if behind > 0 {
        let data = header.data();
        // SAFETY: there is room for `inc` more elements.
        unsafe {
            data.wrapping_add(gap + inc * size)
                .copy_from(data.wrapping_add(gap), behind * size)
        };
        if union {
            let selectors = header.selectors();
            // SAFETY: as above, a byte per element.
            unsafe {
                selectors
                    .wrapping_add(index + inc)
                    .copy_from(selectors.wrapping_add(index), behind)
            };
        }
    }
    header.set_nrows(n + inc);
    header.set_length(n + inc);
    // SAFETY: the gap is there now.
    unsafe { clear(header, index, inc) };
}

/// Empties new elements, where they may not stay undefined, and ends bytes with NUL.
unsafe fn clear(header: Header, index: usize, count: usize) {
    let size = header.size();
    if header.holds_references() {
        // SAFETY: the elements are there.
        unsafe {
            header
                .data()
                .wrapping_add(index * size)
                .write_bytes(0, count * size)
        };
    }
    if header.elements().union {
        // SAFETY: a byte per element.
        unsafe { header.selectors().wrapping_add(index).write_bytes(0, count) };
    }
    header.end_with_nul();
}

/// Inserts `inc` elements before index `index`, by moving what comes before: uses the room in front of the data, and
/// makes some when there is none.
///
/// # Safety
/// - called from shipped code: may throw; `index` ≤ length.
unsafe fn grow_at_beginning(header: Header, index: usize, inc: usize) {
    if header.is_shared() {
        if header.how() != ARRAY_HOW_OWNER {
            // SAFETY: the caller's promise.
            unsafe { error("cannot resize array with shared data") }
        }
        if inc == 0 {
            // SAFETY: the caller's promise.
            unsafe { unshare(header) };
            return;
        }
    }
    let (n, size, offset) = (header.nrows(), header.size(), header.offset() as usize);
    let union = header.elements().union;
    let data = header.data();
    let selectors = union.then(|| header.selectors());
    if offset >= inc {
        let new = data.wrapping_sub(inc * size);
        header.set_data(new);
        header.set_offset((offset - inc) as u32);
        // SAFETY: the room in front is the array's.
        unsafe { new.copy_from(data, index * size) };
        if let Some(old) = selectors {
            // SAFETY: selectors have the same room in front.
            unsafe { old.wrapping_sub(inc).copy_from(old, index) };
        }
        header.set_nrows(n + inc);
        header.set_length(n + inc);
    } else {
        // SAFETY: the caller's promise.
        unsafe { recentre(header, index, inc) };
    }
    // SAFETY: the gap is there now.
    unsafe { clear(header, index, inc) };
}

/// Makes room in front: by moving the elements to the middle of the storage, or of a larger one.
unsafe fn recentre(header: Header, index: usize, inc: usize) {
    let (n, size, room) = (header.nrows(), header.size(), header.maxsize());
    let union = header.elements().union;
    let free = room - n;
    let Some(wanted) = inc.checked_mul(2).and_then(|twice| twice.checked_add(n)) else {
        // SAFETY: the caller's promise.
        unsafe { or_throw::<()>(Err(crate::heap::Exhausted)) };
        return;
    };
    let old = header.data();
    let old_selectors = union.then(|| header.selectors());
    let mut block = None;
    // The room that is there is enough only if some of it stays free, else every insertion would move everything.
    let moved = inc > free / 2 - free / 20;
    let (start, room) = if moved {
        let mut larger = if room == 0 {
            inc * 2
        } else {
            room.saturating_mul(2)
        };
        while wanted > larger - header.offset() as usize {
            larger = larger.saturating_mul(2);
        }
        block = own_block(header);
        header.set_offset(0);
        // SAFETY: the caller's promise.
        unsafe { move_storage(header, larger) };
        (header.data(), larger)
    } else {
        (old.wrapping_sub(header.offset() as usize * size), room)
    };
    let offset = ((room - (n + inc)) / 2).min(u32::MAX as usize);
    let new = start.wrapping_add(offset * size);
    let behind = (n - index) * size;
    // Where source and target overlap, the part that would be overwritten goes first.
    if new < old {
        // SAFETY: both inside their storage.
        unsafe { new.copy_from(old, index * size) };
    }
    // SAFETY: as above.
    unsafe {
        new.wrapping_add((index + inc) * size)
            .copy_from(old.wrapping_add(index * size), behind)
    };
    if new >= old {
        // SAFETY: as above.
        unsafe { new.copy_from(old, index * size) };
    }
    header.set_data(new);
    header.set_offset(offset as u32);
    if let Some(old) = old_selectors {
        let new = header.selectors();
        if new < old {
            // SAFETY: a byte per element, both inside their storage.
            unsafe { new.copy_from(old, index) };
        }
        // SAFETY: as above.
        unsafe {
            new.wrapping_add(index + inc)
                .copy_from(old.wrapping_add(index), n - index)
        };
        if new >= old {
            // SAFETY: as above.
            unsafe { new.copy_from(old, index) };
        }
    }
    header.set_nrows(n + inc);
    header.set_length(n + inc);
    if let Some(block) = block {
        // SAFETY: its content was moved, and it was this array's alone.
        unsafe { free_block(block) };
    }
}

/// Makes the vector longer by `inc` elements at its end.
///
/// # Safety
/// - called from shipped code: may throw; `array` is a vector.
pub(crate) unsafe extern "C" fn jl_array_grow_end(array: *mut Array, inc: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    // SAFETY: as above.
    unsafe { grow_at_end(header, header.nrows(), inc) };
}

/// Makes the vector longer by `inc` elements at its beginning.
///
/// # Safety
/// - as for [`jl_array_grow_end`].
pub(crate) unsafe extern "C" fn jl_array_grow_beg(array: *mut Array, inc: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    // SAFETY: as above.
    unsafe { grow_at_beginning(header, 0, inc) };
}

/// Inserts `inc` elements before index `index` (from 0).
///
/// # Safety
/// - as for [`jl_array_grow_end`].
pub(crate) unsafe extern "C" fn jl_array_grow_at(array: *mut Array, index: isize, inc: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let n = header.nrows();
    if index < 0 || index as usize > n {
        // SAFETY: the caller's promise.
        unsafe { jl_bounds_error_int(array.cast(), index as i64 + 1) }
    }
    let index = index as usize;
    if index + 1 < n / 2 {
        // SAFETY: the caller's promise.
        unsafe { grow_at_beginning(header, index, inc) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { grow_at_end(header, index, inc) };
    }
}

/// `sizehint!(array, count)`.
///
/// # Safety
/// - as for [`jl_array_grow_end`].
pub(crate) unsafe extern "C" fn jl_array_sizehint(array: *mut Array, count: usize) {
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let n = header.nrows();
    let count = count.max(header.offset() as usize + n);
    if count <= header.maxsize() {
        // Shrinking pays off only from an eighth on.
        if header.maxsize() - count >= header.maxsize() / 8 {
            // SAFETY: the caller's promise.
            unsafe { shrink_storage(header, count) };
        }
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { grow_at_end(header, n, count - n) };
    header.set_nrows(n);
    header.set_length(n);
    header.end_with_nul();
}

/// `push!` onto a `Vector{Any}`.
///
/// # Safety
/// - as for [`jl_array_grow_end`].
pub(crate) unsafe extern "C" fn jl_array_ptr_1d_push(
    array: *mut Array,
    item: *mut crate::layout::Value,
) {
    // SAFETY: the caller's promise.
    unsafe { jl_array_grow_end(array, 1) };
    // SAFETY: the caller's promise.
    let header = unsafe { Header::new(array) };
    let slot = header
        .data()
        .cast::<*mut crate::layout::Value>()
        .wrapping_add(header.nrows() - 1);
    // SAFETY: the last element, which was just added.
    unsafe { slot.write(item) };
}
