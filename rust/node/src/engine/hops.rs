//! Hops: calls that go on to other nodes (docs/WIRE.md, *Hops*).
//!
//! A call that may hop carries the id of its origin's [`Directory`]. A program that forwards leaves the next call's
//! payload where its result would be; here it becomes a HOP on a [`Link`] to the other node. Nothing of the call stays
//! behind: whoever ends it answers the origin, on the origin's own session with that node.

mod asked;
mod directories;
mod links;
mod trails;
mod upkeep;

pub(super) use asked::{Asked, Asker, ORIGINS_ID};
pub(crate) use directories::{Directories, Directory};
pub(crate) use links::{Link, Links};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bitcode_jit::{Onward, Place};
use bitcode_transport::{Body, Fabric, Segment, SendStatus, Token, TransportError, body_len};
use bitcode_wire::code::CodePrefix;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Directory as Told, Flags, Header, Kind, Step};
use parking_lot::Mutex;
use tracing::{debug, warn};

use super::cache::Entry;
use super::reply::{Answered, COPY_BELOW, NO_TOKEN};
use super::sessions::SessionEntry;
use super::special::Made;
use super::{CallContext, Engine, Job, OutputOf, Work};
use crate::loader::Loader;
use links::Found;
use trails::Note;

/// What a call that may hop has with it.
#[derive(Clone)]
pub(crate) struct Journey {
    pub(crate) directory: Arc<Directory>,
    /// The call is where its origin sent it.
    home: bool,
    budget: u32,
    fan_out: u16,
    entry: u16,
}

impl Journey {
    pub(super) fn new(directory: Arc<Directory>, header: &Header) -> Self {
        Self {
            directory,
            home: header.kind == Kind::Call,
            budget: header.hop_budget,
            fan_out: header.fan_out,
            entry: header.entry,
        }
    }

    /// Whether the call is where its origin sent it.
    pub(super) fn is_at_home(&self) -> bool {
        self.home
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
#[derive(Clone)]
pub(super) struct Traveller {
    directory: Arc<Directory>,
    node: u32,
    /// The HOP's, but for what depends on the link.
    header: Header,
    archive: Option<Arc<Vec<u8>>>,
}

impl Traveller {
    /// Leaves a note of where the call goes, for its origin.
    fn note(&self) -> Note {
        let step = Step {
            hops_left: self.header.hop_budget,
            to: self.node,
        };
        self.directory.trails.note(self.header.call, step)
    }

    /// The call wants to go to this node, in words.
    fn destination(&self) -> String {
        let address = self.directory.address(self.node);
        format!("node {} ({})", self.node, address.unwrap_or("unknown"))
    }
}

/// Calls whose HOPs are long, by the tokens of their sends, until they are sent.
#[derive(Default)]
pub(super) struct Leaving(Mutex<HashMap<u64, Traveller>>);

/// Why a call does not go on, or start another: what its origin is told.
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Refused {
    fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message }
    }
}

/// The way that a call takes.
enum Going<P> {
    /// It is there, with this code.
    Stays(Journey, Arc<Entry<P>>),
    By(Arc<Link>, Traveller),
    /// By a link that is to be made, or is being made, to this address.
    To(String, Traveller),
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
            let body = error.encode();
            let sent = self.send_back(session, header, Kind::Error, Segment::borrowed(&body));
            if let Err(error) = sent {
                // Whoever sent it sees that the way is lost, and tells the origin.
                debug!(session = session.id, call = header.call, %error, "not sent back");
            }
        }
        found
    }

    /// A frame to the sender of a HOP (or of a CALL), with the fields of `header`.
    fn send_back(
        &self,
        sender: &SessionEntry,
        header: &Header,
        kind: Kind,
        body: Segment<'_>,
    ) -> Result<(), TransportError> {
        let header = Header {
            kind,
            flags: match kind {
                Kind::NeedCode => Flags(header.flags.0 & Flags::NO_REPLY.with(Flags::ASKED).0),
                _ => Flags(header.flags.0 & Flags::NO_REPLY.0),
            },
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
        sent.map(|_| ())
    }

    /// The code of a call is not here: whoever sent the call is asked for it.
    pub(super) fn need_code(&self, job: Job<L::Program>) {
        self.counters.need_code.add(1);
        let Job { context, body, .. } = job;
        let (Some(journey), Some(sender)) = (&context.journey, &context.sender) else {
            return self.send_short(context.answered(), Kind::NeedCode, &[]);
        };
        let header = context.hop_header(journey, context.no_reply, self.next_count());
        let Some(mut header) = header else {
            let message = "the deadline passed between two hops";
            return self.fail(&context, ErrorCode::DEADLINE, message);
        };
        if let Some(asker) = &context.asked {
            header.flags = Flags::ASKED;
            header.call = asker.number;
        }
        let body = Segment::shared(Arc::new(body));
        if let Err(error) = self.send_back(sender, &header, Kind::NeedCode, body) {
            let message = format!(
                "node {} lacks the call's code, and cannot ask where the call came from: {error}",
                journey.directory.here
            );
            self.fail(&context, ErrorCode::UNREACHABLE, &message);
        }
    }

    /// A number that is new each time.
    pub(super) fn next_count(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the origin why a call fails, if it waits for it.
    pub(super) fn fail(&self, context: &CallContext, code: ErrorCode, message: &str) {
        if context.is_unheard() {
            let (session, call) = (context.session.id, context.call);
            return warn!(session, call, %code, message, "a call whose result nobody wants");
        }
        self.send_error(context.answered(), code, message);
    }

    /// The same for a call that is on its way.
    fn fail_on_the_way(
        &self,
        directory: &Directory,
        header: &Header,
        code: ErrorCode,
        message: &str,
    ) {
        if header.flags.contains(Flags::ASKED) {
            return self.asked.refuse(header.call, code, message);
        }
        if header.flags.contains(Flags::NO_REPLY) {
            let (session, call) = (directory.session.id, header.call);
            return warn!(session, call, %code, message, "a call whose result nobody wants");
        }
        self.send_error(answered(directory, header), code, message);
    }

    /// A program has ended by going on elsewhere, with what it left in `output` as the payload.
    pub(super) fn forward(
        &self,
        context: &CallContext,
        entry: &Arc<Entry<L::Program>>,
        onward: Onward,
        special: Option<Made>,
        output: &mut OutputOf<L>,
    ) {
        if context.asked.is_some() {
            let message = format!(
                "{} was called by code that waits for its result, and cannot forward: let it use `call`, too",
                entry.name
            );
            return self.fail(context, ErrorCode::UNSUPPORTED, &message);
        }
        let len = output.as_ref().len();
        let going = self.way(context, entry, onward, special, len, context.no_reply);
        if let Ok(Going::By(_, traveller) | Going::To(_, traveller)) = &going
            && !context.no_reply
        {
            traveller.note();
        }
        match going {
            Ok(Going::Stays(journey, entry)) => {
                self.stay(context, journey, &entry, output.as_ref(), context.no_reply);
            }
            Ok(Going::By(link, traveller)) => self.leave(&link, &traveller, output),
            Ok(Going::To(address, traveller)) => {
                self.wait_for_link(&address, traveller, output.as_ref().to_vec());
            }
            Err(refused) => self.fail(context, refused.code, &refused.message),
        }
    }

    /// A program that runs on starts another call.
    pub(super) fn spawn(
        &self,
        context: &CallContext,
        entry: &Arc<Entry<L::Program>>,
        onward: Onward,
        special: Option<Made>,
        payload: &[u8],
    ) -> Result<(), Refused> {
        let going = self.way(context, entry, onward, special, payload.len(), true)?;
        if let Some(journey) = &context.journey
            && !journey.directory.may_start(context.call, journey.fan_out)
        {
            let most = journey.fan_out;
            let message = format!(
                "{} has started {most} calls from node {}, and may start no more",
                entry.name, journey.directory.here
            );
            return Err(Refused::new(ErrorCode::FAN_OUT, message));
        }
        self.counters.spawned.add(1);
        match going {
            Going::Stays(journey, entry) => self.stay(context, journey, &entry, payload, true),
            Going::By(link, traveller) => {
                let brings = !link.knows(traveller.header.code);
                let payload = if payload.len() <= COPY_BELOW {
                    Segment::borrowed(payload)
                } else {
                    Segment::shared(Arc::new(payload.to_vec()))
                };
                self.send_hop(&link, &traveller, payload, brings);
            }
            Going::To(address, traveller) => {
                self.wait_for_link(&address, traveller, payload.to_vec());
            }
        }
        Ok(())
    }

    /// Finds the way of a call that goes on from `context`, with a payload of `len` bytes.
    fn way(
        &self,
        context: &CallContext,
        entry: &Arc<Entry<L::Program>>,
        onward: Onward,
        special: Option<Made>,
        len: usize,
        no_reply: bool,
    ) -> Result<Going<L::Program>, Refused> {
        let name = &entry.name;
        let Some(journey) = &context.journey else {
            let message = format!(
                "{name} wants to go on to another node, but its caller has not said that it may"
            );
            return Err(Refused::new(ErrorCode::UNREACHABLE, message));
        };
        let Some(budget) = journey.budget.checked_sub(1) else {
            let message = format!("{name} has made all the hops that its caller allows");
            return Err(Refused::new(ErrorCode::HOP_BUDGET, message));
        };
        let max = self.settings.max_frame;
        if len > max {
            let message = format!("the arguments of a hop take {len} bytes, a node at most {max}");
            return Err(Refused::new(ErrorCode::TOO_LARGE, message));
        }
        let next = Journey {
            home: false,
            budget,
            fan_out: journey.fan_out,
            entry: onward.entry,
            directory: Arc::clone(&journey.directory),
        };
        // What is no number of a node is the number of none.
        let node = u32::try_from(onward.node).unwrap_or(0);
        if node == next.directory.here {
            let special = special.and_then(|made| self.entry_of(&made));
            return Ok(Going::Stays(
                next,
                special.unwrap_or_else(|| Arc::clone(entry)),
            ));
        }
        let Some(header) = context.hop_header(&next, no_reply, self.next_count()) else {
            let message = "the deadline passed between two hops".to_owned();
            return Err(Refused::new(ErrorCode::DEADLINE, message));
        };
        let (code, archive) = match special {
            Some(made) => (made.prefix, Some(made.archive)),
            None => (header.code, entry.archive.clone()),
        };
        let traveller = Traveller {
            directory: next.directory,
            node,
            header: Header { code, ..header },
            archive,
        };
        self.counters.hops.add(1);
        if let Some(link) = traveller.directory.link(node) {
            return Ok(Going::By(link, traveller));
        }
        let Some(address) = traveller.directory.address(node) else {
            let message = format!(
                "{name} wants to go on to node {}, but there are nodes 1 to {}",
                onward.node,
                traveller.directory.len()
            );
            return Err(Refused::new(ErrorCode::UNREACHABLE, message));
        };
        Ok(Going::To(address.to_owned(), traveller))
    }

    fn wait_for_link(&self, address: &str, traveller: Traveller, payload: Vec<u8>) {
        let departure = Departure { traveller, payload };
        match self.links.find(address, departure) {
            Found::Open(link, departure) => self.depart(&link, departure),
            Found::Waiting => {}
            Found::Missing(departure) => self.open_link(address, departure),
        }
    }

    /// A hop from a node to itself: a job like another.
    fn stay(
        &self,
        context: &CallContext,
        journey: Journey,
        entry: &Arc<Entry<L::Program>>,
        payload: &[u8],
        no_reply: bool,
    ) {
        let body = Body::copy_of(payload);
        self.roster.push(Job {
            context: CallContext {
                session: Arc::clone(&context.session),
                payload_len: body.len(),
                prefix: entry.id.prefix(),
                no_reply,
                arrived: Instant::now(),
                stages: None,
                journey: Some(journey),
                sender: None,
                asked: None,
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
        let (alone, both);
        let parts: &[Segment<'_>] = match archive {
            None => {
                alone = [payload];
                &alone
            }
            Some(archive) => {
                header.flags = header.flags.with(Flags::HAS_ARCHIVE);
                header.archive_len = archive.len() as u32;
                both = [payload, Segment::shared(Arc::clone(archive))];
                &both
            }
        };
        let len = body_len(parts).unwrap_or(usize::MAX);
        if len as u64 > link.max_frame {
            let (to, max) = (traveller.destination(), link.max_frame);
            let message = format!(
                "a hop to {to} takes {len} bytes with its code, that node takes at most {max}"
            );
            return self.fail_on_the_way(
                &traveller.directory,
                &traveller.header,
                ErrorCode::TOO_LARGE,
                &message,
            );
        }
        let bytes = header.encode(&link.keys.to_node, len);
        let token = if len > COPY_BELOW {
            self.begin_leaving(traveller)
        } else {
            NO_TOKEN
        };
        let sent = self.fabric.send(link.peer, &bytes, parts, token);
        if token != NO_TOKEN && !matches!(sent, Ok(SendStatus::Pending)) {
            self.leaving.0.lock().remove(&token.0);
        }
        match sent {
            Ok(_) if archive.is_some() => link.learn(header.code),
            Ok(_) => {}
            Err(error) => self.unreachable(traveller, &error.to_string()),
        }
    }

    /// The token for a HOP that may take a while to be sent. Before it is sent: its end may be reported, on another thread,
    /// before `send` returns.
    fn begin_leaving(&self, traveller: &Traveller) -> Token {
        let token = Token(self.next_count());
        self.leaving.0.lock().insert(token.0, traveller.clone());
        token
    }

    /// A send has ended. If it was a HOP's, and it did not get through, the origin is told.
    pub(super) fn has_left(&self, token: Token, result: Result<(), TransportError>) {
        let traveller = self.leaving.0.lock().remove(&token.0);
        if let (Some(traveller), Err(error)) = (traveller, result) {
            self.unreachable(&traveller, &error.to_string());
        }
    }

    fn unreachable(&self, traveller: &Traveller, reason: &str) {
        let message = format!(
            "{} cannot be reached from node {}: {reason}",
            traveller.destination(),
            traveller.directory.here
        );
        self.fail_on_the_way(
            &traveller.directory,
            &traveller.header,
            ErrorCode::UNREACHABLE,
            &message,
        );
    }

    /// The link that a frame came over, and the directory that it names, if calls with that one have used the link; and the
    /// node at the other end.
    fn of_link(&self, header: &Header) -> Option<(Arc<Link>, Arc<Directory>, u32)> {
        let link = self.links.get(header.epoch)?;
        let directory = self.directories.get(header.origin)?;
        let node = directory.node_over(&link)?;
        Some((link, directory, node))
    }

    /// What the other end of a link has to say, which was checked.
    pub(super) fn said_on_link(&self, header: &Header, body: &mut Body) {
        match header.kind {
            Kind::NeedCode => self.came_back(header, body),
            _ if self.asked.answered(header, body) => {}
            Kind::Error if self.segment_denied(header, body.bytes()) => {}
            Kind::Error => self.hop_refused(header, body.bytes()),
            Kind::Value => self.segment_granted(header, body.bytes()),
            Kind::SegmentGone => self.segment_went(header, body.bytes()),
            kind => debug!(?kind, "a link says nothing of this kind"),
        }
    }

    /// The other node lacks the code of a HOP, and has sent it back: it goes again, with the code.
    pub(super) fn came_back(&self, header: &Header, body: &mut Body) {
        let Some((link, directory, node)) = self.of_link(header) else {
            debug!(
                call = header.call,
                "a hop came back, and its origin is gone"
            );
            return;
        };
        let archive = self.archive(header.code);
        if archive.is_none() {
            let message = "the node that a call hopped to lacks its code, and the node that it came from has let go of it";
            return self.fail_on_the_way(&directory, header, ErrorCode::UNREACHABLE, message);
        }
        let traveller = Traveller {
            node,
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
        let kept = self.cache.peek(code).and_then(|it| it.archive.clone());
        kept.or_else(|| self.specials.archive(code))
    }

    /// The other node has refused a HOP, and knows nobody else to tell.
    pub(super) fn hop_refused(&self, header: &Header, body: &[u8]) {
        match (self.of_link(header), ErrorPayload::decode(body)) {
            (Some((_, directory, _)), Ok(ErrorPayload { code, message })) => {
                self.fail_on_the_way(&directory, header, code, message);
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

    /// Whether nobody hears of it however the call ends. (Who has made a call and wants no result hears once, from the first node.)
    pub(super) fn is_unheard(&self) -> bool {
        self.no_reply && (self.told || self.journey.as_ref().is_some_and(|it| !it.home))
    }

    /// The header of a HOP that the call makes, but for what depends on the link. `None` if the deadline has passed.
    fn hop_header(&self, journey: &Journey, no_reply: bool, count: u64) -> Option<Header> {
        let flags = if no_reply {
            Flags::NO_REPLY
        } else {
            Flags::NONE
        };
        Some(Header {
            flags,
            fan_out: journey.fan_out,
            origin: journey.directory.id,
            call: self.call,
            code: self.prefix,
            deadline_ms: milliseconds_left(self.deadline, count)?,
            hop_budget: journey.budget,
            entry: journey.entry,
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
