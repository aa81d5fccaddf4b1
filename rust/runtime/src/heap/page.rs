//! Pages of small objects: which slots hold one, found from any address inside in a few instructions.
//!
//! What is known of a page lies apart from it, in a table: its class, and two bits for each slot. A slot is taken if it was
//! found alive by the last collection (`live`), or given out since: slots are given out in order, in runs of free ones, so
//! that all below `position` are taken. So neither a collection nor the end of a call touches the slots themselves.

use super::class::{CLASSES, FIRST_SLOT, MOST_SLOTS, PAGE, SLOT_BYTES, slots};
use super::region::Region;
use std::cell::Cell;
use std::ops::Range;

const WORDS: usize = MOST_SLOTS.div_ceil(64);
/// No page.
pub(super) const NONE: u32 = u32::MAX;
/// The class of a page that is not in use.
const FREE: u8 = u8::MAX;
/// How much address space a heap asks for; less, if there is less.
const RESERVED: usize = 256 << 30;
const LEAST_RESERVED: usize = 256 << 20;

/// What is known of a page. All zeros means a page that nobody used yet.
#[repr(C, align(64))]
pub(super) struct Page {
    /// The page after this one in its list.
    next: Cell<u32>,
    /// 2³² divided by the bytes of a slot, rounded up.
    reciprocal: Cell<u32>,
    slot_bytes: Cell<u32>,
    slots: Cell<u16>,
    position: Cell<u16>,
    class: Cell<u8>,
    live: [Cell<u64>; WORDS],
    marks: [Cell<u64>; WORDS],
}

/// A slot of a page.
#[derive(Clone, Copy)]
pub(super) struct Slot<'h> {
    page: &'h Page,
    index: usize,
    /// Where its object starts.
    pub(super) object: usize,
}

impl Page {
    fn prepare(&self, class: usize) {
        let bytes = SLOT_BYTES[class];
        self.slot_bytes.set(bytes);
        self.reciprocal
            .set((1_u64 << 32).div_ceil(u64::from(bytes)) as u32);
        self.slots.set(slots(class) as u16);
        self.position.set(0);
        self.class.set(class as u8);
    }

    /// The slot that holds the byte at `offset`. Exact for every offset in a page, since slots are smaller than it.
    #[inline]
    fn index_of(&self, offset: usize) -> usize {
        let past = offset.wrapping_sub(FIRST_SLOT) as u32;
        ((u64::from(past) * u64::from(self.reciprocal.get())) >> 32) as usize
    }

    #[inline]
    fn is_taken(&self, index: usize) -> bool {
        index < self.position.get() as usize || self.live[index / 64].get() >> (index % 64) & 1 != 0
    }

    /// The first free run at or behind `from`.
    fn free_run(&self, from: usize) -> Option<Range<usize>> {
        let count = self.slots.get() as usize;
        let start = self.next_slot(from, count, false);
        let end = self.next_slot(start, count, true);
        (start < count).then_some(start..end)
    }

    /// The first slot from `from` on that is alive, or is not; `count` if there is none.
    fn next_slot(&self, from: usize, count: usize, alive: bool) -> usize {
        let mut at = from;
        while at < count {
            let word = self.live[at / 64].get();
            let wanted = if alive { word } else { !word } >> (at % 64);
            if wanted != 0 {
                return (at + wanted.trailing_zeros() as usize).min(count);
            }
            at = (at / 64 + 1) * 64;
        }
        count
    }

    /// What was marked is alive now. Returns how many slots.
    fn keep_marked(&self) -> usize {
        let words = (self.slots.get() as usize).div_ceil(64);
        let mut alive = 0;
        for (live, mark) in self.live[..words].iter().zip(&self.marks) {
            let marked = mark.replace(0);
            live.set(marked);
            alive += marked.count_ones() as usize;
        }
        self.position.set(0);
        alive
    }

    fn clear(&self) {
        for word in self.live.iter().chain(&self.marks) {
            word.set(0);
        }
    }
}

impl Slot<'_> {
    /// Marks it. False if it already was.
    #[inline]
    pub(super) fn mark(self) -> bool {
        let word = &self.page.marks[self.index / 64];
        let bit = 1 << (self.index % 64);
        let old = word.get();
        word.set(old | bit);
        old & bit == 0
    }

    pub(super) fn is_marked(self) -> bool {
        self.page.marks[self.index / 64].get() >> (self.index % 64) & 1 != 0
    }

    /// The most bytes that its object can have.
    pub(super) fn room(self) -> usize {
        self.page.slot_bytes.get() as usize - crate::layout::TAG_BYTES
    }
}

/// All pages of a heap.
pub(super) struct Pages {
    memory: Region,
    table: Region,
    /// Pages from here on were not used yet.
    top: Cell<u32>,
    /// The most pages whose memory the system may have given us.
    touched: Cell<u32>,
    in_use: Cell<u32>,
    free: Cell<u32>,
    /// Pages with room, found by the last collection.
    partial: [Cell<u32>; CLASSES],
}

/// What a collection left.
pub(super) struct Left {
    /// Bytes of slots in use.
    pub(super) bytes: usize,
}

impl Pages {
    pub(super) const fn new() -> Self {
        Self {
            memory: Region::new(),
            table: Region::new(),
            top: Cell::new(0),
            touched: Cell::new(0),
            in_use: Cell::new(0),
            free: Cell::new(NONE),
            partial: [const { Cell::new(NONE) }; CLASSES],
        }
    }

    /// How many are in use.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.get() as usize
    }

    /// How many were ever used since the heap was emptied.
    pub(super) fn top(&self) -> usize {
        self.top.get() as usize
    }

    #[inline]
    fn page(&self, number: u32) -> &Page {
        let page = (self.table.base() as *const Page).wrapping_add(number as usize);
        // SAFETY: numbers are below `top`, and the table is usable so far; all zeros is a valid page.
        unsafe { &*page }
    }

    fn base(&self, number: u32) -> usize {
        self.memory.base() + number as usize * PAGE
    }

    /// Where a slot's tag is.
    fn slot_at(&self, number: u32, index: usize) -> usize {
        self.base(number) + FIRST_SLOT + index * self.page(number).slot_bytes.get() as usize
    }

    /// A page for objects of this class, if there is one.
    pub(super) fn take(&self, class: usize) -> Option<u32> {
        let number = match self.free.get() {
            NONE => self.take_new()?,
            number => {
                self.free.set(self.page(number).next.get());
                number
            }
        };
        self.page(number).prepare(class);
        self.in_use.set(self.in_use.get() + 1);
        Some(number)
    }

    fn take_new(&self) -> Option<u32> {
        if self.memory.base() == 0 && !self.reserve() {
            return None;
        }
        let number = self.top.get();
        let count = number as usize + 1;
        let usable =
            self.memory.commit(count * PAGE) && self.table.commit(count * size_of::<Page>());
        if !usable {
            return None;
        }
        self.top.set(number + 1);
        self.touched.set(self.touched.get().max(number + 1));
        Some(number)
    }

    fn reserve(&self) -> bool {
        let mut bytes = RESERVED;
        while bytes >= LEAST_RESERVED {
            if self.memory.reserve(bytes) {
                if self.table.reserve(bytes / PAGE * size_of::<Page>()) {
                    return true;
                }
                self.memory.release();
            }
            bytes /= 4;
        }
        false
    }

    /// The next free run of a page, from the slot at address `from` on: where it starts and ends.
    pub(super) fn run(&self, number: u32, from: usize) -> Option<Range<usize>> {
        let page = self.page(number);
        let first = page.index_of(from - self.base(number));
        let run = page.free_run(first)?;
        Some(self.slot_at(number, run.start)..self.slot_at(number, run.end))
    }

    /// Where a page's first slot is.
    pub(super) fn start(&self, number: u32) -> usize {
        self.base(number) + FIRST_SLOT
    }

    /// A page of this class that the last collection left room in.
    pub(super) fn take_partial(&self, class: usize) -> Option<u32> {
        let number = self.partial[class].get();
        if number == NONE {
            return None;
        }
        self.partial[class].set(self.page(number).next.get());
        Some(number)
    }

    /// All slots of a page are taken below the one at address `cursor`.
    pub(super) fn set_position(&self, number: u32, cursor: usize) {
        let page = self.page(number);
        let index = (cursor - self.start(number)) / page.slot_bytes.get() as usize;
        page.position.set(index as u16);
    }

    /// All slots of a page were given out.
    pub(super) fn set_full(&self, number: u32) {
        let page = self.page(number);
        page.position.set(page.slots.get());
    }

    /// The object that this address lies in, if it does.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<Slot<'_>> {
        let offset = address.wrapping_sub(self.memory.base());
        let number = offset / PAGE;
        if number >= self.top.get() as usize {
            return None;
        }
        let page = self.page(number as u32);
        let within = offset % PAGE;
        if within < FIRST_SLOT || page.class.get() == FREE {
            return None;
        }
        let index = page.index_of(within);
        if index >= page.slots.get() as usize || !page.is_taken(index) {
            return None;
        }
        Some(Slot {
            page,
            index,
            object: self.slot_at(number as u32, index) + crate::layout::TAG_BYTES,
        })
    }

    /// Keeps what was marked; everything else is free. Afterwards no page is being given out.
    pub(super) fn sweep(&self) -> Left {
        for list in &self.partial {
            list.set(NONE);
        }
        self.free.set(NONE);
        self.in_use.set(0);
        let mut bytes = 0;
        // From the last to the first: lists then begin with the first pages, and those behind stay empty.
        for number in (0..self.top.get()).rev() {
            let page = self.page(number);
            let class = page.class.get();
            let alive = if class == FREE { 0 } else { page.keep_marked() };
            if alive == 0 {
                page.class.set(FREE);
                page.next.set(self.free.replace(number));
                continue;
            }
            bytes += alive * page.slot_bytes.get() as usize;
            self.in_use.set(self.in_use.get() + 1);
            // A page that is nearly full is not worth looking through.
            let slots = page.slots.get() as usize;
            if slots - alive > slots / 8 {
                let list = &self.partial[class as usize];
                page.next.set(list.replace(number));
            }
        }
        Left { bytes }
    }

    /// Forgets what was marked.
    pub(super) fn forget_marks(&self) {
        for number in 0..self.top.get() {
            self.page(number).marks.iter().for_each(|word| word.set(0));
        }
    }

    /// Gives memory of free pages back, if there is more than `spare` bytes of it.
    pub(super) fn trim(&self, spare: usize) {
        let keep = self.in_use() + spare / PAGE;
        if self.touched.get() as usize <= keep {
            return;
        }
        // Pages behind the last one in use are given up as a whole.
        let mut top = self.top.get();
        while top as usize > keep && self.page(top - 1).class.get() == FREE {
            top -= 1;
        }
        if top < self.top.get() {
            self.top.set(top);
            self.relist();
        }
        self.forget(top as usize);
    }

    /// Lists the free pages again.
    fn relist(&self) {
        self.free.set(NONE);
        for number in (0..self.top.get()).rev() {
            let page = self.page(number);
            if page.class.get() == FREE {
                page.next.set(self.free.replace(number));
            }
        }
    }

    /// Gives the memory of all pages from `from` on back.
    fn forget(&self, from: usize) {
        let touched = self.touched.get() as usize;
        if touched <= from {
            return;
        }
        self.memory.forget(from * PAGE, touched * PAGE);
        // The beginning of the table's rest shares a page of the system with what stays.
        let shared = 4096 / size_of::<Page>() + 2;
        for number in from..touched.min(from + shared) {
            self.page(number as u32).clear();
        }
        let bytes = size_of::<Page>();
        self.table.forget(from * bytes, touched * bytes);
        self.touched.set(from as u32);
    }

    /// No page is in use any more. Keeps the memory of at most `retained` bytes of them. `collected`: there were
    /// collections.
    pub(super) fn reset(&self, retained: usize, collected: bool) {
        let kept = self.touched.get().min((retained / PAGE) as u32);
        if collected {
            for number in 0..kept {
                self.page(number).clear();
            }
        }
        self.forget(kept as usize);
        for list in &self.partial {
            list.set(NONE);
        }
        self.free.set(NONE);
        self.in_use.set(0);
        self.top.set(0);
    }

    /// Gives everything back.
    pub(super) fn release(&self) {
        self.reset(0, false);
        self.touched.set(0);
        self.memory.release();
        self.table.release();
    }
}
