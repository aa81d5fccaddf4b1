//! The memory of one call: bump allocation from chunks, larger things each in a block of its own.
//!
//! Everything is given back when the call ends, except the chunks that a thread keeps for its next call. Nothing is
//! reclaimed before, save blocks that are freed or moved explicitly (arrays that grow). The bump pointers are in the
//! thread's state, where emitted code uses them directly; this file is what happens when a chunk is full.

use crate::layout::{CACHE_ALIGN, OBJECT_ALIGN, TAG_BYTES, Value, round_up, set_tag};
use crate::pages;
use std::cell::Cell;
use std::ptr;

/// Objects and buffers above this many bytes get a block of their own.
pub(crate) const LARGE: usize = 32 << 10;

const FIRST_CHUNK: usize = 256 << 10;
const LAST_CHUNK: usize = 4 << 20;
/// A thread keeps chunks of at most this many bytes between calls.
const RETAINED: usize = 4 << 20;

/// Where objects are taken from: the part of the arena that emitted code knows.
#[repr(C)]
pub(crate) struct Bump {
    /// Address of the next object's tag: 8 modulo 16.
    pub(crate) cursor: Cell<*mut u8>,
    /// The end of the chunk.
    pub(crate) limit: Cell<*mut u8>,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Chunk {
    next: *mut Chunk,
    bytes: usize,
}

/// In front of a large object or buffer; ends where a tag would be.
#[derive(Clone, Copy)]
#[repr(C)]
struct Block {
    prev: *mut Block,
    next: *mut Block,
    bytes: usize,
    seal: usize,
    _room: [usize; 3],
    tag: usize,
}

const BLOCK: usize = size_of::<Block>();
const SEAL: usize = 0x6269_7463_6f64_6531;

const _: () = assert!(BLOCK == CACHE_ALIGN);

/// There is no more memory for this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// The pointer was not made by this arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignPointer;

/// The memory of the call that a thread runs.
pub(crate) struct Arena {
    /// The chunk in use, then the fuller ones.
    chunks: Cell<*mut Chunk>,
    blocks: Cell<*mut Block>,
    used: Cell<usize>,
    limit: Cell<usize>,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Cell::new(ptr::null_mut()),
            blocks: Cell::new(ptr::null_mut()),
            used: Cell::new(0),
            limit: Cell::new(usize::MAX),
        }
    }

    /// Bytes taken from the system.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// How many bytes the coming call may use.
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.limit.set(bytes);
    }

    /// An object of `size` bytes with this tag word.
    #[inline]
    pub(crate) fn object(
        &self,
        bump: &Bump,
        size: usize,
        tag: usize,
    ) -> Result<*mut Value, Exhausted> {
        if size <= LARGE {
            let total = round_up(size + TAG_BYTES, OBJECT_ALIGN);
            let cursor = bump.cursor.get();
            let room = bump.limit.get() as usize - cursor as usize;
            if total <= room {
                bump.cursor.set(cursor.wrapping_add(total));
                let object = cursor.wrapping_add(TAG_BYTES).cast::<Value>();
                // SAFETY: `total` bytes from `cursor` on were just taken, the tag's among them.
                unsafe { set_tag(object, tag) };
                return Ok(object);
            }
        }
        self.object_slowly(bump, size, tag)
    }

    #[cold]
    #[inline(never)]
    fn object_slowly(&self, bump: &Bump, size: usize, tag: usize) -> Result<*mut Value, Exhausted> {
        let object = if size > LARGE {
            self.block(size)?.cast::<Value>()
        } else {
            let total = round_up(size + TAG_BYTES, OBJECT_ALIGN);
            self.new_chunk(bump, total)?;
            let cursor = bump.cursor.get();
            bump.cursor.set(cursor.wrapping_add(total));
            cursor.wrapping_add(TAG_BYTES).cast()
        };
        // SAFETY: both ways leave a word for the tag before the object.
        unsafe { set_tag(object, tag) };
        Ok(object)
    }

    fn new_chunk(&self, bump: &Bump, at_least: usize) -> Result<(), Exhausted> {
        let last = self.chunks.get();
        let next = if last.is_null() {
            FIRST_CHUNK
        } else {
            // SAFETY: a live chunk of this arena.
            (2 * unsafe { (*last).bytes }).min(LAST_CHUNK)
        };
        let bytes = next.max(round_up(
            at_least + size_of::<Chunk>() + OBJECT_ALIGN,
            CACHE_ALIGN,
        ));
        let memory = self.take(bytes)?.cast::<Chunk>();
        // SAFETY: fresh memory of at least this size.
        unsafe { memory.write(Chunk { next: last, bytes }) };
        self.chunks.set(memory);
        Self::aim(bump, memory);
        Ok(())
    }

    /// Starts taking from the beginning of `chunk`.
    fn aim(bump: &Bump, chunk: *mut Chunk) {
        let start = chunk
            .cast::<u8>()
            .wrapping_add(size_of::<Chunk>() + OBJECT_ALIGN - TAG_BYTES);
        // SAFETY: a live chunk of this arena.
        let bytes = unsafe { (*chunk).bytes };
        bump.cursor.set(start);
        bump.limit.set(chunk.cast::<u8>().wrapping_add(bytes));
    }

    /// Memory from the system, aligned to [`CACHE_ALIGN`] and counted.
    fn take(&self, bytes: usize) -> Result<*mut u8, Exhausted> {
        let used = self.used.get().checked_add(bytes).ok_or(Exhausted)?;
        if used > self.limit.get() {
            return Err(Exhausted);
        }
        let memory = pages::take(bytes);
        if memory.is_null() {
            return Err(Exhausted);
        }
        self.used.set(used);
        Ok(memory)
    }

    fn give_back(&self, memory: *mut u8, bytes: usize) {
        self.used.set(self.used.get() - bytes);
        // SAFETY: came from `take`, and is used no more.
        unsafe { pages::give_back(memory) };
    }

    /// A buffer without a tag, aligned to 16.
    pub(crate) fn buffer(&self, bump: &Bump, bytes: usize) -> Result<*mut u8, Exhausted> {
        // A buffer is an object that nobody asks for its type.
        self.object(bump, bytes, 0).map(<*mut Value>::cast)
    }

    /// A block of its own, aligned to [`CACHE_ALIGN`].
    pub(crate) fn block(&self, bytes: usize) -> Result<*mut u8, Exhausted> {
        let total = bytes.checked_add(BLOCK + CACHE_ALIGN).ok_or(Exhausted)?;
        let block = self.take(total)?.cast::<Block>();
        let next = self.blocks.get();
        let head = Block {
            prev: ptr::null_mut(),
            next,
            bytes: total,
            seal: SEAL ^ block as usize,
            _room: [0; 3],
            tag: 0,
        };
        // SAFETY: fresh memory of at least this size.
        unsafe { block.write(head) };
        if !next.is_null() {
            // SAFETY: a live block of this arena.
            unsafe { (*next).prev = block };
        }
        self.blocks.set(block);
        Ok(block.cast::<u8>().wrapping_add(BLOCK))
    }

    /// Bytes of the block that starts at `data`.
    ///
    /// # Safety
    /// - the 64 bytes before `data` may be read.
    pub(crate) unsafe fn block_bytes(&self, data: *mut u8) -> Result<usize, ForeignPointer> {
        let block = data.wrapping_sub(BLOCK).cast::<Block>();
        // SAFETY: the caller says that it may be read.
        let Block {
            seal, bytes: total, ..
        } = unsafe { block.read() };
        if seal == SEAL ^ block as usize {
            Ok(total - BLOCK - CACHE_ALIGN)
        } else {
            Err(ForeignPointer)
        }
    }

    /// Frees a block before the call ends.
    ///
    /// # Safety
    /// - as for [`Arena::block_bytes`]; nobody uses the block any more.
    pub(crate) unsafe fn free_block(&self, data: *mut u8) -> Result<(), ForeignPointer> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.block_bytes(data) }?;
        let block = data.wrapping_sub(BLOCK).cast::<Block>();
        // SAFETY: the seal says that it is a block of ours.
        let Block { prev, next, .. } = unsafe { block.read() };
        if prev.is_null() {
            self.blocks.set(next);
        } else {
            // SAFETY: a live neighbour in the list.
            unsafe { (*prev).next = next };
        }
        if !next.is_null() {
            // SAFETY: a live neighbour in the list.
            unsafe { (*next).prev = prev };
        }
        // SAFETY: as above; a freed block must not look like one.
        unsafe { (*block).seal = 0 };
        self.give_back(block.cast(), bytes + BLOCK + CACHE_ALIGN);
        Ok(())
    }

    /// Ends the call: frees all blocks and all chunks but what the thread keeps, and starts again.
    pub(crate) fn reset(&self, bump: &Bump) {
        while !self.blocks.get().is_null() {
            let block = self.blocks.get();
            // SAFETY: a live block of this arena.
            let Block { next, bytes, .. } = unsafe { block.read() };
            self.blocks.set(next);
            self.give_back(block.cast(), bytes);
        }
        let newest = self.chunks.get();
        if newest.is_null() {
            return;
        }
        // The newest chunk is the largest: it alone is kept, if it is not too large.
        // SAFETY: a live chunk of this arena.
        let mut at = unsafe { (*newest).next };
        // SAFETY: as above.
        unsafe { (*newest).next = ptr::null_mut() };
        while !at.is_null() {
            // SAFETY: as above.
            let Chunk { next, bytes } = unsafe { at.read() };
            self.give_back(at.cast(), bytes);
            at = next;
        }
        // SAFETY: as above.
        if unsafe { (*newest).bytes } > RETAINED {
            self.release_chunks(bump);
        } else {
            Self::aim(bump, newest);
        }
    }

    fn release_chunks(&self, bump: &Bump) {
        while !self.chunks.get().is_null() {
            let chunk = self.chunks.get();
            // SAFETY: a live chunk of this arena.
            let Chunk { next, bytes } = unsafe { chunk.read() };
            self.chunks.set(next);
            self.give_back(chunk.cast(), bytes);
        }
        bump.cursor.set(ptr::null_mut());
        bump.limit.set(ptr::null_mut());
    }

    /// Gives everything back to the system.
    pub(crate) fn release(&self, bump: &Bump) {
        self.reset(bump);
        self.release_chunks(bump);
    }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;

    fn bump() -> Bump {
        Bump {
            cursor: Cell::new(ptr::null_mut()),
            limit: Cell::new(ptr::null_mut()),
        }
    }

    #[test]
    fn objects_are_aligned_and_apart() {
        let (arena, bump) = (Arena::new(), bump());
        let mut last = 0;
        for size in [0, 1, 8, 9, 24, 1000, 32768] {
            let object = arena.object(&bump, size, 0xab0).unwrap();
            assert_eq!(object as usize % 16, 0);
            assert!(object as usize >= last);
            last = object as usize + size;
            // SAFETY: `size` bytes were just allocated.
            unsafe { object.cast::<u8>().write_bytes(0xff, size) };
            // SAFETY: the object has a tag.
            assert_eq!(unsafe { crate::layout::tag_of(object) }, 0xab0);
        }
        arena.release(&bump);
        assert_eq!(arena.used(), 0);
    }

    #[test]
    fn a_thread_keeps_one_chunk_and_reuses_it() {
        let (arena, bump) = (Arena::new(), bump());
        let first = arena.object(&bump, 64, 0).unwrap();
        arena.reset(&bump);
        let kept = arena.used();
        assert!(kept > 0);
        for _ in 0..10_000 {
            let again = arena.object(&bump, 64, 0).unwrap();
            assert_eq!(again, first);
            arena.reset(&bump);
        }
        assert_eq!(arena.used(), kept);
        for _ in 0..10_000 {
            arena.object(&bump, 4000, 0).unwrap();
        }
        arena.reset(&bump);
        assert!(arena.used() <= RETAINED);
        arena.release(&bump);
    }

    #[test]
    fn large_things_come_and_go_alone() {
        let (arena, bump) = (Arena::new(), bump());
        let large = arena.object(&bump, 1 << 20, 0x10).unwrap();
        assert_eq!(large as usize % CACHE_ALIGN, 0);
        let blocks: Vec<_> = (0..5).map(|_| arena.block(100_000).unwrap()).collect();
        let used = arena.used();
        for index in [2, 0, 4] {
            // SAFETY: a live block.
            unsafe { arena.free_block(blocks[index]) }.unwrap();
        }
        assert!(arena.used() < used);
        // SAFETY: the memory before is readable: a block's header, zeroed when it was freed, is not asked for here.
        assert_eq!(unsafe { arena.block_bytes(blocks[1]) }, Ok(100_000));
        let inside = blocks[1].wrapping_add(64);
        // SAFETY: inside a live block.
        unsafe { inside.cast::<u64>().sub(8).write_bytes(0, 8) };
        // SAFETY: the 64 bytes before are the block's first.
        assert_eq!(unsafe { arena.free_block(inside) }, Err(ForeignPointer));
        arena.release(&bump);
        assert_eq!(arena.used(), 0);
    }

    #[test]
    fn the_limit_holds() {
        let (arena, bump) = (Arena::new(), bump());
        arena.set_limit(1 << 20);
        assert_eq!(arena.block(2 << 20), Err(Exhausted));
        assert_eq!(arena.object(&bump, usize::MAX - 100, 0), Err(Exhausted));
        let mut count = 0;
        while arena.object(&bump, 1000, 0).is_ok() {
            count += 1;
        }
        assert!((200..1100).contains(&count), "{count}");
        arena.reset(&bump);
        assert!(arena.object(&bump, 1000, 0).is_ok());
        arena.release(&bump);
    }
}
