//! UCX's status numbers, and what they mean to us.

use std::ffi::CStr;

use ucx_sys as sys;

use crate::error::{PeerFailure, TransportError};

/// UCX's own words for a status.
pub(crate) fn words(status: sys::ucs_status_t) -> String {
    // SAFETY: takes any number; for one that it does not know it fills a static buffer.
    let text = unsafe { sys::ucs_status_string(status) };
    if text.is_null() {
        return "unknown status".to_owned();
    }
    // SAFETY: NUL-terminated and static.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// The error for a status other than `UCS_OK`, of the call described by `what`.
pub(crate) fn error(what: &'static str, status: sys::ucs_status_t) -> TransportError {
    match status {
        sys::UCS_ERR_NO_MEMORY => TransportError::OutOfMemory { what },
        sys::UCS_ERR_CONNECTION_RESET | sys::UCS_ERR_ENDPOINT_TIMEOUT | sys::UCS_ERR_CANCELED => {
            TransportError::PeerFailed(peer_failure(status))
        }
        _ => TransportError::Ucx {
            what,
            status: status.0.into(),
            text: words(status),
        },
    }
}

/// Turns a status into a result.
pub(crate) fn check(what: &'static str, status: sys::ucs_status_t) -> Result<(), TransportError> {
    match status {
        sys::UCS_OK => Ok(()),
        _ => Err(error(what, status)),
    }
}

/// What a status means about a peer. For one and the same death UCX reports different ones: over shared memory a killed
/// process is `CONNECTION_RESET`, over TCP often `ENDPOINT_TIMEOUT`.
pub(crate) fn peer_failure(status: sys::ucs_status_t) -> PeerFailure {
    match status {
        sys::UCS_ERR_CONNECTION_RESET | sys::UCS_ERR_NOT_CONNECTED => PeerFailure::Reset,
        sys::UCS_ERR_ENDPOINT_TIMEOUT | sys::UCS_ERR_TIMED_OUT => PeerFailure::Timeout,
        sys::UCS_ERR_UNREACHABLE | sys::UCS_ERR_REJECTED | sys::UCS_ERR_SOME_CONNECTS_FAILED => {
            PeerFailure::Unreachable
        }
        sys::UCS_ERR_CANCELED => PeerFailure::Removed,
        _ => PeerFailure::Other {
            status: status.0.into(),
            text: words(status),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_statuses_keep_their_number() {
        let unknown = sys::ucs_status_t(-77);
        let error = error("a call", unknown);
        assert!(
            matches!(error, TransportError::Ucx { status: -77, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("-77"), "{error}");
        assert!(matches!(
            peer_failure(unknown),
            PeerFailure::Other { status: -77, .. }
        ));
    }

    #[test]
    fn death_has_more_than_one_status() {
        assert_eq!(
            peer_failure(sys::UCS_ERR_CONNECTION_RESET),
            PeerFailure::Reset
        );
        assert_eq!(
            peer_failure(sys::UCS_ERR_ENDPOINT_TIMEOUT),
            PeerFailure::Timeout
        );
        assert!(check("nothing", sys::UCS_OK).is_ok());
    }
}
