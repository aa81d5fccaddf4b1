//! The driver: a worker, the state that its callbacks touch, and the lock that keeps both to one thread at a time.
//!
//! UCX calls back from inside `ucp_worker_progress`, and in principle from inside any other call. So the rule of this
//! file is: a reference to the [`State`] never lives across a call to UCX. [`Driving`] keeps it: its methods that call
//! UCX need `&mut self`, and so does [`Driving::state`].

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ucx_sys as sys;

use super::endpoint::{Endpoint, Started};
use super::inbox::{self, Inbox};
use super::lock::DriverLock;
use super::message::{PART, SMALL, WHOLE};
use super::outbox::Outbox;
use super::peers::Peers;
use super::region::Operation;
use super::sleep::Sleep;
use super::status;
use super::worker::Worker;
use crate::error::{PeerFailure, TransportError};
use crate::fabric::{FabricStats, PeerId, Token};
use crate::segment::Segment;

/// What `poll` has to tell besides frames.
pub(crate) enum Notice {
    /// A send has ended. The segments are dropped before the sink hears of it, and outside of every UCX callback:
    /// their owners may do anything when they are dropped.
    Sent {
        token: Token,
        result: Result<(), TransportError>,
        kept: Vec<Segment<'static>>,
    },
    /// A peer failed.
    PeerFailed { peer: PeerId, reason: PeerFailure },
    /// A transfer has ended. Nobody is told; it is dropped outside of UCX.
    Transferred(#[expect(dead_code, reason = "only dropped")] Arc<Operation>),
}

/// Everything that callbacks touch.
pub(crate) struct State {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) peers: Peers,
    pub(crate) notices: VecDeque<Notice>,
    /// Peers whose endpoints are to be closed, which must not happen in a callback.
    failed: Vec<PeerId>,
    /// Requests of UCX that have not ended: while there are any, UCX may need progress without an event.
    pub(crate) under_way: usize,
    pub(crate) stats: FabricStats,
    /// Who drove last, and how often that changed (see [`Sleep`]).
    driver: usize,
    handovers: u64,
    handovers_at_wait: u64,
    /// Since when waits have found requests under way and no sign of life from UCX.
    pub(crate) waiting_since: Option<Instant>,
}

/// How long a thread that waits for requests under way goes without sleep after the last sign of life.
const MOVING: Duration = Duration::from_millis(5);

impl State {
    /// Whether requests under way are likely to go on soon: UCX has reported something within the last [`MOVING`].
    pub(crate) fn is_moving(&mut self) -> bool {
        let now = Instant::now();
        now - *self.waiting_since.get_or_insert(now) < MOVING
    }

    /// How often the driver changed since the last wait. 0: the thread that waits is the only one that drives.
    pub(crate) fn handovers_since_wait(&mut self) -> u64 {
        let since = self.handovers - self.handovers_at_wait;
        self.handovers_at_wait = self.handovers;
        since
    }

    /// Whether there is something to deliver.
    #[inline]
    pub(crate) fn has_deliveries(&self) -> bool {
        self.inbox.has_deliveries() || !self.notices.is_empty()
    }
}

/// A worker, its state, the lock. Shared by the fabric and the handles made from it.
pub(crate) struct Driver {
    lock: DriverLock,
    pub(crate) sleep: Sleep,
    /// Dropped before the state: until then UCX may read and write what the state owns.
    worker: Worker,
    state: UnsafeCell<State>,
}

// SAFETY: worker and state are used under the lock only; UCX allows its callers to take turns.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// In an `Arc` from the start, because UCX keeps the state's address.
    pub(crate) fn new(worker: Worker, inbox: Inbox) -> Result<Arc<Self>, TransportError> {
        let driver = Arc::new(Self {
            lock: DriverLock::default(),
            sleep: Sleep::new()?,
            worker,
            state: UnsafeCell::new(State {
                inbox,
                outbox: Outbox::default(),
                peers: Peers::default(),
                notices: VecDeque::new(),
                failed: Vec::new(),
                under_way: 0,
                stats: FabricStats::default(),
                driver: 0,
                handovers: 0,
                handovers_at_wait: 0,
                waiting_since: None,
            }),
        });
        let state = driver.state.get().cast::<c_void>();
        // SAFETY: the state stays where it is until after the worker is destroyed.
        unsafe { driver.worker.handle(SMALL, inbox::on_small, state) }?;
        // SAFETY: as above.
        unsafe { driver.worker.handle(WHOLE, inbox::on_whole, state) }?;
        // SAFETY: as above.
        unsafe { driver.worker.handle(PART, inbox::on_part, state) }?;
        Ok(driver)
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn drive(&self) -> Driving<'_> {
        self.lock.lock();
        Driving { driver: self }
    }

    /// Takes the lock unless somebody has it or wants it.
    #[inline]
    pub(crate) fn try_drive(&self) -> Option<Driving<'_>> {
        // Lazily: a `Driving` made before the lock is taken would give somebody else's lock back when dropped.
        self.lock.try_lock().then(|| Driving { driver: self })
    }

    /// The worker, for what needs no lock.
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }
}

/// The right to use worker and state, until dropped.
pub(crate) struct Driving<'a> {
    driver: &'a Driver,
}

impl Drop for Driving<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: whoever has a `Driving` holds the lock.
        unsafe { self.driver.lock.unlock() };
    }
}

impl Driving<'_> {
    /// The state. The borrow of `self` keeps calls to UCX out while it lives.
    #[inline]
    pub(crate) fn state(&mut self) -> &mut State {
        // SAFETY: we hold the lock, and no callback runs: they run inside methods that borrow `self` mutably.
        unsafe { &mut *self.driver.state.get() }
    }

    /// The state's address, for callbacks.
    pub(crate) fn state_address(&self) -> *mut State {
        self.driver.state.get()
    }

    /// The worker; its unsafe calls need the lock, which is held.
    pub(crate) fn worker(&self) -> &Worker {
        &self.driver.worker
    }

    /// Notes who drives.
    #[inline]
    pub(crate) fn sign(&mut self, thread: usize) {
        let state = self.state();
        if state.driver != thread {
            state.driver = thread;
            state.handovers += 1;
        }
    }

    /// One round of progress.
    #[inline]
    pub(crate) fn progress(&mut self) -> u32 {
        // SAFETY: we hold the lock, `&mut self` means no reference to the state, and callbacks have no `Driving`.
        let events = unsafe { self.driver.worker.progress() };
        if events > 0 {
            // Whoever sleeps on the event fd may have lost its event to us.
            self.driver.sleep.disarmed();
            self.state().waiting_since = None;
        }
        if !self.state().failed.is_empty() {
            self.bury_the_dead();
        }
        events
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
        unsafe { Endpoint::new(&self.driver.worker, address, on_peer_error, state) }
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
        while let Some(peer) = self.state().failed.pop() {
            if let Some((endpoint, sender)) = self.state().peers.bury(peer) {
                self.close(endpoint);
                self.state().inbox.forget_sender(sender);
            }
        }
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
    if let Some(peer) = state
        .peers
        .fail(Endpoint::from_raw(endpoint), reason.clone())
    {
        state.failed.push(peer);
        state.notices.push_back(Notice::PeerFailed { peer, reason });
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
