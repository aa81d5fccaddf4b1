//! The peer at the other end of a lane.

use super::endpoint::Endpoint;
use crate::error::{PeerFailure, TransportError};
use crate::fabric::PeerId;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Peer {
    /// Open from when the peer's address was known until the peer failed or was removed.
    endpoint: Option<Endpoint>,
    /// The number that the peer's fabric drew for itself: it marks the parts of large frames.
    sender: Option<u64>,
    /// Why the peer is dead, if it is.
    failure: Option<PeerFailure>,
    removed: bool,
}

impl Peer {
    /// The peer's address has been learnt.
    pub(crate) fn connect(&mut self, endpoint: Endpoint, sender: u64) {
        self.endpoint = Some(endpoint);
        self.sender = Some(sender);
    }

    /// Whether an address may still come.
    pub(crate) fn is_expected(&self) -> bool {
        self.sender.is_none() && !self.removed
    }

    /// The endpoint to a peer that is alive. `id` is the peer's, for the error.
    #[inline]
    pub(crate) fn endpoint(&self, id: PeerId) -> Result<Endpoint, TransportError> {
        match (self.endpoint, &self.failure) {
            (Some(endpoint), None) => Ok(endpoint),
            _ => Err(self.unusable(id)),
        }
    }

    #[cold]
    fn unusable(&self, id: PeerId) -> TransportError {
        match &self.failure {
            Some(failure) if !self.removed => TransportError::PeerFailed(failure.clone()),
            _ => TransportError::UnknownPeer(id),
        }
    }

    /// Notes that the peer behind `endpoint` failed. `false` if that was known or it is nobody's.
    pub(crate) fn fail(&mut self, endpoint: Endpoint, failure: &PeerFailure) -> bool {
        let news = self.endpoint == Some(endpoint) && self.failure.is_none();
        if news {
            self.failure = Some(failure.clone());
        }
        news
    }

    /// A failed peer's endpoint, to be closed.
    pub(crate) fn bury(&mut self) -> Option<Endpoint> {
        self.failure.as_ref()?;
        self.endpoint.take()
    }

    /// Forgets the peer and gives out the endpoint, to be closed if it still is open.
    pub(crate) fn remove(&mut self) -> Option<Endpoint> {
        self.removed = true;
        self.endpoint.take()
    }

    /// Whether the peer's fabric calls itself `sender`.
    pub(crate) fn is(&self, sender: u64) -> bool {
        self.sender == Some(sender) && !self.removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PeerId = PeerId(7);

    fn endpoint(number: usize) -> Endpoint {
        Endpoint::from_raw(std::ptr::without_provenance_mut(number))
    }

    #[test]
    fn a_failure_is_noted_once_and_remembered() {
        let mut peer = Peer::default();
        assert!(peer.is_expected() && !peer.is(0));
        assert_eq!(
            peer.endpoint(ID).err(),
            Some(TransportError::UnknownPeer(ID))
        );
        peer.connect(endpoint(1), 10);
        assert!(!peer.is_expected() && peer.is(10) && !peer.is(11));
        assert!(peer.endpoint(ID).is_ok_and(|got| got == endpoint(1)));
        assert!(peer.bury().is_none(), "it lives");
        assert!(!peer.fail(endpoint(9), &PeerFailure::Reset));
        assert!(peer.fail(endpoint(1), &PeerFailure::Reset));
        assert!(!peer.fail(endpoint(1), &PeerFailure::Timeout));
        let failed = TransportError::PeerFailed(PeerFailure::Reset);
        assert_eq!(peer.endpoint(ID).err(), Some(failed.clone()));
        assert!(peer.bury().is_some_and(|got| got == endpoint(1)));
        assert!(peer.bury().is_none(), "an endpoint is closed once");
        assert_eq!(peer.endpoint(ID).err(), Some(failed));
        assert!(peer.remove().is_none());
        assert_eq!(
            peer.endpoint(ID).err(),
            Some(TransportError::UnknownPeer(ID))
        );
        assert!(!peer.is(10));
    }

    #[test]
    fn a_removed_peer_gives_its_endpoint_back() {
        let mut peer = Peer::default();
        peer.connect(endpoint(1), 10);
        assert!(peer.remove().is_some_and(|got| got == endpoint(1)));
        assert!(peer.remove().is_none());
        assert!(!peer.is_expected() && peer.endpoint(ID).is_err());
    }
}
