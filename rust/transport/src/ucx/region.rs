//! One-sided access: memory that others may read and write, the keys that let them, and transfers.
//!
//! Over RDMA the owner of the memory takes no part in a transfer. Over shared memory a transfer is a load or store. Over
//! TCP UCX emulates it with messages that the owner must progress: right, but slow (FIELD: a get of 8 bytes took from
//! 20 µs to 1 ms).
//!
//! A key is a capability: who holds it and reaches the worker may write to the region. So it travels on the
//! authenticated control channel only.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ucx_sys as sys;

use super::context::{Context, params};
use super::endpoint::{Endpoint, OnEnd, Started, ending};
use super::fabric::UcxFabric;
use super::lanes::Lanes;
use super::state::{Notice, State};
use super::status;
use crate::body::Body;
use crate::error::TransportError;
use crate::fabric::PeerId;
use crate::segment::Segment;

/// A packed key begins with the region's address and length, little endian; UCX's own bytes follow.
const KEY_PREFIX: usize = 16;

/// Memory that UCX knows, so that peers with its key may read and write it. Unmapped when dropped.
pub struct MemoryRegion {
    context: Arc<Context>,
    handle: sys::ucp_mem_h,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a handle and an address; UCX guards its context itself.
unsafe impl Send for MemoryRegion {}
// SAFETY: as above; the bytes are only touched through raw copies.
unsafe impl Sync for MemoryRegion {}

impl MemoryRegion {
    fn map(context: &Arc<Context>, base: *mut u8, len: usize) -> Result<Self, TransportError> {
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_mem_map_params_t = unsafe { params() };
        params.field_mask =
            (sys::UCP_MEM_MAP_PARAM_FIELD_ADDRESS | sys::UCP_MEM_MAP_PARAM_FIELD_LENGTH).into();
        params.address = base.cast();
        params.length = len;
        if base.is_null() {
            params.field_mask |= u64::from(sys::UCP_MEM_MAP_PARAM_FIELD_FLAGS);
            params.flags = sys::UCP_MEM_MAP_ALLOCATE;
        }
        let mut handle = ptr::null_mut();
        // SAFETY: a live context, parameters with their mask; the caller vouches for the memory.
        let status = unsafe { sys::ucp_mem_map(context.raw(), &params, &mut handle) };
        status::check("registering memory", status)?;
        // SAFETY: a parameter structure of UCX.
        let mut attributes: sys::ucp_mem_attr_t = unsafe { super::context::params() };
        attributes.field_mask =
            (sys::UCP_MEM_ATTR_FIELD_ADDRESS | sys::UCP_MEM_ATTR_FIELD_LENGTH).into();
        // SAFETY: a live handle, attributes with their mask.
        let status = unsafe { sys::ucp_mem_query(handle, &mut attributes) };
        let address = NonNull::new(attributes.address.cast::<u8>());
        match (
            status::check("asking for registered memory", status),
            address,
        ) {
            (Ok(()), Some(base)) => Ok(Self {
                context: Arc::clone(context),
                handle,
                base,
                len,
            }),
            (result, _) => {
                // SAFETY: mapped above, unmapped once.
                unsafe { sys::ucp_mem_unmap(context.raw(), handle) };
                result.and(Err(TransportError::OutOfMemory {
                    what: "registering memory",
                }))
            }
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte. Peers may change the bytes at any time.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Copies bytes out. What a peer writes at the same time may be seen in part.
    ///
    /// # Errors
    /// The range is not inside the region.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), TransportError> {
        let from = self.place(offset, to.len())?;
        // SAFETY: inside the region, and no Rust reference to it exists.
        unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// The range is not inside the region.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), TransportError> {
        let to = self.place(offset, from.len())?;
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Ok(())
    }

    fn place(&self, offset: usize, len: usize) -> Result<*mut u8, TransportError> {
        check_range(offset as u64, len, self.len as u64)?;
        // SAFETY: the offset is inside the region, or one past its end.
        Ok(unsafe { self.base.as_ptr().add(offset) })
    }

    /// The key, for a peer's [`UcxFabric::import_key`].
    ///
    /// # Errors
    /// UCX cannot pack it.
    pub fn key(&self) -> Result<Vec<u8>, TransportError> {
        let mut key = Vec::new();
        key.extend_from_slice(&(self.base.as_ptr().addr() as u64).to_le_bytes());
        key.extend_from_slice(&(self.len as u64).to_le_bytes());
        let (mut packed, mut len) = (ptr::null_mut(), 0);
        // SAFETY: a live context and handle, two places.
        let status =
            unsafe { sys::ucp_rkey_pack(self.context.raw(), self.handle, &mut packed, &mut len) };
        status::check("packing a key", status)?;
        // SAFETY: UCX gave `len` bytes.
        key.extend_from_slice(unsafe { slice::from_raw_parts(packed.cast::<u8>(), len) });
        // SAFETY: given by UCX, released once.
        unsafe { sys::ucp_rkey_buffer_release(packed) };
        Ok(key)
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, unmapped once.
        let status = unsafe { sys::ucp_mem_unmap(self.context.raw(), self.handle) };
        if status != sys::UCS_OK {
            tracing::warn!(
                status = status.0,
                text = status::words(status),
                "cannot unmap memory"
            );
        }
    }
}

/// The right to use a peer's [`MemoryRegion`]. Of no use once the peer is removed.
pub struct RemoteKey {
    lanes: Arc<Lanes>,
    /// Among the lane's keys as long as there is a lane.
    handle: sys::ucp_rkey_h,
    peer: PeerId,
    base: u64,
    len: u64,
}

// SAFETY: a handle; UCX is called under the lane's lock.
unsafe impl Send for RemoteKey {}
// SAFETY: as above.
unsafe impl Sync for RemoteKey {}

impl RemoteKey {
    /// Number of bytes of the region.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the region has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The peer whose memory it is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl Drop for RemoteKey {
    fn drop(&mut self) {
        // A lane that has gone has taken its keys along.
        let Some(mut driving) = self.lanes.drive(self.peer) else {
            return;
        };
        let keys = &mut driving.state().keys;
        if let Some(index) = keys.iter().position(|&key| key == self.handle) {
            keys.swap_remove(index);
            // SAFETY: unpacked by `import_key` and just taken out of the list: destroyed once, before its worker.
            unsafe { sys::ucp_rkey_destroy(self.handle) };
        }
    }
}

fn check_range(offset: u64, len: usize, region: u64) -> Result<(), TransportError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= region => Ok(()),
        _ => Err(TransportError::OutOfRange {
            offset,
            len,
            region,
        }),
    }
}

/// A put, get or flush under way. Dropping it does not stop it.
pub struct Transfer {
    lanes: Arc<Lanes>,
    peer: PeerId,
    operation: Arc<Operation>,
}

/// What UCX works on: kept by UCX's callback until the end.
pub(crate) struct Operation {
    state: *mut State,
    what: &'static str,
    /// Read by a put.
    kept: Option<Segment<'static>>,
    copy: Vec<u8>,
    /// Written by a get, and not touched before the end.
    body: Mutex<Body>,
    result: Mutex<Option<Result<(), TransportError>>>,
}

// SAFETY: the state's address is used inside UCX's callback only, which runs under the lane's lock.
unsafe impl Send for Operation {}
// SAFETY: as above.
unsafe impl Sync for Operation {}

impl Transfer {
    /// Whether it has ended. It ends only while somebody drives the fabric.
    pub fn is_done(&self) -> bool {
        self.operation.result.lock().is_some()
    }

    /// Drives the fabric until the transfer has ended, and returns what a get has fetched (nothing, for others). Frames
    /// that arrive meanwhile wait for the next poll. `None`: not in this time; it goes on.
    pub fn wait(&self, timeout: Duration) -> Option<Result<Body, TransportError>> {
        let end = Instant::now().checked_add(timeout);
        loop {
            if let Some(result) = self.take() {
                return Some(result);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return None;
            }
            match self.lanes.try_drive(self.peer) {
                Some(mut driving) => {
                    driving.progress();
                }
                None => std::thread::yield_now(),
            }
        }
    }

    /// The end, if it has come. What a get has fetched is given out once.
    pub fn take(&self) -> Option<Result<Body, TransportError>> {
        let result = self.operation.result.lock().clone()?;
        Some(result.map(|()| std::mem::take(&mut *self.operation.body.lock())))
    }
}

impl Operation {
    pub(super) fn end(&self, status: sys::ucs_status_t) {
        *self.result.lock() = Some(status::check(self.what, status));
    }
}

/// A transfer has ended.
unsafe extern "C" fn on_transferred(
    request: *mut c_void,
    status: sys::ucs_status_t,
    operation: *mut c_void,
) {
    let address = operation.cast_const().cast::<Operation>();
    // SAFETY: `start` gave one reference to this callback.
    let operation = unsafe { Arc::from_raw(address) };
    operation.end(status);
    // SAFETY: inside a call to UCX no reference to the state lives.
    let state = unsafe { &mut *operation.state };
    state.under_way -= 1;
    state.transfers.retain(|&transfer| transfer != address);
    // What it kept is dropped by `poll`, outside of UCX.
    state.notices.push_back(Notice::Transferred(operation));
    // SAFETY: UCX's request, which has ended.
    unsafe { sys::ucp_request_free(request) };
}

impl UcxFabric {
    /// New memory that peers may use, from UCX, which knows best where (shared memory, say). All zero.
    ///
    /// # Errors
    /// UCX cannot allocate or register it.
    pub fn allocate_region(&self, len: usize) -> Result<MemoryRegion, TransportError> {
        let region = MemoryRegion::map(&self.lanes().context, ptr::null_mut(), len.max(1))?;
        // SAFETY: all of the region, which nobody else knows yet.
        unsafe { region.base.write_bytes(0, region.len) };
        Ok(region)
    }

    /// Lets peers use memory that exists.
    ///
    /// # Errors
    /// UCX cannot register it.
    ///
    /// # Safety
    /// The memory is readable and writable until the region is dropped, and whoever else uses it reckons with changes
    /// at any time: no Rust reference to it lives.
    pub unsafe fn register_region(
        &self,
        base: NonNull<u8>,
        len: usize,
    ) -> Result<MemoryRegion, TransportError> {
        MemoryRegion::map(&self.lanes().context, base.as_ptr(), len)
    }

    /// Makes a peer's key usable. It must come from an authenticated source: UCX believes what is in it.
    ///
    /// # Errors
    /// The key is no key, or the peer is not known.
    pub fn import_key(&self, peer: PeerId, key: &[u8]) -> Result<RemoteKey, TransportError> {
        let Some((prefix, packed)) = key
            .split_first_chunk::<KEY_PREFIX>()
            .filter(|(_, packed)| !packed.is_empty())
        else {
            return Err(TransportError::Address {
                len: key.len(),
                reason: "the memory key is too short".to_owned(),
            });
        };
        let number = |bytes: &[u8]| {
            let mut number = [0; 8];
            number.copy_from_slice(bytes);
            u64::from_le_bytes(number)
        };
        let mut driving = self.drive(peer)?;
        let endpoint = driving.endpoint()?;
        let mut handle = ptr::null_mut();
        // SAFETY: an open endpoint under the lane's lock; the bytes are only read during the call.
        let status =
            unsafe { sys::ucp_ep_rkey_unpack(endpoint.raw(), packed.as_ptr().cast(), &mut handle) };
        status::check("reading a memory key", status)?;
        driving.state().keys.push(handle);
        Ok(RemoteKey {
            lanes: Arc::clone(self.lanes()),
            handle,
            peer,
            base: number(&prefix[..8]),
            len: number(&prefix[8..]),
        })
    }

    /// Writes bytes to a peer's memory. Its end means that the bytes may be reused here; that they are there is known
    /// when a later [`UcxFabric::flush`] has ended.
    ///
    /// # Errors
    /// The range is not inside the region, or the peer is gone.
    pub fn put(
        &self,
        key: &RemoteKey,
        offset: u64,
        from: &Segment<'_>,
    ) -> Result<Transfer, TransportError> {
        check_range(offset, from.len(), key.len)?;
        let mut operation = self.operation("writing to a peer's memory");
        operation.kept = from.keep();
        if operation.kept.is_none() {
            operation.copy = from.as_bytes().to_vec();
        }
        let bytes = operation
            .kept
            .as_ref()
            .map_or(&operation.copy[..], Segment::as_bytes);
        let (source, len) = (bytes.as_ptr(), bytes.len());
        self.start(operation, key.peer, |endpoint, params| {
            // SAFETY: an open endpoint, a live key; the operation keeps the bytes.
            unsafe {
                sys::ucp_put_nbx(
                    endpoint.raw(),
                    source.cast(),
                    len,
                    key.base + offset,
                    key.handle,
                    params,
                )
            }
        })
    }

    /// Reads bytes from a peer's memory; the transfer has them when it has ended.
    ///
    /// # Errors
    /// The range is not inside the region, or the peer is gone.
    pub fn get(
        &self,
        key: &RemoteKey,
        offset: u64,
        len: usize,
    ) -> Result<Transfer, TransportError> {
        check_range(offset, len, key.len)?;
        let mut operation = self.operation("reading a peer's memory");
        // A block, because UCX keeps its address.
        let mut body = self.pool().take_block(len);
        let target = body.base_mut();
        operation.body = Mutex::new(body);
        self.start(operation, key.peer, |endpoint, params| {
            // SAFETY: an open endpoint, a live key; the operation keeps the body and nobody looks before the end.
            unsafe {
                sys::ucp_get_nbx(
                    endpoint.raw(),
                    target.cast(),
                    len,
                    key.base + offset,
                    key.handle,
                    params,
                )
            }
        })
    }

    /// Ends when all puts to the peer that were started before are there.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn flush(&self, peer: PeerId) -> Result<Transfer, TransportError> {
        let operation = self.operation("flushing to a peer");
        self.start(operation, peer, |endpoint, params| {
            // SAFETY: an open endpoint.
            unsafe { sys::ucp_ep_flush_nbx(endpoint.raw(), params) }
        })
    }

    fn operation(&self, what: &'static str) -> Operation {
        Operation {
            state: ptr::null_mut(),
            what,
            kept: None,
            copy: Vec::new(),
            body: Mutex::default(),
            result: Mutex::new(None),
        }
    }

    /// Starts an operation with `call`, which runs under the lane's lock with an open endpoint.
    fn start(
        &self,
        mut operation: Operation,
        peer: PeerId,
        call: impl FnOnce(Endpoint, *const sys::ucp_request_param_t) -> sys::ucs_status_ptr_t,
    ) -> Result<Transfer, TransportError> {
        let callback: OnEnd = on_transferred;
        let mut driving = self.drive(peer)?;
        let endpoint = driving.endpoint()?;
        operation.state = driving.state_address();
        let operation = Arc::new(operation);
        let theirs = Arc::into_raw(Arc::clone(&operation));
        let params = ending(callback, theirs.cast_mut().cast());
        let ended = match Started::of(call(endpoint, &params)) {
            Started::UnderWay => None,
            Started::Done => Some(sys::UCS_OK),
            Started::Failed(status) => Some(status),
        };
        if let Some(status) = ended {
            // SAFETY: made above; there will be no callback to take it back.
            drop(unsafe { Arc::from_raw(theirs) });
            operation.end(status);
        } else {
            let state = driving.state();
            state.under_way += 1;
            state.transfers.push(theirs);
            driving.begun();
        }
        Ok(Transfer {
            lanes: Arc::clone(self.lanes()),
            peer,
            operation,
        })
    }
}
