//! Which codes a node is believed to have: a growing set of small numbers, read and written without a lock.
//!
//! It is a belief only. A node that lacks the code after all answers NEED_CODE, so nothing here has to be exact.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of the first block; each later block is twice as large.
const FIRST: u32 = 256;
/// Blocks: room for 2²⁴ − 256 codes. Codes beyond are never known, and so always sent.
const BLOCKS: usize = 16;

/// A set of code numbers.
#[derive(Default)]
pub(crate) struct KnownSet {
    blocks: [OnceLock<Box<[AtomicU64]>>; BLOCKS],
}

impl KnownSet {
    /// Block, word and bit of a code's number.
    fn place(code: u32) -> Option<(usize, usize, u64)> {
        let number = code.checked_add(FIRST)?;
        let block = (number.ilog2() - FIRST.ilog2()) as usize;
        let offset = number - (FIRST << block.min(BLOCKS));
        (block < BLOCKS).then(|| (block, (offset / 64) as usize, 1 << (offset % 64)))
    }

    /// Whether the code is in the set.
    pub(crate) fn contains(&self, code: u32) -> bool {
        Self::place(code).is_some_and(|(block, word, bit)| {
            self.blocks[block]
                .get()
                .is_some_and(|words| words[word].load(Ordering::Relaxed) & bit != 0)
        })
    }

    /// Puts the code in. `false` if it was there already, or cannot be kept.
    pub(crate) fn insert(&self, code: u32) -> bool {
        Self::place(code).is_some_and(|(block, word, bit)| {
            let words = self.blocks[block].get_or_init(|| {
                (0..(FIRST as usize / 64) << block)
                    .map(|_| AtomicU64::new(0))
                    .collect()
            });
            words[word].fetch_or(bit, Ordering::Relaxed) & bit == 0
        })
    }

    /// Takes the code out.
    pub(crate) fn remove(&self, code: u32) {
        if let Some((block, word, bit)) = Self::place(code)
            && let Some(words) = self.blocks[block].get()
        {
            words[word].fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_and_go_over_block_borders() {
        let set = KnownSet::default();
        for code in [0, 1, 63, 64, 255, 256, 767, 768, 100_000] {
            assert!(!set.contains(code));
            assert!(set.insert(code));
            assert!(!set.insert(code));
            assert!(set.contains(code));
            assert!(!set.contains(code + 1) || code == 0 || code == 63 || code == 255);
        }
        set.remove(64);
        assert!(!set.contains(64) && set.contains(63));
    }

    #[test]
    fn every_number_has_its_own_place() {
        let mut seen = std::collections::HashSet::new();
        for code in 0..5000 {
            assert!(seen.insert(KnownSet::place(code).unwrap()));
        }
    }

    #[test]
    fn numbers_beyond_the_last_block_are_never_known() {
        let set = KnownSet::default();
        for code in [1 << 24, u32::MAX] {
            assert!(!set.insert(code));
            assert!(!set.contains(code));
            set.remove(code);
        }
    }
}
