//! A UCX worker: the queues that one thread at a time drives.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use ucx_sys as sys;

use super::context::{Context, params};
use super::status;
use crate::error::TransportError;

/// What [`Worker::arm`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Armed {
    /// The event fd becomes readable with the next event.
    Yes,
    /// There are events now: progress first, then arm again. Sleeping here would lose them (UCX issues 934, 1102).
    Busy,
}

/// A worker and its context. Everything that progresses or sends needs the lane's lock, which is the caller's matter.
pub(crate) struct Worker {
    raw: sys::ucp_worker_h,
    event_fd: c_int,
    /// Dropped after the worker.
    _context: Arc<Context>,
}

impl Worker {
    /// Makes a worker whose users take turns.
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, TransportError> {
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_worker_params_t = unsafe { params() };
        params.field_mask = sys::UCP_WORKER_PARAM_FIELD_THREAD_MODE.into();
        params.thread_mode = sys::UCS_THREAD_MODE_SERIALIZED;
        let mut raw = ptr::null_mut();
        // SAFETY: a live context, parameters with their mask.
        let status = unsafe { sys::ucp_worker_create(context.raw(), &params, &mut raw) };
        status::check("creating a UCX worker", status)?;
        let mut worker = Self {
            raw,
            event_fd: -1,
            _context: Arc::clone(context),
        };
        // SAFETY: a live worker, a place for the number; the fd stays UCX's.
        let status = unsafe { sys::ucp_worker_get_efd(raw, &mut worker.event_fd) };
        status::check("asking for the UCX worker's event fd", status)?;
        Ok(worker)
    }

    /// UCX's handle.
    pub(crate) fn raw(&self) -> sys::ucp_worker_h {
        self.raw
    }

    /// The fd to sleep on after arming.
    pub(crate) fn event_fd(&self) -> c_int {
        self.event_fd
    }

    /// The address that others make endpoints from.
    pub(crate) fn address(&self) -> Result<Vec<u8>, TransportError> {
        let (mut address, mut len) = (ptr::null_mut(), 0);
        // SAFETY: a live worker, two places.
        let status = unsafe { sys::ucp_worker_get_address(self.raw, &mut address, &mut len) };
        status::check("asking for the UCX worker's address", status)?;
        // SAFETY: UCX gave `len` bytes.
        let bytes = unsafe { slice::from_raw_parts(address.cast::<u8>(), len) }.to_vec();
        // SAFETY: given by this worker, released once.
        unsafe { sys::ucp_worker_release_address(self.raw, address) };
        Ok(bytes)
    }

    /// Registers `handler` for the active messages `id`.
    ///
    /// # Safety
    /// `handler` may be called with `argument` in every later call to UCX on this worker.
    pub(crate) unsafe fn handle(
        &self,
        id: u32,
        handler: unsafe extern "C" fn(
            *mut c_void,
            *const c_void,
            usize,
            *mut c_void,
            usize,
            *const sys::ucp_am_recv_param_t,
        ) -> sys::ucs_status_t,
        argument: *mut c_void,
    ) -> Result<(), TransportError> {
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_am_handler_param_t = unsafe { params() };
        params.field_mask = (sys::UCP_AM_HANDLER_PARAM_FIELD_ID
            | sys::UCP_AM_HANDLER_PARAM_FIELD_CB
            | sys::UCP_AM_HANDLER_PARAM_FIELD_ARG)
            .into();
        params.id = id;
        params.cb = Some(handler);
        params.arg = argument;
        // SAFETY: a live worker, parameters with their mask, and the caller's promise.
        let status = unsafe { sys::ucp_worker_set_am_recv_handler(self.raw, &params) };
        status::check("registering an active message", status)
    }

    /// Makes progress; callbacks run inside. Returns 0 if nothing happened.
    ///
    /// # Safety
    /// The caller holds the lane's lock, holds no reference to what callbacks touch, and is in no callback itself.
    #[inline]
    pub(crate) unsafe fn progress(&self) -> u32 {
        // SAFETY: a live worker and the caller's promise.
        unsafe { sys::ucp_worker_progress(self.raw) }
    }

    /// Prepares the event fd.
    ///
    /// # Safety
    /// The caller holds the lane's lock.
    pub(crate) unsafe fn arm(&self) -> Result<Armed, TransportError> {
        // SAFETY: a live worker and the caller's promise.
        match unsafe { sys::ucp_worker_arm(self.raw) } {
            sys::UCS_OK => Ok(Armed::Yes),
            sys::UCS_ERR_BUSY => Ok(Armed::Busy),
            status => Err(status::error("arming the UCX worker's event fd", status)),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SAFETY: made by `new`; nobody else can use it any more.
        unsafe { sys::ucp_worker_destroy(self.raw) };
    }
}
