//! The leader: what becomes of a frame.
//!
//! A frame is believed once its session is known and its tag fits, and not before: nothing else is even looked at.
//! Code that is here and known to be short runs on the spot, out of the buffer that the frame arrived in; everything
//! else becomes a job. The leader remembers the session and the code of the last call, so that a warm call looks up
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitcode_transport::{
    Body, Fabric, HeaderBytes, PeerFailure, PeerId, Sink, Token, TransportError,
};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Flags, Foreseen, FrameError, Header, Kind, OutputTaken};
use parking_lot::Mutex;

use super::cache::{Entry, Found};
use super::hops::{Asker, Directory, Journey, ORIGINS_ID, Refused};
use super::host::Surroundings;
use super::reply::Answered;
use super::sessions::SessionEntry;
use super::special::Made;
use super::{CallContext, Engine, Job, Many, OutputOf, Work};
use crate::loader::{Loader, Program, Ran};

/// One in this many inline runs is measured.
const MEASURE_EVERY: u64 = 16;
/// What a run counts as that cost its thread the lead.
const LOST_AFTER: Duration = Duration::from_millis(1);
/// PING bodies up to this length are echoed.
const MAX_PING: usize = 1024;

/// How a run ended, and what the host had to do with it.
struct Run {
    ran: Ran,
    /// Why the call was stopped, if it was.
    refused: Option<Refused>,
    /// The specialised code that it goes on as, if it does.
    special: Option<Made>,
}

/// Tells the watchdog whether the leader is running shipped code: 0 if not, else a number that is new for each run.
pub(crate) struct Beat<P> {
    run: AtomicU64,
    lost: AtomicBool,
    /// The calls behind the present run that came in the same frame.
    behind: Mutex<Option<Arc<Many<P>>>>,
}

impl<P> Default for Beat<P> {
    fn default() -> Self {
        Self {
            run: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            behind: Mutex::new(None),
        }
    }
}

impl<P> Beat<P> {
    /// The number of the run that is going on, 0 if there is none.
    pub(crate) fn running(&self) -> u64 {
        self.run.load(Ordering::Relaxed)
    }

    /// The present run takes so long that another thread leads now.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The calls behind the present run, for somebody else: given away once.
    pub(crate) fn take_behind(&self) -> Option<Arc<Many<P>>> {
        self.behind.lock().take()
    }

    fn set(&self, run: u64) {
        self.run.store(run, Ordering::Relaxed);
    }
}

/// The sink of the thread that leads, with what it remembers.
pub(crate) struct Leader<'e, F: Fabric, L: Loader> {
    engine: &'e Engine<F, L>,
    beat: &'e Beat<L::Program>,
    output: OutputOf<L>,
    session: Option<Arc<SessionEntry>>,
    /// Of the last call that may hop.
    directory: Option<Arc<Directory>>,
    entry: Option<Arc<Entry<L::Program>>>,
    /// Where payloads of calls that came in one frame are run.
    copy: Body,
    runs: u64,
    ahead: Ahead,
}

/// What the leader expects of the remembered session: an origin that calls in a loop numbers its calls evenly.
#[derive(Default)]
struct Ahead {
    /// The last call that ran here, how its number differs from the one before, and its body's length; `None` once it has
    /// been used.
    last: Option<(Header, usize)>,
    stride: u64,
    before: u64,
    answer_len: usize,
    call: Option<Foreseen>,
    answer: Option<Foreseen>,
}

impl<'e, F: Fabric, L: Loader> Leader<'e, F, L> {
    pub(crate) fn new(engine: &'e Engine<F, L>, beat: &'e Beat<L::Program>) -> Self {
        Self {
            engine,
            beat,
            output: OutputOf::<L>::default(),
            session: None,
            directory: None,
            entry: None,
            copy: Body::default(),
            runs: 0,
            ahead: Ahead::default(),
        }
    }

    /// Uses the time until the next frame comes: makes its header, and the answer's.
    pub(crate) fn look_ahead(&mut self) {
        let Some((last, body_len)) = self.ahead.last.take() else {
            return;
        };
        let Some(session) = self.session.as_ref().filter(|it| it.id == last.session) else {
            return;
        };
        let call = last.call.wrapping_add(self.ahead.stride);
        let next = Header { call, ..last };
        self.ahead.call = Some(Foreseen::new(next, &session.keys.to_node, body_len));
        let to = Answered {
            session,
            call,
            prefix: last.code,
            foreseen: None,
        };
        let answer = to.header(Kind::Value, None);
        let len = self.ahead.answer_len;
        self.ahead.answer = Some(Foreseen::new(answer, &session.keys.to_origin, len));
    }

    /// Reads a header and finds the session that it is from, which is then remembered.
    fn believe(&mut self, bytes: &HeaderBytes, body_len: usize) -> Result<Header, Disbelief> {
        if let (Some(expected), Some(session)) = (&self.ahead.call, &self.session)
            && expected.is(bytes, body_len)
            && !session.is_closed()
        {
            return Ok(*expected.header());
        }
        let header = Header::decode(bytes)?;
        if is_of_link(header.kind) {
            let of_link = self.engine.believe_link(&header, bytes, body_len);
            of_link.ok_or(Disbelief::Session(header.session))??;
            return Ok(header);
        }
        let known = |session: &Arc<SessionEntry>| session.id == header.session;
        if !self.session.as_ref().is_some_and(known) {
            self.session = self.engine.sessions.get(header.session);
            self.ahead = Ahead::default();
        }
        let Some(session) = self.session.as_ref().filter(|session| !session.is_closed()) else {
            self.session = None;
            return Err(Disbelief::Session(header.session));
        };
        header.verify(bytes, &session.keys.to_node, body_len)?;
        if header.epoch != session.epoch {
            return Err(Disbelief::Epoch(header.epoch, session.epoch));
        }
        Ok(header)
    }

    fn call(&mut self, header: &Header, body: &mut Body) {
        let may_hop = header.kind == Kind::Hop || header.hop_budget > 0;
        let journey = if may_hop { self.journey(header) } else { None };
        if may_hop && journey.is_none() {
            return; // Whoever sent it has been told.
        }
        let Some(session) = &self.session else { return };
        let asked = header.flags.contains(Flags::ASKED);
        let answered = Answered {
            session: match &journey {
                Some(journey) if !asked => &journey.directory.session,
                _ => session,
            },
            call: header.call,
            prefix: header.code,
            foreseen: None,
        };
        if self.engine.is_stopping() {
            let message = "the node is shutting down";
            if header.kind == Kind::Hop && header.flags.contains(Flags::NO_REPLY) {
                return; // Nobody waits for it.
            }
            return self
                .engine
                .send_error(answered, ErrorCode::SHUTTING_DOWN, message);
        }
        // `verify` has seen to it that the archive is no longer than the body.
        let payload_len = header.payload_len(body.len()).unwrap_or_default();
        if matches!(header.flags, Flags::NONE | Flags::NO_REPLY)
            && let Some(entry) = &self.entry
            && entry.id.prefix() == header.code
            && self.runs_here(entry)
            && !entry.is_evicted()
        {
            self.engine.cache.touch(entry);
            self.run(header, &mut body[..payload_len], journey);
        } else {
            self.find(header, payload_len, body, journey);
        }
    }

    /// What a call that may hop has with it. If its directory is not here, whoever sent it is told.
    fn journey(&mut self, header: &Header) -> Option<Journey> {
        let session = self.session.as_ref()?;
        let remembered = self.directory.take().filter(|it| {
            it.id == header.origin
                && !it.session.is_closed()
                && (header.kind == Kind::Hop || it.session.id == session.id)
        });
        self.directory = remembered.or_else(|| self.engine.directory_of(session, header));
        let directory = Arc::clone(self.directory.as_ref()?);
        Some(Journey::new(directory, header))
    }

    /// Whether the code is known to be short, and somebody watches in case it is not this time.
    fn runs_here(&self, entry: &Entry<L::Program>) -> bool {
        let limit = self.engine.settings.inline_below.as_nanos() as u32;
        entry.pace.is_below(limit) && !self.beat.is_lost()
    }

    /// Runs the remembered code for the remembered session, or for the origin of the journey.
    fn run(&mut self, header: &Header, payload: &mut [u8], journey: Option<Journey>) {
        let Some(session) = &self.session else { return };
        // An ordinary call needs none.
        let context = match journey {
            None if header.flags == Flags::NONE => None,
            None => Some(CallContext::new(Arc::clone(session), header, payload.len())),
            Some(journey) => {
                let origin = Arc::clone(&journey.directory.session);
                Some(CallContext::new(origin, header, payload.len()).on(journey, None))
            }
        };
        match context {
            Some(mut context) if context.no_reply => {
                self.engine.tell(&mut context);
                let run = self.run_once(header, payload, Some(&context));
                self.end_unheard(&context, run);
            }
            context => {
                let run = self.run_once(header, payload, context.as_ref());
                self.end(header, payload.len(), context, run);
            }
        }
    }

    /// Runs the remembered code for each of the calls, and answers none of them.
    fn run_many(&mut self, header: &Header, calls: Many<L::Program>) {
        let calls = Arc::new(calls);
        *self.beat.behind.lock() = Some(Arc::clone(&calls));
        let mut copy = std::mem::take(&mut self.copy);
        while !self.beat.is_lost()
            && let Some(payload) = calls.take()
        {
            if copy.len() < payload.len() {
                copy = Body::zeroed(payload.len());
            }
            let payload_len = payload.len();
            copy[..payload_len].copy_from_slice(payload);
            let run = self.run_once(header, &mut copy[..payload_len], Some(calls.context()));
            self.end_unheard(calls.context(), run);
        }
        self.copy = copy;
        if let Some(behind) = self.beat.take_behind() {
            behind.disperse(&self.engine.roster);
        }
    }

    /// One run of the remembered code; what it leaves behind is in `output`.
    fn run_once(
        &mut self,
        header: &Header,
        payload: &mut [u8],
        context: Option<&CallContext>,
    ) -> Run {
        let (Some(session), Some(entry)) = (&self.session, &self.entry) else {
            return Run {
                ran: Ran::Stopped,
                refused: None,
                special: None,
            };
        };
        let session = context.map_or(session, |it| &it.session);
        let travelling = context.filter(|it| it.journey.is_some());
        self.runs += 1;
        self.beat.set(self.runs);
        let engine = self.engine;
        let listener = |stream: u8, text: &[u8], open: bool| {
            let to = Answered {
                session,
                call: header.call,
                prefix: header.code,
                foreseen: None,
            };
            engine.send_output(to, stream, text, open);
        };
        let host = Surroundings::new(engine, entry, travelling);
        let place = travelling.map(CallContext::place).unwrap_or_default();
        let program = &entry.program;
        let ran = if self.runs.is_multiple_of(MEASURE_EVERY) {
            let start = Instant::now();
            let ran = program.run(place, &host, payload, &listener, &mut self.output);
            entry.pace.note(start.elapsed().as_nanos());
            ran
        } else {
            program.run(place, &host, payload, &listener, &mut self.output)
        };
        self.beat.set(0);
        if self.beat.is_lost() {
            entry.pace.note_long(LOST_AFTER.as_nanos());
        }
        engine.counters.ran_inline.add(1);
        let (refused, special) = host.said();
        Run {
            ran,
            refused,
            special,
        }
    }

    /// What becomes of a call that has run here, and that somebody waits for.
    fn end(&mut self, header: &Header, payload_len: usize, context: Option<CallContext>, run: Run) {
        let Run {
            ran,
            refused,
            special,
        } = run;
        let (Some(session), Some(entry), engine) = (&self.session, &self.entry, self.engine) else {
            return;
        };
        if let Ran::Forward(onward) = ran {
            let context = context
                .unwrap_or_else(|| CallContext::new(Arc::clone(session), header, payload_len));
            return engine.forward(&context, entry, onward, special, &mut self.output);
        }
        let answered = Answered {
            session: context.as_ref().map_or(session, |it| &it.session),
            call: header.call,
            prefix: header.code,
            foreseen: self.ahead.answer.as_ref(),
        };
        if let (Ran::Stopped, Some(refused)) = (ran, refused) {
            return engine.send_error(answered, refused.code, &refused.message);
        }
        let answer_len = self.output.as_ref().len();
        engine.send_outcome(answered, entry, ran, &mut self.output, None);
        if header.kind == Kind::Hop {
            return; // Nobody knows who calls next.
        }
        let ahead = &mut self.ahead;
        ahead.answer_len = answer_len;
        ahead.stride = header.call.wrapping_sub(ahead.before);
        ahead.before = header.call;
        // Only an ordinary call is likely to be followed by another like it.
        ahead.last = (header.flags == Flags::NONE).then_some((*header, payload_len));
    }

    /// What becomes of one that nobody waits for.
    fn end_unheard(&mut self, context: &CallContext, run: Run) {
        let Run {
            ran,
            refused,
            special,
        } = run;
        if let Some(entry) = &self.entry {
            let output = &mut self.output;
            self.engine
                .end_unheard(context, entry, ran, refused, special, output);
        }
    }

    /// The way of a call whose code is not the last one's, or not short.
    fn find(
        &mut self,
        header: &Header,
        payload_len: usize,
        body: &mut Body,
        journey: Option<Journey>,
    ) {
        let Some(session) = &self.session else { return };
        let brings = header.flags.contains(Flags::HAS_ARCHIVE);
        let shows = header.flags.contains(Flags::SHOW);
        let context = match journey {
            None => CallContext::new(Arc::clone(session), header, payload_len),
            Some(journey) if header.flags.contains(Flags::ASKED) => {
                match asked_context(journey, session, header, &body[..payload_len]) {
                    Some(context) => context,
                    None => {
                        let message = "the payload lacks the number of the origin's call";
                        let to = Answered {
                            session,
                            call: header.call,
                            prefix: header.code,
                            foreseen: None,
                        };
                        return self.engine.send_error(to, ErrorCode::BAD_PAYLOAD, message);
                    }
                }
            }
            Some(journey) => {
                let origin = Arc::clone(&journey.directory.session);
                let sender = (header.kind == Kind::Hop).then(|| Arc::clone(session));
                CallContext::new(origin, header, payload_len).on(journey, sender)
            }
        };
        let job = Job {
            context,
            body: std::mem::take(body),
            work: if shows { Work::Show } else { Work::Compile },
        };
        if shows && brings {
            return self.engine.roster.push(job);
        }
        if shows {
            return self.engine.need_code(job);
        }
        match self.engine.cache.find(header.code, brings, job) {
            Found::Ready(entry, job) if job.context.many && self.runs_here(&entry) => {
                if let Some(calls) = self.engine.spread(job.context, job.body, &entry) {
                    self.entry = Some(entry);
                    self.run_many(header, calls);
                }
            }
            // Somebody else's code waits for what was asked, and may wait for this node's, too: not here.
            Found::Ready(entry, mut job)
                if job.context.asked.is_none() && self.runs_here(&entry) =>
            {
                self.entry = Some(entry);
                let journey = job.context.journey.take();
                self.run(header, &mut job.body[..payload_len], journey);
            }
            Found::Ready(entry, job) => self.engine.roster.push(Job {
                work: Work::Run(entry),
                ..job
            }),
            Found::Claimed(job) => self.engine.roster.push(job),
            Found::Waiting => {}
            Found::Missing(job) => self.engine.need_code(job),
        }
    }

    fn answer(&mut self, header: &Header, body: &mut Body) {
        match header.kind {
            Kind::Call | Kind::Hop => return self.call(header, body),
            kind if is_of_link(kind) => return self.engine.said_on_link(header, body),
            _ => {}
        }
        let Some(session) = &self.session else { return };
        let answered = Answered {
            session,
            call: header.call,
            prefix: header.code,
            foreseen: None,
        };
        match header.kind {
            Kind::Ping if body.len() <= MAX_PING => {
                self.engine.send_short(answered, Kind::Pong, body.bytes());
            }
            Kind::Ping => {
                let message = "a PING carries at most 1024 bytes";
                self.engine
                    .send_error(answered, ErrorCode::TOO_LARGE, message);
            }
            Kind::OutputTaken => match OutputTaken::decode(body.bytes()) {
                Ok(taken) => session.outflow.taken(taken.position),
                Err(error) => self.engine.bad_frame(&error),
            },
            Kind::Directory => self.engine.told_directory(session, header, body.bytes()),
            Kind::Trail => self.engine.told_trail(session, header, body.bytes()),
            // Memory takes time: not here.
            Kind::Segment => self.engine.roster.push(Job {
                context: CallContext::new(Arc::clone(session), header, body.len()),
                body: std::mem::take(body),
                work: Work::Segment,
            }),
            Kind::Cancel => {
                let message = "this node cannot cancel calls";
                self.engine
                    .send_error(answered, ErrorCode::UNSUPPORTED, message);
            }
            kind => self.engine.bad_frame(&Disbelief::Kind(kind)),
        }
    }
}

/// What is known of a call that another node's code waits for. `None` if its payload is too short for one.
fn asked_context(
    journey: Journey,
    sender: &Arc<SessionEntry>,
    header: &Header,
    payload: &[u8],
) -> Option<CallContext> {
    let (own, origins) = payload.split_last_chunk::<ORIGINS_ID>()?;
    let origin = Arc::clone(&journey.directory.session);
    let asker = Asker {
        session: Arc::clone(sender),
        number: header.call,
    };
    let context = CallContext::new(origin, header, own.len());
    let context = context.on(journey, Some(Arc::clone(sender)));
    Some(context.asked_by(asker, u64::from_le_bytes(*origins)))
}

/// Whether such a frame comes from a node that this one sends calls to.
fn is_of_link(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NeedCode | Kind::Error | Kind::Throw | Kind::Value | Kind::SegmentGone
    )
}

/// Why a frame is not believed.
#[derive(Debug, thiserror::Error)]
enum Disbelief {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("session {0:#x} is not open")]
    Session(u32),
    #[error("epoch {0} is not the session's ({1})")]
    Epoch(u16, u16),
    #[error("{0:?} is not for a node")]
    Kind(Kind),
}

impl<F: Fabric, L: Loader> Sink for Leader<'_, F, L> {
    fn admit(&mut self, header: &HeaderBytes, body_len: usize) -> bool {
        match self.believe(header, body_len) {
            Ok(_) => body_len <= self.engine.settings.max_frame,
            Err(error) => {
                self.engine.bad_frame(&error);
                false
            }
        }
    }

    fn frame(&mut self, header: &HeaderBytes, body: &mut Body) {
        match self.believe(header, body.len()) {
            Ok(header) => self.answer(&header, body),
            Err(error) => self.engine.bad_frame(&error),
        }
    }

    fn sent(&mut self, token: Token, result: Result<(), TransportError>) {
        self.engine.reclaim(token);
        self.engine.has_left(token, result);
    }

    fn peer_failed(&mut self, peer: PeerId, reason: PeerFailure) {
        self.engine.lose(peer, &reason.to_string());
    }
}

impl CallContext {
    fn new(session: Arc<SessionEntry>, header: &Header, payload_len: usize) -> Self {
        let arrived = Instant::now();
        let left =
            (header.deadline_ms > 0).then(|| Duration::from_millis(u64::from(header.deadline_ms)));
        Self {
            session,
            call: header.call,
            prefix: header.code,
            payload_len,
            no_reply: header.flags.contains(Flags::NO_REPLY),
            many: header.flags.contains(Flags::MANY),
            told: false,
            arrived,
            deadline: left.and_then(|left| arrived.checked_add(left)),
            stages: None,
            journey: None,
            sender: None,
            asked: None,
        }
    }

    /// The same for a call that may hop, and did if there is a sender.
    fn on(self, journey: Journey, sender: Option<Arc<SessionEntry>>) -> Self {
        Self {
            journey: Some(journey),
            sender,
            ..self
        }
    }
}
