//! Why a call, or a connection, did not work: one enum.

use bitcode_transport::TransportError;
use bitcode_wire::error::ErrorCode;

/// An error of the calling side. Cheap to clone: one failure may end many calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The caller: an argument makes no sense.
    #[error("{0}")]
    BadArgument(String),
    /// The environment: nothing answers at the address.
    #[error("{0}")]
    ConnectRefused(String),
    /// The caller: the key is not the node's.
    #[error("{0}")]
    AuthFailed(String),
    /// The caller: one side has a key, the other has none.
    #[error("{0}")]
    KeyRequired(String),
    /// The peer: it speaks another version.
    #[error("{0}")]
    VersionMismatch(String),
    /// The time given was not enough.
    #[error("{0}")]
    Timeout(String),
    /// The peer: its process or its machine is gone.
    #[error("{0}")]
    PeerDied(String),
    /// The caller closed the session.
    #[error("the session with {0} was closed here; connect again to make calls")]
    SessionClosed(String),
    /// The environment: UCX or a socket failed.
    #[error("{0}")]
    Transport(String),
    /// The node answered with an error.
    #[error("{code}: {message}")]
    Remote {
        /// For programs.
        code: ErrorCode,
        /// The node's sentence.
        message: String,
    },
    /// A fault of this library.
    #[error("{0}; this is a fault of BitCode.jl, please report it")]
    Internal(String),
    /// The caller: more bytes than the node, or this side, takes.
    #[error("{0}")]
    TooLarge(String),
    /// The segment was freed, here or by its owner.
    #[error("{0}")]
    SegmentGone(String),
}

impl From<TransportError> for ClientError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Setting { .. } => Self::BadArgument(error.to_string()),
            TransportError::PeerFailed(_) | TransportError::UnknownPeer(_) => {
                Self::PeerDied(error.to_string())
            }
            TransportError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            TransportError::OutOfRange { .. } | TransportError::Misaligned { .. } => {
                Self::BadArgument(error.to_string())
            }
            TransportError::NoRegion => Self::SegmentGone(error.to_string()),
            TransportError::Timeout { .. } => Self::Timeout(error.to_string()),
            other => Self::Transport(other.to_string()),
        }
    }
}
