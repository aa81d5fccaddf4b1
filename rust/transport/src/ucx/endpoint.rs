//! A UCX endpoint: one direction to one peer.
//!
//! All endpoints use peer error handling: without it UCX tells nobody that a peer died, and its sends never end.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use tracing::warn;
use ucx_sys as sys;

use super::context::params;
use super::names;
use super::status;
use super::worker::Worker;
use crate::error::TransportError;

/// How a call to UCX that may take its time has begun.
pub(crate) enum Started {
    /// It is over.
    Done,
    /// The callback will be called, from some later call to UCX.
    UnderWay,
    /// It failed; no callback.
    Failed(sys::ucs_status_t),
}

impl Started {
    /// Reads what the `…_nbx` calls return.
    pub(crate) fn of(pointer: sys::ucs_status_ptr_t) -> Self {
        if sys::ucs_ptr_is_ptr(pointer) {
            return Self::UnderWay;
        }
        match sys::ucs_ptr_status(pointer) {
            sys::UCS_OK => Self::Done,
            status => Self::Failed(status),
        }
    }
}

/// A callback for the end of a send, put, get, flush or close, and its argument.
pub(crate) type OnEnd = unsafe extern "C" fn(*mut c_void, sys::ucs_status_t, *mut c_void);

/// Request parameters that name a callback and its argument.
pub(crate) fn ending(callback: OnEnd, argument: *mut c_void) -> sys::ucp_request_param_t {
    // SAFETY: a parameter structure of UCX.
    let mut params: sys::ucp_request_param_t = unsafe { params() };
    params.op_attr_mask = sys::UCP_OP_ATTR_FIELD_CALLBACK | sys::UCP_OP_ATTR_FIELD_USER_DATA;
    params.cb.send = Some(callback);
    params.user_data = argument;
    params
}

/// Request parameters for [`Endpoint::send_at_once`], made once: clearing them costs as much as the rest of the call.
struct AtOnce(sys::ucp_request_param_t);

// SAFETY: the parameters are only read; their pointers are null.
unsafe impl Sync for AtOnce {}

impl AtOnce {
    const fn new() -> Self {
        // SAFETY: a parameter structure of UCX; all-zero is a value.
        let mut params: sys::ucp_request_param_t = unsafe { MaybeUninit::zeroed().assume_init() };
        params.op_attr_mask = sys::UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL;
        Self(params)
    }
}

/// UCX's handle of an endpoint. Whoever stores it closes it once; every call needs the lane's lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint(sys::ucp_ep_h);

impl Endpoint {
    /// Makes an endpoint to the worker behind `address`.
    ///
    /// # Safety
    /// The caller holds the lane's lock. `on_error` may be called with `argument` in any later call to UCX on this
    /// worker until the endpoint is closed.
    pub(crate) unsafe fn new(
        worker: &Worker,
        address: &[u8],
        on_error: unsafe extern "C" fn(*mut c_void, sys::ucp_ep_h, sys::ucs_status_t),
        argument: *mut c_void,
    ) -> Result<Self, TransportError> {
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_ep_params_t = unsafe { params() };
        params.field_mask = (sys::UCP_EP_PARAM_FIELD_REMOTE_ADDRESS
            | sys::UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE
            | sys::UCP_EP_PARAM_FIELD_ERR_HANDLER)
            .into();
        params.address = address.as_ptr().cast();
        params.err_mode = sys::UCP_ERR_HANDLING_MODE_PEER;
        params.err_handler.cb = Some(on_error);
        params.err_handler.arg = argument;
        let mut raw = std::ptr::null_mut();
        // SAFETY: a live worker, parameters with their mask; the address is only read during the call.
        let status = unsafe { sys::ucp_ep_create(worker.raw(), &params, &mut raw) };
        match status {
            sys::UCS_OK => Ok(Self(raw)),
            _ => Err(TransportError::Address {
                len: address.len(),
                reason: status::words(status),
            }),
        }
    }

    /// What UCX hands to callbacks, to be compared.
    pub(crate) fn from_raw(raw: sys::ucp_ep_h) -> Self {
        Self(raw)
    }

    /// UCX's handle.
    pub(crate) fn raw(self) -> sys::ucp_ep_h {
        self.0
    }

    /// Sends an active message if that can be done without keeping anything, otherwise does nothing and says `false`.
    ///
    /// This is UCX's short path: the data goes straight into the peer's queue. On shared memory it takes up to 92 bytes.
    ///
    /// # Safety
    /// The caller holds the lane's lock and the endpoint is open.
    #[inline]
    pub(crate) unsafe fn send_at_once(
        self,
        id: u32,
        data: &[u8],
    ) -> Result<bool, sys::ucs_status_t> {
        static AT_ONCE: AtOnce = AtOnce::new();
        // SAFETY: an open endpoint; the data is only read during the call, because it must end at once.
        let pointer = unsafe {
            sys::ucp_am_send_nbx(
                self.0,
                id,
                std::ptr::null(),
                0,
                data.as_ptr().cast(),
                data.len(),
                &AT_ONCE.0,
            )
        };
        if pointer.is_null() {
            return Ok(true);
        }
        match sys::ucs_ptr_status(pointer) {
            sys::UCS_ERR_NO_RESOURCE => Ok(false),
            status => Err(status),
        }
    }

    /// Sends an active message.
    ///
    /// # Safety
    /// The caller holds the lane's lock and the endpoint is open. If the send is under way, header and data stay
    /// readable until `on_end` has been called with `argument`.
    pub(crate) unsafe fn send(
        self,
        id: u32,
        header: (*const u8, usize),
        data: (*const u8, usize),
        flags: u32,
        on_end: OnEnd,
        argument: *mut c_void,
    ) -> Started {
        let mut params = ending(on_end, argument);
        params.op_attr_mask |= sys::UCP_OP_ATTR_FIELD_FLAGS;
        params.flags = flags;
        // SAFETY: an open endpoint and the caller's promise about the memory.
        Started::of(unsafe {
            sys::ucp_am_send_nbx(
                self.0,
                id,
                header.0.cast(),
                header.1,
                data.0.cast(),
                data.1,
                &params,
            )
        })
    }

    /// Closes the endpoint at once: what was not sent is dropped, sends under way end with an error.
    ///
    /// Without `FORCE`, closing waits for the peer, and in peer mode may leave resources behind (nixl#2025).
    ///
    /// # Safety
    /// The caller holds the lane's lock, is in no callback of UCX, and never uses the endpoint again.
    pub(crate) unsafe fn close(self, on_end: OnEnd, argument: *mut c_void) -> Started {
        let mut params = ending(on_end, argument);
        params.op_attr_mask |= sys::UCP_OP_ATTR_FIELD_FLAGS;
        params.flags = sys::UCP_EP_CLOSE_FLAG_FORCE;
        // SAFETY: an open endpoint in peer mode, which `FORCE` needs.
        Started::of(unsafe { sys::ucp_ep_close_nbx(self.0, &params) })
    }

    /// The transports that UCX chose.
    ///
    /// # Safety
    /// The caller holds the lane's lock and the endpoint is open.
    pub(crate) unsafe fn transports(self) -> Vec<String> {
        let printed = names::printed(|stream| {
            // SAFETY: an open endpoint and an open stream.
            unsafe { sys::ucp_ep_print_info(self.0, stream) }
        });
        match printed {
            Ok(text) => names::lanes(&text),
            Err(error) => {
                warn!(%error, "cannot ask UCX for an endpoint's transports");
                Vec::new()
            }
        }
    }
}
