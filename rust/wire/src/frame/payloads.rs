//! Several calls in one frame: the payload of a CALL with [`Flags::MANY`](super::Flags::MANY).
//!
//! Each call's payload begins at a multiple of 64, so that it is read in place as that of a frame of its own would be. Their lengths come
//! last, so that whoever collects calls adds to the end.

use std::ops::Range;

use crate::codec::{DecodeError, Problem, Reader};

const WORD: usize = size_of::<u32>();

/// Payloads of several calls, while they are collected.
///
/// ```
/// use bitcode_wire::frame::Payloads;
///
/// let mut calls = Payloads::default();
/// calls.push([&b"first"[..], b" call"]);
/// calls.push([&b"second"[..]]);
/// let bytes = calls.take();
/// let places = Payloads::places(&bytes)?;
/// assert_eq!(&bytes[places[0].clone()], b"first call");
/// assert_eq!(&bytes[places[1].clone()], b"second");
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Payloads {
    bytes: Vec<u8>,
    lengths: Vec<u8>,
}

impl Payloads {
    /// Where each payload begins: at a multiple of this.
    pub const ALIGN: usize = 64;
    /// The most calls in one frame.
    pub const MOST: usize = 1024;

    /// Adds the payload of one more call, given in parts. It is to be shorter than 4 GiB.
    pub fn push<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let len = (self.bytes.len() - start) as u32;
        self.lengths.extend_from_slice(&len.to_le_bytes());
        let end = self.bytes.len().next_multiple_of(Self::ALIGN);
        self.bytes.resize(end, 0);
    }

    /// How many calls.
    pub fn len(&self) -> usize {
        self.lengths.len() / WORD
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Bytes of all payloads so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What the frame carries. There are no calls then.
    pub fn take(&mut self) -> Vec<u8> {
        let count = self.len() as u32;
        let mut out = std::mem::take(&mut self.bytes);
        out.append(&mut self.lengths);
        out.extend_from_slice(&count.to_le_bytes());
        out
    }

    /// Where the payloads are in what a frame carries.
    ///
    /// # Errors
    /// Lengths that are not those of the bytes, more calls than [`Payloads::MOST`] or none, bytes between payloads that are not 0.
    pub fn places(bytes: &[u8]) -> Result<Vec<Range<usize>>, DecodeError> {
        let whole = Reader::new("MANY payload", bytes);
        let odd = || {
            whole.error(
                "count",
                Problem::Rule("must be 1 to 1024, and so many lengths precede it"),
            )
        };
        let (rest, count) = bytes.split_last_chunk::<WORD>().ok_or_else(odd)?;
        let count = u32::from_le_bytes(*count) as usize;
        if count == 0 || count > Self::MOST {
            return Err(odd());
        }
        let at = rest.len().checked_sub(count * WORD).ok_or_else(odd)?;
        let (payloads, lengths) = rest.split_at(at);
        let mut places = Vec::with_capacity(count);
        let mut start = 0;
        for length in lengths.as_chunks::<WORD>().0 {
            let end = start + u32::from_le_bytes(*length) as usize;
            let next = end.next_multiple_of(Self::ALIGN);
            let padding = payloads.get(end..next);
            if !padding.is_some_and(|padding| padding.iter().all(|byte| *byte == 0)) {
                let rule = "must end within the payloads, with zeros up to the next multiple of 64";
                return Err(whole.error("lengths", Problem::Rule(rule)));
            }
            places.push(start..end);
            start = next;
        }
        if start == payloads.len() {
            return Ok(places);
        }
        Err(whole.error("lengths", Problem::Rule("must be those of all payloads")))
    }
}
