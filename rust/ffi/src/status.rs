//! Numbers of the C ABI: status codes, call states, flags, versions. They never change meaning; new ones are added.

use std::ffi::c_char;

use bitcode_client::ClientError;

/// Number of this ABI; `bc_abi_version` of the library that was opened must return the same.
pub const BC_ABI_VERSION: u32 = 1;

/// Success.
pub const BC_OK: i32 = 0;
/// An argument is null, out of range or not what it should be.
pub const BC_E_BAD_ARGUMENT: i32 = -1;
/// Nothing listens at the address, or the connection was refused or reset while it was made.
pub const BC_E_CONNECT_REFUSED: i32 = -2;
/// The key is not the node's key.
pub const BC_E_AUTH_FAILED: i32 = -3;
/// One side has a key and the other has none.
pub const BC_E_KEY_REQUIRED: i32 = -4;
/// The node speaks another version of the protocol.
pub const BC_E_VERSION_MISMATCH: i32 = -5;
/// The time given was not enough.
pub const BC_E_TIMEOUT: i32 = -6;
/// The node's process died, or its machine cannot be reached any more.
pub const BC_E_PEER_DIED: i32 = -7;
/// The session was closed on this side.
pub const BC_E_SESSION_CLOSED: i32 = -8;
/// UCX or a socket failed; the message says where.
pub const BC_E_TRANSPORT: i32 = -9;
/// The node answered with an error; `bc_call_error` gives its code (docs/WIRE.md, error codes).
pub const BC_E_REMOTE: i32 = -10;
/// A fault of this library: please report it.
pub const BC_E_INTERNAL: i32 = -11;
/// The body is larger than the node takes.
pub const BC_E_TOO_LARGE: i32 = -12;
/// `bc_call_free` only: the memory of the call is still being read; ask again once its state is not BC_PENDING.
pub const BC_E_BUSY: i32 = -13;
/// The segment was closed here, freed by its owner, or never there.
pub const BC_E_SEGMENT_GONE: i32 = -14;

/// State of a call: it returned, and the packed result is there.
pub const BC_VALUE: i32 = 0;
/// State of a call: not finished; its argument memory must stay as it is.
pub const BC_PENDING: i32 = 1;
/// State of a call: the shipped function threw, and the exception's graph is there.
pub const BC_THROW: i32 = 2;
/// State of a call: it failed; `bc_call_error` says why.
pub const BC_ERROR: i32 = 3;

/// Flag of `bc_call`: the result is not wanted; the node answers as soon as it has accepted the call.
pub const BC_NO_RESULT: u32 = 2;

/// Flag of `bc_call`: the code is not run; the result is text, what the node makes of it. The payload is one byte: 1 for LLVM's
/// text form of the optimised code, 2 for machine instructions.
pub const BC_SHOW: u32 = 8;

/// An error's number.
pub(crate) fn number(error: &ClientError) -> i32 {
    match error {
        ClientError::BadArgument(_) => BC_E_BAD_ARGUMENT,
        ClientError::ConnectRefused(_) => BC_E_CONNECT_REFUSED,
        ClientError::AuthFailed(_) => BC_E_AUTH_FAILED,
        ClientError::KeyRequired(_) => BC_E_KEY_REQUIRED,
        ClientError::VersionMismatch(_) => BC_E_VERSION_MISMATCH,
        ClientError::Timeout(_) => BC_E_TIMEOUT,
        ClientError::PeerDied(_) => BC_E_PEER_DIED,
        ClientError::SessionClosed(_) => BC_E_SESSION_CLOSED,
        ClientError::Transport(_) => BC_E_TRANSPORT,
        ClientError::Remote { .. } => BC_E_REMOTE,
        ClientError::TooLarge(_) => BC_E_TOO_LARGE,
        ClientError::SegmentGone(_) => BC_E_SEGMENT_GONE,
        // The enum may grow: one that has no number yet is a fault of ours.
        _ => BC_E_INTERNAL,
    }
}

/// Number of the ABI that this library speaks (`BC_ABI_VERSION` of its header).
#[unsafe(no_mangle)]
pub extern "C" fn bc_abi_version() -> u32 {
    BC_ABI_VERSION
}

/// Version of the library, such as "0.1.0"; static memory.
#[unsafe(no_mangle)]
pub extern "C" fn bc_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
