//! Segments: memory of this node that origins read and write themselves, and what becomes of it when somebody goes.
//!
//! The transport believes whoever uses a key. So memory that was freed is not given back as long as a peer is there that
//! was granted it and has not said that it is through with it: an access that comes late finds memory that nobody else
//! uses. A peer that was removed counts as there until the fabric says that nothing of it is under way any more.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitcode_jit::{Denied, Held, Lent};
use bitcode_transport::{Fabric, PeerId, Region, TransportError};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Kind, SegmentGone, SegmentGrant, SegmentRequest};
use parking_lot::Mutex;
use tracing::{debug, info};

use super::cache::PrefixHasher;
use super::reply::Answered;
use super::sessions::SessionEntry;
use super::{CallContext, Engine};
use crate::loader::Loader;

/// What a segment takes of the node's memory is a multiple of this.
const PAGE: u64 = 4096;

/// How long a call waits for another one that has a segment to itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it sleeps between two looks, after [`LOOKS`] of them.
const NAP: Duration = Duration::from_micros(100);
const LOOKS: u32 = 100;

/// Why a request was refused.
type Refused = (ErrorCode, String);

/// See the module's documentation.
pub(crate) struct Segments {
    /// Bytes that all of them may take.
    limit: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Bytes that they take, those that are leaving included.
    taken: u64,
    next: u64,
    live: HashMap<u64, Segment, BuildHasherDefault<PrefixHasher>>,
    /// Freed, but somebody may still reach them.
    leaving: HashMap<u64, Segment>,
}

struct Segment {
    memory: Arc<Memory>,
    key: Arc<[u8]>,
    /// The session that it ends with.
    owner: u32,
    cost: u64,
    /// Who was granted it.
    users: Vec<PeerId>,
}

/// A segment's memory. Calls that use it hold it, too.
struct Memory {
    region: Arc<dyn Region>,
    /// A call has it to itself, among those that ask for that.
    excluded: AtomicBool,
}

/// Held by that call.
struct Exclusion(Arc<Memory>);

impl Exclusion {
    /// `None`: another call has it.
    fn begin(memory: &Arc<Memory>) -> Option<Self> {
        let taken = memory.excluded.swap(true, Ordering::Acquire);
        (!taken).then(|| Self(Arc::clone(memory)))
    }
}

impl Drop for Exclusion {
    fn drop(&mut self) {
        self.0.excluded.store(false, Ordering::Release);
    }
}

impl Segments {
    /// None yet, and later no more than `limit` bytes of them.
    pub(super) fn new(limit: u64) -> Self {
        // Numbers of a node that was restarted are most likely others, so that handles of the old one name nothing.
        let start = RandomState::new().build_hasher().finish() & !0xFFFF_FFFF;
        Self {
            limit,
            inner: Mutex::new(Inner {
                taken: 0,
                next: start | 1,
                live: HashMap::default(),
                leaving: HashMap::new(),
            }),
        }
    }

    /// The number of live segments, and the bytes that all of them take, those that are leaving included.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, u64) {
        let inner = self.inner.lock();
        (inner.live.len(), inner.taken)
    }

    /// Memory of a segment for code that runs here.
    ///
    /// # Errors
    /// There is no such segment, or it has fewer bytes.
    pub(super) fn lend(&self, number: u64, bytes: u64) -> Result<Lent, Denied> {
        let inner = self.inner.lock();
        let segment = inner.live.get(&number).ok_or(Denied::Gone)?;
        let region = &segment.memory.region;
        if region.len() as u64 >= bytes {
            let owner = Arc::clone(&segment.memory);
            return Ok(Lent {
                base: region.base(),
                owner,
            });
        }
        Err(Denied::OutOfRange)
    }

    /// Has a segment for the caller alone, among those who call this, until what is returned is dropped.
    ///
    /// # Errors
    /// There is no such segment, or others have it for too long.
    pub(super) fn exclude(&self, number: u64) -> Result<Held, Denied> {
        let memory = {
            let inner = self.inner.lock();
            let segment = inner.live.get(&number).ok_or(Denied::Gone)?;
            Arc::clone(&segment.memory)
        };
        let start = Instant::now();
        let mut looks = 0;
        loop {
            if let Some(exclusion) = Exclusion::begin(&memory) {
                return Ok(Arc::new(exclusion));
            }
            looks += 1;
            match looks {
                ..LOOKS => std::thread::yield_now(),
                _ if start.elapsed() > PATIENCE => return Err(Denied::Late),
                _ => std::thread::sleep(NAP),
            }
        }
    }

    /// Whether memory waits for somebody to go.
    pub(crate) fn is_leaving(&self) -> bool {
        !self.inner.lock().leaving.is_empty()
    }

    /// Sets bytes aside.
    fn reserve(&self, cost: u64) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        match inner.taken.checked_add(cost) {
            Some(taken) if taken <= self.limit => {
                inner.taken = taken;
                Ok(())
            }
            _ => {
                let message = format!(
                    "a segment of {cost} bytes is too much: this node's segments may take {} bytes (--segment-bytes) and take {}",
                    self.limit, inner.taken
                );
                Err((ErrorCode::SEGMENT_LIMIT, message))
            }
        }
    }

    fn insert(&self, segment: Segment) -> u64 {
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next += 1;
        inner.live.insert(number, segment);
        number
    }

    /// Gives back what nobody can reach any more.
    fn sweep(&self, has_peer: impl Fn(PeerId) -> bool) {
        let mut inner = self.inner.lock();
        let mut freed = 0;
        inner.leaving.retain(|_, segment| {
            segment.users.retain(|&user| has_peer(user));
            let stays = !segment.users.is_empty();
            freed += if stays { 0 } else { segment.cost };
            stays
        });
        inner.taken -= freed;
    }
}

/// There is no such segment.
fn none(number: u64) -> Refused {
    let message = format!(
        "segment {number:#x} is not there: it was freed, its owner has gone, or the node was restarted"
    );
    (ErrorCode::NO_SEGMENT, message)
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Does what a SEGMENT frame asks for, and answers it.
    pub(super) fn serve_segment(&self, context: &CallContext, payload: &[u8]) {
        let session = &context.session;
        if session.is_closed() {
            return; // What it owned is freed, and nobody is there to hear the answer.
        }
        let answer = match SegmentRequest::decode(payload) {
            Err(error) => Err((ErrorCode::BAD_PAYLOAD, error.to_string())),
            Ok(SegmentRequest::Alloc { bytes }) => self.make_segment(session, bytes),
            Ok(SegmentRequest::Attach { segment }) => self.attach_segment(session, segment),
            Ok(SegmentRequest::Detach { segment }) => Ok(self.detach_segment(session, segment)),
            Ok(SegmentRequest::Free { segment }) => self.free_segment(session, segment),
        };
        match answer {
            // Of its own accord, in answer to SEGMENT_GONE.
            Ok(_) if context.call == 0 => {}
            Ok(body) => self.send_short(context.answered(), Kind::Value, &body),
            Err((code, message)) => self.send_error(context.answered(), code, &message),
        }
    }

    fn make_segment(&self, session: &SessionEntry, bytes: u64) -> Result<Vec<u8>, Refused> {
        self.sweep_segments();
        let cost = bytes.max(1).checked_next_multiple_of(PAGE);
        let cost = cost.unwrap_or(u64::MAX);
        self.segments.reserve(cost)?;
        let made = usize::try_from(bytes)
            .map_err(|_| TransportError::OutOfMemory {
                what: "allocating a segment",
            })
            .and_then(|len| self.fabric.allocate(len))
            .and_then(|region| Ok((region.key()?, region)));
        let (key, region) = made.map_err(|error| {
            self.segments.inner.lock().taken -= cost;
            (ErrorCode::OUT_OF_MEMORY, error.to_string())
        })?;
        let number = self.segments.insert(Segment {
            memory: Arc::new(Memory {
                region,
                excluded: AtomicBool::new(false),
            }),
            key: key.into(),
            owner: session.id,
            cost,
            users: vec![session.peer],
        });
        // A session that has closed meanwhile has not seen this one when it freed its own.
        if session.is_closed() {
            self.free_segments_of(session.id);
        }
        info!(
            session = session.id,
            segment = number,
            bytes,
            "segment made"
        );
        self.grant(number)
    }

    fn attach_segment(&self, session: &SessionEntry, number: u64) -> Result<Vec<u8>, Refused> {
        {
            let mut inner = self.segments.inner.lock();
            let segment = inner.live.get_mut(&number).ok_or_else(|| none(number))?;
            if !segment.users.contains(&session.peer) {
                segment.users.push(session.peer);
            }
        }
        self.grant(number)
    }

    fn grant(&self, number: u64) -> Result<Vec<u8>, Refused> {
        let (key, len) = {
            let inner = self.segments.inner.lock();
            let segment = inner.live.get(&number).ok_or_else(|| none(number))?;
            (Arc::clone(&segment.key), segment.memory.region.len() as u64)
        };
        let grant = SegmentGrant {
            segment: number,
            len,
            key: &key,
        };
        grant
            .encode()
            .map_err(|error| (ErrorCode::INTERNAL, error.to_string()))
    }

    /// Also for segments that are not there any more: the two ends may cross.
    fn detach_segment(&self, session: &SessionEntry, number: u64) -> Vec<u8> {
        {
            let mut guard = self.segments.inner.lock();
            let inner = &mut *guard;
            // The owner's way out is FREE.
            let segment = match inner.live.get_mut(&number) {
                Some(segment) if segment.owner == session.id => None,
                Some(segment) => Some(segment),
                None => inner.leaving.get_mut(&number),
            };
            if let Some(segment) = segment {
                segment.users.retain(|&user| user != session.peer);
            }
        }
        self.sweep_segments();
        Vec::new()
    }

    fn free_segment(&self, session: &SessionEntry, number: u64) -> Result<Vec<u8>, Refused> {
        let others = {
            let mut inner = self.segments.inner.lock();
            match inner.live.get(&number).map(|segment| segment.owner) {
                Some(owner) if owner == session.id => {}
                Some(_) => {
                    let message = format!("segment {number:#x} is another session's to free");
                    return Err((ErrorCode::NO_SEGMENT, message));
                }
                None => return Err(none(number)),
            }
            let mut segment = inner.live.remove(&number).ok_or_else(|| none(number))?;
            // The owner has said that it is through with it.
            segment.users.retain(|&user| user != session.peer);
            let others = segment.users.clone();
            inner.leaving.insert(number, segment);
            others
        };
        debug!(session = session.id, segment = number, "segment freed");
        self.say_gone(number, &others);
        self.sweep_segments();
        Ok(Vec::new())
    }

    /// Frees what a session owns that is over.
    pub(super) fn free_segments_of(&self, session: u32) {
        let mut told = Vec::new();
        {
            let mut guard = self.segments.inner.lock();
            let inner = &mut *guard;
            let own = |_: &u64, segment: &mut Segment| segment.owner == session;
            for (number, segment) in inner.live.extract_if(own) {
                told.push((number, segment.users.clone()));
                inner.leaving.insert(number, segment);
            }
        }
        for (number, users) in told {
            debug!(session, segment = number, "segment freed with its session");
            self.say_gone(number, &users);
        }
        self.sweep_segments();
    }

    /// Tells peers that a segment is not there any more. Those that have gone need not know.
    fn say_gone(&self, segment: u64, users: &[PeerId]) {
        let body = SegmentGone { segment }.encode();
        for session in users.iter().filter_map(|&user| self.sessions.of_peer(user)) {
            let to = Answered {
                session: &session,
                call: 0,
                prefix: Default::default(),
                foreseen: None,
            };
            self.send_short(to, Kind::SegmentGone, &body);
        }
    }

    /// Gives back memory of segments that were freed, where nobody can reach it any more.
    pub(crate) fn sweep_segments(&self) {
        self.segments.sweep(|peer| self.fabric.has_peer(peer));
    }

    /// The segments.
    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }
}
