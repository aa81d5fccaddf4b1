//! Transfers: what this process does to memory of a peer.
//!
//! A transfer works on memory of the fabric's own, so that it may go on when nobody waits for it any more.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ucx_sys as sys;

use super::endpoint::{Endpoint, OnEnd, Started, ending};
use super::fabric::UcxFabric;
use super::lanes::Lanes;
use super::region::KEY_PREFIX;
use super::state::{Notice, State};
use super::status;
use crate::body::Body;
use crate::error::TransportError;
use crate::fabric::PeerId;
use crate::region::{RemoteRegion, Update, check_range, check_word};
use crate::segment::Segment;

/// Who waits for a transfer lets others run after this long between two looks, and sleeps a little after [`NAPPING`].
const POLITE: Duration = Duration::from_micros(50);
const NAPPING: Duration = Duration::from_millis(2);
const NAP: Duration = Duration::from_micros(100);

/// The word that an atomic operation is given, then the one that it exchanges, in one block.
const WORDS: usize = 16;

/// The right to use a peer's [`MemoryRegion`](super::region::MemoryRegion). Of no use once the peer is removed.
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

/// A put, get, update or flush under way. Dropping it does not stop it.
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
    /// Written by a get, read and written by an update, and not touched before the end.
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
        let start = Instant::now();
        loop {
            if let Some(result) = self.take() {
                return Some(result);
            }
            let moved = match self.lanes.try_drive(self.peer) {
                Some(mut driving) => driving.progress() > 0,
                None => false,
            };
            if moved {
                continue;
            }
            match start.elapsed() {
                waited if waited >= timeout => return self.take(),
                waited if waited >= NAPPING => std::thread::sleep(NAP),
                waited if waited >= POLITE => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
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
    fn new(what: &'static str) -> Self {
        Self {
            state: ptr::null_mut(),
            what,
            kept: None,
            copy: Vec::new(),
            body: Mutex::default(),
            result: Mutex::new(None),
        }
    }

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
}

impl RemoteKey {
    /// Writes bytes to a peer's memory. Its end means that the bytes may be reused here; that they are there is known
    /// when a later [`RemoteKey::flush`] has ended.
    ///
    /// # Errors
    /// The range is not inside the region, or the peer is gone.
    pub fn put(&self, offset: u64, from: &Segment<'_>) -> Result<Transfer, TransportError> {
        check_range(offset, from.len(), self.len)?;
        let mut operation = Operation::new("writing to a peer's memory");
        operation.kept = from.keep();
        if operation.kept.is_none() {
            operation.copy = from.as_bytes().to_vec();
        }
        let bytes = operation
            .kept
            .as_ref()
            .map_or(&operation.copy[..], Segment::as_bytes);
        let (source, len) = (bytes.as_ptr(), bytes.len());
        start(&self.lanes, operation, self.peer, |endpoint, params| {
            // SAFETY: an open endpoint, a live key; the operation keeps the bytes.
            unsafe {
                sys::ucp_put_nbx(
                    endpoint.raw(),
                    source.cast(),
                    len,
                    self.base + offset,
                    self.handle,
                    params,
                )
            }
        })
    }

    /// Reads bytes from a peer's memory; the transfer has them when it has ended.
    ///
    /// # Errors
    /// The range is not inside the region, or the peer is gone.
    pub fn get(&self, offset: u64, len: usize) -> Result<Transfer, TransportError> {
        check_range(offset, len, self.len)?;
        let mut operation = Operation::new("reading a peer's memory");
        // A block, because UCX keeps its address.
        let mut body = self.lanes.pool.take_block(len);
        let target = body.base_mut();
        operation.body = Mutex::new(body);
        start(&self.lanes, operation, self.peer, |endpoint, params| {
            // SAFETY: an open endpoint, a live key; the operation keeps the body and nobody looks before the end.
            unsafe {
                sys::ucp_get_nbx(
                    endpoint.raw(),
                    target.cast(),
                    len,
                    self.base + offset,
                    self.handle,
                    params,
                )
            }
        })
    }

    /// Ends when all puts to the peer that were started before are there.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn flush(&self) -> Result<Transfer, TransportError> {
        let operation = Operation::new("flushing to a peer");
        start(&self.lanes, operation, self.peer, |endpoint, params| {
            // SAFETY: an open endpoint.
            unsafe { sys::ucp_ep_flush_nbx(endpoint.raw(), params) }
        })
    }

    /// Changes the word at `offset`; the transfer has what it was before.
    ///
    /// # Errors
    /// There is no such word, or the peer is gone.
    pub fn update(&self, offset: u64, update: Update) -> Result<Transfer, TransportError> {
        check_word(offset, self.len)?;
        let (opcode, operand, exchanged) = match update {
            Update::Add(addend) => (sys::UCP_ATOMIC_OP_ADD, addend, 0),
            Update::Swap(new) => (sys::UCP_ATOMIC_OP_SWAP, new, 0),
            Update::CompareSwap { expected, new } => (sys::UCP_ATOMIC_OP_CSWAP, expected, new),
        };
        let mut operation = Operation::new("updating a peer's memory");
        let mut words = self.lanes.pool.take_block(WORDS);
        words[..8].copy_from_slice(&operand.to_ne_bytes());
        words[8..].copy_from_slice(&exchanged.to_ne_bytes());
        let operand = words.base_mut();
        operation.body = Mutex::new(words);
        start(&self.lanes, operation, self.peer, |endpoint, params| {
            // SAFETY: a parameter structure that lives; a copy of plain data.
            let mut params = unsafe { *params };
            params.op_attr_mask |=
                sys::UCP_OP_ATTR_FIELD_DATATYPE | sys::UCP_OP_ATTR_FIELD_REPLY_BUFFER;
            params.datatype = sys::ucp_dt_make_contig(8);
            // SAFETY: inside the block.
            params.reply_buffer = unsafe { operand.add(8) }.cast();
            // SAFETY: an open endpoint, a live key; the operation keeps the block, in which nobody looks before the end.
            unsafe {
                sys::ucp_atomic_op_nbx(
                    endpoint.raw(),
                    opcode,
                    operand.cast(),
                    1,
                    self.base + offset,
                    self.handle,
                    &params,
                )
            }
        })
    }
}

impl RemoteKey {
    /// What a transfer has come to.
    fn end(
        &self,
        transfer: Result<Transfer, TransportError>,
        patience: Duration,
    ) -> Result<Body, TransportError> {
        let transfer = transfer?;
        let what = transfer.operation.what;
        let late = || Err(TransportError::Timeout { what, patience });
        transfer.wait(patience).unwrap_or_else(late)
    }
}

impl RemoteRegion for RemoteKey {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, to: &mut [u8], patience: Duration) -> Result<(), TransportError> {
        let fetched = self.end(self.get(offset, to.len()), patience)?;
        to.copy_from_slice(fetched.bytes());
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8], patience: Duration) -> Result<(), TransportError> {
        self.end(self.put(offset, &Segment::borrowed(from)), patience)
            .map(drop)
    }

    fn update(
        &self,
        offset: u64,
        update: Update,
        patience: Duration,
    ) -> Result<u64, TransportError> {
        let words = self.end(self.update(offset, update), patience)?;
        let mut before = [0; 8];
        before.copy_from_slice(&words.bytes()[8..WORDS]);
        Ok(u64::from_ne_bytes(before))
    }

    fn flush(&self, patience: Duration) -> Result<(), TransportError> {
        self.end(self.flush(), patience).map(drop)
    }
}

/// Starts an operation with `call`, which runs under the lane's lock with an open endpoint.
fn start(
    lanes: &Arc<Lanes>,
    mut operation: Operation,
    peer: PeerId,
    call: impl FnOnce(Endpoint, *const sys::ucp_request_param_t) -> sys::ucs_status_ptr_t,
) -> Result<Transfer, TransportError> {
    let callback: OnEnd = on_transferred;
    let unknown = || TransportError::UnknownPeer(peer);
    let mut driving = lanes.drive(peer).ok_or_else(unknown)?;
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
        lanes: Arc::clone(lanes),
        peer,
        operation,
    })
}
