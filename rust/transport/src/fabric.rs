//! The data plane as the rest of BitCode.jl sees it: "send this frame to that peer".
//!
//! A fabric moves frames (a fixed header of [`HEADER_LEN`] bytes and a body) between peers. It neither reads nor
//! believes the header: who a frame is from is for the receiver to find out from the header's session and tag. Frames
//! between two peers usually arrive in the order they were sent, but a large one may be overtaken by later small ones.
//!
//! Every method may be called from any thread at any time. Whoever calls [`Fabric::poll`] drives: there is one driver
//! at a time for each peer, chosen by a light lock inside the fabric, and the lock is *not* held while the [`Sink`] runs,
//! so a sink may call any method of the fabric, and another thread may drive on while a sink is busy with one frame.

use std::sync::Arc;
use std::time::Duration;

use crate::body::Body;
use crate::error::{PeerFailure, TransportError};
use crate::region::{Region, RemoteRegion};
use crate::segment::Segment;

/// Length of a frame's header on every fabric.
pub const HEADER_LEN: usize = 64;

/// A frame's header: opaque here, `bitcode_wire::frame::Header` elsewhere.
pub type HeaderBytes = [u8; HEADER_LEN];

/// A peer that frames can be sent to, named by the fabric that it was opened at. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub(crate) u64);

/// What the caller of [`Fabric::send`] wants to be told on completion. Free to choose, need not be unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What [`Fabric::send`] says about the body's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a pending send still reads the body's memory"]
pub enum SendStatus {
    /// The body's memory is free again. There will be no [`Sink::sent`].
    Done,
    /// The body's lasting and shared segments are still being read. There will be exactly one [`Sink::sent`].
    Pending,
}

/// What a [`Sink`] is told, as a value, for sinks that are closures.
#[derive(Debug)]
pub enum Event {
    /// A frame came in.
    Frame {
        /// Its header, not yet believed.
        header: HeaderBytes,
        /// Its body, to keep.
        body: Body,
    },
    /// A send that was [`SendStatus::Pending`] has ended; the fabric no longer reads its memory.
    Sent {
        /// As given to `send`.
        token: Token,
        /// Whether the body was handed over, or why it was not.
        result: Result<(), TransportError>,
    },
    /// A peer is dead or unreachable. Told once per peer; it still wants [`Fabric::remove_peer`].
    PeerFailed {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: PeerFailure,
    },
}

/// Where [`Fabric::poll`] delivers. Never called from inside UCX and never with the fabric's lock held.
///
/// Every `FnMut(Event)` is a sink; it pays for owning each body.
pub trait Sink {
    /// Asked before memory is taken for a body that is not here yet (one too large to arrive at once): `false` drops
    /// the frame. Meant for checking the header's session and tag, since anyone may claim any length. Bodies above the
    /// fabric's [`Fabric::max_body`] are dropped without asking.
    fn admit(&mut self, header: &HeaderBytes, body_len: usize) -> bool {
        let (_, _) = (header, body_len);
        true
    }

    /// A frame came in. `body` is reused as soon as this returns; to keep it, for another thread say, take it:
    /// `std::mem::take(body)`.
    fn frame(&mut self, header: &HeaderBytes, body: &mut Body);

    /// A send that was [`SendStatus::Pending`] has ended; the fabric no longer reads its memory and has dropped its
    /// shared segments.
    fn sent(&mut self, token: Token, result: Result<(), TransportError>);

    /// A peer is dead or unreachable. Told once per peer; it still wants [`Fabric::remove_peer`].
    ///
    /// Not the only sign to go by: a fabric can miss the death of a process that never answered it, and knows nothing of
    /// one that lives but no longer drives. The end of the control channel tells both; then remove the peer.
    fn peer_failed(&mut self, peer: PeerId, reason: PeerFailure);
}

impl<F: FnMut(Event)> Sink for F {
    fn frame(&mut self, header: &HeaderBytes, body: &mut Body) {
        self(Event::Frame {
            header: *header,
            body: std::mem::take(body),
        });
    }

    fn sent(&mut self, token: Token, result: Result<(), TransportError>) {
        self(Event::Sent { token, result });
    }

    fn peer_failed(&mut self, peer: PeerId, reason: PeerFailure) {
        self(Event::PeerFailed { peer, reason });
    }
}

/// What a fabric has counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FabricStats {
    /// Frames given to `send` and accepted.
    pub frames_sent: u64,
    /// Bytes of their headers and bodies.
    pub bytes_sent: u64,
    /// Frames delivered to a sink.
    pub frames_received: u64,
    /// Bytes of their headers and bodies.
    pub bytes_received: u64,
    /// Messages dropped because they were not frames, were too long, or were not admitted.
    pub dropped: u64,
}

impl FabricStats {
    /// Adds what a part of the fabric has counted.
    pub(crate) fn add(&mut self, part: &Self) {
        self.frames_sent += part.frames_sent;
        self.bytes_sent += part.bytes_sent;
        self.frames_received += part.frames_received;
        self.bytes_received += part.bytes_received;
        self.dropped += part.dropped;
    }
}

/// Moves frames between peers; see the module's documentation for threads and order.
pub trait Fabric: Send + Sync {
    /// Makes room for a peer, and the address that the peer is to pass to its own [`Fabric::connect_peer`] to send here.
    /// Opaque bytes, for this peer alone, exchanged over the authenticated control channel.
    ///
    /// Each peer has a way in of its own: what one of them does to it, even by dying in the middle of a write, does not
    /// concern the others.
    ///
    /// # Errors
    /// There are too many peers, or the system or UCX gives no more.
    fn open_peer(&self) -> Result<(PeerId, Vec<u8>), TransportError>;

    /// Tells where the peer is: the address that its own [`Fabric::open_peer`] gave. Returns before anything has been
    /// exchanged with it: that it cannot be reached shows as [`Sink::peer_failed`]. The address must come from an
    /// authenticated source.
    ///
    /// # Errors
    /// No such peer, or the address is none. The peer is still there, and may be connected or removed.
    fn connect_peer(&self, peer: PeerId, address: &[u8]) -> Result<(), TransportError>;

    /// Forgets a peer at once, connected or not: what was not sent yet is dropped, pending sends end with an error (told by
    /// a later `poll`), frames of it that were not delivered yet are lost. Unknown peers are ignored.
    fn remove_peer(&self, peer: PeerId);

    /// Sends a frame whose body is the concatenation of `body`.
    ///
    /// [`SendStatus::Done`]: nothing of `body` is looked at again. [`SendStatus::Pending`]: the lasting and shared
    /// segments are read until [`Sink::sent`] reports `token`; borrowed ones were copied. A send never blocks for the
    /// receiver.
    ///
    /// # Errors
    /// No such peer, it has failed, or the body is too large. Nothing was sent and nothing is looked at again.
    fn send(
        &self,
        to: PeerId,
        header: &HeaderBytes,
        body: &[Segment<'_>],
        token: Token,
    ) -> Result<SendStatus, TransportError>;

    /// Drives: makes progress and delivers what has come in. Returns the number of deliveries, 0 if there was nothing
    /// to do (or another thread is driving just now). Bounded: a fast sender does not keep a driver here for ever.
    fn poll(&self, sink: &mut dyn Sink) -> usize;

    /// Drives for one peer alone: the shortest way to its next frame. A thread that waits for that frame calls this, and
    /// [`Fabric::poll`] now and then.
    fn poll_peer(&self, peer: PeerId, sink: &mut dyn Sink) -> usize {
        let _ = peer;
        self.poll(sink)
    }

    /// Sleeps until there is probably something to [`Fabric::poll`], or [`Fabric::wake`] was called, or `timeout` has
    /// passed. May return early for no reason. One thread waits at a time (a second one naps).
    ///
    /// While other threads drive, a waiter naps for about a millisecond at a time instead of sleeping on UCX's event
    /// fd: an armed fd would cost the peer a system call for each frame. So a thread that stops driving while it
    /// expects more frames, and wants them served sooner than that, calls [`Fabric::wake`].
    fn wait(&self, timeout: Duration);

    /// Makes the present or the next [`Fabric::wait`] return.
    fn wake(&self);

    /// Number of sends that have not left entirely, or whose end was not yet delivered. 0 before the fabric is dropped
    /// means that nothing is lost here.
    fn pending_sends(&self) -> usize;

    /// The longest body that is accepted here, either way.
    fn max_body(&self) -> usize;

    /// New memory that peers with its key may read and write, all zero.
    ///
    /// # Errors
    /// There is none, or it cannot be registered.
    fn allocate(&self, len: usize) -> Result<Arc<dyn Region>, TransportError>;

    /// Makes a peer's key usable. It must come from an authenticated source.
    ///
    /// # Errors
    /// The key is no key, or the peer is not known.
    fn import(&self, peer: PeerId, key: &[u8]) -> Result<Arc<dyn RemoteRegion>, TransportError>;

    /// Whether the peer may still reach memory of this process: from [`Fabric::open_peer`] until some time after
    /// [`Fabric::remove_peer`], when what it had under way has ended.
    fn has_peer(&self, peer: PeerId) -> bool;

    /// What this fabric moves frames with, for people: `posix,cma`, `tcp/lo`, `memory`.
    fn describe(&self) -> String;

    /// What was really chosen for one peer, for people; the same as [`Fabric::describe`] if that is not known (yet).
    fn describe_peer(&self, peer: PeerId) -> String;

    /// Counters.
    fn stats(&self) -> FabricStats;
}
