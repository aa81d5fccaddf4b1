//! What can go wrong on the data plane. (The control channel has its own enum.)

use crate::fabric::PeerId;

/// An error of a [`Fabric`](crate::Fabric).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The environment: UCX refused to start with these settings.
    #[error(
        "UCX cannot start with transport `{transport}`: {reason}; try `auto`, or `ucx_info -d` for the names it knows here"
    )]
    Start {
        /// The transport setting.
        transport: String,
        /// What failed and UCX's own text.
        reason: String,
    },
    /// The caller: a setting that has no meaning.
    #[error("setting {name} = `{value}`: {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The peer: its address is not one that this fabric can use.
    #[error(
        "cannot use the peer's address ({len} bytes): {reason}; both ends need a transport in common"
    )]
    Address {
        /// Length of the address.
        len: usize,
        /// What failed.
        reason: String,
    },
    /// The caller: no such peer, or it was removed.
    #[error("{0:?} is not a peer of this fabric (any more)")]
    UnknownPeer(PeerId),
    /// The caller: more peers than a fabric can have.
    #[error("a fabric has {most} peers at most, and this one has as many")]
    TooManyPeers {
        /// How many.
        most: usize,
    },
    /// The peer failed, or was removed, before the send ended.
    #[error("the peer failed: {0}")]
    PeerFailed(PeerFailure),
    /// The caller: a body above the limit.
    #[error("a body of {len} bytes is above the limit of {max} bytes")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The caller: bytes that are not in the memory they should be in.
    #[error("{len} bytes at offset {offset} are not inside a region of {region} bytes")]
    OutOfRange {
        /// Where they begin.
        offset: u64,
        /// How many.
        len: usize,
        /// The region's length.
        region: u64,
    },
    /// The caller: a word that lies across two.
    #[error("the word at offset {offset} cannot be updated: the offset is no multiple of 8")]
    Misaligned {
        /// Where it begins.
        offset: u64,
    },
    /// The caller: a key to memory that the peer has unmapped, or never had.
    #[error("the peer has no such memory (any more)")]
    NoRegion,
    /// The peer: it did nothing for too long.
    #[error("{what}: no end within {patience:?}")]
    Timeout {
        /// What was attempted.
        what: &'static str,
        /// How long it was waited for.
        patience: std::time::Duration,
    },
    /// The environment: memory could not be registered, mapped or found.
    #[error("{what}: out of memory")]
    OutOfMemory {
        /// What was attempted.
        what: &'static str,
    },
    /// Any other answer of UCX.
    #[error("{what}: UCX says {text} ({status})")]
    Ucx {
        /// What was attempted.
        what: &'static str,
        /// UCX's status number.
        status: i32,
        /// UCX's words for it.
        text: String,
    },
    /// The operating system.
    #[error("{what}: {text}")]
    Os {
        /// What was attempted.
        what: &'static str,
        /// The system's words.
        text: String,
    },
}

/// Why a peer counts as dead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFailure {
    /// It closed, or its process ended (UCX reports a killed process in more than one way).
    #[error("connection reset")]
    Reset,
    /// It does not answer.
    #[error("no answer in time")]
    Timeout,
    /// It cannot be reached, or refused.
    #[error("unreachable")]
    Unreachable,
    /// It was removed here.
    #[error("removed")]
    Removed,
    /// Another status of UCX.
    #[error("{text} ({status})")]
    Other {
        /// UCX's status number.
        status: i32,
        /// UCX's words for it.
        text: String,
    },
}
