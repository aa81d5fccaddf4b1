//! What an ERROR frame says: a code that programs match on, and a sentence for people.

use crate::codec::{DecodeError, Reader, Writer};
use std::fmt;

/// Why a node could not carry out a call, as a number on the wire.
///
/// Codes of newer peers are kept, not refused: match the constants and have an arm for the rest.
///
/// ```
/// use bitcode_wire::error::ErrorCode;
///
/// assert_eq!(ErrorCode::DEADLINE.to_string(), "DEADLINE");
/// assert_eq!(ErrorCode(77).to_string(), "error code 77");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $value:literal;)+) => {
        impl ErrorCode {
            $($(#[$doc])+ pub const $name: Self = Self($value);)+

            /// Every code that this build knows, in order.
            pub const KNOWN: &'static [Self] = &[$(Self::$name),+];

            /// The constant's name, when this build knows the code.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The archive's bytes could not be decoded.
    BAD_ARCHIVE = 1;
    /// The archive's hash is not the code id that the frame names.
    BAD_HASH = 2;
    /// An image is not valid bitcode, does not verify, or still holds an absolute address.
    BAD_IMAGE = 3;
    /// No image of the archive fits this node.
    NO_IMAGE = 4;
    /// An image imports a symbol that this node does not offer.
    UNRESOLVED_SYMBOL = 5;
    /// The payload could not be unpacked, or its header contradicts itself.
    BAD_PAYLOAD = 6;
    /// The node has no memory left for the call.
    OUT_OF_MEMORY = 7;
    /// The deadline passed before the call ended.
    DEADLINE = 8;
    /// Shipped code died of a signal.
    FAULT = 9;
    /// The node is shutting down and takes no calls.
    SHUTTING_DOWN = 10;
    /// A frame, a result or an archive is over a limit, or there are too many sessions.
    TOO_LARGE = 11;
    /// The node knows what is asked for, and cannot do it.
    UNSUPPORTED = 12;
    /// A fault of the node itself; please report it.
    INTERNAL = 13;
    /// The archive was made for another ABI.
    BAD_ABI = 14;
    /// The call has made all the hops that it may.
    HOP_BUDGET = 15;
    /// The node that a call wanted to hop to is not there, or cannot be reached from where the call is.
    UNREACHABLE = 16;
    /// The call has started all the calls that it may.
    FAN_OUT = 17;
    /// There is no such segment (any more), or it is another session's.
    NO_SEGMENT = 24;
    /// The node's segments would take more memory than they may.
    SEGMENT_LIMIT = 25;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

/// The payload of an ERROR frame.
///
/// ```
/// use bitcode_wire::error::{ErrorCode, ErrorPayload};
///
/// let bytes = ErrorPayload { code: ErrorCode::DEADLINE, message: "the call took longer than 5 ms" }.encode();
/// let error = ErrorPayload::decode(&bytes)?;
/// assert_eq!(error.to_string(), "DEADLINE: the call took longer than 5 ms");
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorPayload<'a> {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, what to do.
    pub message: &'a str,
}

impl<'a> ErrorPayload<'a> {
    /// The longest message, in bytes.
    pub const MAX_MESSAGE: usize = 32 << 10;

    /// The bytes. A message over [`Self::MAX_MESSAGE`] is cut at a character: an error must always get through.
    pub fn encode(&self) -> Vec<u8> {
        let message =
            &self.message.as_bytes()[..self.message.floor_char_boundary(Self::MAX_MESSAGE)];
        let mut out = Vec::with_capacity(8 + message.len());
        out.extend_from_slice(&self.code.0.to_le_bytes());
        out.extend_from_slice(&(message.len() as u32).to_le_bytes());
        out.extend_from_slice(message);
        out
    }

    /// Reads the payload of an ERROR frame; the message is borrowed from it.
    ///
    /// # Errors
    /// Bytes that are short, overlong or not UTF-8.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("ERROR payload", bytes);
        let error = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(error)
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            code: ErrorCode(reader.u32("code")?),
            message: reader.str("message", Self::MAX_MESSAGE)?,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.raw(&self.encode());
    }
}

impl fmt::Display for ErrorPayload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
