//! Every way in which a control channel fails, told apart, because each has another remedy.

use bitcode_wire::codec::{DecodeError, EncodeError};
use bitcode_wire::handshake::{Mismatch, Refusal};

/// An error of the control channel. Its texts speak to the side that holds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The environment: nobody listens there, or the name is unknown.
    #[error(
        "nothing answers at {address} ({reason}); is a node running there, and is the port right?"
    )]
    Unreachable {
        /// What was asked for.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The caller: no key, and the peer would not be on this machine. Without a key nobody proves who they are.
    #[error(
        "{address} is another machine, and without a key neither side knows whom it talks to: \
         give both sides the same key"
    )]
    KeyNeeded {
        /// What was asked for.
        address: String,
    },
    /// The peer: what it sent first is not a preamble.
    #[error(
        "the peer does not speak BitCode's control protocol ({0}); is this the node's address?"
    )]
    NotBitCode(DecodeError),
    /// Both: no common version.
    #[error("{0}")]
    Version(Mismatch),
    /// The peer has a key and this side was given none.
    #[error(
        "the peer requires a key and none was given here; pass the key that it was started with"
    )]
    KeyRequired,
    /// This side was given a key and the peer has none.
    #[error(
        "a key was given here but the peer runs without one; start it with --key-file, or connect without a key"
    )]
    KeyUnexpected,
    /// The keys differ.
    #[error("the keys of the two sides differ; use the key that the node was started with")]
    WrongKey,
    /// The node turned the origin away.
    #[error("the node refused the session: {0}")]
    Refused(Refusal),
    /// The peer said nothing, or too little, in time.
    #[error("no answer in time during {during}")]
    Timeout {
        /// What was going on.
        during: &'static str,
    },
    /// The peer closed the connection.
    #[error("the peer closed the connection during {during}")]
    Closed {
        /// What was going on.
        during: &'static str,
    },
    /// The peer: a message longer than is ever needed at this point.
    #[error("the peer announced {len} bytes for {during}, where at most {limit} are allowed")]
    TooLong {
        /// What was going on.
        during: &'static str,
        /// What it announced.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer: a message that was changed on its way, or sealed with another key.
    #[error(
        "a message of the control channel does not decrypt: it was damaged or forged on its way"
    )]
    Forged,
    /// The peer: bytes with no meaning, although it holds the key.
    #[error("the peer's message makes no sense: {0}")]
    Malformed(#[from] DecodeError),
    /// The caller: something too long to be sent.
    #[error("{0}")]
    TooLarge(#[from] EncodeError),
    /// The cipher library refused; this is a bug here.
    #[error("the cipher failed at {step}: {reason}; please report this")]
    Cipher {
        /// Which step.
        step: &'static str,
        /// The library's words.
        reason: String,
    },
    /// The operating system.
    #[error("{during}: {reason}")]
    Os {
        /// What was going on.
        during: &'static str,
        /// The system's words.
        reason: String,
    },
}

impl ControlError {
    pub(super) fn os(during: &'static str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        match error.kind() {
            // A socket's time-out is EAGAIN on Linux, ETIMEDOUT elsewhere.
            WouldBlock | TimedOut => Self::Timeout { during },
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => {
                Self::Closed { during }
            }
            _ => Self::Os {
                during,
                reason: error.to_string(),
            },
        }
    }
}
