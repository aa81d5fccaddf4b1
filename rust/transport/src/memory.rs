//! [`Fabric`] without a network: a hub in this process, a virtual clock, and a hand on every frame.
//!
//! For protocol tests of the rooms above. Everything that may go wrong between two processes can be made to happen
//! here, always in the same way for the same seed: frames that are late, lost, doubled or out of order, sends that do
//! not end, peers that die.
//!
//! ```
//! use bitcode_transport::{Event, Fabric, MemoryHub, Segment, Token};
//!
//! let hub = MemoryHub::new();
//! let (here, there) = (hub.fabric(), hub.fabric());
//! let (peer, _) = here.open_peer()?;
//! here.connect_peer(peer, &there.address())?;
//! let _ = here.send(peer, &[7; 64], &[Segment::borrowed(b"body")], Token(1))?;
//! let mut bodies = Vec::new();
//! there.poll(&mut |event: Event| {
//!     if let Event::Frame { body, .. } = event {
//!         bodies.push(body.to_vec());
//!     }
//! });
//! assert_eq!(bodies, [b"body"]);
//! # Ok::<(), bitcode_transport::TransportError>(())
//! ```

mod region;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::body::Body;
use crate::error::TransportError;
use crate::fabric::{Fabric, FabricStats, HeaderBytes, PeerId, SendStatus, Sink, Token};
use crate::region::{Region, RemoteRegion};
use crate::segment::{Segment, body_len};
use region::{HubRegion, HubRemote};
use world::{Delivery, World};

/// Bodies longer than this ask the sink before they are delivered, as large ones over UCX do.
pub const ASKED_ABOVE: usize = 64 << 10;

/// The longest body of a fabric in memory.
const MAX_BODY: usize = 256 << 20;

/// What happens to frames on their way. The default is an ideal network.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Weather {
    /// Time from send to delivery.
    pub latency: Duration,
    /// Up to this much is added to the latency, differently for each frame: frames overtake each other.
    pub jitter: Duration,
    /// The share of frames that are lost, from 0 to 1.
    pub loss: f64,
    /// The share of frames that arrive twice, from 0 to 1.
    pub doubling: f64,
}

/// A network in memory. Clones are the same hub.
#[derive(Clone)]
pub struct MemoryHub {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    /// Signalled whenever something may have become deliverable, or somebody is woken.
    changed: Condvar,
}

impl Default for MemoryHub {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryHub {
    /// An ideal network.
    pub fn new() -> Self {
        Self::with_seed(1)
    }

    /// A network whose chances fall according to `seed`.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                world: Mutex::new(World::new(seed)),
                changed: Condvar::new(),
            }),
        }
    }

    /// Another fabric on this hub.
    pub fn fabric(&self) -> MemoryFabric {
        let id = self.shared.world.lock().add_node();
        MemoryFabric {
            hub: self.clone(),
            id,
        }
    }

    /// Changes what happens to frames sent from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.world.lock().weather = weather;
    }

    /// The virtual time since the hub was made.
    pub fn now(&self) -> Duration {
        self.shared.world.lock().now
    }

    /// Lets virtual time pass. It passes in no other way, except that [`Fabric::wait`] skips to the next delivery when
    /// there is one in the future and nothing to do now.
    pub fn advance(&self, time: Duration) {
        self.change(|world| world.now += time);
    }

    /// The process of `fabric` dies: its peers are told, sends to it fail, what is on the way to it is lost, and
    /// nothing leaves it or arrives there any more.
    pub fn kill(&self, fabric: &MemoryFabric) {
        self.change(|world| world.kill(fabric.id));
    }

    /// Loses everything that is on the way to `fabric`. Returns the number of frames.
    pub fn drop_in_flight(&self, fabric: &MemoryFabric) -> usize {
        self.change(|world| world.drop_in_flight(fabric.id))
    }

    /// Turns the order of what is on the way to `fabric` round.
    pub fn reverse_in_flight(&self, fabric: &MemoryFabric) {
        self.change(|world| world.reverse_in_flight(fabric.id));
    }

    /// The number of frames on the way to `fabric`.
    pub fn in_flight(&self, fabric: &MemoryFabric) -> usize {
        self.shared.world.lock().in_flight(fabric.id)
    }

    /// While held, sends of `fabric` whose bodies outlive the call stay pending (the frames go out). Letting go ends
    /// them.
    pub fn hold_sends(&self, fabric: &MemoryFabric, hold: bool) {
        self.change(|world| world.hold_sends(fabric.id, hold));
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.shared.world.lock());
        self.shared.changed.notify_all();
        result
    }
}

/// A fabric on a [`MemoryHub`].
pub struct MemoryFabric {
    hub: MemoryHub,
    id: usize,
}

impl MemoryFabric {
    /// The address that all its peers are given.
    pub fn address(&self) -> Vec<u8> {
        world::address(self.id)
    }

    /// Makes the fabric behind `address` a peer, for tests that need no handshake.
    ///
    /// # Errors
    /// The address is not of this hub.
    pub fn add_peer(&self, address: &[u8]) -> Result<PeerId, TransportError> {
        let (peer, _) = self.open_peer()?;
        self.connect_peer(peer, address)?;
        Ok(peer)
    }

    /// The hub that it is on.
    pub fn hub(&self) -> &MemoryHub {
        &self.hub
    }

    fn deliver(&self, delivery: Delivery, sink: &mut dyn Sink) {
        match delivery {
            Delivery::Frame { header, bytes } => {
                if bytes.len() > ASKED_ABOVE && !sink.admit(&header, bytes.len()) {
                    self.hub.shared.world.lock().not_admitted(self.id);
                    return;
                }
                sink.frame(&header, &mut Body::copy_of(&bytes));
            }
            Delivery::Sent {
                token,
                result,
                kept,
            } => {
                drop(kept);
                sink.sent(token, result);
            }
            Delivery::PeerFailed { peer, reason } => sink.peer_failed(peer, reason),
        }
    }
}

impl Drop for MemoryFabric {
    fn drop(&mut self) {
        self.hub.kill(self);
    }
}

impl Fabric for MemoryFabric {
    fn open_peer(&self) -> Result<(PeerId, Vec<u8>), TransportError> {
        let peer = self.hub.change(|world| world.open_peer(self.id));
        Ok((peer, self.address()))
    }

    fn connect_peer(&self, peer: PeerId, address: &[u8]) -> Result<(), TransportError> {
        self.hub
            .change(|world| world.connect_peer(self.id, peer, address))
    }

    fn remove_peer(&self, peer: PeerId) {
        self.hub.change(|world| world.remove_peer(self.id, peer));
    }

    fn send(
        &self,
        to: PeerId,
        header: &HeaderBytes,
        body: &[Segment<'_>],
        token: Token,
    ) -> Result<SendStatus, TransportError> {
        let len = body_len(body).unwrap_or(usize::MAX);
        if len > MAX_BODY {
            return Err(TransportError::TooLarge { len, max: MAX_BODY });
        }
        self.hub
            .change(|world| world.send(self.id, to, header, body, token))
    }

    fn poll(&self, sink: &mut dyn Sink) -> usize {
        let mut delivered = 0;
        // Bounded by what is there now, so that a sink that answers itself does not keep us for ever.
        let mut left = self.hub.shared.world.lock().deliverable(self.id);
        while left > 0 {
            let Some(delivery) = self.hub.shared.world.lock().next_delivery(self.id) else {
                break;
            };
            self.deliver(delivery, sink);
            delivered += 1;
            left -= 1;
        }
        delivered
    }

    fn wait(&self, timeout: Duration) {
        let end = Instant::now().checked_add(timeout);
        let mut world = self.hub.shared.world.lock();
        loop {
            if world.take_wake(self.id) || world.deliverable(self.id) > 0 {
                return;
            }
            if world.skip_to_next_delivery(self.id) {
                // Others may wait for the same moment.
                self.hub.shared.changed.notify_all();
                continue;
            }
            let timed_out = match end {
                Some(end) => self
                    .hub
                    .shared
                    .changed
                    .wait_until(&mut world, end)
                    .timed_out(),
                None => {
                    self.hub.shared.changed.wait(&mut world);
                    false
                }
            };
            if timed_out {
                return;
            }
        }
    }

    fn wake(&self) {
        self.hub.change(|world| world.wake(self.id));
    }

    fn pending_sends(&self) -> usize {
        self.hub.shared.world.lock().pending_sends(self.id)
    }

    fn max_body(&self) -> usize {
        MAX_BODY
    }

    fn allocate(&self, len: usize) -> Result<Arc<dyn Region>, TransportError> {
        Ok(Arc::new(HubRegion::new(&self.hub, self.id, len)?))
    }

    fn import(&self, peer: PeerId, key: &[u8]) -> Result<Arc<dyn RemoteRegion>, TransportError> {
        Ok(Arc::new(HubRemote::new(&self.hub, self.id, peer, key)?))
    }

    fn has_peer(&self, peer: PeerId) -> bool {
        self.hub.shared.world.lock().has_peer(self.id, peer)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn describe_peer(&self, _peer: PeerId) -> String {
        self.describe()
    }

    fn stats(&self) -> FabricStats {
        self.hub.shared.world.lock().stats(self.id)
    }
}

#[cfg(test)]
mod tests;
