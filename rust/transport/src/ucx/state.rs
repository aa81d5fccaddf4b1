//! What UCX's callbacks write and the rest reads, of one lane.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ucx_sys as sys;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::peer::Peer;
use super::remote::Operation;
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
    pub(crate) peer: Peer,
    pub(crate) notices: VecDeque<Notice>,
    /// The peer failed: its endpoint is to be closed, which must not happen in a callback.
    pub(crate) failed: Option<PeerFailure>,
    /// Requests of UCX that have not ended: while there are any, UCX may need progress without an event.
    pub(crate) under_way: usize,
    pub(crate) stats: FabricStats,
    /// Keys to the peer's memory that UCX has unpacked; they go before the worker.
    pub(crate) keys: Vec<sys::ucp_rkey_h>,
    /// Transfers that UCX works on; it holds a reference to each.
    pub(crate) transfers: Vec<*const Operation>,
    /// Since when the peer is removed: the lane ends when nothing is under way any more, or after [`CLOSING`].
    pub(crate) closing: Option<Instant>,
    /// Whether UCX's event fd is armed and no event has been taken since.
    pub(crate) armed: bool,
    /// Polls since something was delivered. (UCX has events of its own: it asks once a second whether the peer lives.)
    pub(crate) quiet: u32,
    /// Who drove last, and how often that changed (see [`super::sleep::Sleep`]).
    driver: usize,
    handovers: u64,
    handovers_at_wait: u64,
    /// Since when waits have found requests under way and no sign of life from UCX.
    pub(crate) waiting_since: Option<Instant>,
}

/// How long a lane whose peer was removed waits for what is under way.
pub(crate) const CLOSING: Duration = Duration::from_millis(200);

/// How long a thread that waits for requests under way goes without sleep after the last sign of life.
const MOVING: Duration = Duration::from_millis(5);

impl State {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self {
            inbox,
            outbox: Outbox::default(),
            peer: Peer::default(),
            notices: VecDeque::new(),
            failed: None,
            under_way: 0,
            stats: FabricStats::default(),
            keys: Vec::new(),
            transfers: Vec::new(),
            closing: None,
            armed: false,
            quiet: 0,
            driver: 0,
            handovers: 0,
            handovers_at_wait: 0,
            waiting_since: None,
        }
    }

    /// Notes who drives.
    #[inline]
    pub(crate) fn sign(&mut self, thread: usize) {
        if self.driver != thread {
            self.driver = thread;
            self.handovers += 1;
        }
    }

    /// Whether the peer was removed and nothing is left to wait for.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        let late = |since: Instant| self.under_way == 0 || since.elapsed() >= CLOSING;
        self.closing.is_some_and(late)
    }

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
}
