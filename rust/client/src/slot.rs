//! A slot: everything about one call while it is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::thread::Thread;
use std::time::Instant;

use bitcode_transport::{Body, Segment};
use bitcode_wire::frame::{Header, Kind, StageTimings};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::directory::Directory;
use crate::foresight::Foresight;
use crate::slab::call_id;
use crate::{ClientError, Code, session::SessionCore};

/// What a payload is made of.
pub(crate) type Payload = SmallVec<[Segment<'static>; 4]>;

/// What is told when a call is finished: called exactly once, from whichever thread saw the end.
pub type Notify = Box<dyn FnOnce() + Send>;

/// Where a call stands. The numbers are those of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CallState {
    /// It returned.
    Value = 0,
    /// Not finished: its payload must stay as it is.
    Pending = 1,
    /// The shipped function threw.
    Throw = 2,
    /// It failed.
    Error = 3,
}

impl CallState {
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Value,
            2 => Self::Throw,
            3 => Self::Error,
            _ => Self::Pending,
        }
    }
}

/// Results up to this length are kept in the slot itself.
pub(crate) const SMALL: usize = 64;

/// The bytes of a result: a few of them copied, or a whole received body.
#[derive(Debug)]
#[repr(align(64))] // As bodies are.
pub(crate) struct Bytes {
    small: [u8; SMALL],
    large: Option<Body>,
    len: usize,
}

impl Bytes {
    pub(crate) const EMPTY: Self = Self {
        small: [0; SMALL],
        large: None,
        len: 0,
    };

    /// Takes the first `len` bytes of `body`: by copying if they are few, else the body itself.
    pub(crate) fn fill(&mut self, body: &mut Body, len: usize) {
        self.len = len;
        if let Some(small) = self.small.get_mut(..len) {
            small.copy_from_slice(&body.bytes()[..len]);
        } else {
            self.large = Some(std::mem::take(body));
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.large {
            None => &self.small[..self.len],
            Some(body) => &body.bytes()[..self.len],
        }
    }
}

/// How a call ended. The bytes are beside it.
#[derive(Debug)]
pub(crate) enum Ending {
    Value,
    Throw,
    Error(ClientError),
}

impl Ending {
    pub(crate) fn state(&self) -> CallState {
        match self {
            Self::Value => CallState::Value,
            Self::Throw => CallState::Throw,
            Self::Error(_) => CallState::Error,
        }
    }
}

/// Facts about a call, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the start of the call to its reply; `None` if the call was so ordinary that no clock was read.
    pub total: Option<std::time::Duration>,
    /// What the node measured. Only for the call that made the node compile.
    pub node: Option<StageTimings>,
    /// Whether the archive was sent.
    pub archive_sent: bool,
    /// How often the node asked for the code.
    pub need_code: u32,
}

/// One place for a call. Slots are made once and used again and again.
#[repr(align(128))] // Two cache lines, which is what a core fetches at a time: neighbours do not disturb each other.
pub(crate) struct Slot {
    pub(crate) index: u32,
    /// For the slab's free list.
    pub(crate) next_free: AtomicU32,
    state: AtomicU8,
    /// A callback of this call is running just now.
    notifying: AtomicBool,
    pub(crate) inner: Mutex<Inner>,
}

/// The part of a slot that its lock guards.
pub(crate) struct Inner {
    /// The call, 0 if the slot is free.
    pub(crate) call: u64,
    generation: u64,
    pub(crate) header: Header,
    pub(crate) session: Option<Arc<SessionCore>>,
    /// The nodes that the call may hop to.
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) code: Option<Code>,
    pub(crate) payload: Payload,
    /// Sends whose completion has not been reported: while there are any, the transport reads the payload.
    pub(crate) sends: u32,
    pub(crate) ending: Option<Ending>,
    pub(crate) bytes: Bytes,
    /// Bytes of the answer's frame.
    pub(crate) bytes_received: u64,
    pub(crate) finished: bool,
    /// Nobody wants the result any more; the slot is freed as soon as the transport lets go of the payload.
    pub(crate) abandoned: bool,
    /// The frame is of so many calls that nobody waits for, and nobody holds the slot; 0 for a call by itself.
    pub(crate) posted: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) started: Option<Instant>,
    pub(crate) timings: Timings,
    pub(crate) notify: Option<Notify>,
    pub(crate) waiters: SmallVec<[Thread; 1]>,
    /// Outlives the calls.
    pub(crate) foresight: Foresight,
}

impl Slot {
    pub(crate) fn new(index: u32) -> Self {
        Self {
            index,
            next_free: AtomicU32::new(0),
            state: AtomicU8::new(CallState::Pending as u8),
            notifying: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                call: 0,
                generation: 0,
                header: Header::new(Kind::Call),
                session: None,
                directory: None,
                code: None,
                payload: Payload::new(),
                sends: 0,
                ending: None,
                bytes: Bytes::EMPTY,
                bytes_received: 0,
                finished: false,
                abandoned: false,
                posted: 0,
                deadline: None,
                started: None,
                timings: Timings::default(),
                notify: None,
                waiters: SmallVec::new(),
                foresight: Foresight::default(),
            }),
        }
    }

    /// Where the slot's call stands. Meaningful only to who holds the call.
    pub(crate) fn state(&self) -> CallState {
        CallState::from_number(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn set_state(&self, state: CallState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Marks, with the lock held, that a callback is about to run, and later that it has run.
    pub(crate) fn notifying(&self, now: bool) {
        self.notifying.store(now, Ordering::Release);
    }

    /// Locks the slot at a moment when no callback of its call runs. They only wake somebody, so that is soon.
    pub(crate) fn settled(&self) -> MutexGuard<'_, Inner> {
        loop {
            let inner = self.inner.lock();
            if !self.notifying.load(Ordering::Acquire) {
                return inner;
            }
            drop(inner);
            std::thread::yield_now();
        }
    }
}

impl Inner {
    /// How many calls the frame is of.
    pub(crate) fn calls(&self) -> u64 {
        self.posted.max(1)
    }

    /// Begins the slot's next generation and returns its call id.
    pub(crate) fn open(&mut self, index: u32) -> u64 {
        self.generation = next_generation(self.generation);
        self.call = call_id(index, self.generation);
        self.call
    }

    /// The call id that [`Inner::open`] will give next.
    pub(crate) fn next_call(&self, index: u32) -> u64 {
        call_id(index, next_generation(self.generation))
    }

    /// Makes the next call one of this session and this code.
    pub(crate) fn belong_to(&mut self, session: &Arc<SessionCore>, code: Option<&Code>) {
        if !self.is_of(session) {
            self.session = Some(Arc::clone(session));
        }
        let same = match (&self.code, code) {
            (Some(held), Some(code)) => held.is(code),
            (held, code) => held.is_none() && code.is_none(),
        };
        if !same {
            self.code = code.cloned();
        }
    }

    /// Whether the call, which is under way, may have hopped to this session's node.
    pub(crate) fn may_be_at(&self, session: &Arc<SessionCore>) -> bool {
        let directory = self.directory.as_ref();
        self.call != 0 && !self.abandoned && directory.is_some_and(|it| it.holds(session))
    }

    /// Whether the call, which is under way, hops by this directory.
    pub(crate) fn hops_by(&self, id: u32) -> bool {
        let directory = self.directory.as_ref();
        self.call != 0 && !self.abandoned && directory.is_some_and(|it| it.id == id)
    }

    /// Whether this is the session of the slot's call, or of its last one.
    pub(crate) fn is_of(&self, session: &Arc<SessionCore>) -> bool {
        let held = self.session.as_ref();
        held.is_some_and(|held| Arc::ptr_eq(held, session))
    }

    /// Lets a free slot's session go.
    pub(crate) fn forget_session(&mut self) {
        self.session = None;
        self.code = None;
    }

    /// Empties the slot. Session and code stay, because the next call is most likely theirs too; a closing session takes
    /// both away.
    pub(crate) fn clear(&mut self) {
        self.call = 0;
        self.payload.clear();
        self.directory = None;
        self.bytes_received = 0;
        self.ending = None;
        self.bytes.large = None;
        self.finished = false;
        self.abandoned = false;
        self.posted = 0;
        self.deadline = None;
        self.started = None;
        self.timings = Timings::default();
        self.notify = None;
        self.waiters.clear();
    }
}

/// 40 bits of generations, never 0: at a call per microsecond and slot they last twelve days, and only an answer delayed
/// for exactly that long could be taken for another's.
fn next_generation(generation: u64) -> u64 {
    ((generation + 1) & ((1 << 40) - 1)).max(1)
}
