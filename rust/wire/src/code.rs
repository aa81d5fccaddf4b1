//! Code ids: what the caches are keyed by.
//!
//! A code id is the BLAKE3 hash of a whole archive. A frame carries its first half, enough to find the code in the
//! session's cache; whoever stores code stores it under the full id of the bytes that it hashed itself.

use std::fmt;

/// The BLAKE3 hash of an archive's bytes.
///
/// ```
/// use bitcode_wire::code::CodeId;
///
/// let id = CodeId::of(b"an archive");
/// assert_eq!(id.to_string().len(), 64);
/// assert!(id.prefix().matches(&id));
/// assert_eq!(id.to_string().parse::<CodeId>()?, id);
/// # Ok::<(), bitcode_wire::code::ParseCodeIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeId(pub [u8; 32]);

impl CodeId {
    /// Bytes of a code id.
    pub const LEN: usize = 32;

    /// The code id of an archive.
    pub fn of(archive: &[u8]) -> Self {
        Self(*blake3::hash(archive).as_bytes())
    }

    /// The half that a frame's header carries.
    pub const fn prefix(&self) -> CodePrefix {
        match self.0.first_chunk::<{ CodePrefix::LEN }>() {
            Some(half) => CodePrefix(*half),
            // A 32-byte array always has a first chunk of 16.
            None => CodePrefix::NONE,
        }
    }
}

/// The first 16 bytes of a [`CodeId`].
///
/// 128 bits make an accidental collision impossible in practice; a collision made on purpose (about 2⁶⁴ hashes) can
/// only confuse code that one and the same origin sent, because prefixes are looked up within one node's cache and
/// the archive that answers is always one whose full hash was checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CodePrefix(pub [u8; 16]);

impl CodePrefix {
    /// Bytes of a prefix.
    pub const LEN: usize = 16;
    /// What frames that are about no code carry: sixteen zeros.
    pub const NONE: Self = Self([0; 16]);

    /// Whether this is the prefix of `id`.
    pub fn matches(&self, id: &CodeId) -> bool {
        id.prefix() == *self
    }
}

/// Text that is not a code id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code id is written as 64 hexadecimal digits")]
pub struct ParseCodeIdError;

impl std::str::FromStr for CodeId {
    type Err = ParseCodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| ParseCodeIdError)
    }
}

impl fmt::Display for CodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for CodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for CodePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for CodePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
