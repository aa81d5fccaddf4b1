//! Marking: from references to objects, and on to what these refer to.
//!
//! Every word is looked up before it is followed, so that it does not matter whether it is a reference: an object that
//! was allocated but not filled yet may hold anything.

use super::region::Region;
use super::{Heap, Tag};
use crate::layout::{
    ARRAY_HASPTR, ARRAY_HOW, ARRAY_HOW_BLOCK, ARRAY_HOW_BUFFER, ARRAY_HOW_OWNER, ARRAY_PTRARRAY,
    Array, DataType, SVEC_DATA, TAG_MASK, Value, tag_of,
};
use crate::types::{Record, Trace, TypeCell};
use std::cell::Cell;

/// How far from an object an address may be that code has computed on the way to it.
const NEAR: usize = 16;
/// So many references are looked at before what they refer to.
const CHUNK: usize = 256;
const WORD: usize = size_of::<usize>();
const MOST_PENDING: usize = 64 << 30;
const LEAST_PENDING: usize = 1 << 30;

/// Something whose references are to be followed.
#[derive(Clone, Copy)]
#[repr(C)]
struct Item {
    at: usize,
    /// Words; or the bytes of an object; or elements.
    count: usize,
    /// Null for words.
    record: *const Record,
    /// Bytes from one element to the next; 0 for one object.
    stride: usize,
}

/// What is still to be looked at.
pub(super) struct Pending<'h> {
    memory: &'h Region,
    count: Cell<usize>,
}

impl<'h> Pending<'h> {
    /// None if there is no memory for it.
    pub(super) fn new(memory: &'h Region) -> Option<Self> {
        let reserved =
            memory.base() != 0 || memory.reserve(MOST_PENDING) || memory.reserve(LEAST_PENDING);
        let pending = Self {
            memory,
            count: Cell::new(0),
        };
        (reserved && memory.commit(1)).then_some(pending)
    }

    fn at(&self, index: usize) -> *mut Item {
        (self.memory.base() as *mut Item).wrapping_add(index)
    }

    /// False if there is no memory.
    #[inline]
    fn push(&self, item: Item) -> bool {
        let count = self.count.get();
        if !self.memory.commit((count + 1) * size_of::<Item>()) {
            return false;
        }
        // SAFETY: there is memory for it.
        unsafe { self.at(count).write(item) };
        self.count.set(count + 1);
        true
    }

    #[inline]
    fn pop(&self) -> Option<Item> {
        let last = self.count.get().checked_sub(1)?;
        self.count.set(last);
        // SAFETY: written by `push`.
        Some(unsafe { self.at(last).read() })
    }
}

/// Marks what is in use.
pub(super) struct Marker<'h> {
    heap: &'h Heap,
    pending: Pending<'h>,
    /// How many were marked.
    marked: Cell<usize>,
    /// There was no memory for something: not everything that is in use was marked.
    failed: Cell<bool>,
}

impl<'h> Marker<'h> {
    pub(super) fn new(heap: &'h Heap, pending: Pending<'h>) -> Self {
        Self {
            heap,
            pending,
            marked: Cell::new(0),
            failed: Cell::new(false),
        }
    }

    /// A word of the stack or of a register: a reference, an address that was computed from one, or anything else.
    pub(super) fn ambiguous(&self, word: usize) {
        for address in [word, word.wrapping_sub(NEAR), word.wrapping_add(NEAR)] {
            if let Some(slot) = self.heap.pages.find(address)
                && slot.mark()
            {
                self.object(slot.object, slot.room());
            }
        }
        for block in self.heap.blocks.near(word) {
            if block.mark() {
                self.object(block.object(), block.room());
            }
        }
    }

    /// A reference, or anything else.
    #[inline]
    pub(super) fn reference(&self, word: usize) {
        if let Some(slot) = self.heap.pages.find(word) {
            if slot.mark() {
                self.object(slot.object, slot.room());
            }
        } else if let Some(block) = self.heap.blocks.find(word)
            && block.mark()
        {
            self.object(block.object(), block.room());
        }
    }

    /// How many objects were marked so far.
    pub(super) fn marked(&self) -> usize {
        self.marked.get()
    }

    /// Was this object marked, or is it none of this heap's?
    pub(super) fn is_in_use(&self, address: usize) -> bool {
        match (
            self.heap.pages.find(address),
            self.heap.blocks.find(address),
        ) {
            (Some(slot), _) => slot.is_marked(),
            (None, Some(block)) => block.is_marked(),
            (None, None) => true,
        }
    }

    /// The data of an array, or anything else whose references are looked at by whoever refers to it.
    pub(super) fn data(&self, address: usize) {
        if let Some(slot) = self.heap.pages.find(address) {
            slot.mark();
        } else if let Some(block) = self.heap.blocks.find(address) {
            block.mark();
        }
    }

    fn push(&self, item: Item) {
        if !self.pending.push(item) {
            self.failed.set(true);
        }
    }

    fn words(&self, at: usize, count: usize) {
        if count > 0 {
            self.push(Item {
                at,
                count,
                record: std::ptr::null(),
                stride: 0,
            });
        }
    }

    /// Something that was just marked, of at most `room` bytes.
    #[inline]
    fn object(&self, at: usize, room: usize) {
        let object = at as *mut Value;
        self.marked.set(self.marked.get() + 1);
        // SAFETY: a slot that is taken, or a block: the tag was written when it was given out.
        let tag = unsafe { tag_of(object) };
        match tag {
            Tag::BYTES | Tag::PINNED | 0 => return,
            Tag::WORDS => return self.words(at, room / WORD),
            _ => {}
        }
        // SAFETY: every other tag is a type, which lives longer than its objects.
        let cell = unsafe { TypeCell::of((tag & TAG_MASK) as *const DataType) };
        let record = cell.record();
        match record.trace {
            Trace::Nothing => {}
            Trace::Fields => self.push(Item {
                at,
                count: room,
                record,
                stride: 0,
            }),
            Trace::Words => self.words(at, (record.size as usize).min(room) / WORD),
            Trace::Vector => {
                // SAFETY: a simple vector starts with its length.
                let length = unsafe { object.cast::<usize>().read() };
                self.words(at + SVEC_DATA, length.min(room / WORD - 1));
            }
            // SAFETY: an array: its header was written before anything else was allocated.
            Trace::Array => unsafe { self.array(object.cast(), room, cell) },
        }
    }

    /// # Safety
    /// - an array of this type, of at most `room` bytes.
    unsafe fn array(&self, array: *mut Array, room: usize, cell: &TypeCell) {
        // SAFETY: the caller's promise.
        let Array {
            data,
            length,
            flags,
            elsize,
            offset,
            ..
        } = unsafe { array.read() };
        let start = (data as usize).wrapping_sub(offset as usize * elsize as usize);
        match flags & ARRAY_HOW {
            ARRAY_HOW_OWNER => {
                // SAFETY: the caller's promise.
                let owner = unsafe { crate::array::Header::new(array) }.owner();
                return self.reference(owner as usize);
            }
            ARRAY_HOW_BUFFER | ARRAY_HOW_BLOCK => self.data(start),
            // An array over another's memory (`unsafe_wrap`) may be all that is left of it.
            _ if start.wrapping_sub(array as usize) >= room => self.reference(start),
            _ => {}
        }
        let at = data as usize;
        if flags & ARRAY_PTRARRAY != 0 {
            self.words(at, length);
        } else if flags & ARRAY_HASPTR != 0 && length > 0 {
            let stride = elsize as usize;
            match cell.links().and_then(|links| links.element.as_ref()) {
                Some(element) => self.push(Item {
                    at,
                    count: length,
                    record: element.record(),
                    stride,
                }),
                None => self.words(at, length * stride / WORD),
            }
        }
    }

    /// Follows everything. False if there was no memory for that.
    pub(super) fn finish(&self) -> bool {
        while let Some(item) = self.pending.pop() {
            // SAFETY: items are parts of objects that were marked, and the records of their types.
            unsafe { self.follow(item) };
        }
        !self.failed.get()
    }

    /// # Safety
    /// - memory of an object; its type's record.
    unsafe fn follow(&self, item: Item) {
        if item.record.is_null() {
            let now = item.count.min(CHUNK);
            self.words(item.at + now * WORD, item.count - now);
            for word in 0..now {
                // SAFETY: the caller's promise.
                self.reference(unsafe { (item.at as *const usize).wrapping_add(word).read() });
            }
            return;
        }
        // SAFETY: the caller's promise.
        let record = unsafe { &*item.record };
        if item.stride == 0 {
            // SAFETY: as above.
            return unsafe { self.fields(item.at, item.count, record) };
        }
        let now = item.count.min(CHUNK);
        if item.count > now {
            self.push(Item {
                at: item.at + now * item.stride,
                count: item.count - now,
                ..item
            });
        }
        for element in 0..now {
            // SAFETY: as above.
            unsafe { self.fields(item.at + element * item.stride, item.stride, record) };
        }
    }

    /// # Safety
    /// - a value of at most `room` bytes, and its type's record.
    #[inline]
    unsafe fn fields(&self, at: usize, room: usize, record: &Record) {
        for &pointer in &record.pointers {
            let pointer = pointer as usize;
            if pointer + WORD <= room {
                // SAFETY: inside the value.
                self.reference(unsafe { ((at + pointer) as *const usize).read_unaligned() });
            }
        }
    }
}
