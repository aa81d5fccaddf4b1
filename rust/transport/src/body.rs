//! Bodies: the received part of a frame after its header, 64-byte aligned and pooled.
//!
//! Shipped code reads its arguments in place, vectorised, so the bytes start on a cache line. The memory comes from a
//! pool and returns to it on drop: fresh pages cost more than the copy itself (a 64 MiB buffer has 16,384 of them).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::{MaybeUninit, offset_of};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;

/// The alignment of every body.
pub const BODY_ALIGN: usize = 64;

/// Blocks below this capacity are not worth a system call to the kernel; they are kept in greater number.
const SMALL_BLOCK: usize = 16 << 10;
/// Blocks of at least one huge page begin where one begins.
const HUGE_PAGE: usize = 2 << 20;
/// How many small blocks a pool keeps.
const SMALL_KEPT: usize = 64;
/// How many bytes of larger blocks a pool keeps.
const LARGE_KEPT: usize = 256 << 20;

/// Bodies up to this length lie inside the [`Body`] value: no pool, no allocation.
pub(crate) const INLINE: usize = 64;

/// A received body. It is [`BODY_ALIGN`]-aligned, may be moved to another thread, and gives its memory back to the
/// pool it came from when dropped. A short one is stored in the value itself (so its address changes when the value
/// moves). The default is an empty body.
#[repr(align(64))]
pub struct Body {
    /// The first `len` bytes are initialised if there is no block.
    inline: MaybeUninit<[u8; INLINE]>,
    len: usize,
    block: Option<Block>,
    home: Option<Arc<BodyPool>>,
}

const _: () = assert!(align_of::<Body>() == BODY_ALIGN && offset_of!(Body, inline) == 0);

impl Default for Body {
    fn default() -> Self {
        Self {
            inline: MaybeUninit::uninit(),
            len: 0,
            block: None,
            home: None,
        }
    }
}

impl Body {
    /// A body of `len` bytes, all zero, that belongs to no pool.
    pub fn zeroed(len: usize) -> Self {
        Self {
            inline: MaybeUninit::zeroed(),
            len,
            block: (len > INLINE).then(|| Block::new(BodyPool::capacity_for(len))),
            home: None,
        }
    }

    /// A copy of `bytes` that belongs to no pool.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut body = Self::zeroed(bytes.len());
        body.copy_from_slice(bytes);
        body
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: inline, the first `len` bytes are initialised; a block is initialised, ours alone, and holds `len`.
        unsafe { std::slice::from_raw_parts(self.base(), self.len) }
    }

    fn base(&self) -> *const u8 {
        match &self.block {
            Some(block) => block.base.as_ptr(),
            None => self.inline.as_ptr().cast(),
        }
    }

    /// The address of the first byte, for UCX to write to; it stays the same when the body moves if
    /// [`BodyPool::take_block`] made it.
    pub(crate) fn base_mut(&mut self) -> *mut u8 {
        match &self.block {
            Some(block) => block.base.as_ptr(),
            None => self.inline.as_mut_ptr().cast(),
        }
    }

    /// Puts a copy of `bytes` into an empty body that has no block; at most [`INLINE`] of them.
    #[inline]
    pub(crate) fn fill_inline(&mut self, bytes: &[u8]) {
        debug_assert!(self.block.is_none());
        assert!(bytes.len() <= INLINE, "an inline body holds {INLINE} bytes");
        self.len = bytes.len();
        let inline = self.inline.as_mut_ptr().cast::<u8>();
        if let [a, b, c, d, e, f, g, h] = *bytes {
            // One word is what most small calls carry, and a call of memcpy costs more than the copy.
            // SAFETY: room for eight bytes.
            unsafe { inline.cast::<[u8; 8]>().write([a, b, c, d, e, f, g, h]) };
            return;
        }
        // SAFETY: two different places with room for as many bytes, as was checked.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), inline, bytes.len()) };
    }

    /// Moves the contents into `to`, an empty body, and leaves this one empty. Cheaper than `std::mem::take`: of a
    /// short body only a cache line or all of the inline bytes are copied, without a call.
    #[inline]
    pub(crate) fn move_to(&mut self, to: &mut Self) {
        to.len = self.len;
        if self.block.is_some() {
            to.block = self.block.take();
            to.home = self.home.take();
        } else if self.len <= 64 {
            let from = self.inline.as_ptr().cast::<MaybeUninit<[u8; 64]>>();
            // SAFETY: the first half of one inline array to that of another.
            unsafe {
                to.inline
                    .as_mut_ptr()
                    .cast::<MaybeUninit<[u8; 64]>>()
                    .copy_from_nonoverlapping(from, 1)
            };
        } else {
            to.inline = self.inline;
        }
        self.len = 0;
    }
}

impl Deref for Body {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}

impl DerefMut for Body {
    fn deref_mut(&mut self) -> &mut [u8] {
        let base = self.base_mut();
        // SAFETY: as in `bytes`, and `&mut self` makes it the only view.
        unsafe { std::slice::from_raw_parts_mut(base, self.len) }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Debug for Body {
    /// Shows the length, never the bytes: they are a user's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len)
    }
}

impl Body {
    #[cold]
    fn give_back(&mut self) {
        if let (Some(block), Some(home)) = (self.block.take(), self.home.take()) {
            home.give_back(block);
        }
    }
}

impl Drop for Body {
    #[inline]
    fn drop(&mut self) {
        if self.block.is_some() {
            self.give_back();
        }
    }
}

/// Aligned memory; its bytes are initialised from the start, whatever they hold.
struct Block {
    base: NonNull<u8>,
    capacity: usize,
    allocation: NonNull<u8>,
}

// SAFETY: a block is plain memory with one owner.
unsafe impl Send for Block {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    /// What is asked of the allocator: room to align by hand. `alloc_zeroed` with the allocator's natural alignment is
    /// `calloc`, which gives large blocks as untouched zero pages; with a larger one it is a `memset` of every page.
    fn layout(capacity: usize) -> Layout {
        capacity
            .checked_add(Self::alignment(capacity))
            .and_then(|size| Layout::from_size_align(size, align_of::<u128>()).ok())
            .unwrap_or_else(|| capacity_overflow(capacity))
    }

    fn alignment(capacity: usize) -> usize {
        if capacity < HUGE_PAGE {
            BODY_ALIGN
        } else {
            HUGE_PAGE
        }
    }

    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the layout's size is not zero.
        let allocation = unsafe { alloc_zeroed(layout) };
        let Some(allocation) = NonNull::new(allocation) else {
            handle_alloc_error(layout)
        };
        let alignment = Self::alignment(capacity);
        let skip = allocation.as_ptr().align_offset(alignment);
        // SAFETY: `skip` is less than the alignment, which was added to the size.
        let base = unsafe { allocation.add(skip) };
        if alignment == HUGE_PAGE {
            // Where huge pages are for those who ask (`madvise`), this saves 511 of 512 page faults. Only a hint: no
            // harm if it is refused.
            // SAFETY: the block's own memory, from a page's beginning.
            unsafe { libc::madvise(base.as_ptr().cast(), capacity, libc::MADV_HUGEPAGE) };
        }
        Self {
            base,
            capacity,
            allocation,
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout.
        unsafe { dealloc(self.allocation.as_ptr(), Self::layout(self.capacity)) };
    }
}

#[cold]
fn capacity_overflow(len: usize) -> ! {
    panic!("a body of {len} bytes does not fit the address space")
}

/// A pool of bodies. Shared by a fabric and the bodies it handed out, so it lives as long as the last of them.
pub struct BodyPool {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    small: Vec<Block>,
    large: Vec<Block>,
    large_bytes: usize,
}

impl BodyPool {
    /// An empty pool.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            shelves: Mutex::new(Shelves::default()),
        })
    }

    /// A body of `len` bytes whose contents are arbitrary (an earlier body's, or zero).
    pub fn take(self: &Arc<Self>, len: usize) -> Body {
        if len <= INLINE {
            return Body::zeroed(len);
        }
        self.take_block(len)
    }

    /// The same with a block of its own even if it is short, so that its address does not change.
    pub(crate) fn take_block(self: &Arc<Self>, len: usize) -> Body {
        let capacity = Self::capacity_for(len);
        let block = self.shelves.lock().find(capacity);
        Body {
            inline: MaybeUninit::uninit(),
            len,
            block: Some(block.unwrap_or_else(|| Block::new(capacity))),
            home: Some(Arc::clone(self)),
        }
    }

    /// Small blocks all have one capacity; larger ones are rounded up to eighths of a power of two, so that bodies of
    /// nearly the same length can use each other's blocks.
    fn capacity_for(len: usize) -> usize {
        if len <= SMALL_BLOCK {
            return SMALL_BLOCK;
        }
        let step = (len.next_power_of_two() / 16).max(BODY_ALIGN);
        len.checked_next_multiple_of(step)
            .unwrap_or_else(|| capacity_overflow(len))
    }

    fn give_back(&self, block: Block) {
        let surplus = self.shelves.lock().keep(block);
        drop(surplus); // Freed outside the lock: unmapping 64 MiB takes a while.
    }
}

impl Shelves {
    fn find(&mut self, capacity: usize) -> Option<Block> {
        if capacity <= SMALL_BLOCK {
            return self.small.pop();
        }
        // The tightest fit, and none that would waste more than half of itself.
        let (index, _) = self
            .large
            .iter()
            .enumerate()
            .filter(|(_, block)| block.capacity >= capacity && block.capacity / 2 <= capacity)
            .min_by_key(|(_, block)| block.capacity)?;
        let block = self.large.swap_remove(index);
        self.large_bytes -= block.capacity;
        Some(block)
    }

    /// Shelves the block and returns those that no longer find room, oldest first.
    fn keep(&mut self, block: Block) -> Vec<Block> {
        let mut surplus = Vec::new();
        if block.capacity <= SMALL_BLOCK {
            if self.small.len() < SMALL_KEPT {
                self.small.push(block);
            } else {
                surplus.push(block);
            }
            return surplus;
        }
        if block.capacity > LARGE_KEPT {
            surplus.push(block);
            return surplus;
        }
        self.large_bytes += block.capacity;
        self.large.push(block);
        while self.large_bytes > LARGE_KEPT {
            let oldest = self.large.remove(0);
            self.large_bytes -= oldest.capacity;
            surplus.push(oldest);
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_aligned_and_hold_what_was_put() {
        let pool = BodyPool::new();
        for len in [0, 1, 63, 64, 65, SMALL_BLOCK, SMALL_BLOCK + 1, 1 << 20] {
            let mut body = pool.take(len);
            assert_eq!(body.bytes().as_ptr().align_offset(BODY_ALIGN), 0);
            assert_eq!(body.len(), len);
            body.fill(7);
            assert!(body.bytes().iter().all(|&byte| byte == 7));
        }
        assert_eq!(Body::copy_of(b"abc").bytes(), b"abc");
        assert!(Body::default().is_empty());
        assert!(Body::zeroed(5000).iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_short_body_moves_with_its_value() {
        let mut body = Body::default();
        body.fill_inline(&[9; INLINE]);
        let taken = std::mem::take(&mut body);
        assert!(body.is_empty());
        let boxed = Box::new(taken);
        assert_eq!(boxed.bytes(), [9; INLINE]);
        assert_eq!(boxed.bytes().as_ptr().align_offset(BODY_ALIGN), 0);
        assert_eq!(size_of::<Body>(), 128);
    }

    #[test]
    fn a_dropped_body_is_used_again() {
        let pool = BodyPool::new();
        for len in [1000, 100_000, 5 << 20] {
            let first = pool.take(len).base();
            assert_eq!(pool.take(len).base(), first);
        }
    }

    #[test]
    fn a_body_crosses_threads_and_outlives_the_pool_handle() {
        let pool = BodyPool::new();
        let mut body = pool.take(4);
        body.copy_from_slice(b"here");
        drop(pool);
        let there = std::thread::spawn(move || body.bytes().to_vec())
            .join()
            .unwrap();
        assert_eq!(there, b"here");
    }

    #[test]
    fn the_pool_keeps_a_bounded_amount() {
        let pool = BodyPool::new();
        let bodies: Vec<Body> = (0..SMALL_KEPT + 10).map(|_| pool.take(1000)).collect();
        drop(bodies);
        assert_eq!(pool.shelves.lock().small.len(), SMALL_KEPT);
        let bodies: Vec<Body> = (0..5).map(|_| pool.take(80 << 20)).collect();
        drop(bodies);
        let shelves = pool.shelves.lock();
        assert!(shelves.large_bytes <= LARGE_KEPT);
        assert_eq!(
            shelves.large_bytes,
            shelves
                .large
                .iter()
                .map(|block| block.capacity)
                .sum::<usize>()
        );
    }

    #[test]
    fn a_large_block_is_not_wasted_on_a_much_smaller_body() {
        let pool = BodyPool::new();
        let large = pool.take(8 << 20).base();
        assert_ne!(pool.take(100_000).base(), large);
    }
}
