//! A lane: what belongs to one peer. A worker, the state that its callbacks touch, and who may use them.
//!
//! Each peer has a worker of its own, because over shared memory a worker has one queue for what it receives (UCX's
//! mm_iface.c). A sender takes a place in it by an atomic exchange, writes (8 KiB, for a large body), and then marks the
//! place as written. One that is killed in between leaves a place that the receiver never gets past: it does not progress,
//! `ucp_worker_arm` answers BUSY, and everything behind is lost, whoever sent it. Of a worker that only the dead process
//! sent to, nobody misses anything, and it goes with the peer.
//!
//! UCX calls back from inside `ucp_worker_progress`, and in principle from inside any other call. So the rule of this
//! file is: a reference to the [`State`] never lives across a call to UCX. [`Driving`] keeps it: its methods that call
//! UCX need `&mut self`, and so does [`Driving::state`].

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use ucx_sys as sys;

use super::context::Context;
use super::endpoint::{Endpoint, Started};
use super::inbox::{self, Inbox};
use super::lanes::{Lanes, Place};
use super::message::{PART, SMALL, WHOLE};
use super::state::{Notice, State};
use super::status;
use super::worker::{Armed, Worker};
use crate::error::TransportError;
use crate::fabric::{FabricStats, PeerId};

/// What [`Driving::doze`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doze {
    /// The lane is not awake any more: an event will tell.
    Dozing,
    /// There is something to deliver.
    Deliveries,
    /// UCX has something to do, but progress does nothing: a sender is about to publish a message, or never will.
    Stuck,
}

/// See the module's documentation.
pub(crate) struct Lane {
    /// Dropped before the state: until then UCX may read and write what the state owns.
    worker: Worker,
    state: UnsafeCell<State>,
}

impl Lane {
    /// In a box from the start, because UCX keeps the state's address.
    pub(crate) fn new(context: &Arc<Context>, inbox: Inbox) -> Result<Box<Self>, TransportError> {
        let lane = Box::new(Self {
            worker: Worker::new(context)?,
            state: UnsafeCell::new(State::new(inbox)),
        });
        let state = lane.state.get().cast::<c_void>();
        // SAFETY: the state stays where it is until after the worker is destroyed.
        unsafe { lane.worker.handle(SMALL, inbox::on_small, state) }?;
        // SAFETY: as above.
        unsafe { lane.worker.handle(WHOLE, inbox::on_whole, state) }?;
        // SAFETY: as above.
        unsafe { lane.worker.handle(PART, inbox::on_part, state) }?;
        Ok(lane)
    }

    /// The worker, for what needs no lock.
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Destroys the worker, ends what it had not ended, and returns what is still to be told.
    pub(crate) fn end(self: Box<Self>) -> (VecDeque<Notice>, FabricStats) {
        // Through raw pointers: UCX has the state's address, and may call back while the worker goes.
        let lane = Box::into_raw(self);
        // SAFETY: a live lane, ours alone.
        let worker = unsafe { &raw const (*lane).worker };
        // SAFETY: as above.
        let state = unsafe { &raw const (*lane).state };
        // SAFETY: nothing calls back now.
        let keys = unsafe { &mut (*UnsafeCell::raw_get(state)).keys };
        for key in std::mem::take(keys) {
            // SAFETY: unpacked for this worker and taken out of the list: destroyed once.
            unsafe { sys::ucp_rkey_destroy(key) };
        }
        // SAFETY: read once; the box is freed below without dropping what is in it.
        drop(unsafe { worker.read() });
        // SAFETY: as above; UCX does not know the state any more.
        let mut state = unsafe { state.read() }.into_inner();
        // SAFETY: made by `into_raw` above; `ManuallyDrop` has the same layout.
        drop(unsafe { Box::from_raw(lane.cast::<ManuallyDrop<Self>>()) });
        for transfer in state.transfers.drain(..) {
            // SAFETY: the reference that UCX held and has not given back.
            let transfer = unsafe { Arc::from_raw(transfer) };
            transfer.end(sys::UCS_ERR_CANCELED);
            state.notices.push_back(Notice::Transferred(transfer));
        }
        state.outbox.give_up(&mut state.notices);
        state
            .notices
            .retain(|notice| !matches!(notice, Notice::PeerFailed { .. }));
        (state.notices, state.stats)
    }
}

/// The right to use a lane, until dropped.
pub(crate) struct Driving<'a> {
    lanes: &'a Lanes,
    place: &'a Place,
    lane: NonNull<Lane>,
    peer: PeerId,
}

impl Drop for Driving<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: whoever has a `Driving` holds the lock.
        unsafe { self.place.lock.unlock() };
    }
}

impl<'a> Driving<'a> {
    /// # Safety
    /// The caller holds the place's lock, which goes to the result, and `lane` is the place's.
    #[inline]
    pub(crate) unsafe fn new(
        lanes: &'a Lanes,
        place: &'a Place,
        lane: NonNull<Lane>,
        peer: PeerId,
    ) -> Self {
        Self {
            lanes,
            place,
            lane,
            peer,
        }
    }

    /// Where the lane is.
    pub(crate) fn place(&self) -> &'a Place {
        self.place
    }
}

impl Driving<'_> {
    #[inline]
    fn lane(&self) -> &Lane {
        // SAFETY: we hold the lock, and whoever takes the lane out of its place gives up the `Driving`.
        unsafe { self.lane.as_ref() }
    }

    /// The place's number.
    pub(crate) fn index(&self) -> u32 {
        self.peer.0 as u32
    }

    /// The peer that the lane is for.
    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    /// The state. The borrow of `self` keeps calls to UCX out while it lives.
    #[inline]
    pub(crate) fn state(&mut self) -> &mut State {
        // SAFETY: we hold the lock, and no callback runs: they run inside methods that borrow `self` mutably.
        unsafe { &mut *self.lane().state.get() }
    }

    /// The state's address, for callbacks.
    pub(crate) fn state_address(&self) -> *mut State {
        self.lane().state.get()
    }

    /// The worker; its unsafe calls need the lock, which is held.
    pub(crate) fn worker(&self) -> &Worker {
        &self.lane().worker
    }

    /// The endpoint to the peer, if it is alive.
    #[inline]
    pub(crate) fn endpoint(&mut self) -> Result<Endpoint, TransportError> {
        let peer = self.peer;
        self.state().peer.endpoint(peer)
    }

    /// One round of progress.
    #[inline]
    pub(crate) fn progress(&mut self) -> u32 {
        // SAFETY: we hold the lock, `&mut self` means no reference to the state, and callbacks have no `Driving`.
        let events = unsafe { self.lane().worker.progress() };
        if events > 0 {
            let state = self.state();
            state.waiting_since = None;
            if state.armed {
                self.rouse();
            }
        }
        if self.state().failed.is_some() {
            self.bury_the_dead();
        }
        events
    }

    /// The lane has to be driven from now on: events that somebody relied on may be gone, or will not come.
    #[cold]
    pub(crate) fn rouse(&mut self) {
        let index = self.index();
        self.state().armed = false;
        self.lanes.awake.insert(index);
        self.lanes.sleep.disarmed();
    }

    /// Something was begun that may take progress.
    #[inline]
    pub(crate) fn begun(&mut self) {
        let state = self.state();
        if state.armed && (state.under_way > 0 || state.failed.is_some()) {
            self.rouse();
        }
    }

    /// Arms the event fd, progressing up to `tries` times while UCX is busy, and lets the lane doze.
    pub(crate) fn doze(&mut self, tries: u32) -> Result<Doze, TransportError> {
        let mut empty = 0;
        while empty < tries {
            // SAFETY: the lane's lock is held.
            if unsafe { self.worker().arm() }? == Armed::Yes {
                let index = self.index();
                self.lanes.sleep.expect(self.worker().event_fd(), index)?;
                self.state().armed = true;
                self.lanes.awake.remove(index);
                return Ok(Doze::Dozing);
            }
            empty += u32::from(self.progress() == 0);
            if self.state().has_deliveries() {
                return Ok(Doze::Deliveries);
            }
        }
        Ok(Doze::Stuck)
    }

    /// Makes an endpoint.
    pub(crate) fn connect(&mut self, address: &[u8]) -> Result<Endpoint, TransportError> {
        // UCX 1.13 reuses a TCP connection that the same peer made. If that has broken meanwhile it ends the process
        // (tcp_ep.c:478: `uct_tcp_ep_connect` adds a capability to an endpoint whose removal it has just scheduled). So
        // let it notice first; what is left is the moment between here and there, and only for the side that connects
        // second, which is the origin.
        let mut quiet = 0;
        for _ in 0..256 {
            quiet = if self.progress() == 0 { quiet + 1 } else { 0 };
            if quiet == 4 {
                break;
            }
        }
        let state = self.state_address().cast();
        // SAFETY: we hold the lock; the state outlives the worker.
        unsafe { Endpoint::new(self.worker(), address, on_peer_error, state) }
    }

    /// Closes an endpoint that nobody will use again.
    pub(crate) fn close(&mut self, endpoint: Endpoint) {
        self.state().under_way += 1;
        let state = self.state_address().cast();
        // SAFETY: we hold the lock and are in no callback; the caller has taken the endpoint out of the peers.
        match unsafe { endpoint.close(on_closed, state) } {
            Started::UnderWay => {}
            Started::Done => self.state().under_way -= 1,
            Started::Failed(status) => {
                self.state().under_way -= 1;
                tracing::warn!(
                    status = status.0,
                    text = status::words(status),
                    "closing a UCX endpoint failed"
                );
            }
        }
    }

    #[cold]
    fn bury_the_dead(&mut self) {
        let peer = self.peer;
        let Some(reason) = self.state().failed.take() else {
            return;
        };
        self.state()
            .notices
            .push_back(Notice::PeerFailed { peer, reason });
        if let Some(endpoint) = self.state().peer.bury() {
            self.close(endpoint);
            self.state().inbox.forget_partials();
        }
    }

    /// Forgets the peer. The lane is to be ended once its state says that it `is_over`.
    pub(crate) fn hang_up(&mut self) {
        if self.state().closing.is_some() {
            return;
        }
        self.state().closing = Some(Instant::now());
        let endpoint = self.state().peer.remove();
        self.state().inbox.forget_partials();
        while let Some(offer) = self.state().inbox.offers.pop_front() {
            self.refuse(offer);
        }
        if let Some(endpoint) = endpoint {
            self.close(endpoint);
        }
        // Closing by force ends at once, and most requests with it. Progress only if it has to be: UCX 1.13 looks whether an
        // endpoint lives that was closed before it was wired up, and ends the process with a null pointer
        // (`ucp_ep_do_uct_ep_am_keepalive`).
        for _ in 0..16 {
            if self.state().under_way == 0 {
                break;
            }
            self.progress();
        }
        self.rouse();
    }
}

/// UCX says that a peer is gone.
unsafe extern "C" fn on_peer_error(
    state: *mut c_void,
    endpoint: sys::ucp_ep_h,
    status: sys::ucs_status_t,
) {
    // SAFETY: the state's address was registered; we are inside a call to UCX, so no other reference to it lives.
    let state = unsafe { &mut *state.cast::<State>() };
    let reason = status::peer_failure(status);
    if state.peer.fail(Endpoint::from_raw(endpoint), &reason) {
        state.failed = Some(reason);
    }
}

/// A closing endpoint is closed.
unsafe extern "C" fn on_closed(
    request: *mut c_void,
    _status: sys::ucs_status_t,
    state: *mut c_void,
) {
    // SAFETY: as in `on_peer_error`.
    let state = unsafe { &mut *state.cast::<State>() };
    state.under_way -= 1;
    // SAFETY: UCX's request, which has ended.
    unsafe { sys::ucp_request_free(request) };
}
