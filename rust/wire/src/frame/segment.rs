//! What is said about segments: memory of a node that others read and write themselves.
//!
//! SEGMENT asks, and VALUE answers: with a [`SegmentGrant`] if memory was asked for, else with nothing.

use crate::codec::{DecodeError, EncodeError, Problem, Reader, Writer};

/// The payload of a SEGMENT frame.
///
/// ```
/// use bitcode_wire::frame::SegmentRequest;
///
/// let request = SegmentRequest::Alloc { bytes: 4096 };
/// assert_eq!(SegmentRequest::decode(&request.encode())?, request);
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentRequest {
    /// Make a segment of so many bytes, all zero. It is the asking session's, and ends with it.
    Alloc {
        /// How many.
        bytes: u64,
    },
    /// Let the asking session use a segment that exists.
    Attach {
        /// Which.
        segment: u64,
    },
    /// The asking session will not use the segment any more.
    Detach {
        /// Which.
        segment: u64,
    },
    /// Free a segment of the asking session's own.
    Free {
        /// Which.
        segment: u64,
    },
}

const ALLOC: u8 = 1;
const ATTACH: u8 = 2;
const DETACH: u8 = 3;
const FREE: u8 = 4;

impl SegmentRequest {
    /// Bytes of the payload.
    pub const LEN: usize = 16;

    /// The bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let (operation, argument) = match *self {
            Self::Alloc { bytes } => (ALLOC, bytes),
            Self::Attach { segment } => (ATTACH, segment),
            Self::Detach { segment } => (DETACH, segment),
            Self::Free { segment } => (FREE, segment),
        };
        let mut out = [0; Self::LEN];
        out[0] = operation;
        out[8..].copy_from_slice(&argument.to_le_bytes());
        out
    }

    /// Reads the payload of a SEGMENT frame.
    ///
    /// # Errors
    /// Another length, an unknown operation, reserved bytes that are not 0.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("SEGMENT payload", bytes);
        let unknown = reader.error("operation", Problem::Rule("must be 1 to 4"));
        let operation = reader.u8("operation")?;
        let reserved = reader.error("reserved", Problem::Rule("must be 0"));
        if reader.array::<7>("reserved")? != [0; 7] {
            return Err(reserved);
        }
        let argument = reader.u64("argument")?;
        reader.finish()?;
        Ok(match operation {
            ALLOC => Self::Alloc { bytes: argument },
            ATTACH => Self::Attach { segment: argument },
            DETACH => Self::Detach { segment: argument },
            FREE => Self::Free { segment: argument },
            _ => return Err(unknown),
        })
    }
}

/// What a session is told that may use a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentGrant<'a> {
    /// Its number, which no other segment of this node has or had.
    pub segment: u64,
    /// Its bytes.
    pub len: u64,
    /// The transport's key to it.
    pub key: &'a [u8],
}

impl<'a> SegmentGrant<'a> {
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = 32 << 10;

    /// The bytes.
    ///
    /// # Errors
    /// The key is too long.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::new("SEGMENT grant");
        writer.u64(self.segment);
        writer.u64(self.len);
        writer.bytes("key", self.key, Self::MAX_KEY);
        writer.finish()
    }

    /// Reads the payload of the VALUE that answers a SEGMENT.
    ///
    /// # Errors
    /// Bytes that are short or overlong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("SEGMENT grant", bytes);
        let grant = Self {
            segment: reader.u64("segment")?,
            len: reader.u64("len")?,
            key: reader.bytes("key", Self::MAX_KEY)?,
        };
        reader.finish()?;
        Ok(grant)
    }
}

/// The payload of a SEGMENT_GONE frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentGone {
    /// The segment that is not there any more.
    pub segment: u64,
}

impl SegmentGone {
    /// The bytes.
    pub fn encode(&self) -> [u8; 8] {
        self.segment.to_le_bytes()
    }

    /// Reads the payload of a SEGMENT_GONE frame.
    ///
    /// # Errors
    /// Another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("SEGMENT_GONE payload", bytes);
        let segment = reader.u64("segment")?;
        reader.finish()?;
        Ok(Self { segment })
    }
}
