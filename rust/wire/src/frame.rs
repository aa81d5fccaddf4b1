//! Frames: the 64-byte header of every message on the data plane.
//!
//! It is apart, and written without the [`codec`](crate::codec), because it is on the path of every warm call: fixed
//! offsets, no allocation, one hash. A frame is this header and a body; the body is the payload, then the archive.
//!
//! A receiver [`decode`](Header::decode)s, finds the session, then [`verify`](Header::verify)s; it believes nothing
//! before that. A frame that fails either step is dropped and counted, never answered.

mod directory;
mod foreseen;
mod key;
mod output;
mod payloads;
mod segment;
mod timings;
mod trail;
mod view;

pub use directory::Directory;
pub use foreseen::Foreseen;
pub use key::{SessionKey, SessionKeys};
pub use output::{OUTPUT_WINDOW, OutputPayload, OutputTaken, Stream};
pub use payloads::Payloads;
pub use segment::{SegmentGone, SegmentGrant, SegmentRequest};
pub use timings::StageTimings;
pub use trail::{Step, Steps, TrailRequest};
pub use view::View;

use crate::code::CodePrefix;
use std::ops::Range;

/// Bytes of a header.
pub const HEADER_LEN: usize = 64;
/// The first two bytes of every frame, as a number: bytes `7C B1`.
pub const MAGIC: u16 = 0xB17C;
/// The version of the header's layout.
pub const VERSION: u8 = 1;

/// One row of the header's byte table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name, as in `docs/WIRE.md`.
    pub name: &'static str,
    /// Offset of its first byte.
    pub offset: usize,
    /// Its bytes.
    pub size: usize,
}

impl Field {
    const fn new(name: &'static str, offset: usize, size: usize) -> Self {
        Self { name, offset, size }
    }

    const fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.size
    }
}

const F_MAGIC: Field = Field::new("magic", 0, 2);
const F_VERSION: Field = Field::new("version", 2, 1);
const F_KIND: Field = Field::new("kind", 3, 1);
const F_FLAGS: Field = Field::new("flags", 4, 2);
const F_FAN_OUT: Field = Field::new("fan_out", 6, 2);
const F_SESSION: Field = Field::new("session", 8, 4);
const F_ORIGIN: Field = Field::new("origin", 12, 4);
const F_CALL: Field = Field::new("call", 16, 8);
const F_CODE: Field = Field::new("code", 24, 16);
const F_ARCHIVE_LEN: Field = Field::new("archive_len", 40, 4);
const F_DEADLINE: Field = Field::new("deadline_ms", 44, 4);
const F_HOP_BUDGET: Field = Field::new("hop_budget", 48, 4);
const F_EPOCH: Field = Field::new("epoch", 52, 2);
const F_ENTRY: Field = Field::new("entry", 54, 2);
const F_TAG: Field = Field::new("tag", 56, 8);

/// Where the kind is: for those who look at it before they believe the header.
pub const KIND_OFFSET: usize = F_KIND.offset;

/// The header's byte table, in order and without gaps; `docs/WIRE.md` is tested against it.
pub const LAYOUT: [Field; 15] = [
    F_MAGIC,
    F_VERSION,
    F_KIND,
    F_FLAGS,
    F_FAN_OUT,
    F_SESSION,
    F_ORIGIN,
    F_CALL,
    F_CODE,
    F_ARCHIVE_LEN,
    F_DEADLINE,
    F_HOP_BUDGET,
    F_EPOCH,
    F_ENTRY,
    F_TAG,
];

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Run this code on this payload. Origin to node.
    Call = 1,
    /// The packed result. Node to origin.
    Value = 2,
    /// The exception that shipped code threw, as a graph (`docs/ABI.md`). Node to origin.
    Throw = 3,
    /// The call could not be carried out; see [`ErrorPayload`](crate::error::ErrorPayload). Node to origin.
    Error = 4,
    /// The node lacks the code: send the same call id again with the archive. Node to origin, empty body; or to the node
    /// that a HOP came from, with the HOP's payload.
    NeedCode = 5,
    /// Reserved: give the call up. Answered with ERROR `UNSUPPORTED` in this version.
    Cancel = 6,
    /// Are you there? Answered by PONG with the same payload and call id. Either way.
    Ping = 7,
    /// The answer to PING.
    Pong = 8,
    /// What the code of a call printed; see [`OutputPayload`]. Node to origin.
    Output = 9,
    /// How much of the session's output the origin has dealt with; see [`OutputTaken`]. Origin to node.
    OutputTaken = 10,
    /// The nodes that a call may hop to; see [`Directory`]. Origin to node.
    Directory = 11,
    /// Run this code on this payload, for an origin that awaits the answer from whoever has it in the end. Node to node.
    Hop = 12,
    /// A link to another node is lost, and with it perhaps calls that hopped over it: the directory that is named, and an
    /// [`ErrorPayload`](crate::error::ErrorPayload). Node to origin.
    HopsLost = 13,
    /// Where did the call go from here? Answered by VALUE with [`Steps`]. Origin to node.
    Trail = 14,
    /// About memory of the node that the origin uses itself; see [`SegmentRequest`]. Origin to node.
    Segment = 16,
    /// A segment that the origin may have used is not there any more; see [`SegmentGone`]. Node to origin.
    SegmentGone = 17,
}

impl Kind {
    /// Every kind, in order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Call,
        Self::Value,
        Self::Throw,
        Self::Error,
        Self::NeedCode,
        Self::Cancel,
        Self::Ping,
        Self::Pong,
        Self::Output,
        Self::OutputTaken,
        Self::Directory,
        Self::Hop,
        Self::HopsLost,
        Self::Trail,
        Self::Segment,
        Self::SegmentGone,
    ];
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        Ok(match byte {
            1 => Self::Call,
            2 => Self::Value,
            3 => Self::Throw,
            4 => Self::Error,
            5 => Self::NeedCode,
            6 => Self::Cancel,
            7 => Self::Ping,
            8 => Self::Pong,
            9 => Self::Output,
            10 => Self::OutputTaken,
            11 => Self::Directory,
            12 => Self::Hop,
            13 => Self::HopsLost,
            14 => Self::Trail,
            16 => Self::Segment,
            17 => Self::SegmentGone,
            kind => return Err(FrameError::Kind(kind)),
        })
    }
}

/// Bits that change how a frame is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// No bit set.
    pub const NONE: Self = Self(0);
    /// The body ends with the archive of the code. Only on CALL and HOP.
    pub const HAS_ARCHIVE: Self = Self(1);
    /// Nobody waits for the outcome (`remote_do`): the node answers with an empty VALUE as soon as it is about to run the
    /// call (with an ERROR if it cannot), so that the origin can forget it, and only logs how it ends.
    pub const NO_REPLY: Self = Self(2);
    /// The body ends with [`StageTimings`]. Only on VALUE, THROW and ERROR; the archive length is theirs.
    pub const TIMED: Self = Self(4);
    /// Do not run the code: answer with a VALUE that is text, what the node makes of the archive; the payload says in which
    /// form ([`View`]). Only on CALL, and always answered with NEED_CODE if it brings no archive.
    pub const SHOW: Self = Self(8);
    /// The payload is those of several calls ([`Payloads`]), of the same code and with the same limits, which are run one after the other or at
    /// the same time. Only on CALL, and only with NO_REPLY.
    pub const MANY: Self = Self(16);
    /// The sender itself awaits the answer, on the session that the frame came on, under the call id of the header: a number of
    /// its own. The payload ends with 8 bytes, little-endian, that are none of the code's: the id of the origin's call. Only on
    /// HOP, and on the NEED_CODE that sends one back.
    pub const ASKED: Self = Self(32);
    /// All bits that this version knows.
    pub const ALL: Self = Self(63);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why a frame was dropped.
///
/// All but [`FrameError::Tag`] are told apart before the session is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not 64 bytes.
    #[error("a frame header has {HEADER_LEN} bytes, not {0}")]
    Length(usize),
    /// Not a frame.
    #[error("frame magic is {0:#06x}, not {MAGIC:#06x}: the bytes are no BitCode.jl frame")]
    Magic(u16),
    /// A frame of another version.
    #[error("frame version is {0}, this build reads version {VERSION}; update the older side")]
    Version(u8),
    /// A kind that this version does not know.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// Flag bits that this version does not know, or not on such a frame.
    #[error("frame flags {0:#06x} hold unknown bits")]
    Flags(u16),
    /// An entry is named by a frame that names none.
    #[error(
        "the frame header names entry {0:#06x}, which only a HOP or the NEED_CODE that sends it back may"
    )]
    Entry(u16),
    /// The kind, the flags and the archive length contradict each other.
    #[error("a {kind:?} frame with flags {flags:#06x} cannot have an archive length of {len}")]
    Archive {
        /// The frame's kind.
        kind: Kind,
        /// Its flags.
        flags: u16,
        /// The archive length it claims.
        len: u32,
    },
    /// The archive is longer than the whole body.
    #[error("frame announces an archive of {archive} bytes in a body of {body}")]
    Body {
        /// The archive length it claims.
        archive: u32,
        /// Bytes of the body.
        body: usize,
    },
    /// The tag does not fit: wrong key, changed header, or another body length.
    #[error("frame tag does not match: wrong session key, or the header was changed")]
    Tag,
}

/// The header of a frame, without what is the same in every frame.
///
/// ```
/// use bitcode_wire::code::CodeId;
/// use bitcode_wire::frame::{Header, Kind, SessionKeys};
///
/// let keys = SessionKeys::derive(b"the secret both ends got from the handshake");
/// let header = Header { session: 7, call: 1, code: CodeId::of(b"archive").prefix(), ..Header::new(Kind::Call) };
/// let bytes = header.encode(&keys.to_node, 8);
///
/// let seen = Header::decode(&bytes)?;
/// seen.verify(&bytes, &keys.to_node, 8)?;
/// assert_eq!(seen, header);
/// assert!(seen.verify(&bytes, &keys.to_node, 9).is_err(), "the tag covers the body's length");
/// # Ok::<(), bitcode_wire::frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Bits that change how it is handled.
    pub flags: Flags,
    /// How many calls the call may start on each node, itself or by those that it starts, beside going on to others.
    pub fan_out: u16,
    /// The session: the number that the node gave in the handshake, the same in both directions.
    pub session: u32,
    /// The origin's number, given in the handshake (the session, for now). For a DIRECTORY, a HOP, and a CALL that may hop: the
    /// directory's id.
    pub origin: u32,
    /// The call, chosen by the origin and unique within the session.
    pub call: u64,
    /// Which code.
    pub code: CodePrefix,
    /// Bytes at the end of the body after the payload: of the archive on a CALL, of the [`StageTimings`] on a timed
    /// reply; 0 when there are neither.
    pub archive_len: u32,
    /// Milliseconds left until the deadline; 0 when there is none.
    pub deadline_ms: u32,
    /// Hops that the call may still make.
    pub hop_budget: u32,
    /// The session's epoch.
    pub epoch: u16,
    /// Which of the code's entries a HOP calls; 0 for all other kinds.
    pub entry: u16,
}

impl Header {
    /// A header of this kind with everything else 0.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            flags: Flags::NONE,
            fan_out: 0,
            session: 0,
            origin: 0,
            call: 0,
            code: CodePrefix::NONE,
            archive_len: 0,
            deadline_ms: 0,
            hop_budget: 0,
            epoch: 0,
            entry: 0,
        }
    }

    /// The 64 bytes, with the tag for a body of `body_len` bytes (payload and archive).
    pub fn encode(&self, key: &SessionKey, body_len: usize) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[F_MAGIC.range()].copy_from_slice(&MAGIC.to_le_bytes());
        out[F_VERSION.offset] = VERSION;
        out[F_KIND.offset] = self.kind as u8;
        out[F_FLAGS.range()].copy_from_slice(&self.flags.0.to_le_bytes());
        out[F_FAN_OUT.range()].copy_from_slice(&self.fan_out.to_le_bytes());
        out[F_SESSION.range()].copy_from_slice(&self.session.to_le_bytes());
        out[F_ORIGIN.range()].copy_from_slice(&self.origin.to_le_bytes());
        out[F_CALL.range()].copy_from_slice(&self.call.to_le_bytes());
        out[F_CODE.range()].copy_from_slice(&self.code.0);
        out[F_ARCHIVE_LEN.range()].copy_from_slice(&self.archive_len.to_le_bytes());
        out[F_DEADLINE.range()].copy_from_slice(&self.deadline_ms.to_le_bytes());
        out[F_HOP_BUDGET.range()].copy_from_slice(&self.hop_budget.to_le_bytes());
        out[F_EPOCH.range()].copy_from_slice(&self.epoch.to_le_bytes());
        out[F_ENTRY.range()].copy_from_slice(&self.entry.to_le_bytes());
        let tag = key.tag(&out, body_len);
        out[F_TAG.range()].copy_from_slice(&tag.to_le_bytes());
        out
    }

    /// Reads a header and checks everything that needs no key. Believe it only after [`Header::verify`].
    ///
    /// # Errors
    /// Any [`FrameError`] but `Tag` and `Body`; each means: drop the frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let bytes: &[u8; HEADER_LEN] = bytes
            .try_into()
            .map_err(|_| FrameError::Length(bytes.len()))?;
        let magic = u16::from_le_bytes(field(bytes, F_MAGIC));
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        if bytes[F_VERSION.offset] != VERSION {
            return Err(FrameError::Version(bytes[F_VERSION.offset]));
        }
        let kind = Kind::try_from(bytes[F_KIND.offset])?;
        let flags = u16::from_le_bytes(field(bytes, F_FLAGS));
        if !flags_fit(kind, Flags(flags)) {
            return Err(FrameError::Flags(flags));
        }
        let entry = u16::from_le_bytes(field(bytes, F_ENTRY));
        if entry != 0 && !matches!(kind, Kind::Hop | Kind::NeedCode) {
            return Err(FrameError::Entry(entry));
        }
        let archive_len = u32::from_le_bytes(field(bytes, F_ARCHIVE_LEN));
        if !trailer_fits(kind, Flags(flags), archive_len) {
            return Err(FrameError::Archive {
                kind,
                flags,
                len: archive_len,
            });
        }
        Ok(Self {
            kind,
            flags: Flags(flags),
            fan_out: u16::from_le_bytes(field(bytes, F_FAN_OUT)),
            session: u32::from_le_bytes(field(bytes, F_SESSION)),
            origin: u32::from_le_bytes(field(bytes, F_ORIGIN)),
            call: u64::from_le_bytes(field(bytes, F_CALL)),
            code: CodePrefix(field(bytes, F_CODE)),
            archive_len,
            deadline_ms: u32::from_le_bytes(field(bytes, F_DEADLINE)),
            hop_budget: u32::from_le_bytes(field(bytes, F_HOP_BUDGET)),
            epoch: u16::from_le_bytes(field(bytes, F_EPOCH)),
            entry,
        })
    }

    /// Checks the tag of the bytes that this header was decoded from, and the archive length against the body's.
    ///
    /// # Errors
    /// [`FrameError::Tag`], [`FrameError::Body`].
    pub fn verify(
        &self,
        bytes: &[u8; HEADER_LEN],
        key: &SessionKey,
        body_len: usize,
    ) -> Result<(), FrameError> {
        // Both sides are one machine word: the comparison takes the same time wherever they differ.
        if key.tag(bytes, body_len) != u64::from_le_bytes(field(bytes, F_TAG)) {
            return Err(FrameError::Tag);
        }
        self.payload_len(body_len).map(|_| ())
    }

    /// Bytes of the payload in a body of `body_len` bytes.
    ///
    /// # Errors
    /// [`FrameError::Body`] when the archive alone is longer.
    pub const fn payload_len(&self, body_len: usize) -> Result<usize, FrameError> {
        match body_len.checked_sub(self.archive_len as usize) {
            Some(len) => Ok(len),
            None => Err(FrameError::Body {
                archive: self.archive_len,
                body: body_len,
            }),
        }
    }

    /// The payload of a frame's body and what follows it: the archive, the [`StageTimings`], or nothing.
    ///
    /// # Errors
    /// [`FrameError::Body`].
    pub fn split<'a>(&self, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), FrameError> {
        Ok(body.split_at(self.payload_len(body.len())?))
    }
}

/// Whether these are bits that this version knows, and may be on such a frame.
fn flags_fit(kind: Kind, flags: Flags) -> bool {
    let shows = flags.contains(Flags::SHOW);
    let many = flags.contains(Flags::MANY);
    flags.0 & !Flags::ALL.0 == 0
        && (kind == Kind::Call || !(shows || many))
        && (!many || (flags.contains(Flags::NO_REPLY) && !shows))
        && (!flags.contains(Flags::ASKED)
            || (matches!(kind, Kind::Hop | Kind::NeedCode) && !flags.contains(Flags::NO_REPLY)))
}

/// Whether what follows the payload is what the kind may have and the flags announce.
fn trailer_fits(kind: Kind, flags: Flags, len: u32) -> bool {
    match (
        flags.contains(Flags::HAS_ARCHIVE),
        flags.contains(Flags::TIMED),
    ) {
        (false, false) => len == 0,
        (true, false) => matches!(kind, Kind::Call | Kind::Hop) && len != 0,
        (false, true) => {
            matches!(kind, Kind::Value | Kind::Throw | Kind::Error)
                && len as usize == StageTimings::LEN
        }
        (true, true) => false,
    }
}

/// The bytes of a field whose size is `N`.
fn field<const N: usize>(bytes: &[u8; HEADER_LEN], field: Field) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[field.range()]);
    out
}
