//! The upkeep of links: they are asked of the supervisor, used, and lost.

use std::sync::Arc;

use bitcode_jit::Denied;
use bitcode_transport::{Fabric, PeerId, Segment};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{FrameError, HEADER_LEN, Header, Kind};
use tracing::{debug, info, warn};

use super::links::{Begun, Link, Removed};
use super::{Departure, Directory};
use crate::engine::Engine;
use crate::engine::reply::NO_TOKEN;
use crate::loader::Loader;
use crate::message::{FromEngine, LinkTerms};

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Sees to it that there will be a link to an address, if that is possible.
    ///
    /// # Errors
    /// It is not.
    pub(in crate::engine) fn want_link(&self, address: &str) -> Result<(), Denied> {
        if self.links.open_to(address).is_some() || self.links.is_opening(address) {
            return Ok(());
        }
        let opened = self.fabric.open_peer();
        let (peer, lane) = opened.map_err(|_| Denied::Unreachable)?;
        match self.links.begin(address, peer, None) {
            Begun::Number(link) => self.ask_for_link(link, address, lane),
            Begun::AlreadyOpening | Begun::AlreadyOpen(..) => self.fabric.remove_peer(peer),
            Begun::TooMany(_) => {
                self.fabric.remove_peer(peer);
                return Err(Denied::Unreachable);
            }
        }
        Ok(())
    }

    /// Has the supervisor make a link.
    fn ask_for_link(&self, link: u16, address: &str, lane: Vec<u8>) {
        let wanted = FromEngine::Link {
            link,
            place: address.to_owned(),
            address: lane,
        };
        if self.outbox.send(wanted).is_err() {
            self.unlinked(link, "the node is shutting down");
        }
    }

    /// Has a link made, for a call that waits for it.
    pub(super) fn open_link(&self, address: &str, departure: Departure) {
        let (peer, lane) = match self.fabric.open_peer() {
            Ok(opened) => opened,
            Err(error) => return self.unreachable(&departure.traveller, &error.to_string()),
        };
        match self.links.begin(address, peer, Some(departure)) {
            Begun::Number(link) => self.ask_for_link(link, address, lane),
            Begun::AlreadyOpening => self.fabric.remove_peer(peer),
            Begun::AlreadyOpen(link, departure) => {
                self.fabric.remove_peer(peer);
                if let Some(departure) = departure {
                    self.depart(&link, departure);
                }
            }
            Begun::TooMany(departure) => {
                self.fabric.remove_peer(peer);
                if let Some(departure) = departure {
                    let message = "this node has too many links";
                    self.unreachable(&departure.traveller, message);
                }
            }
        }
    }

    /// A link is there: the calls that waited for it leave.
    pub fn linked(&self, number: u16, terms: LinkTerms) {
        let Some(peer) = self.links.lane_of(number) else {
            return self.give_up(number); // It was given up meanwhile.
        };
        if let Err(error) = self.fabric.connect_peer(peer, &terms.address) {
            self.unlinked(number, &error.to_string());
            return self.give_up(number);
        }
        let link = Link::new(peer, terms.keys, terms.session, number, terms.max_frame);
        let link = Arc::new(link);
        info!(link = number, session = link.session, "link opened");
        for departure in self.links.settle(&link) {
            self.depart(&link, departure);
        }
        self.fabric.wake();
    }

    /// A link is over, or could not be made: the calls that wait for it fail, and so do those that may have been on it.
    pub fn unlinked(&self, number: u16, reason: &str) {
        let Some(Removed {
            peer,
            address,
            link,
            waiting,
        }) = self.links.remove(number)
        else {
            return;
        };
        self.fabric.remove_peer(peer);
        self.fabric.wake();
        info!(link = number, address, reason, "link closed");
        for departure in waiting {
            self.unreachable(&departure.traveller, reason);
        }
        for directory in link.iter().flat_map(|link| self.directories.users_of(link)) {
            self.say_lost(&directory, &address, reason);
        }
    }

    /// Tells an origin that calls of its may have been on a link that is lost: what was sent over it may never arrive, and
    /// nobody here knows what has.
    fn say_lost(&self, directory: &Directory, address: &str, reason: &str) {
        let session = &directory.session;
        let message = format!(
            "the link from node {} to {address} is lost, and the call may have been on it: {reason}",
            directory.here
        );
        let body = ErrorPayload {
            code: ErrorCode::UNREACHABLE,
            message: &message,
        }
        .encode();
        let header = Header {
            session: session.id,
            origin: directory.id,
            epoch: session.epoch,
            ..Header::new(Kind::HopsLost)
        };
        let bytes = header.encode(&session.keys.to_origin, body.len());
        let body = [Segment::borrowed(&body)];
        if let Err(error) = self.fabric.send(session.peer, &bytes, &body, NO_TOKEN) {
            debug!(session = session.id, %error, "an origin that is going is not told of a lost link");
        }
    }

    /// The data plane has lost the other end of a link. `false` if `peer` is none.
    pub(in crate::engine) fn lost_link(&self, peer: PeerId, reason: &str) -> bool {
        let Some(number) = self.links.of_peer(peer) else {
            return false;
        };
        warn!(link = number, reason, "link lost");
        self.unlinked(number, reason);
        self.give_up(number);
        true
    }

    fn give_up(&self, number: u16) {
        // A supervisor that is gone has no links any more.
        let _ = self.outbox.send(FromEngine::Unlink { link: number });
    }

    /// Whether a frame is what the other end of a link may send. `None`: there is no such link.
    pub(in crate::engine) fn believe_link(
        &self,
        header: &Header,
        bytes: &[u8; HEADER_LEN],
        body_len: usize,
    ) -> Option<Result<(), FrameError>> {
        let link = self.links.get(header.epoch)?;
        (link.session == header.session)
            .then(|| header.verify(bytes, &link.keys.to_origin, body_len))
    }
}
