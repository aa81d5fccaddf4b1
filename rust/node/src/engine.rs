//! The engine: frames in, frames out. The executor's half of a node; it knows no sockets, no files and no signals.
//!
//! Frames come from a [`Fabric`], programs from a [`Loader`]. What the other half (the supervisor) wants arrives as
//! messages (`message.rs`). The methods here can be called from any thread, which is how the tests do it; the threads
//! that do it in a node are in `pool.rs`.
//!
//! - `leader.rs`: what becomes of a frame, and short code run on the spot
//! - `execute.rs`: jobs: compiling, long code; `show.rs`: code as text
//! - `many.rs`: calls that came in one frame
//! - `reply.rs`: answers; `output.rs`: what code prints
//! - `hops.rs`: calls that go on to other nodes
//! - `segments.rs`: memory that origins read and write themselves; `reach.rs`: that of other nodes
//! - `host.rs`: what running code may ask for
//! - `cache.rs`, `sessions.rs`, `roster.rs`: what the above share

mod cache;
mod execute;
mod hops;
mod host;
mod leader;
mod many;
mod output;
mod reach;
mod reply;
mod roster;
mod segments;
mod sessions;
mod show;
mod special;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bitcode_transport::{Body, Fabric, PeerId, TransportError};
use bitcode_wire::code::CodePrefix;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{SessionKeys, StageTimings};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::counters::{Counters, Rarely};
use crate::loader::{Loader, Program};
use crate::message::FromEngine;

use cache::{Cache, Entry};
use hops::{Asked, Asker, Directories, Journey, Leaving, Links};
pub(crate) use leader::{Beat, Leader};
use many::Many;
pub(crate) use roster::{Next, Roster};
use segments::Segments;
use sessions::{SessionEntry, SessionTable};
use special::Specials;

/// The output of a loader's programs.
pub(crate) type OutputOf<L> = <<L as Loader>::Program as Program>::Output;

/// Settings of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSettings {
    /// Bytes of compiled code to keep.
    pub cache_bytes: usize,
    /// The longest body, of a call or of a result.
    pub max_frame: usize,
    /// Code whose runs are known to take less than this runs on the leader.
    pub inline_below: Duration,
    /// How long code that prints waits for an origin that does not take what was printed, before output is dropped.
    pub output_patience: Duration,
    /// Bytes that all segments may take.
    pub segment_bytes: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            max_frame: 4 << 30,
            inline_below: Duration::from_micros(50),
            output_patience: Duration::from_secs(10),
            segment_bytes: 1 << 30,
        }
    }
}

/// What a session needs from the engine.
pub struct Opening {
    /// The keys of the data plane.
    pub keys: SessionKeys,
    /// The origin's address on the fabric.
    pub address: Vec<u8>,
    /// Counts the origin's reconnections.
    pub epoch: u16,
    /// For messages: where the origin is.
    pub name: String,
}

/// What an origin is told when its session is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The session's number.
    pub session: u32,
    /// Where the origin sends its frames.
    pub address: Vec<u8>,
}

/// See the module's documentation.
pub struct Engine<F: Fabric, L: Loader> {
    fabric: F,
    loader: L,
    settings: EngineSettings,
    sessions: SessionTable,
    segments: Segments,
    cache: Cache<L::Program, Job<L::Program>>,
    directories: Directories,
    links: Links,
    asked: Asked,
    specials: Specials,
    leaving: Leaving,
    pub(crate) roster: Roster<Job<L::Program>>,
    /// Results that are too long to copy, until they are sent.
    in_flight: Mutex<HashMap<u64, Arc<OutputOf<L>>>>,
    /// Large outputs to use again.
    spare: Mutex<Vec<OutputOf<L>>>,
    next_token: AtomicU64,
    /// Jobs being carried out.
    running: AtomicUsize,
    stopping: AtomicBool,
    /// Where the supervisor hears of it when the data plane loses an origin.
    outbox: Sender<FromEngine>,
    pub(crate) counters: Counters,
    bad_frames: Rarely,
}

/// A call on its way through the node.
#[derive(Clone)]
pub(crate) struct CallContext {
    session: Arc<SessionEntry>,
    call: u64,
    prefix: CodePrefix,
    payload_len: usize,
    no_reply: bool,
    /// The frame brings several calls.
    many: bool,
    /// The origin has been told that the call is run, and wants to hear no more of it.
    told: bool,
    arrived: Instant,
    deadline: Option<Instant>,
    /// Set for the call that made the node compile.
    stages: Option<StageTimings>,
    /// Set for a call that may hop.
    journey: Option<Journey>,
    /// Who sent a HOP; `session` is the origin's.
    sender: Option<Arc<SessionEntry>>,
    /// Who waits for it, if not the origin.
    asked: Option<Asker>,
}

/// A call that waits for a thread, with its body.
pub(crate) struct Job<P> {
    context: CallContext,
    body: Body,
    work: Work<P>,
}

/// What a job is.
enum Work<P> {
    /// The body brings code that nobody has compiled yet.
    Compile,
    /// The body brings code that is to be shown.
    Show,
    /// Everything is here.
    Run(Arc<Entry<P>>),
    /// No code: the body asks for something to do with a segment.
    Segment,
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// An engine over a fabric and a loader, without sessions and without threads.
    pub fn new(fabric: F, loader: L, settings: EngineSettings, outbox: Sender<FromEngine>) -> Self {
        Self {
            cache: Cache::new(settings.cache_bytes),
            segments: Segments::new(settings.segment_bytes),
            fabric,
            loader,
            settings,
            sessions: SessionTable::new(),
            directories: Directories::default(),
            links: Links::default(),
            asked: Asked::default(),
            specials: Specials::default(),
            leaving: Leaving::default(),
            roster: Roster::new(),
            in_flight: Mutex::new(HashMap::new()),
            spare: Mutex::new(Vec::new()),
            next_token: AtomicU64::new(1),
            running: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            outbox,
            counters: Counters::default(),
            bad_frames: Rarely::default(),
        }
    }

    /// The fabric.
    pub fn fabric(&self) -> &F {
        &self.fabric
    }

    /// The loader.
    pub fn loader(&self) -> &L {
        &self.loader
    }

    /// The settings.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Opens a session.
    ///
    /// # Errors
    /// A code and a sentence for the origin.
    pub fn open_session(&self, opening: Opening) -> Result<Opened, (ErrorCode, String)> {
        if self.is_stopping() {
            let message = "the node is shutting down".to_owned();
            return Err((ErrorCode::SHUTTING_DOWN, message));
        }
        let (peer, address) = self.fabric.open_peer().map_err(|error| {
            let code = match error {
                TransportError::TooManyPeers { .. } => ErrorCode::TOO_LARGE,
                _ => ErrorCode::INTERNAL,
            };
            (code, error.to_string())
        })?;
        if let Err(error) = self.fabric.connect_peer(peer, &opening.address) {
            self.fabric.remove_peer(peer);
            return Err((ErrorCode::UNSUPPORTED, error.to_string()));
        }
        let name = opening.name.clone();
        let inserted = self
            .sessions
            .insert(peer, opening.keys, opening.epoch, opening.name);
        let Some(session) = inserted else {
            self.fabric.remove_peer(peer);
            let message = format!("the node has {} sessions, its most", self.sessions.len());
            return Err((ErrorCode::TOO_LARGE, message));
        };
        let transport = self.fabric.describe_peer(peer);
        info!(
            session = session.id,
            origin = name,
            transport,
            "session opened"
        );
        Ok(Opened {
            session: session.id,
            address,
        })
    }

    /// Closes a session: nothing more is believed from it or sent to it.
    pub fn close_session(&self, id: u32, reason: &str) {
        if let Some(session) = self.sessions.remove(id) {
            self.directories.close(id);
            self.fabric.remove_peer(session.peer);
            self.free_segments_of(id);
            self.fabric.wake();
            info!(
                session = id,
                origin = session.name,
                reason,
                "session closed"
            );
        }
    }

    fn lose(&self, peer: PeerId, reason: &str) {
        if let Some(session) = self.sessions.of_peer(peer) {
            warn!(
                session = session.id,
                origin = session.name,
                reason,
                "origin lost"
            );
            self.close_session(session.id, reason);
            // A supervisor that is gone need not know.
            let _ = self.outbox.send(FromEngine::Lost {
                session: session.id,
            });
        } else if !self.lost_link(peer, reason) {
            self.fabric.remove_peer(peer);
        }
    }

    /// Drives once: makes progress and does what the frames that came in ask for. Returns the number of deliveries.
    pub(crate) fn turn(&self, leader: &mut Leader<'_, F, L>) -> usize {
        self.fabric.poll(leader)
    }

    /// Carries out one waiting job, if there is one.
    pub fn work_once(&self) -> bool {
        let job = self.roster.try_pop();
        let found = job.is_some();
        if let Some(job) = job {
            self.execute(job, &mut OutputOf::<L>::default());
        }
        found
    }

    /// Takes no calls from now on, and answers those that wait with SHUTTING_DOWN.
    pub fn stop_accepting(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for job in self.roster.drain() {
            self.refuse_stopping(&job);
        }
    }

    /// Whether the engine takes no calls any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether nothing runs and nothing waits to be sent.
    pub fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0
            && !self.roster.has_jobs()
            && self.fabric.pending_sends() == 0
    }

    /// Number of open sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Number of open links to other nodes.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Number of codes in the cache, and their bytes.
    pub fn cache_size(&self) -> (usize, usize) {
        self.cache.size()
    }

    /// Counts a frame that is not believed, and says so once in a while.
    fn bad_frame(&self, reason: &dyn std::fmt::Display) {
        let count = self.counters.bad_frames.add(1);
        if self.bad_frames.now() {
            warn!(%reason, count, "frame dropped");
        } else {
            debug!(%reason, "frame dropped");
        }
    }
}
