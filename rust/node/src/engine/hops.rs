//! Hops: calls that go on to other nodes (docs/WIRE.md, *Hops*).
//!
//! A call that may hop carries the id of its origin's [`Directory`]. A program that forwards leaves the next call's
//! payload where its result would be; here it becomes a HOP on a [`Link`] to the other node. Nothing of the call stays
//! behind: whoever ends it answers the origin, on the origin's own session with that node.

mod directories;
mod links;

pub(crate) use directories::{Directories, Directory};
pub(crate) use links::{Link, Links};

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bitcode_jit::{Denied, Onward, Place};
use bitcode_transport::{Body, Fabric, PeerId, Segment, body_len};
use bitcode_wire::code::CodePrefix;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Directory as Told, Flags, FrameError, Header, Kind};
use tracing::{debug, info, warn};

use super::cache::Entry;
use super::reply::{Answered, COPY_BELOW, NO_TOKEN};
use super::sessions::SessionEntry;
use super::{CallContext, Engine, Job, OutputOf, Work};
use crate::loader::Loader;
use crate::message::{FromEngine, LinkTerms};
use links::{Begun, Found};

/// What a call that may hop has with it.
#[derive(Clone)]
pub(crate) struct Journey {
    pub(crate) directory: Arc<Directory>,
    hops: u16,
    budget: u32,
    entry: u16,
}

impl Journey {
    pub(super) fn new(directory: Arc<Directory>, header: &Header) -> Self {
        Self {
            directory,
            hops: header.hops,
            budget: header.hop_budget,
            entry: header.entry,
        }
    }

    /// Whether the call is where its origin sent it.
    pub(super) fn is_at_home(&self) -> bool {
        self.hops == 0
    }

    fn place(&self) -> Place {
        Place {
            here: self.directory.here,
            nodes: self.directory.len(),
            entry: self.entry,
        }
    }
}

/// A call that is about to hop.
pub(super) struct Traveller {
    directory: Arc<Directory>,
    node: u32,
    /// The HOP's, but for what depends on the link.
    header: Header,
    archive: Option<Arc<Vec<u8>>>,
}

impl Traveller {
    /// Whom errors are told to.
    fn origin(&self) -> Answered<'_> {
        answered(&self.directory, &self.header)
    }

    /// The call wants to go to this node, in words.
    fn destination(&self) -> String {
        let address = self.directory.address(self.node);
        format!("node {} ({})", self.node, address.unwrap_or("unknown"))
    }
}

/// A [`Traveller`] that waits, with its payload.
pub(super) struct Departure {
    traveller: Traveller,
    payload: Vec<u8>,
}

/// The origin's session for a call that `header` belongs to.
fn answered<'a>(directory: &'a Directory, header: &Header) -> Answered<'a> {
    Answered {
        session: &directory.session,
        call: header.call,
        prefix: header.code,
        foreseen: None,
    }
}

/// Milliseconds until the deadline: 0 if there is none, `None` if it has passed. A fraction is rounded up or down as often as
/// it is large, evenly by `count`: else a call of many short hops would either lose a millisecond with each, or gain one.
fn milliseconds_left(deadline: Option<Instant>, count: u64) -> Option<u32> {
    let Some(deadline) = deadline else {
        return Some(0);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    // The golden ratio's multiples lie evenly.
    let threshold = (count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32 % 1_000_000;
    let ms = left.as_millis() + u128::from(left.subsec_nanos() % 1_000_000 > threshold);
    (ms > 0).then(|| u32::try_from(ms).unwrap_or(u32::MAX))
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// An origin tells its nodes.
    pub(super) fn told_directory(&self, session: &Arc<SessionEntry>, header: &Header, body: &[u8]) {
        let to = Answered {
            session,
            call: header.call,
            prefix: header.code,
            foreseen: None,
        };
        let told = match Told::decode(body) {
            Ok(told) => told,
            Err(error) => {
                return self.send_error(to, ErrorCode::BAD_PAYLOAD, &error.to_string());
            }
        };
        if self.directories.insert(header.origin, session, told) {
            self.send_short(to, Kind::Value, &[]);
        } else {
            let message = "another origin has a directory of this id; draw another";
            self.send_error(to, ErrorCode::UNSUPPORTED, message);
        }
    }

    /// As if the session had never told any: what a node that was restarted knows.
    #[cfg(test)]
    pub(super) fn forget_directories(&self, session: u32) {
        self.directories.close(session);
    }

    /// The directory of a call that may hop, which came on `session`. If there is none, who sent the call is told.
    pub(super) fn directory_of(
        &self,
        session: &SessionEntry,
        header: &Header,
    ) -> Option<Arc<Directory>> {
        let found = self.directories.get(header.origin);
        let is_own = |it: &Arc<Directory>| header.kind == Kind::Hop || it.session.id == session.id;
        let found = found.filter(is_own);
        if found.is_none() {
            let message =
                "this node has not been told of the origin's nodes, or has been restarted since";
            let error = ErrorPayload {
                code: ErrorCode::UNREACHABLE,
                message,
            };
            self.counters.errors.add(1);
            self.send_back(
                session,
                header,
                Kind::Error,
                Segment::borrowed(&error.encode()),
            );
        }
        found
    }

    /// A frame to the sender of a HOP (or of a CALL), with the fields of `header`.
    fn send_back(&self, sender: &SessionEntry, header: &Header, kind: Kind, body: Segment<'_>) {
        let header = Header {
            kind,
            flags: Flags(header.flags.0 & Flags::NO_REPLY.0),
            archive_len: 0,
            session: sender.id,
            epoch: sender.epoch,
            entry: if kind == Kind::NeedCode {
                header.entry
            } else {
                0
            },
            ..*header
        };
        let bytes = header.encode(&sender.keys.to_origin, body.len());
        let sent = self.fabric.send(sender.peer, &bytes, &[body], NO_TOKEN);
        if let Err(error) = sent {
            debug!(session = sender.id, call = header.call, %error, "not sent back");
        }
    }

    /// The code of a call is not here: whoever sent the call is asked for it.
    pub(super) fn need_code(&self, job: Job<L::Program>) {
        self.counters.need_code.add(1);
        let Job { context, body, .. } = job;
        let (Some(journey), Some(sender)) = (&context.journey, &context.sender) else {
            return self.send_short(context.answered(), Kind::NeedCode, &[]);
        };
        let Some(header) = context.hop_header(journey, journey.entry, self.next_count()) else {
            return self.too_late(&context);
        };
        self.send_back(
            sender,
            &header,
            Kind::NeedCode,
            Segment::shared(Arc::new(body)),
        );
    }

    /// A number that is new each time.
    pub(super) fn next_count(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    fn too_late(&self, context: &CallContext) {
        let message = "the deadline passed between two hops";
        self.send_error(context.answered(), ErrorCode::DEADLINE, message);
    }

    /// A program has ended by going on elsewhere, with what it left in `output` as the payload.
    pub(super) fn forward(
        &self,
        context: &CallContext,
        entry: &Arc<Entry<L::Program>>,
        onward: Onward,
        output: &mut OutputOf<L>,
    ) {
        let to = context.answered();
        let Some(journey) = &context.journey else {
            let message = format!(
                "{} wants to go on to another node, but its caller has not said that it may",
                entry.name
            );
            return self.send_error(to, ErrorCode::UNREACHABLE, &message);
        };
        let Some(budget) = journey.budget.checked_sub(1) else {
            let most = if journey.hops == u16::MAX {
                "at least "
            } else {
                ""
            };
            let message = format!(
                "{} has made all the hops that it may: {most}{}",
                entry.name, journey.hops
            );
            return self.send_error(to, ErrorCode::HOP_BUDGET, &message);
        };
        let next = Journey {
            hops: journey.hops.saturating_add(1),
            budget,
            entry: onward.entry,
            directory: Arc::clone(&journey.directory),
        };
        let len = output.as_ref().len();
        if len > self.settings.max_frame {
            let max = self.settings.max_frame;
            let message = format!("the arguments of a hop take {len} bytes, a node at most {max}");
            return self.send_error(to, ErrorCode::TOO_LARGE, &message);
        }
        if onward.node == next.directory.here {
            return self.stay(context, next, entry, output);
        }
        let Some(header) = context.hop_header(&next, onward.entry, self.next_count()) else {
            return self.too_late(context);
        };
        let traveller = Traveller {
            directory: next.directory,
            node: onward.node,
            header,
            archive: entry.archive.clone(),
        };
        self.counters.hops.add(1);
        if let Some(link) = traveller.directory.link(onward.node) {
            return self.leave(&link, &traveller, output);
        }
        let Some(address) = traveller.directory.address(onward.node) else {
            let message = format!(
                "{} wants to go on to node {}, but there are nodes 1 to {}",
                entry.name,
                onward.node,
                traveller.directory.len()
            );
            return self.send_error(to, ErrorCode::UNREACHABLE, &message);
        };
        let address = address.to_owned();
        let departure = Departure {
            traveller,
            payload: output.as_ref().to_vec(),
        };
        match self.links.find(&address, departure) {
            Found::Open(link, departure) => self.depart(&link, departure),
            Found::Waiting => {}
            Found::Missing(departure) => self.open_link(&address, departure),
        }
    }

    /// A hop from a node to itself: a job like another.
    fn stay(
        &self,
        context: &CallContext,
        journey: Journey,
        entry: &Arc<Entry<L::Program>>,
        output: &OutputOf<L>,
    ) {
        let body = Body::copy_of(output.as_ref());
        self.roster.push(Job {
            context: CallContext {
                session: Arc::clone(&context.session),
                payload_len: body.len(),
                arrived: Instant::now(),
                stages: None,
                journey: Some(journey),
                sender: None,
                ..*context
            },
            body,
            work: Work::Run(Arc::clone(entry)),
        });
    }

    /// Sends a call whose payload is in an output.
    fn leave(&self, link: &Link, traveller: &Traveller, output: &mut OutputOf<L>) {
        let brings = !link.knows(traveller.header.code);
        if output.as_ref().len() <= COPY_BELOW {
            let payload = Segment::borrowed(output.as_ref());
            return self.send_hop(link, traveller, payload, brings);
        }
        let owned = Arc::new(std::mem::take(output));
        self.send_hop(link, traveller, Segment::shared(owned), brings);
    }

    /// Sends a call that has waited.
    fn depart(&self, link: &Arc<Link>, departure: Departure) {
        let Departure { traveller, payload } = departure;
        traveller.directory.remember(traveller.node, link);
        let brings = !link.knows(traveller.header.code);
        self.send_hop(link, &traveller, Segment::shared(Arc::new(payload)), brings);
    }

    fn send_hop(&self, link: &Link, traveller: &Traveller, payload: Segment<'_>, brings: bool) {
        let archive = traveller.archive.as_ref().filter(|_| brings);
        let mut header = Header {
            session: link.session,
            epoch: link.epoch,
            ..traveller.header
        };
        let mut parts = vec![payload];
        if let Some(archive) = archive {
            header.flags = header.flags.with(Flags::HAS_ARCHIVE);
            header.archive_len = archive.len() as u32;
            parts.push(Segment::shared(Arc::clone(archive)));
        }
        let len = body_len(&parts).unwrap_or(usize::MAX);
        if len as u64 > link.max_frame {
            let (to, max) = (traveller.destination(), link.max_frame);
            let message = format!(
                "a hop to {to} takes {len} bytes with its code, that node takes at most {max}"
            );
            return self.send_error(traveller.origin(), ErrorCode::TOO_LARGE, &message);
        }
        let bytes = header.encode(&link.keys.to_node, len);
        match self.fabric.send(link.peer, &bytes, &parts, NO_TOKEN) {
            Ok(_) if archive.is_some() => link.learn(header.code),
            Ok(_) => {}
            Err(error) => self.unreachable(traveller, &error.to_string()),
        }
    }

    fn unreachable(&self, traveller: &Traveller, reason: &str) {
        let message = format!(
            "{} cannot be reached from node {}: {reason}",
            traveller.destination(),
            traveller.directory.here
        );
        self.send_error(traveller.origin(), ErrorCode::UNREACHABLE, &message);
    }

    /// Sees to it that there will be a link to an address, if that is possible.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn want_link(&self, address: &str) -> Result<(), Denied> {
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

    fn open_link(&self, address: &str, departure: Departure) {
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

    /// A link is over, or could not be made: the calls that wait for it fail.
    pub fn unlinked(&self, number: u16, reason: &str) {
        let Some((peer, address, waiting)) = self.links.remove(number) else {
            return;
        };
        self.fabric.remove_peer(peer);
        self.fabric.wake();
        info!(link = number, address, reason, "link closed");
        for departure in waiting {
            self.unreachable(&departure.traveller, reason);
        }
    }

    /// The data plane has lost the other end of a link. `false` if `peer` is none.
    pub(super) fn lost_link(&self, peer: PeerId, reason: &str) -> bool {
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
    pub(super) fn believe_link(
        &self,
        header: &Header,
        bytes: &[u8; bitcode_wire::frame::HEADER_LEN],
        body_len: usize,
    ) -> Option<Result<(), FrameError>> {
        let link = self.links.get(header.epoch)?;
        (link.session == header.session)
            .then(|| header.verify(bytes, &link.keys.to_origin, body_len))
    }

    /// What the other end of a link has to say, which was checked.
    pub(super) fn said_on_link(&self, header: &Header, body: &mut Body) {
        match header.kind {
            Kind::NeedCode => self.came_back(header, body),
            Kind::Error if self.segment_denied(header, body.bytes()) => {}
            Kind::Error => self.hop_refused(header, body.bytes()),
            Kind::Value => self.segment_granted(header, body.bytes()),
            Kind::SegmentGone => self.segment_went(header, body.bytes()),
            kind => debug!(?kind, "a link says nothing of this kind"),
        }
    }

    /// The other node lacks the code of a HOP, and has sent it back: it goes again, with the code.
    pub(super) fn came_back(&self, header: &Header, body: &mut Body) {
        let link = self.links.get(header.epoch);
        let directory = self.directories.get(header.origin);
        let (Some(link), Some(directory)) = (link, directory) else {
            debug!(
                call = header.call,
                "a hop came back, and its origin is gone"
            );
            return;
        };
        let archive = self.archive(header.code);
        if archive.is_none() {
            let message = "the node that a call hopped to lacks its code, and the node that it came from has let go of it";
            return self.send_error(
                answered(&directory, header),
                ErrorCode::UNREACHABLE,
                message,
            );
        }
        let traveller = Traveller {
            node: 0,
            header: Header {
                kind: Kind::Hop,
                ..*header
            },
            directory,
            archive,
        };
        let payload = Segment::shared(Arc::new(std::mem::take(body)));
        self.send_hop(&link, &traveller, payload, true);
    }

    fn archive(&self, code: CodePrefix) -> Option<Arc<Vec<u8>>> {
        self.cache.peek(code)?.archive.clone()
    }

    /// The other node has refused a HOP, and knows nobody else to tell.
    pub(super) fn hop_refused(&self, header: &Header, body: &[u8]) {
        let directory = self.directories.get(header.origin);
        match (directory, ErrorPayload::decode(body)) {
            (Some(directory), Ok(ErrorPayload { code, message })) => {
                self.send_error(answered(&directory, header), code, message);
            }
            (_, error) => debug!(
                call = header.call,
                ?error,
                "a hop was refused, and nobody is to be told"
            ),
        }
    }
}

impl CallContext {
    /// What the call's code may know of where it runs.
    pub(super) fn place(&self) -> Place {
        self.journey
            .as_ref()
            .map(Journey::place)
            .unwrap_or_default()
    }

    /// Which nodes its numbers mean, if it may know any.
    pub(super) fn directory(&self) -> Option<&Arc<Directory>> {
        self.journey.as_ref().map(|journey| &journey.directory)
    }

    /// The header of the call's next HOP, but for what depends on the link. `None` if the deadline has passed.
    fn hop_header(&self, journey: &Journey, entry: u16, count: u64) -> Option<Header> {
        let no_reply = if self.no_reply {
            Flags::NO_REPLY
        } else {
            Flags::NONE
        };
        Some(Header {
            flags: no_reply,
            hops: journey.hops,
            origin: journey.directory.id,
            call: self.call,
            code: self.prefix,
            deadline_ms: milliseconds_left(self.deadline, count)?,
            hop_budget: journey.budget,
            entry,
            ..Header::new(Kind::Hop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_loses_nothing_on_the_way() {
        let start = Instant::now();
        assert_eq!(milliseconds_left(None, 1), Some(0));
        assert_eq!(milliseconds_left(Some(start), 1), None);
        let deadline = start + Duration::from_micros(60_000_500);
        let all: u64 = (0..10_000)
            .map(|count| u64::from(milliseconds_left(Some(deadline), count).unwrap()))
            .sum();
        let passed = start.elapsed().as_millis() as u64 + 1;
        let mean = all as f64 / 10_000.0;
        assert!(mean <= 60_000.51, "{mean} is more than was left");
        assert!(mean >= 60_000.49 - passed as f64, "{mean}");
    }
}
