//! One-sided access: memory that a fabric lets its peers read and write, without any code of its owner's running.
//!
//! The owner has a [`Region`], from [`Fabric::allocate`](crate::Fabric::allocate), and packs its key. Who holds the key
//! and is a peer makes a [`RemoteRegion`] of it ([`Fabric::import`](crate::Fabric::import)).
//!
//! A key is a capability, and nothing in it says whether the memory is still there: UCX believes who uses it. So the
//! owner keeps a region mapped as long as anyone who holds its key is a peer
//! ([`Fabric::has_peer`](crate::Fabric::has_peer)), and who uses one checks ranges before anything is sent.

use std::ptr::NonNull;
use std::time::Duration;

use crate::error::TransportError;

/// Memory of this process that peers may use. It is unmapped when dropped.
pub trait Region: Send + Sync {
    /// The first byte, aligned to 64 bytes. Peers may change the bytes at any time: make no Rust reference to them.
    fn base(&self) -> NonNull<u8>;

    /// Number of bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key, for a peer's [`Fabric::import`](crate::Fabric::import).
    ///
    /// # Errors
    /// The transport cannot pack it.
    fn key(&self) -> Result<Vec<u8>, TransportError>;
}

/// What [`RemoteRegion::update`] does to a 64-bit word, at once for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// Adds, modulo 2⁶⁴.
    Add(u64),
    /// Puts another word in its place.
    Swap(u64),
    /// Puts `new` in its place if it is `expected`.
    CompareSwap {
        /// What the word has to be.
        expected: u64,
        /// What it is afterwards.
        new: u64,
    },
}

/// A peer's [`Region`]. Of no use once the peer is removed.
///
/// Every method drives the fabric until it is done, or `patience` has passed; frames that arrive meanwhile wait for the
/// next poll. Ranges that are not inside the region are refused before anything is sent.
pub trait RemoteRegion: Send + Sync {
    /// Number of bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fetches bytes. What others write at the same time may be seen in part.
    ///
    /// # Errors
    /// The range is not inside the region, the peer is gone, or time ran out.
    fn read(&self, offset: u64, to: &mut [u8], patience: Duration) -> Result<(), TransportError>;

    /// Sends bytes. `from` is free when this returns; that the bytes are there is known after [`RemoteRegion::flush`].
    ///
    /// # Errors
    /// As for `read`.
    fn write(&self, offset: u64, from: &[u8], patience: Duration) -> Result<(), TransportError>;

    /// Changes the 64-bit word at `offset`, a multiple of 8, and returns what it was before.
    ///
    /// # Errors
    /// As for `read`; and an offset that is no multiple of 8.
    fn update(
        &self,
        offset: u64,
        update: Update,
        patience: Duration,
    ) -> Result<u64, TransportError>;

    /// Returns when everything that was written before is there.
    ///
    /// # Errors
    /// The peer is gone, or time ran out.
    fn flush(&self, patience: Duration) -> Result<(), TransportError>;
}

/// Whether a range is inside a region of so many bytes.
pub(crate) fn check_range(offset: u64, len: usize, region: u64) -> Result<(), TransportError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= region => Ok(()),
        _ => Err(TransportError::OutOfRange {
            offset,
            len,
            region,
        }),
    }
}

/// Whether there is a word at `offset` that can be updated.
pub(crate) fn check_word(offset: u64, region: u64) -> Result<(), TransportError> {
    if offset.is_multiple_of(8) {
        check_range(offset, 8, region)
    } else {
        Err(TransportError::Misaligned { offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inside_or_refused_also_where_they_overflow() {
        assert!(check_range(0, 8, 8).is_ok() && check_range(8, 0, 8).is_ok());
        for (offset, len) in [(1, 8), (9, 0), (u64::MAX, 2), (0, 9)] {
            let refused = check_range(offset, len, 8).unwrap_err();
            assert!(matches!(refused, TransportError::OutOfRange { .. }));
        }
    }

    #[test]
    fn words_are_aligned_or_refused() {
        assert!(check_word(8, 16).is_ok());
        assert!(matches!(
            check_word(4, 16),
            Err(TransportError::Misaligned { offset: 4 })
        ));
        assert!(matches!(
            check_word(16, 16),
            Err(TransportError::OutOfRange { .. })
        ));
    }
}
