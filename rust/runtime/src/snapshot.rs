//! Copies of what a text is to be made from.
//!
//! The text of an exception is made at the origin, after the call has ended (`defer.rs`). Code that runs between the throw and
//! the call's end, in a `catch` or a `finally`, may change what the text is made from; then the text is made from copies.
//! Objects that cannot change, and those of the archive, stand for themselves.
//!
//! Everything here lies in the call's own memory, also the lists: a throw or a fault in the middle leaves nothing behind, and
//! the collector finds what they refer to.

use crate::array::{Header, jl_array_copy};
use crate::builtin::id;
use crate::graph::is_big;
use crate::layout::{TAG_CONSTANT, Value, reference_at, set_reference_at, tag_of, type_of};
use crate::memory::{object, words};
use crate::types::{TypeCell, flag};
use std::ptr;

/// What is larger is not copied: the text is then made from what the arguments are in the end. A text of a mebibyte is
/// nobody's, and a loop that catches must not become slow by it.
const MAX_BYTES: usize = 1 << 20;

/// An object and its copy.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pair {
    original: *mut Value,
    copy: *mut Value,
}

/// Copies of objects, each made once: so what was shared, or refers to itself, still does.
struct Copies<P> {
    /// In the order in which they were made; what a copy refers to is copied when its turn comes.
    pairs: *mut Pair,
    count: usize,
    /// Twice as many slots as `pairs` has room: 1 + the number of a pair, found by the original's address.
    index: *mut usize,
    room: usize,
    bytes: usize,
    stands_for_itself: P,
}

/// Copies of `arguments`, in a buffer of as many words; null if they are too large.
///
/// # Safety
/// - called from shipped code: may throw; `arguments` points to `count` objects of the call.
pub(crate) unsafe fn copies(
    arguments: *const *mut Value,
    count: usize,
    stands_for_itself: impl Fn(*mut Value) -> bool,
) -> *const *mut Value {
    // SAFETY: the caller's promise.
    let copied = unsafe { words(count) }.cast::<*mut Value>();
    let mut copies = Copies {
        pairs: ptr::null_mut(),
        count: 0,
        index: ptr::null_mut(),
        room: 0,
        bytes: 0,
        stands_for_itself,
    };
    for i in 0..count {
        // SAFETY: one of the arguments.
        let original = unsafe { arguments.wrapping_add(i).read() };
        // SAFETY: an object of the call.
        let copy = unsafe { copies.copy(original) };
        // SAFETY: its place.
        unsafe { copied.wrapping_add(i).write(copy) };
    }
    let mut done = 0;
    while done < copies.count && copies.bytes <= MAX_BYTES {
        // SAFETY: one of the pairs.
        let Pair { copy, .. } = unsafe { copies.pairs.wrapping_add(done).read() };
        // SAFETY: a copy that was made here, with references to originals.
        unsafe { copies.complete(copy) };
        done += 1;
    }
    if copies.bytes > MAX_BYTES {
        return ptr::null();
    }
    copied
}

impl<P: Fn(*mut Value) -> bool> Copies<P> {
    /// Copies what a copy refers to.
    ///
    /// # Safety
    /// - a struct or an array that was copied here; may throw.
    unsafe fn complete(&mut self, copy: *mut Value) {
        // SAFETY: an object.
        let ty = unsafe { type_of(copy) };
        // SAFETY: the type of a live object.
        let cell = unsafe { TypeCell::of(ty) };
        if !cell.is(flag::ARRAY) {
            // SAFETY: a struct of that type.
            return unsafe { self.complete_slots(copy, &cell.record().pointers) };
        }
        // SAFETY: an array.
        let header = unsafe { Header::new(copy.cast()) };
        let inner = cell.links().and_then(|links| links.element.as_deref());
        let pointers: &[u32] = match inner {
            _ if header.is_reference_array() => &[0],
            Some(inner) if header.has_inline_references() => &inner.record().pointers,
            _ => return,
        };
        for i in 0..header.len() {
            let element = header.bytes().wrapping_add(i * header.element_bytes());
            // SAFETY: an element of the array.
            unsafe { self.complete_slots(element.cast(), pointers) };
        }
    }

    /// # Safety
    /// - as for [`Copies::complete`], with reference slots at these places.
    unsafe fn complete_slots(&mut self, at: *mut Value, pointers: &[u32]) {
        for &slot in pointers {
            // SAFETY: a reference slot.
            let original = unsafe { reference_at(at, slot as usize) };
            // SAFETY: null or an object of the call.
            let copy = unsafe { self.copy(original) };
            // SAFETY: a slot of an object that nobody else knows.
            unsafe { set_reference_at(at, slot as usize, copy) };
            if self.bytes > MAX_BYTES {
                return;
            }
        }
    }

    /// The copy of an object: itself if it needs none, or when there is no more room.
    ///
    /// # Safety
    /// - null or an object of the call; may throw.
    unsafe fn copy(&mut self, original: *mut Value) -> *mut Value {
        // SAFETY: null or an object, says the caller.
        if original.is_null() || unsafe { tag_of(original) } & TAG_CONSTANT == TAG_CONSTANT {
            return original;
        }
        // SAFETY: an object.
        let ty = unsafe { type_of(original) };
        // SAFETY: the type of a live object.
        let cell = unsafe { TypeCell::of(ty) };
        let record = cell.record();
        let array = cell.is(flag::ARRAY);
        let cannot_change = record.flags & flag::SPECIAL != 0
            || record.builtin == id::OPAQUE
            || is_big(record)
            || !array && record.flags & flag::MUTABLE == 0 && record.pointers.is_empty();
        if cannot_change || (self.stands_for_itself)(original) {
            return original;
        }
        if let Some(copy) = self.find(original) {
            return copy;
        }
        let bytes = if array {
            // SAFETY: an array.
            let header = unsafe { Header::new(original.cast()) };
            header.len().saturating_mul(header.element_bytes())
        } else {
            record.size as usize
        };
        self.bytes = self
            .bytes
            .saturating_add(bytes)
            .saturating_add(size_of::<Pair>());
        if self.bytes > MAX_BYTES {
            return original;
        }
        let copy = if array {
            // SAFETY: an array; the caller's promise.
            unsafe { jl_array_copy(original.cast()) }.cast()
        } else {
            // SAFETY: the caller's promise.
            let copy = unsafe { object(bytes, ty) };
            // SAFETY: both have the size of their type.
            unsafe {
                copy.cast::<u8>()
                    .copy_from_nonoverlapping(original.cast(), bytes)
            };
            copy
        };
        // SAFETY: the caller's promise.
        unsafe { self.remember(Pair { original, copy }) };
        copy
    }

    /// Where the index has a number, or may have one.
    fn place(&self, original: *mut Value) -> usize {
        let mask = 2 * self.room - 1;
        let mut at = (original as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & mask;
        loop {
            // SAFETY: inside the index.
            let number = unsafe { self.index.wrapping_add(at).read() };
            // SAFETY: the number of a pair, plus 1.
            if number == 0 || unsafe { (*self.pairs.wrapping_add(number - 1)).original } == original
            {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    fn find(&self, original: *mut Value) -> Option<*mut Value> {
        if self.count == 0 {
            return None;
        }
        // SAFETY: inside the index.
        let number = unsafe { self.index.wrapping_add(self.place(original)).read() };
        // SAFETY: the number of a pair, plus 1.
        (number > 0).then(|| unsafe { (*self.pairs.wrapping_add(number - 1)).copy })
    }

    /// # Safety
    /// - may throw.
    unsafe fn remember(&mut self, pair: Pair) {
        if self.count == self.room {
            let room = (2 * self.room).max(16);
            // SAFETY: the caller's promise.
            let pairs = unsafe { words(2 * room) }.cast::<Pair>();
            if self.count > 0 {
                // SAFETY: the new list is longer.
                unsafe { pairs.copy_from_nonoverlapping(self.pairs, self.count) };
            }
            self.pairs = pairs;
            // SAFETY: the caller's promise.
            self.index = unsafe { words(2 * room) };
            self.room = room;
            for i in 0..self.count {
                // SAFETY: one of the pairs.
                let original = unsafe { (*pairs.wrapping_add(i)).original };
                // SAFETY: inside the index.
                unsafe { self.index.wrapping_add(self.place(original)).write(i + 1) };
            }
        }
        // SAFETY: there is room.
        unsafe { self.pairs.wrapping_add(self.count).write(pair) };
        self.count += 1;
        // SAFETY: inside the index.
        unsafe {
            self.index
                .wrapping_add(self.place(pair.original))
                .write(self.count)
        };
    }
}
