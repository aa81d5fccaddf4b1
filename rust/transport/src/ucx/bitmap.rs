//! A set of lanes that is read all the time and seldom changed: looking at it costs two loads, and one more for each
//! further 64 lanes that there ever were.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of a word, and words of a bitmap.
const WORD: u32 = u64::BITS;

/// The most members: as many as two levels of words can name.
pub(crate) const CAPACITY: u32 = WORD * WORD;

/// Numbers below [`CAPACITY`].
pub(crate) struct Bitmap {
    /// Which words were ever in use. Words that are empty again stay in: leaving them out could hide, for a moment, what
    /// another thread has just put in.
    used: AtomicU64,
    words: [AtomicU64; WORD as usize],
}

impl Bitmap {
    pub(crate) fn new() -> Self {
        Self {
            used: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; WORD as usize],
        }
    }

    /// Puts a number in.
    pub(crate) fn insert(&self, number: u32) {
        let (word, bit) = place(number);
        self.words[word].fetch_or(bit, Ordering::SeqCst);
        self.used.fetch_or(1 << word, Ordering::SeqCst);
    }

    /// Takes a number out.
    pub(crate) fn remove(&self, number: u32) {
        let (word, bit) = place(number);
        self.words[word].fetch_and(!bit, Ordering::SeqCst);
    }

    /// Whether a number is in.
    #[cfg(test)]
    pub(crate) fn contains(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.words[word].load(Ordering::SeqCst) & bit != 0
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The numbers that are in now, in order; those that come or go meanwhile may be seen or not.
    #[inline]
    pub(crate) fn iter(&self) -> Members<'_> {
        Members {
            bitmap: self,
            words: self.used.load(Ordering::SeqCst),
            base: 0,
            bits: 0,
        }
    }
}

#[inline]
fn place(number: u32) -> (usize, u64) {
    ((number / WORD) as usize, 1 << (number % WORD))
}

/// See [`Bitmap::iter`].
pub(crate) struct Members<'a> {
    bitmap: &'a Bitmap,
    words: u64,
    base: u32,
    bits: u64,
}

impl Iterator for Members<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.bits == 0 {
            if self.words == 0 {
                return None;
            }
            let word = self.words.trailing_zeros();
            self.words &= self.words - 1;
            self.base = word * WORD;
            self.bits = self.bitmap.words[word as usize].load(Ordering::SeqCst);
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some(self.base + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_and_go() {
        let bitmap = Bitmap::new();
        assert!(bitmap.is_empty());
        let numbers = [0, 1, 63, 64, 700, CAPACITY - 1];
        for number in numbers {
            bitmap.insert(number);
            bitmap.insert(number);
        }
        assert_eq!(bitmap.iter().collect::<Vec<_>>(), numbers);
        bitmap.remove(64);
        bitmap.remove(64);
        assert!(!bitmap.contains(64) && bitmap.contains(63));
        assert_eq!(
            bitmap.iter().collect::<Vec<_>>(),
            [0, 1, 63, 700, CAPACITY - 1]
        );
        for number in numbers {
            bitmap.remove(number);
        }
        assert!(bitmap.is_empty());
    }

    #[test]
    fn none_is_lost_while_others_go() {
        let bitmap = Bitmap::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let bitmap = &bitmap;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        bitmap.insert(thread);
                        assert!(bitmap.iter().any(|number| number == thread));
                        bitmap.remove(thread);
                    }
                    bitmap.insert(thread);
                });
            }
        });
        assert_eq!(bitmap.iter().count(), 4);
    }
}
