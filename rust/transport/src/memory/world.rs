//! What the hub knows: its fabrics, the frames on their way, the time, and chance. Pure bookkeeping, under one lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Weather;
use super::region::Block;
use crate::error::{PeerFailure, TransportError};
use crate::fabric::{FabricStats, HEADER_LEN, HeaderBytes, PeerId, SendStatus, Token};
use crate::segment::Segment;

const ADDRESS: &[u8] = b"memory:";

/// The address of the fabric with this number.
pub(super) fn address(id: usize) -> Vec<u8> {
    [ADDRESS, &(id as u64).to_le_bytes()].concat()
}

/// Something for a sink.
pub(super) enum Delivery {
    Frame {
        header: HeaderBytes,
        bytes: Vec<u8>,
    },
    Sent {
        token: Token,
        result: Result<(), TransportError>,
        kept: Vec<Segment<'static>>,
    },
    PeerFailed {
        peer: PeerId,
        reason: PeerFailure,
    },
}

/// Frames on their way, by the time of their arrival; frames of one time in the order they were sent.
type InFlight = BTreeMap<(Duration, u64), (HeaderBytes, Vec<u8>)>;

struct Peer {
    /// Known once it is connected.
    node: Option<usize>,
    failure: Option<PeerFailure>,
}

struct HeldSend {
    to: PeerId,
    token: Token,
    kept: Vec<Segment<'static>>,
}

#[derive(Default)]
struct Node {
    dead: bool,
    woken: bool,
    hold: bool,
    /// By number; a removed peer leaves its place empty.
    peers: Vec<Option<Peer>>,
    arriving: InFlight,
    notices: VecDeque<Delivery>,
    held: Vec<HeldSend>,
    stats: FabricStats,
}

/// See the module's documentation.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) weather: Weather,
    nodes: Vec<Node>,
    /// Memory for peers by its number, with its owner's.
    regions: BTreeMap<u64, (usize, Arc<Block>)>,
    next_region: u64,
    sent: u64,
    chance: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            weather: Weather::default(),
            nodes: Vec::new(),
            regions: BTreeMap::new(),
            next_region: 0,
            sent: 0,
            chance: seed,
        }
    }

    pub(super) fn add_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    pub(super) fn open_peer(&mut self, id: usize) -> PeerId {
        let own = &mut self.nodes[id];
        let peer = PeerId(own.peers.len() as u64);
        own.peers.push(Some(Peer {
            node: None,
            failure: None,
        }));
        peer
    }

    pub(super) fn connect_peer(
        &mut self,
        id: usize,
        peer: PeerId,
        address: &[u8],
    ) -> Result<(), TransportError> {
        let unusable = |reason: &str| TransportError::Address {
            len: address.len(),
            reason: reason.to_owned(),
        };
        let node = address
            .strip_prefix(ADDRESS)
            .and_then(|number| Some(u64::from_le_bytes(number.try_into().ok()?)))
            .and_then(|number| usize::try_from(number).ok())
            .filter(|&number| number < self.nodes.len())
            .ok_or_else(|| unusable("it is not an address of this hub"))?;
        let dead = self.nodes[node].dead;
        let own = &mut self.nodes[id];
        match own.peers.get_mut(peer.0 as usize) {
            Some(Some(place)) if place.node.is_none() => place.node = Some(node),
            Some(Some(_)) => return Err(unusable("the peer is connected already")),
            _ => return Err(TransportError::UnknownPeer(peer)),
        }
        if dead {
            own.fail(peer, PeerFailure::Unreachable);
        }
        Ok(())
    }

    pub(super) fn remove_peer(&mut self, id: usize, peer: PeerId) {
        let own = &mut self.nodes[id];
        let Some(place) = own.peers.get_mut(peer.0 as usize) else {
            return;
        };
        if place.take().is_some() {
            own.end_held(|held| held.to == peer, Err(PeerFailure::Removed));
        }
    }

    pub(super) fn send(
        &mut self,
        id: usize,
        to: PeerId,
        header: &HeaderBytes,
        body: &[Segment<'_>],
        token: Token,
    ) -> Result<SendStatus, TransportError> {
        let target = self.node_of(id, to)?;
        let own = &mut self.nodes[id];
        let bytes: Vec<u8> = body.iter().flat_map(Segment::as_bytes).copied().collect();
        own.stats.frames_sent += 1;
        own.stats.bytes_sent += (HEADER_LEN + bytes.len()) as u64;
        let kept: Vec<_> = body.iter().filter_map(Segment::keep).collect();
        let pending = !kept.is_empty() && (own.hold || bytes.len() > super::ASKED_ABOVE);
        if pending {
            own.held.push(HeldSend { to, token, kept });
            if !own.hold {
                own.end_held(|held| held.token == token && held.to == to, Ok(()));
            }
        }
        if !own.dead {
            self.put_on_the_way(target, header, bytes);
        }
        Ok(if pending {
            SendStatus::Pending
        } else {
            SendStatus::Done
        })
    }

    /// The fabric that a peer is.
    fn node_of(&self, id: usize, peer: PeerId) -> Result<usize, TransportError> {
        match self.nodes[id].peers.get(peer.0 as usize) {
            Some(Some(Peer {
                failure: Some(failure),
                ..
            })) => Err(TransportError::PeerFailed(failure.clone())),
            Some(Some(Peer {
                node: Some(node), ..
            })) => Ok(*node),
            _ => Err(TransportError::UnknownPeer(peer)),
        }
    }

    pub(super) fn has_peer(&self, id: usize, peer: PeerId) -> bool {
        let place = self.nodes[id].peers.get(peer.0 as usize);
        place.is_some_and(Option::is_some)
    }

    pub(super) fn add_region(&mut self, owner: usize, block: Arc<Block>) -> u64 {
        self.next_region += 1;
        self.regions.insert(self.next_region, (owner, block));
        self.next_region
    }

    pub(super) fn remove_region(&mut self, number: u64) {
        self.regions.remove(&number);
    }

    /// Memory of a peer.
    pub(super) fn region_of(
        &self,
        id: usize,
        peer: PeerId,
        number: u64,
    ) -> Result<Arc<Block>, TransportError> {
        let node = self.node_of(id, peer)?;
        match self.regions.get(&number) {
            Some((owner, block)) if *owner == node => Ok(Arc::clone(block)),
            _ => Err(TransportError::NoRegion),
        }
    }

    fn put_on_the_way(&mut self, target: usize, header: &HeaderBytes, bytes: Vec<u8>) {
        if self.nodes[target].dead || self.chance() < self.weather.loss {
            return;
        }
        let copies = if self.chance() < self.weather.doubling {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late = self.weather.jitter.mul_f64(self.chance());
            let due = self.now + self.weather.latency + late;
            self.sent += 1;
            let frame = (*header, bytes.clone());
            self.nodes[target].arriving.insert((due, self.sent), frame);
        }
    }

    /// A number in 0..1: SplitMix64's next, of which the upper 53 bits make a fraction.
    fn chance(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.chance;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Number of deliveries that are due.
    pub(super) fn deliverable(&self, id: usize) -> usize {
        let node = &self.nodes[id];
        if node.dead {
            return 0;
        }
        let due = node.arriving.range(..=(self.now, u64::MAX)).count();
        due + node.notices.len()
    }

    pub(super) fn next_delivery(&mut self, id: usize) -> Option<Delivery> {
        let node = &mut self.nodes[id];
        if node.dead {
            return None;
        }
        if let Some(entry) = node.arriving.first_entry()
            && entry.key().0 <= self.now
        {
            let (header, bytes) = entry.remove();
            node.stats.frames_received += 1;
            node.stats.bytes_received += (HEADER_LEN + bytes.len()) as u64;
            return Some(Delivery::Frame { header, bytes });
        }
        node.notices.pop_front()
    }

    pub(super) fn not_admitted(&mut self, id: usize) {
        let stats = &mut self.nodes[id].stats;
        stats.frames_received -= 1;
        stats.dropped += 1;
    }

    /// Lets time pass until the next arrival at this fabric, if there is one.
    pub(super) fn skip_to_next_delivery(&mut self, id: usize) -> bool {
        let node = &self.nodes[id];
        match node.arriving.first_key_value() {
            Some(((due, _), _)) if !node.dead => {
                self.now = self.now.max(*due);
                true
            }
            _ => false,
        }
    }

    pub(super) fn kill(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        node.dead = true;
        node.arriving.clear();
        node.notices.clear();
        node.held.clear();
        for other in &mut self.nodes {
            for number in 0..other.peers.len() {
                if other.peers[number]
                    .as_ref()
                    .is_some_and(|peer| peer.node == Some(id))
                {
                    other.fail(PeerId(number as u64), PeerFailure::Reset);
                }
            }
        }
    }

    pub(super) fn drop_in_flight(&mut self, id: usize) -> usize {
        std::mem::take(&mut self.nodes[id].arriving).len()
    }

    pub(super) fn reverse_in_flight(&mut self, id: usize) {
        let arriving = &mut self.nodes[id].arriving;
        let (times, frames): (Vec<_>, Vec<_>) = std::mem::take(arriving).into_iter().unzip();
        arriving.extend(times.into_iter().zip(frames.into_iter().rev()));
    }

    pub(super) fn in_flight(&self, id: usize) -> usize {
        self.nodes[id].arriving.len()
    }

    pub(super) fn hold_sends(&mut self, id: usize, hold: bool) {
        let node = &mut self.nodes[id];
        node.hold = hold;
        if !hold {
            node.end_held(|_| true, Ok(()));
        }
    }

    pub(super) fn wake(&mut self, id: usize) {
        self.nodes[id].woken = true;
    }

    pub(super) fn take_wake(&mut self, id: usize) -> bool {
        std::mem::take(&mut self.nodes[id].woken)
    }

    pub(super) fn pending_sends(&self, id: usize) -> usize {
        let node = &self.nodes[id];
        let told = node.notices.iter();
        let told = told.filter(|notice| matches!(notice, Delivery::Sent { .. }));
        node.held.len() + told.count()
    }

    pub(super) fn stats(&self, id: usize) -> FabricStats {
        self.nodes[id].stats
    }
}

impl Node {
    /// Notes that a peer failed, once.
    fn fail(&mut self, peer: PeerId, reason: PeerFailure) {
        let Some(Some(place)) = self.peers.get_mut(peer.0 as usize) else {
            return;
        };
        if self.dead || place.failure.is_some() {
            return;
        }
        place.failure = Some(reason.clone());
        self.end_held(|held| held.to == peer, Err(reason.clone()));
        self.notices
            .push_back(Delivery::PeerFailed { peer, reason });
    }

    /// Ends the pending sends that `which` picks.
    fn end_held(&mut self, which: impl Fn(&HeldSend) -> bool, result: Result<(), PeerFailure>) {
        for held in self.held.extract_if(.., |held| which(held)) {
            self.notices.push_back(Delivery::Sent {
                token: held.token,
                result: result.clone().map_err(TransportError::PeerFailed),
                kept: held.kept,
            });
        }
    }
}
