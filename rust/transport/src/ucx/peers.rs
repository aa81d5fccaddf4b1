//! The peers of a fabric: numbers that are never used twice, and the endpoints behind them.

use super::endpoint::Endpoint;
use crate::error::{PeerFailure, TransportError};
use crate::fabric::PeerId;

/// One peer.
pub(crate) struct Peer {
    /// Open until the peer failed.
    pub(crate) endpoint: Option<Endpoint>,
    /// The number that the peer's fabric drew for itself: it marks the parts of large frames.
    pub(crate) sender: u64,
    /// Why the peer is dead, if it is.
    pub(crate) failure: Option<PeerFailure>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    peer: Option<Peer>,
}

/// All peers. A [`PeerId`] is a place and the number of times that the place was used before.
#[derive(Default)]
pub(crate) struct Peers {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Peers {
    /// Adds a peer.
    pub(crate) fn add(&mut self, endpoint: Endpoint, sender: u64) -> PeerId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.peer = Some(Peer {
            endpoint: Some(endpoint),
            sender,
            failure: None,
        });
        id(place.generation, index)
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, peer: PeerId) -> Option<Peer> {
        let index = self.index(peer)?;
        let place = &mut self.places[index];
        let removed = place.peer.take()?;
        // A place whose generations are used up is left alone.
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(index as u32);
        }
        Some(removed)
    }

    /// The endpoint to a peer that is alive.
    #[inline]
    pub(crate) fn endpoint(&self, peer: PeerId) -> Result<Endpoint, TransportError> {
        match self.get(peer) {
            Some(Peer {
                endpoint: Some(endpoint),
                failure: None,
                ..
            }) => Ok(*endpoint),
            other => Err(Self::unusable(peer, other)),
        }
    }

    #[cold]
    fn unusable(id: PeerId, peer: Option<&Peer>) -> TransportError {
        match peer.and_then(|peer| peer.failure.clone()) {
            Some(failure) => TransportError::PeerFailed(failure),
            None => TransportError::UnknownPeer(id),
        }
    }

    fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.places[self.index(peer)?].peer.as_ref()
    }

    /// Where a peer is, if the number is still its own.
    #[inline]
    fn index(&self, peer: PeerId) -> Option<usize> {
        let index = peer.0 as u32 as usize;
        let place = self.places.get(index)?;
        (place.generation == (peer.0 >> 32) as u32).then_some(index)
    }

    /// Notes that the peer behind `endpoint` failed. `None` if that was known or it is nobody's.
    pub(crate) fn fail(&mut self, endpoint: Endpoint, failure: PeerFailure) -> Option<PeerId> {
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(peer) = &mut place.peer else {
                continue;
            };
            if peer.endpoint == Some(endpoint) && peer.failure.is_none() {
                peer.failure = Some(failure);
                return Some(id(place.generation, index as u32));
            }
        }
        None
    }

    /// A failed peer's endpoint, to be closed.
    pub(crate) fn bury(&mut self, peer: PeerId) -> Option<(Endpoint, u64)> {
        let index = self.index(peer)?;
        let peer = self.places[index].peer.as_mut()?;
        Some((peer.endpoint.take()?, peer.sender))
    }

    /// All endpoints that are still open, for the end of the fabric.
    pub(crate) fn close_all(&mut self) -> Vec<Endpoint> {
        let peers = self
            .places
            .iter_mut()
            .filter_map(|place| place.peer.as_mut());
        peers.filter_map(|peer| peer.endpoint.take()).collect()
    }

    /// Whether a fabric that calls itself `sender` is a peer.
    pub(crate) fn knows(&self, sender: u64) -> bool {
        let peers = self.places.iter().filter_map(|place| place.peer.as_ref());
        peers.into_iter().any(|peer| peer.sender == sender)
    }
}

fn id(generation: u32, index: u32) -> PeerId {
    PeerId(u64::from(generation) << 32 | u64::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(number: usize) -> Endpoint {
        Endpoint::from_raw(std::ptr::without_provenance_mut(number))
    }

    #[test]
    fn a_number_is_never_used_twice() {
        let mut peers = Peers::default();
        let first = peers.add(endpoint(1), 10);
        let second = peers.add(endpoint(2), 20);
        assert!(peers.knows(10) && peers.knows(20) && !peers.knows(30));
        assert!(peers.remove(first).is_some());
        assert!(peers.remove(first).is_none());
        let third = peers.add(endpoint(3), 30);
        assert!(third != first && third != second);
        assert_eq!(peers.places.len(), 2, "but its place is");
        assert!(peers.endpoint(first).is_err());
        assert!(peers.endpoint(second).is_ok_and(|got| got == endpoint(2)));
        assert!(peers.endpoint(third).is_ok_and(|got| got == endpoint(3)));
        assert!(!peers.knows(10));
    }

    #[test]
    fn a_failure_is_noted_once_and_remembered() {
        let mut peers = Peers::default();
        let peer = peers.add(endpoint(1), 10);
        assert_eq!(peers.fail(endpoint(9), PeerFailure::Reset), None);
        assert_eq!(peers.fail(endpoint(1), PeerFailure::Reset), Some(peer));
        assert_eq!(peers.fail(endpoint(1), PeerFailure::Timeout), None);
        assert!(matches!(
            peers.endpoint(peer),
            Err(TransportError::PeerFailed(PeerFailure::Reset))
        ));
        assert!(
            peers
                .bury(peer)
                .is_some_and(|(got, sender)| got == endpoint(1) && sender == 10)
        );
        assert!(peers.bury(peer).is_none(), "an endpoint is closed once");
        assert!(peers.close_all().is_empty());
        assert!(
            peers
                .remove(peer)
                .is_some_and(|peer| peer.endpoint.is_none())
        );
        assert!(matches!(
            peers.endpoint(peer),
            Err(TransportError::UnknownPeer(_))
        ));
        assert!(matches!(
            peers.endpoint(PeerId(77)),
            Err(TransportError::UnknownPeer(_))
        ));
    }
}
