//! What two processes tell each other on the control channel before the first frame.
//!
//! Both send a [`Preamble`] in the clear; it never changes, so that any two versions can tell each other why they do
//! not fit. After it a Noise handshake proves that both hold the same key; then, encrypted, the origin sends [`Hello`]
//! and the node answers with an [`Answer`]. Time-outs, the cipher and the TCP stream belong to the transport room.

use crate::codec::{DecodeError, EncodeError, Problem, Reader, Writer};
use crate::error::ErrorPayload;

/// The first four bytes on a control channel, both ways.
pub const MAGIC: [u8; 4] = *b"BCTL";
/// The newest version of the control channel that this build speaks.
pub const VERSION: u16 = 1;
/// The oldest one.
pub const MIN_VERSION: u16 = 1;
/// Bytes of a preamble.
pub const PREAMBLE_LEN: usize = 9;
/// The longest message: what one Noise message of 65,535 bytes carries beside its 16-byte tag.
pub const MAX_MESSAGE_BYTES: usize = 65_519;
/// The longest text field, in bytes.
pub const MAX_TEXT_BYTES: usize = 8 << 10;
/// The longest UCX worker address, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 32 << 10;
/// The most ABIs that a node names.
pub const MAX_ABIS: usize = 64;

/// The bits of [`Preamble::flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PreambleFlags(pub u8);

impl PreambleFlags {
    /// The sender has a key configured.
    pub const HAS_KEY: Self = Self(1);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The first bytes of a control channel, in the clear, each way.
///
/// Its layout is frozen for all versions; flag bits that a build does not know are kept and ignored. Nothing in it is
/// secret. It is not authenticated by itself: use both preambles' bytes as the Noise prologue, so that a change in
/// transit makes the handshake fail.
///
/// ```
/// use bitcode_wire::handshake::{Mismatch, Preamble};
///
/// let origin = Preamble::ours(true);
/// let node = Preamble::decode(&Preamble::ours(false).encode())?;
/// assert_eq!(origin.agree(&node), Err(Mismatch::TheyLackKey));
/// assert_eq!(node.agree(&origin), Err(Mismatch::WeLackKey));
/// assert_eq!(origin.agree(&Preamble::ours(true)), Ok(1));
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The oldest version that the sender speaks.
    pub min_version: u16,
    /// The newest version that the sender speaks.
    pub max_version: u16,
    /// What the sender has.
    pub flags: PreambleFlags,
}

/// Why two preambles do not fit: a sentence for the side that holds `self` in [`Preamble::agree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// No version is spoken by both.
    #[error(
        "the peer speaks versions {their_min} to {their_max} of the control channel, this side {our_min} to {our_max}; \
         update the older side"
    )]
    Version {
        /// Our oldest version.
        our_min: u16,
        /// Our newest version.
        our_max: u16,
        /// The peer's oldest version.
        their_min: u16,
        /// The peer's newest version.
        their_max: u16,
    },
    /// The peer has a key and this side has none.
    #[error("the peer requires a key and none is configured here; give the same key to both sides")]
    WeLackKey,
    /// This side has a key and the peer has none.
    #[error("a key is configured here and the peer has none; give the same key to both sides")]
    TheyLackKey,
}

impl Preamble {
    /// What this build sends.
    pub const fn ours(has_key: bool) -> Self {
        let flags = if has_key {
            PreambleFlags::HAS_KEY
        } else {
            PreambleFlags(0)
        };
        Self {
            min_version: MIN_VERSION,
            max_version: VERSION,
            flags,
        }
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; PREAMBLE_LEN] {
        let mut out = [0; PREAMBLE_LEN];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&self.min_version.to_le_bytes());
        out[6..8].copy_from_slice(&self.max_version.to_le_bytes());
        out[8] = self.flags.0;
        out
    }

    /// Reads exactly [`PREAMBLE_LEN`] bytes.
    ///
    /// # Errors
    /// Another length, another magic, or versions in the wrong order.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("preamble", bytes);
        let magic = reader.error("magic", Problem::WrongMagic);
        if reader.array::<4>("magic")? != MAGIC {
            return Err(magic);
        }
        let order = reader.error(
            "versions",
            Problem::Rule("the oldest version is newer than the newest"),
        );
        let preamble = Self {
            min_version: reader.u16("min_version")?,
            max_version: reader.u16("max_version")?,
            flags: PreambleFlags(reader.u8("flags")?),
        };
        reader.finish()?;
        if preamble.min_version > preamble.max_version {
            return Err(order);
        }
        Ok(preamble)
    }

    /// The newest version that both sides speak; `self` is ours.
    ///
    /// # Errors
    /// Why the sides do not fit. Both sides find the mirror image of the same reason.
    pub fn agree(&self, theirs: &Self) -> Result<u16, Mismatch> {
        let version = self.max_version.min(theirs.max_version);
        if version < self.min_version.max(theirs.min_version) {
            return Err(Mismatch::Version {
                our_min: self.min_version,
                our_max: self.max_version,
                their_min: theirs.min_version,
                their_max: theirs.max_version,
            });
        }
        let has_key = |preamble: &Self| preamble.flags.contains(PreambleFlags::HAS_KEY);
        match (has_key(self), has_key(theirs)) {
            (false, true) => Err(Mismatch::WeLackKey),
            (true, false) => Err(Mismatch::TheyLackKey),
            _ => Ok(version),
        }
    }
}

/// What a process that connects wants to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// It makes calls.
    #[default]
    Origin = 1,
}

/// What the origin says first inside the encrypted channel.
///
/// ```
/// use bitcode_wire::handshake::Hello;
///
/// let hello = Hello { version: "0.1.0".into(), pid: 42, worker_address: vec![1, 2, 3], ..Hello::default() };
/// assert_eq!(Hello::decode(&hello.encode()?)?, hello);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The producer's version, e.g. `"0.1.0"`; for people.
    pub version: String,
    /// What the process wants to be.
    pub role: Role,
    /// Its process id on its host.
    pub pid: u32,
    /// Its host's name.
    pub hostname: String,
    /// Its machine architecture, e.g. `"x86_64"`.
    pub arch: String,
    /// The address of its UCX worker.
    pub worker_address: Vec<u8>,
    /// The transport it asks for.
    pub transport: String,
    /// Counts its reconnections; frames of another epoch are stale.
    pub epoch: u16,
}

/// What the node answers when it takes the origin in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The producer's version.
    pub version: String,
    /// The session's number, in every frame from now on.
    pub session: u32,
    /// The origin's number within the cluster.
    pub origin: u32,
    /// The node's process id on its host.
    pub pid: u32,
    /// The node's host name.
    pub hostname: String,
    /// The node's machine architecture.
    pub arch: String,
    /// The CPU's name, as LLVM knows it.
    pub cpu: String,
    /// The CPU's features, as LLVM writes them.
    pub features: String,
    /// The version of the node's LLVM.
    pub llvm: String,
    /// The ABIs it runs, e.g. `"julia-1.5-64le"`.
    pub abis: Vec<String>,
    /// The address of its UCX worker.
    pub worker_address: Vec<u8>,
    /// The transport in use.
    pub transport: String,
    /// The longest frame body it takes, in bytes.
    pub max_frame: u64,
    /// The session's epoch.
    pub epoch: u16,
}

/// What the node answers to [`Hello`].
///
/// ```
/// use bitcode_wire::error::ErrorCode;
/// use bitcode_wire::handshake::{Answer, Refusal};
///
/// let no = Answer::Refused(Refusal { code: ErrorCode::SHUTTING_DOWN, message: "the node is stopping".into() });
/// assert_eq!(Answer::decode(&no.encode()?)?, no);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The session is open.
    Welcome(Box<Welcome>),
    /// The node does not take the origin in; the channel closes.
    Refused(Refusal),
}

/// Why a node took an origin not in: an owned [`ErrorPayload`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// For programs.
    pub code: crate::error::ErrorCode,
    /// For people.
    pub message: String,
}

/// The first byte of each message tells which it is.
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;

impl Hello {
    /// The bytes, at most [`MAX_MESSAGE_BYTES`].
    ///
    /// # Errors
    /// A field, or all of them together, over the limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::new("hello");
        writer.u8(HELLO);
        writer.str("version", &self.version, MAX_TEXT_BYTES);
        writer.u8(self.role as u8);
        writer.u32(self.pid);
        writer.str("hostname", &self.hostname, MAX_TEXT_BYTES);
        writer.str("arch", &self.arch, MAX_TEXT_BYTES);
        writer.bytes("worker_address", &self.worker_address, MAX_ADDRESS_BYTES);
        writer.str("transport", &self.transport, MAX_TEXT_BYTES);
        writer.u16(self.epoch);
        finish(writer, "hello")
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// Bad bytes, another message, or a field over its limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = start("hello", bytes)?;
        let tag = reader.error("message", Problem::Rule("a hello was expected"));
        if reader.u8("message")? != HELLO {
            return Err(tag);
        }
        let hello = Self {
            version: text(&mut reader, "version")?,
            role: role(&mut reader)?,
            pid: reader.u32("pid")?,
            hostname: text(&mut reader, "hostname")?,
            arch: text(&mut reader, "arch")?,
            worker_address: reader.bytes("worker_address", MAX_ADDRESS_BYTES)?.to_vec(),
            transport: text(&mut reader, "transport")?,
            epoch: reader.u16("epoch")?,
        };
        reader.finish()?;
        Ok(hello)
    }
}

impl Welcome {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.within("welcome");
        Ok(Self {
            version: text(reader, "version")?,
            session: reader.u32("session")?,
            origin: reader.u32("origin")?,
            pid: reader.u32("pid")?,
            hostname: text(reader, "hostname")?,
            arch: text(reader, "arch")?,
            cpu: text(reader, "cpu")?,
            features: text(reader, "features")?,
            llvm: text(reader, "llvm")?,
            abis: reader.list("abis", size_of::<u32>(), MAX_ABIS, |r| text(r, "abis"))?,
            worker_address: reader.bytes("worker_address", MAX_ADDRESS_BYTES)?.to_vec(),
            transport: text(reader, "transport")?,
            max_frame: reader.u64("max_frame")?,
            epoch: reader.u16("epoch")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.str("version", &self.version, MAX_TEXT_BYTES);
        writer.u32(self.session);
        writer.u32(self.origin);
        writer.u32(self.pid);
        writer.str("hostname", &self.hostname, MAX_TEXT_BYTES);
        writer.str("arch", &self.arch, MAX_TEXT_BYTES);
        writer.str("cpu", &self.cpu, MAX_TEXT_BYTES);
        writer.str("features", &self.features, MAX_TEXT_BYTES);
        writer.str("llvm", &self.llvm, MAX_TEXT_BYTES);
        writer.list("abis", &self.abis, MAX_ABIS, |w, abi| {
            w.str("abis", abi, MAX_TEXT_BYTES)
        });
        writer.bytes("worker_address", &self.worker_address, MAX_ADDRESS_BYTES);
        writer.str("transport", &self.transport, MAX_TEXT_BYTES);
        writer.u64(self.max_frame);
        writer.u16(self.epoch);
    }
}

impl Answer {
    /// The bytes, at most [`MAX_MESSAGE_BYTES`].
    ///
    /// # Errors
    /// A field, or all of them together, over the limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Welcome(welcome) => {
                let mut writer = Writer::new("welcome");
                writer.u8(WELCOME);
                welcome.write(&mut writer);
                finish(writer, "welcome")
            }
            Self::Refused(refusal) => {
                let mut writer = Writer::new("refusal");
                writer.u8(REFUSED);
                let Refusal { code, message } = refusal;
                ErrorPayload {
                    code: *code,
                    message,
                }
                .write(&mut writer);
                finish(writer, "refusal")
            }
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// Bad bytes, another message, or a field over its limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = start("answer", bytes)?;
        let unknown = reader.error("message", Problem::WrongMagic);
        let answer = match reader.u8("message")? {
            WELCOME => Self::Welcome(Box::new(Welcome::read(&mut reader)?)),
            REFUSED => {
                reader.within("refusal");
                let error = ErrorPayload::read(&mut reader)?;
                Self::Refused(Refusal {
                    code: error.code,
                    message: error.message.to_owned(),
                })
            }
            tag => {
                return Err(DecodeError {
                    problem: Problem::UnknownTag(tag.into()),
                    ..unknown
                });
            }
        };
        reader.finish()?;
        Ok(answer)
    }
}

fn start<'a>(what: &'static str, bytes: &'a [u8]) -> Result<Reader<'a>, DecodeError> {
    let reader = Reader::new(what, bytes);
    if bytes.len() > MAX_MESSAGE_BYTES {
        let problem = Problem::OverLimit {
            found: bytes.len() as u64,
            limit: MAX_MESSAGE_BYTES as u64,
        };
        return Err(reader.error("length", problem));
    }
    Ok(reader)
}

fn finish(writer: Writer, what: &'static str) -> Result<Vec<u8>, EncodeError> {
    let bytes = writer.finish()?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        let found = bytes.len() as u64;
        return Err(EncodeError {
            what,
            field: "length",
            found,
            limit: MAX_MESSAGE_BYTES as u64,
        });
    }
    Ok(bytes)
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    reader.str(field, MAX_TEXT_BYTES).map(str::to_owned)
}

fn role(reader: &mut Reader<'_>) -> Result<Role, DecodeError> {
    let unknown = reader.error("role", Problem::WrongMagic);
    match reader.u8("role")? {
        1 => Ok(Role::Origin),
        tag => Err(DecodeError {
            problem: Problem::UnknownTag(tag.into()),
            ..unknown
        }),
    }
}
