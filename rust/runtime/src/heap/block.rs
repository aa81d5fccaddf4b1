//! Large objects and buffers, and C's `malloc`: each a block of its own from the system, in a list.

use super::Tag;
use super::region::Region;
use crate::layout::CACHE_ALIGN;
use crate::pages;
use std::cell::Cell;
use std::ptr;

/// In front of the data; ends where a tag would be.
#[repr(C)]
pub(super) struct Block {
    prev: *mut Block,
    next: *mut Block,
    bytes: usize,
    seal: usize,
    marked: bool,
    _room: [usize; 2],
    tag: usize,
}

const HEAD: usize = size_of::<Block>();
const SEAL: usize = 0x6269_7463_6f64_6531;
/// Around a block, addresses that code may have computed on the way to one inside.
const MARGIN: usize = 64 << 10;

const _: () = assert!(HEAD == CACHE_ALIGN);

/// The pointer was not made by this heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignPointer;

/// All blocks of a heap.
pub(super) struct Blocks {
    first: Cell<*mut Block>,
    count: Cell<usize>,
    bytes: Cell<usize>,
    /// While a collection runs: all blocks, in the order of their addresses.
    table: Region,
    listed: Cell<usize>,
}

/// How many bytes the system is asked for, for a block of `bytes`.
pub(super) fn total(bytes: usize) -> Option<usize> {
    bytes.checked_add(HEAD + CACHE_ALIGN)
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self {
            first: Cell::new(ptr::null_mut()),
            count: Cell::new(0),
            bytes: Cell::new(0),
            table: Region::new(),
            listed: Cell::new(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    /// Bytes taken from the system.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// A block of `bytes`, if the system has it. Its data is aligned to [`CACHE_ALIGN`].
    pub(super) fn take(&self, bytes: usize, tag: usize) -> Option<*mut u8> {
        let total = total(bytes)?;
        let block = pages::take(total).cast::<Block>();
        if block.is_null() {
            return None;
        }
        let next = self.first.get();
        let head = Block {
            prev: ptr::null_mut(),
            next,
            bytes: total,
            seal: SEAL ^ block as usize,
            marked: false,
            _room: [0; 2],
            tag,
        };
        // SAFETY: fresh memory of at least this size.
        unsafe { block.write(head) };
        if !next.is_null() {
            // SAFETY: a live block of this heap.
            unsafe { (*next).prev = block };
        }
        self.first.set(block);
        self.count.set(self.count.get() + 1);
        self.bytes.set(self.bytes.get() + total);
        Some(data(block) as *mut u8)
    }

    /// Bytes of the block that starts at `data`.
    ///
    /// # Safety
    /// - the 64 bytes before `data` may be read.
    pub(super) unsafe fn size(&self, data: *mut u8) -> Result<usize, ForeignPointer> {
        let block = data.wrapping_sub(HEAD).cast::<Block>();
        // SAFETY: the caller says that it may be read.
        let seal = unsafe { (*block).seal };
        if seal == SEAL ^ block as usize {
            Ok(room(block))
        } else {
            Err(ForeignPointer)
        }
    }

    /// Frees the block that starts at `data`. Returns the bytes that the system gets back.
    ///
    /// # Safety
    /// - as for [`Blocks::size`]; nobody uses the block any more.
    pub(super) unsafe fn free(&self, data: *mut u8) -> Result<usize, ForeignPointer> {
        // SAFETY: the caller's promise.
        unsafe { self.size(data) }?;
        let block = data.wrapping_sub(HEAD).cast::<Block>();
        let before = self.bytes.get();
        // SAFETY: the seal says that it is a block of ours.
        unsafe { self.remove(block) };
        Ok(before - self.bytes.get())
    }

    /// # Safety
    /// - a live block of this heap, which nobody uses any more.
    unsafe fn remove(&self, block: *mut Block) {
        // SAFETY: the caller's promise.
        let Block {
            prev, next, bytes, ..
        } = unsafe { block.read() };
        if prev.is_null() {
            self.first.set(next);
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
        self.count.set(self.count.get() - 1);
        self.bytes.set(self.bytes.get() - bytes);
        // SAFETY: came from `pages::take`, and is used no more.
        unsafe { pages::give_back(block.cast()) };
    }

    /// Frees all blocks.
    pub(super) fn reset(&self) {
        while !self.first.get().is_null() {
            // SAFETY: a live block; the call that it belonged to is over.
            unsafe { self.remove(self.first.get()) };
        }
        self.listed.set(0);
    }

    /// Gives everything back.
    pub(super) fn release(&self) {
        self.reset();
        self.table.release();
    }

    /// Prepares to find blocks by addresses. False if there is no memory for that.
    pub(super) fn list(&self) -> bool {
        let count = self.count.get();
        self.listed.set(0);
        if count == 0 {
            return true;
        }
        let bytes = count * size_of::<*mut Block>();
        if self.table.base() == 0 && !self.table.reserve(16 << 30) && !self.table.reserve(1 << 30) {
            return false;
        }
        if !self.table.commit(bytes) {
            return false;
        }
        let mut block = self.first.get();
        let mut listed = 0;
        while !block.is_null() && listed < count {
            let entry = (self.table.base() as *mut *mut Block).wrapping_add(listed);
            // SAFETY: the table has room for `count`.
            unsafe { entry.write(block) };
            // SAFETY: a live block.
            block = unsafe { (*block).next };
            listed += 1;
        }
        // SAFETY: so many entries were just written; nobody else looks at them.
        let entries =
            unsafe { std::slice::from_raw_parts_mut(self.table.base() as *mut *mut Block, listed) };
        entries.sort_unstable();
        self.listed.set(listed);
        true
    }

    fn listed(&self) -> &[*mut Block] {
        if self.listed.get() == 0 {
            return &[];
        }
        // SAFETY: so many entries were written by `list`.
        unsafe {
            std::slice::from_raw_parts(self.table.base() as *const *mut Block, self.listed.get())
        }
    }

    /// The block that this address lies in.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<Found> {
        let blocks = self.listed();
        let (first, last) = (*blocks.first()? as usize, *blocks.last()?);
        if address < first || address > end(last) {
            return None;
        }
        let behind = blocks.partition_point(|block| *block as usize <= address);
        let block = *blocks.get(behind.checked_sub(1)?)?;
        (address <= end(block)).then_some(Found(block))
    }

    /// All blocks that code which has this address in a register may be on the way to.
    pub(super) fn near(&self, address: usize) -> impl Iterator<Item = Found> + '_ {
        /// Blocks are large: within the margins of an address there are no more.
        const NEIGHBOURS: usize = 4;
        let blocks = self.listed();
        let behind = blocks.partition_point(|block| *block as usize <= address);
        let around = behind.saturating_sub(NEIGHBOURS)..(behind + NEIGHBOURS).min(blocks.len());
        let is_near = move |block: &&*mut Block| {
            let (from, to) = (**block as usize, end(**block));
            let margin = MARGIN.max((to - from) / 4);
            from.saturating_sub(margin) <= address && address <= to.saturating_add(margin)
        };
        blocks[around]
            .iter()
            .filter(is_near)
            .map(|block| Found(*block))
    }

    /// Forgets what was marked.
    pub(super) fn forget_marks(&self) {
        self.listed.set(0);
        let mut block = self.first.get();
        while !block.is_null() {
            // SAFETY: a live block of this heap.
            let head = unsafe { &mut *block };
            head.marked = false;
            block = head.next;
        }
    }

    /// Frees what was not marked, but the memory of `malloc`. Returns the bytes that are left.
    pub(super) fn sweep(&self) -> usize {
        self.listed.set(0);
        let mut block = self.first.get();
        while !block.is_null() {
            // SAFETY: a live block of this heap, here and below.
            let head = unsafe { &mut *block };
            let next = head.next;
            if head.marked || head.tag == Tag::PINNED {
                head.marked = false;
            } else {
                // SAFETY: nothing refers to it.
                unsafe { self.remove(block) };
            }
            block = next;
        }
        self.bytes.get()
    }
}

/// A block that an address was found to lie in.
#[derive(Clone, Copy)]
pub(super) struct Found(*mut Block);

impl Found {
    /// Where its data starts.
    pub(super) fn object(self) -> usize {
        data(self.0)
    }

    /// Bytes of its data.
    pub(super) fn room(self) -> usize {
        room(self.0)
    }

    pub(super) fn is_marked(self) -> bool {
        // SAFETY: blocks live while the collection that found them runs.
        unsafe { (*self.0).marked }
    }

    /// Marks it. False if it already was.
    pub(super) fn mark(self) -> bool {
        // SAFETY: blocks live while the collection that found them runs.
        !unsafe { std::mem::replace(&mut (*self.0).marked, true) }
    }
}

fn data(block: *mut Block) -> usize {
    block as usize + HEAD
}

fn room(block: *mut Block) -> usize {
    // SAFETY: a live block, say the callers.
    unsafe { (*block).bytes - HEAD - CACHE_ALIGN }
}

/// The address behind its data.
fn end(block: *mut Block) -> usize {
    data(block) + room(block)
}
