//! The memory of one call: objects and buffers, small ones in pages by their size, large ones in blocks of their own, and
//! a collector that finds out which of them are still in use.
//!
//! Emitted code takes small objects itself: for each size there is a run of free slots ([`Bump`]), of which it takes the
//! first. This file is what happens when a run is used up: the next one is found, or the collector runs (`collect.rs`), or
//! there is no more memory for the call. The heap belongs to a thread, and is emptied when its call ends, which costs
//! nothing for a call that took little: the runs start again at their beginning.

mod block;
mod class;
mod collect;
mod page;
mod region;
mod trace;

pub(crate) use block::ForeignPointer;
pub(crate) use class::CLASSES;
pub(crate) use collect::collect;

use crate::call::Limits;
use crate::layout::{TAG_BYTES, Value, set_tag};
use block::Blocks;
use class::{PAGE, SLOT_BYTES};
use page::{NONE, Pages};
use region::Region;
use std::cell::Cell;
use std::ptr;

/// Buffers above this many bytes get a block of their own.
pub(crate) const LARGE: usize = class::LARGEST - TAG_BYTES;
/// Emitted code takes objects up to this many bytes itself.
pub(crate) const INLINE: usize = class::SMALL - TAG_BYTES;

/// The collector does not run before a call has taken so much since the last time.
const LEAST_THRESHOLD: usize = 48 << 20;
/// A thread keeps the memory of pages of at most this many bytes between calls.
const RETAINED: usize = 8 << 20;
/// A limit below this leaves no room for pages that are kept for the next call.
const SMALL_LIMIT: usize = 32 << 20;

/// Tags of memory that is no Julia object. Types lie at higher addresses.
pub(crate) struct Tag;

impl Tag {
    /// Bytes that refer to nothing.
    pub(crate) const BYTES: usize = 0x10;
    /// Words, each of which may refer to something.
    pub(crate) const WORDS: usize = 0x20;
    /// C's `malloc`: in use until it is freed.
    pub(crate) const PINNED: usize = 0x30;
}

/// There is no more memory for this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// A run of free slots: the part of the heap that emitted code knows.
#[repr(C)]
pub(crate) struct Bump {
    /// Address of the next object's tag: 8 modulo 16.
    pub(crate) cursor: Cell<*mut u8>,
    /// The end of the run.
    pub(crate) limit: Cell<*mut u8>,
}

impl Bump {
    const fn empty() -> Self {
        Self {
            cursor: Cell::new(ptr::null_mut()),
            limit: Cell::new(ptr::null_mut()),
        }
    }

    fn set(&self, cursor: usize, limit: usize) {
        self.cursor.set(cursor as *mut u8);
        self.limit.set(limit as *mut u8);
    }

    fn left(&self) -> usize {
        self.limit.get() as usize - self.cursor.get() as usize
    }
}

/// The memory of the call that a thread runs.
#[repr(C)]
pub(crate) struct Heap {
    /// By class. Emitted code relies on the place of the first ones: those of [`INLINE`].
    bumps: [Bump; CLASSES],
    /// The page that each run is in.
    current: [Cell<u32>; CLASSES],
    /// The classes that have one, a bit each.
    open: Cell<u64>,
    pages: Pages,
    blocks: Blocks,
    /// What the collector has still to look at.
    pending: Region,
    limit: Cell<usize>,
    /// Bytes given out since the last collection.
    since: Cell<usize>,
    threshold: Cell<usize>,
    collect_after: Cell<Option<usize>>,
    /// Bytes given out in all.
    given: Cell<usize>,
    /// There were collections since the heap was emptied.
    collected: Cell<bool>,
    paused: Cell<bool>,
    /// Collects, if it can: finds the references that this file does not know of.
    collector: Cell<Option<fn(&Heap)>>,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self {
            bumps: [const { Bump::empty() }; CLASSES],
            current: [const { Cell::new(NONE) }; CLASSES],
            open: Cell::new(0),
            pages: Pages::new(),
            blocks: Blocks::new(),
            pending: Region::new(),
            limit: Cell::new(usize::MAX),
            since: Cell::new(0),
            threshold: Cell::new(LEAST_THRESHOLD),
            collect_after: Cell::new(None),
            given: Cell::new(0),
            collected: Cell::new(false),
            paused: Cell::new(false),
            collector: Cell::new(None),
        }
    }

    /// Who collects. Without one nothing is collected.
    pub(crate) fn set_collector(&self, collector: fn(&Heap)) {
        self.collector.set(Some(collector));
    }

    /// Bytes taken from the system for the call.
    pub(crate) fn used(&self) -> usize {
        self.pages.in_use() * PAGE + self.blocks.bytes()
    }

    /// Bytes given out so far: only differences within a call mean something.
    pub(crate) fn given(&self) -> usize {
        let left = |class: usize| self.bumps[class].left();
        self.given.get() - open_classes(self.open.get()).map(left).sum::<usize>()
    }

    /// What the coming call may use.
    #[inline]
    pub(crate) fn begin(&self, limits: Limits) {
        self.limit.set(limits.memory);
        let changed = self.collect_after.replace(limits.collect_after) != limits.collect_after;
        if changed || limits.memory < SMALL_LIMIT {
            self.empty();
        }
    }

    /// While paused, no collection starts. For code that keeps references where the collector does not look.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.set(paused);
    }

    /// Is it paused?
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// An object of `size` bytes with this tag word.
    #[inline]
    pub(crate) fn object(&self, size: usize, tag: usize) -> Result<*mut Value, Exhausted> {
        let object = match class::of(size) {
            Some(class) => {
                let bump = &self.bumps[class];
                let cursor = bump.cursor.get();
                let at = if cursor == bump.limit.get() {
                    self.refill(class)?
                } else {
                    bump.cursor
                        .set(cursor.wrapping_add(SLOT_BYTES[class] as usize));
                    cursor
                };
                at.wrapping_add(TAG_BYTES).cast::<Value>()
            }
            None => return Ok(self.block(size, tag)?.cast()),
        };
        // SAFETY: a slot has a word for the tag before the object.
        unsafe { set_tag(object, tag) };
        Ok(object)
    }

    /// The first slot of a new run.
    #[cold]
    #[inline(never)]
    fn refill(&self, class: usize) -> Result<*mut u8, Exhausted> {
        if self.since.get() >= self.threshold.get() {
            self.collect();
        }
        let (cursor, limit) = match self.next_run(class) {
            Some(run) => run,
            None => {
                if self.make_room(PAGE)? {
                    // What was collected may be enough.
                    match self.next_run(class) {
                        Some(run) => run,
                        None => self.new_run(class)?,
                    }
                } else {
                    self.new_run(class)?
                }
            }
        };
        // When collections come quickly, runs are short.
        let most = (self.threshold.get() / SLOT_BYTES[class] as usize).max(1);
        let limit = limit.min(cursor + most * SLOT_BYTES[class] as usize);
        self.since.set(self.since.get() + (limit - cursor));
        self.given.set(self.given.get() + (limit - cursor));
        self.bumps[class].set(cursor + SLOT_BYTES[class] as usize, limit);
        Ok(cursor as *mut u8)
    }

    /// A run of free slots among pages that are in use.
    fn next_run(&self, class: usize) -> Option<(usize, usize)> {
        let mut number = self.current[class].get();
        let mut from = self.bumps[class].cursor.get() as usize;
        loop {
            if number != NONE {
                if let Some(run) = self.pages.run(number, from) {
                    self.set_current(class, number);
                    return Some((run.start, run.end));
                }
                self.pages.set_full(number);
                self.close(class);
            }
            number = self.pages.take_partial(class)?;
            from = self.pages.start(number);
        }
    }

    /// A run that is a whole page.
    fn new_run(&self, class: usize) -> Result<(usize, usize), Exhausted> {
        let number = self.pages.take(class).ok_or(Exhausted)?;
        self.set_current(class, number);
        let start = self.pages.start(number);
        Ok((
            start,
            start + class::slots(class) * SLOT_BYTES[class] as usize,
        ))
    }

    fn set_current(&self, class: usize, number: u32) {
        self.current[class].set(number);
        self.open.set(self.open.get() | 1 << class);
    }

    fn close(&self, class: usize) {
        self.current[class].set(NONE);
        self.bumps[class].set(0, 0);
        self.open.set(self.open.get() & !(1 << class));
    }

    /// Makes sure that the limit leaves room for `bytes` more, if need be by a collection: says if there was one.
    fn make_room(&self, bytes: usize) -> Result<bool, Exhausted> {
        let fits = || {
            let used = self.used().checked_add(bytes);
            used.is_some_and(|used| used <= self.limit.get())
        };
        if fits() {
            return Ok(false);
        }
        // Close to its limit a call must not spend its time collecting: the last time must have been worth it.
        if bytes > self.limit.get() || self.since.get() < self.limit.get() / 32 || !self.collect() {
            return Err(Exhausted);
        }
        if fits() { Ok(true) } else { Err(Exhausted) }
    }

    /// Collects, if it is possible now.
    pub(crate) fn collect(&self) -> bool {
        match self.collector.get() {
            Some(collector) if !self.paused.get() => {
                self.paused.set(true);
                collector(self);
                self.paused.set(false);
                true
            }
            _ => false,
        }
    }

    /// A buffer of plain bytes, aligned to 16: nothing in it is looked at.
    pub(crate) fn buffer(&self, bytes: usize) -> Result<*mut u8, Exhausted> {
        self.object(bytes, Tag::BYTES).map(<*mut Value>::cast)
    }

    /// A buffer of words, each of which may refer to an object.
    pub(crate) fn words(&self, count: usize) -> Result<*mut usize, Exhausted> {
        let bytes = count.checked_mul(size_of::<usize>()).ok_or(Exhausted)?;
        self.object(bytes, Tag::WORDS).map(<*mut Value>::cast)
    }

    /// As [`Heap::buffer`], for callers whose references are where the collector does not look: it does not run now, but
    /// as soon as it is due and possible.
    pub(crate) fn buffer_quietly(&self, bytes: usize) -> Result<*mut u8, Exhausted> {
        let was = self.paused.replace(true);
        let made = self.buffer(bytes);
        self.paused.set(was);
        if self.since.get() >= self.threshold.get() {
            self.end_runs();
        }
        made
    }

    /// A block of its own, aligned to 64.
    pub(crate) fn block(&self, bytes: usize, tag: usize) -> Result<*mut u8, Exhausted> {
        let total = block::total(bytes).ok_or(Exhausted)?;
        if self.since.get().saturating_add(total) >= self.threshold.get() && self.since.get() > 0 {
            self.collect();
        }
        self.make_room(total)?;
        let data = self.blocks.take(bytes, tag).ok_or(Exhausted)?;
        self.since.set(self.since.get() + total);
        self.given.set(self.given.get() + total);
        Ok(data)
    }

    /// Bytes of the block that starts at `data`.
    ///
    /// # Safety
    /// - the 64 bytes before `data` may be read.
    pub(crate) unsafe fn block_bytes(&self, data: *mut u8) -> Result<usize, ForeignPointer> {
        // SAFETY: the caller's promise.
        unsafe { self.blocks.size(data) }
    }

    /// Frees a block before the call ends.
    ///
    /// # Safety
    /// - as for [`Heap::block_bytes`]; nobody uses the block any more.
    pub(crate) unsafe fn free_block(&self, data: *mut u8) -> Result<(), ForeignPointer> {
        // SAFETY: the caller's promise.
        let freed = unsafe { self.blocks.free(data) }?;
        // What is freed by hand is nothing for the collector to find.
        self.since.set(self.since.get().saturating_sub(freed));
        Ok(())
    }

    /// Emitted code comes here for its next object of any size; what is left of the runs is found again then.
    fn end_runs(&self) {
        for class in open_classes(self.open.get()) {
            let bump = &self.bumps[class];
            let left = bump.left();
            self.since.set(self.since.get().saturating_sub(left));
            self.given.set(self.given.get() - left);
            bump.limit.set(bump.cursor.get());
        }
    }

    /// Before a collection: says of each slot whether it is taken.
    fn settle(&self) {
        for class in open_classes(self.open.get()) {
            let cursor = self.bumps[class].cursor.get() as usize;
            self.pages.set_position(self.current[class].get(), cursor);
        }
    }

    /// After marking: everything that was not marked is free.
    fn sweep(&self) {
        for class in open_classes(self.open.get()) {
            self.close(class);
        }
        let alive = self.pages.sweep().bytes + self.blocks.sweep();
        self.since.set(0);
        let threshold = match self.collect_after.get() {
            Some(bytes) => bytes,
            None => alive.max(LEAST_THRESHOLD),
        };
        self.threshold.set(threshold);
        self.pages.trim(threshold.max(LEAST_THRESHOLD));
    }

    /// After a collection that failed: everything stays.
    fn forget_marks(&self) {
        self.pages.forget_marks();
        self.blocks.forget_marks();
    }

    /// Ends the call: everything is free.
    #[inline]
    pub(crate) fn reset(&self) {
        let open = self.open.get();
        let one_page_each = self.pages.top() == open.count_ones() as usize;
        if self.collected.get() || !one_page_each || !self.blocks.is_empty() {
            return self.empty();
        }
        self.paused.set(false);
        for class in open_classes(open) {
            let start = self.pages.start(self.current[class].get());
            self.bumps[class].cursor.set(start as *mut u8);
        }
    }

    #[cold]
    #[inline(never)]
    fn empty(&self) {
        for class in open_classes(self.open.get()) {
            self.close(class);
        }
        self.blocks.reset();
        self.pages.reset(RETAINED, self.collected.replace(false));
        self.pending.release();
        self.since.set(0);
        self.threshold
            .set(self.collect_after.get().unwrap_or(LEAST_THRESHOLD));
        self.paused.set(false);
    }

    /// Gives everything back to the system.
    pub(crate) fn release(&self) {
        self.empty();
        self.pages.release();
        self.blocks.release();
    }
}

/// The classes in a set.
fn open_classes(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let class = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (class < 64).then_some(class)
    })
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one call"
)]
mod call_tests;
#[cfg(test)]
mod tests;
