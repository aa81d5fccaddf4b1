//! What shipped code prints, and the account that keeps it within bounds.
//!
//! A node may be ahead of its origin by [`OUTPUT_WINDOW`]: each OUTPUT frame counts with its text and
//! [`OutputPayload::OVERHEAD`], and OUTPUT_TAKEN tells how much the origin has dealt with. Both sides count from the
//! session's beginning.

use crate::codec::{DecodeError, Problem, Reader};

const OUTPUT_HEAD: usize = 16;

/// How much output a session may have under way.
pub const OUTPUT_WINDOW: u64 = 1 << 20;

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Out = 1,
    /// Standard error.
    Error = 2,
}

impl Stream {
    /// The stream of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Out),
            2 => Some(Self::Error),
            _ => None,
        }
    }
}

/// The payload of an OUTPUT frame: a piece of what a call printed.
///
/// ```
/// use bitcode_wire::frame::{OutputPayload, Stream};
///
/// let piece = OutputPayload { position: 0, stream: Stream::Out, open: false, text: b"a line\n" };
/// assert_eq!(OutputPayload::decode(&piece.encode())?, piece);
/// assert_eq!(piece.end(), 64 + 7);
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPayload<'a> {
    /// What the session's OUTPUT frames before this one count.
    pub position: u64,
    /// Where it goes.
    pub stream: Stream,
    /// The last line goes on in the next piece of the same call and stream.
    pub open: bool,
    /// The text, in UTF-8 if the code printed such; a character may be cut in two where a line goes on.
    pub text: &'a [u8],
}

impl<'a> OutputPayload<'a> {
    /// The longest text.
    pub const MAX_TEXT: usize = 8 << 10;
    /// What a piece counts besides its text.
    pub const OVERHEAD: u64 = 64;
    /// Bytes before the text.
    pub const HEAD: usize = OUTPUT_HEAD;

    /// What the session's OUTPUT frames count up to the end of this one.
    pub const fn end(&self) -> u64 {
        self.position
            .saturating_add(Self::OVERHEAD + self.text.len() as u64)
    }

    /// The bytes before the text.
    pub fn head(&self) -> [u8; OUTPUT_HEAD] {
        let mut out = [0; OUTPUT_HEAD];
        out[..8].copy_from_slice(&self.position.to_le_bytes());
        out[8] = self.stream as u8;
        out[9] = u8::from(self.open);
        out
    }

    /// All bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.head(), self.text].concat()
    }

    /// Reads the payload of an OUTPUT frame; the text is borrowed from it.
    ///
    /// # Errors
    /// Bytes that are short or overlong, an unknown stream, reserved bytes that are not 0.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("OUTPUT payload", bytes);
        let position = reader.u64("position")?;
        let unknown = reader.error("stream", Problem::Rule("must be 1 or 2"));
        let stream = Stream::from_number(reader.u8("stream")?).ok_or(unknown)?;
        let neither = reader.error("open", Problem::Rule("must be 0 or 1"));
        let open = match reader.u8("open")? {
            0 => false,
            1 => true,
            _ => return Err(neither),
        };
        let reserved = reader.error("reserved", Problem::Rule("must be 0"));
        if reader.array::<6>("reserved")? != [0; 6] {
            return Err(reserved);
        }
        let text = &bytes[Self::HEAD..];
        if text.len() > Self::MAX_TEXT {
            let over = Problem::OverLimit {
                found: text.len() as u64,
                limit: Self::MAX_TEXT as u64,
            };
            return Err(reader.error("text", over));
        }
        Ok(Self {
            position,
            stream,
            open,
            text,
        })
    }
}

/// The payload of an OUTPUT_TAKEN frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputTaken {
    /// The [`OutputPayload::end`] of the last piece that the origin has dealt with.
    pub position: u64,
}

impl OutputTaken {
    /// The bytes.
    pub fn encode(&self) -> [u8; 8] {
        self.position.to_le_bytes()
    }

    /// Reads the payload of an OUTPUT_TAKEN frame.
    ///
    /// # Errors
    /// Another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("OUTPUT_TAKEN payload", bytes);
        let position = reader.u64("position")?;
        reader.finish()?;
        Ok(Self { position })
    }
}
