//! The slab: where calls live while they are under way.
//!
//! A warm call takes a slot and gives it back without touching the heap: slots stay where they are for the life of
//! the client, and the free ones hang on a lock-free list. A call id names a slot and a generation, so that an answer
//! to a call that is over finds nothing, whatever the slot is used for by then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::slot::Slot;

/// Slots of the first chunk; each later chunk is twice as large.
const FIRST: u32 = 64;
/// Chunks: room for 64 · (2¹⁶ − 1) calls at once, which fits the index bits of a call id.
const CHUNKS: usize = 16;
/// Bits of a call id that name the slot; the others count its generations.
const INDEX_BITS: u32 = 24;

/// The call id of a slot in one of its generations; never 0.
pub(crate) fn call_id(index: u32, generation: u64) -> u64 {
    (generation << INDEX_BITS) | u64::from(index)
}

/// All slots of a client.
pub(crate) struct Slab {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    /// Head of the list of free slots: a change counter (against ABA) above the index + 1, 0 for none.
    free: AtomicU64,
    /// Number of slots made so far.
    made: AtomicU32,
    grow: Mutex<()>,
}

impl Slab {
    /// A slab without slots; the first call makes some.
    pub(crate) fn new() -> Self {
        Self {
            chunks: Default::default(),
            free: AtomicU64::new(0),
            made: AtomicU32::new(0),
            grow: Mutex::new(()),
        }
    }

    /// The slot with this index, if it was made.
    pub(crate) fn get(&self, index: u32) -> Option<&Slot> {
        let number = index.checked_add(FIRST)?;
        let chunk = (number.ilog2() - FIRST.ilog2()) as usize;
        let slots = self.chunks.get(chunk)?.get()?;
        slots.get((number - (FIRST << chunk)) as usize)
    }

    /// The slot that a call id names, whether or not that call is still there.
    pub(crate) fn of_call(&self, call: u64) -> Option<&Slot> {
        self.get((call & ((1 << INDEX_BITS) - 1)) as u32)
    }

    /// Takes a free slot. `None` if four million calls are under way.
    pub(crate) fn acquire(&self) -> Option<&Slot> {
        loop {
            if let Some(slot) = self.pop() {
                return Some(slot);
            }
            if !self.extend() {
                return None;
            }
        }
    }

    /// Gives a slot back. It must have been cleared.
    pub(crate) fn release(&self, slot: &Slot) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            slot.next_free.store(head as u32, Ordering::Relaxed);
            let new = (head >> 32).wrapping_add(1) << 32 | u64::from(slot.index + 1);
            match self
                .free
                .compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Every slot made so far, used or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        (0..self.made.load(Ordering::Acquire)).filter_map(|index| self.get(index))
    }

    fn pop(&self) -> Option<&Slot> {
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let slot = self.get((head as u32).checked_sub(1)?)?;
            // Another thread may have taken the slot meanwhile, and then this value is stale: the change counter
            // makes the exchange fail.
            let next = slot.next_free.load(Ordering::Relaxed);
            let new = (head >> 32).wrapping_add(1) << 32 | u64::from(next);
            match self
                .free
                .compare_exchange_weak(head, new, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(slot),
                Err(now) => head = now,
            }
        }
    }

    /// Adds a chunk, unless another thread just did. `false` if there is no room for one.
    fn extend(&self) -> bool {
        let _one_at_a_time = self.grow.lock();
        if self.free.load(Ordering::Acquire) as u32 != 0 {
            return true;
        }
        let made = self.made.load(Ordering::Relaxed);
        let chunk = ((made + FIRST).ilog2() - FIRST.ilog2()) as usize;
        let Some(place) = self.chunks.get(chunk) else {
            return false;
        };
        let count = FIRST << chunk;
        let slots = place.get_or_init(|| (made..made + count).map(Slot::new).collect());
        self.made.store(made + count, Ordering::Release);
        // Backwards, so that low indices are used first.
        for slot in slots.iter().rev() {
            self.release(slot);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn slots_are_distinct_and_found_by_index_and_by_call() {
        let slab = Slab::new();
        let indices: Vec<u32> = (0..1000).map(|_| slab.acquire().unwrap().index).collect();
        assert_eq!(indices.iter().collect::<HashSet<_>>().len(), 1000);
        for &index in &indices {
            assert_eq!(slab.get(index).unwrap().index, index);
            assert_eq!(slab.of_call(call_id(index, 77)).unwrap().index, index);
        }
        assert!(slab.get(1 << 20).is_none());
        assert!(slab.of_call(u64::MAX).is_none());
    }

    #[test]
    fn the_slot_given_back_last_is_taken_first() {
        let slab = Slab::new();
        let first = slab.acquire().unwrap();
        let second = slab.acquire().unwrap();
        slab.release(first);
        slab.release(second);
        assert_eq!(slab.acquire().unwrap().index, second.index);
        assert_eq!(slab.acquire().unwrap().index, first.index);
    }

    #[test]
    fn no_slot_is_given_to_two_threads() {
        let slab = Slab::new();
        let in_use: Vec<AtomicU32> = (0..4096).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000 {
                        let taken: Vec<&Slot> = (0..round % 5 + 1)
                            .map(|_| slab.acquire().unwrap())
                            .collect();
                        for slot in &taken {
                            let before = in_use[slot.index as usize].fetch_add(1, Ordering::SeqCst);
                            assert_eq!(before, 0);
                        }
                        for slot in taken {
                            in_use[slot.index as usize].fetch_sub(1, Ordering::SeqCst);
                            slab.release(slot);
                        }
                    }
                });
            }
        });
        assert!(slab.iter().count() <= 64);
    }
}
