//! Julia's arrays: made here, grown and shrunk here, with the sizes and offsets that Julia 1.5 chooses.
//!
//! Emitted code reads the header itself and indexes without asking; it calls this room to make an array and to change its
//! length. Growth follows Julia's rules (double, or exactly when asked for more), so that `sizehint!`, `push!` and
//! `pushfirst!` cost what they cost at the origin.

mod access;
mod alloc;
mod grow;
mod shrink;

pub(crate) use access::*;
pub(crate) use alloc::*;
pub(crate) use grow::*;
pub(crate) use shrink::*;

use crate::layout::{
    ARRAY_ALIGNED, ARRAY_HASPTR, ARRAY_HOW, ARRAY_HOW_OWNER, ARRAY_NDIMS_MASK, ARRAY_NDIMS_SHIFT,
    ARRAY_PTRARRAY, ARRAY_SHARED, Array, Value, type_of,
};
use crate::types::{TypeCell, element};

/// The largest number of elements or bytes.
const MAX: u128 = (usize::MAX >> 1) as u128;

/// How the elements of an array type are stored.
#[derive(Clone, Copy)]
struct Elements {
    size: usize,
    references: bool,
    has_references: bool,
    union: bool,
}

impl Elements {
    fn of(cell: &TypeCell) -> Self {
        let record = cell.record();
        let references = record.element_flags & element::REFERENCES != 0;
        Self {
            size: if references {
                size_of::<*mut Value>()
            } else {
                record.element as usize
            },
            references,
            has_references: record.element_flags & element::INLINE_REFERENCES != 0,
            union: record.element_flags & element::UNION != 0,
        }
    }

    /// Bytes for `count` elements, with selectors and the NUL after bytes.
    fn bytes(self, count: usize) -> Option<usize> {
        let data = count as u128 * self.size as u128;
        if data > MAX {
            return None;
        }
        let extra = if self.union {
            count
        } else {
            usize::from(self.size == 1 && !self.references)
        };
        Some(data as usize + extra)
    }

    /// Must new elements be zeros?
    fn zeroed(self) -> bool {
        self.references || self.has_references || self.union
    }
}

/// A live array, by its address. Reads and writes go through here; the array is shared with emitted code.
#[derive(Clone, Copy)]
pub(crate) struct Header(*mut Array);

macro_rules! header_fields {
    ($($get:ident, $set:ident, $field:ident: $type:ty;)*) => {$(
        fn $get(self) -> $type {
            // SAFETY: a live array, says whoever made this value.
            unsafe { (*self.0).$field }
        }

        #[allow(dead_code, reason = "one setter per field")]
        fn $set(self, value: $type) {
            // SAFETY: as above.
            unsafe { (*self.0).$field = value }
        }
    )*};
}

impl Header {
    /// # Safety
    /// - `array` is a Julia array that lives as long as this value is used.
    pub(crate) unsafe fn new(array: *mut Array) -> Self {
        Self(array)
    }

    header_fields! {
        data, set_data, data: *mut u8;
        length, set_length, length: usize;
        flags, set_flags, flags: u16;
        elsize, set_elsize, elsize: u16;
        offset, set_offset, offset: u32;
        nrows, set_nrows, nrows: usize;
        maxsize, set_maxsize, maxsize: usize;
    }

    fn elements(self) -> Elements {
        // SAFETY: a live array has a tag.
        let ty = unsafe { type_of(self.0.cast()) };
        // SAFETY: the type of a live object.
        Elements::of(unsafe { TypeCell::of(ty) })
    }

    fn size(self) -> usize {
        self.elsize() as usize
    }

    fn how(self) -> u16 {
        self.flags() & ARRAY_HOW
    }

    fn set_how(self, how: u16) {
        self.set_flags(self.flags() & !ARRAY_HOW | how);
    }

    fn is(self, flag: u16) -> bool {
        self.flags() & flag != 0
    }

    /// Do elements hold references inside?
    pub(crate) fn has_inline_references(self) -> bool {
        self.is(ARRAY_HASPTR)
    }

    fn set(self, flag: u16, on: bool) {
        self.set_flags(if on {
            self.flags() | flag
        } else {
            self.flags() & !flag
        });
    }

    fn holds_references(self) -> bool {
        self.is(ARRAY_PTRARRAY | ARRAY_HASPTR)
    }

    /// Is there a byte behind the storage? Ours and strings' have it; foreign memory does not.
    fn has_room_for_nul(self) -> bool {
        let bytes = self.size() == 1 && !self.holds_references() && !self.elements().union;
        bytes && (self.is(ARRAY_ALIGNED) || self.how() == ARRAY_HOW_OWNER)
    }

    /// Bytes end with NUL, for C.
    fn end_with_nul(self) {
        if self.has_room_for_nul() {
            // SAFETY: there is a byte behind the last element.
            unsafe { self.data().wrapping_add(self.nrows()).write(0) };
        }
    }

    fn is_shared(self) -> bool {
        self.is(ARRAY_SHARED)
    }

    pub(crate) fn ndims(self) -> usize {
        ((self.flags() >> ARRAY_NDIMS_SHIFT) & ARRAY_NDIMS_MASK) as usize
    }

    pub(crate) fn dim(self, index: usize) -> usize {
        if index >= self.ndims() {
            return 1;
        }
        // SAFETY: `ndims` words of dimensions follow one another from `nrows` on.
        unsafe { self.dims().wrapping_add(index).read() }
    }

    /// The dimensions.
    fn dims(self) -> *const usize {
        self.0
            .cast::<u8>()
            .wrapping_add(std::mem::offset_of!(Array, nrows))
            .cast()
    }

    /// Where the elements are.
    pub(crate) fn bytes(self) -> *mut u8 {
        self.data()
    }

    /// Number of elements.
    pub(crate) fn len(self) -> usize {
        self.length()
    }

    pub(crate) fn element_bytes(self) -> usize {
        self.size()
    }

    pub(crate) fn is_reference_array(self) -> bool {
        self.is(ARRAY_PTRARRAY)
    }

    /// The slot behind the dimensions that names the owner of the data.
    fn owner_slot(self) -> *mut *mut Value {
        let words = self.ndims().saturating_sub(2);
        self.0
            .wrapping_add(1)
            .cast::<*mut Value>()
            .wrapping_add(words)
    }

    pub(crate) fn owner(self) -> *mut Value {
        if self.how() != ARRAY_HOW_OWNER {
            return self.0.cast();
        }
        // SAFETY: such an array has the slot.
        unsafe { self.owner_slot().read() }
    }

    /// Selector bytes of an array of unions.
    pub(crate) fn selectors(self) -> *mut u8 {
        let offset = self.offset() as usize;
        let room = if self.ndims() == 1 {
            self.maxsize() - offset
        } else {
            self.len()
        };
        self.data().wrapping_add(room * self.size() + offset)
    }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests;
