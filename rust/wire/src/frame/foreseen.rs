//! Headers made before they are needed.
//!
//! Tags are most of what a warm call computes, and both sides have time while they wait for each other: time to make the
//! header that will most likely be sent next, and the one that will most likely come. A header that arrives and is the
//! expected one, byte for byte, carries the right tag, so nothing is left to compute.

use super::{HEADER_LEN, Header, SessionKey};

/// A header with its bytes, for a body of a certain length. It belongs to the session whose key made it: never use it for
/// another's frames.
///
/// ```
/// use bitcode_wire::frame::{Foreseen, Header, Kind, SessionKeys};
///
/// let keys = SessionKeys::derive(b"the secret both ends got from the handshake");
/// let header = Header { session: 7, call: 1, ..Header::new(Kind::Call) };
/// let foreseen = Foreseen::new(header, &keys.to_node, 8);
///
/// let bytes = header.encode(&keys.to_node, 8);
/// assert_eq!(foreseen.bytes_for(&header, 8), Some(&bytes));
/// assert!(foreseen.is(&bytes, 8));
/// assert!(!foreseen.is(&bytes, 9), "another body's length, another tag");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Foreseen {
    header: Header,
    body_len: usize,
    bytes: [u8; HEADER_LEN],
}

impl Foreseen {
    /// Makes the header, with the tag for a body of `body_len` bytes.
    pub fn new(header: Header, key: &SessionKey, body_len: usize) -> Self {
        Self {
            header,
            body_len,
            bytes: header.encode(key, body_len),
        }
    }

    /// The bytes to send, if this is the header that was foreseen.
    #[inline]
    pub fn bytes_for(&self, header: &Header, body_len: usize) -> Option<&[u8; HEADER_LEN]> {
        (self.body_len == body_len && self.header == *header).then_some(&self.bytes)
    }

    /// Whether the bytes that arrived in front of a body of `body_len` bytes are the foreseen ones, tag and all: then
    /// [`Foreseen::header`] may be believed. The time it takes does not depend on where they differ.
    #[inline]
    pub fn is(&self, bytes: &[u8; HEADER_LEN], body_len: usize) -> bool {
        let word = |bytes: &[u8; HEADER_LEN], at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at * 8..][..8]);
            u64::from_le_bytes(word)
        };
        let difference = (0..HEADER_LEN / 8).fold((self.body_len ^ body_len) as u64, |sum, at| {
            sum | (word(&self.bytes, at) ^ word(bytes, at))
        });
        difference == 0
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Kind, SessionKeys};

    #[test]
    fn every_bit_counts() {
        let keys = SessionKeys::derive(b"s");
        let header = Header {
            session: 3,
            call: 5,
            ..Header::new(Kind::Value)
        };
        let foreseen = Foreseen::new(header, &keys.to_origin, 16);
        let bytes = header.encode(&keys.to_origin, 16);
        assert!(foreseen.is(&bytes, 16));
        for bit in 0..HEADER_LEN * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!foreseen.is(&other, 16), "bit {bit}");
        }
        let next = Header { call: 6, ..header };
        assert_eq!(foreseen.bytes_for(&next, 16), None);
        assert_eq!(foreseen.bytes_for(&header, 8), None);
    }
}
