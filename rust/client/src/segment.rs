//! Segments: memory of a node that this process reads and writes itself, with no code running there.
//!
//! The node is asked for the memory, and for its end, by frames. What is in between is the transport's one-sided access,
//! which asks nobody: whether a segment is still there is known here, because the node tells.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcode_transport::{
    Body, Fabric, HeaderBytes, RemoteRegion, Segment, Token, TransportError, Update,
};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Header, Kind, SegmentGone, SegmentGrant, SegmentRequest};
use parking_lot::{Mutex, RwLock};

use crate::ClientError;
use crate::call::Outcome;
use crate::core::Core;
use crate::session::{CallOptions, Session, SessionCore};

/// How long a node may take to make or free a segment, and a transfer of a [`PIECE`] to end. A node that died is known
/// sooner.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are moved at once, so that the transport does not need as much memory again as it moves.
const PIECE: usize = 4 << 20;

/// The segments that a session uses, by number.
#[derive(Default)]
pub(crate) struct SegmentsInUse {
    used: Mutex<HashMap<u64, Entry>>,
    /// One at a time attaches or detaches, from the question to the answer: a node may deal with two questions in any order.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Entry {
    usage: Arc<Usage>,
    /// Open handles. The last one tells the node that this side is through with the segment.
    handles: usize,
}

/// Transfers under way to a segment, and [`Usage::GONE`].
#[derive(Default)]
struct Usage(AtomicU64);

impl Usage {
    /// The owner has freed the segment: nothing begins any more.
    const GONE: u64 = 1 << 63;

    fn is_gone(&self) -> bool {
        self.0.load(Ordering::SeqCst) & Self::GONE != 0
    }

    /// `false` if the segment is gone.
    fn begin(&self) -> bool {
        let one_more = |state| (state & Self::GONE == 0).then_some(state + 1);
        let begun = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        begun.is_ok()
    }

    /// Whether that was the last one to a segment that is gone.
    fn end(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) == Self::GONE + 1
    }

    /// The segment goes. Returns whether nothing is under way to it; else some [`Usage::end`] says so.
    fn go(&self) -> bool {
        self.0.fetch_or(Self::GONE, Ordering::SeqCst) == 0
    }
}

/// A segment of a node, from [`Session::allocate`] or [`Session::attach`]. Dropping it frees nothing: the segment ends with
/// [`RemoteSegment::close`], or with its owner's session.
pub struct RemoteSegment<F: Fabric + 'static> {
    session: Session<F>,
    number: u64,
    owned: bool,
    region: Arc<dyn RemoteRegion>,
    usage: Arc<Usage>,
    /// Whether it is open. Transfers hold it, so that none is under way when it is closed.
    open: RwLock<bool>,
}

impl<F: Fabric> fmt::Debug for RemoteSegment<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, len) = (self.number, self.region.len());
        write!(
            f,
            "RemoteSegment({number:#x}, {len} bytes, {:?})",
            self.session
        )
    }
}

impl<F: Fabric> Session<F> {
    /// Makes a segment of so many bytes, all zero, on the node. It is freed when it is closed, or when this session ends.
    ///
    /// # Errors
    /// The node's segments would take more than they may, or the node does not answer.
    pub fn allocate(&self, bytes: u64) -> Result<RemoteSegment<F>, ClientError> {
        self.use_segment(SegmentRequest::Alloc { bytes }, true)
    }

    /// Uses a segment of the node that exists, of whomever. It is its owner's to free.
    ///
    /// # Errors
    /// There is no such segment, or the node does not answer.
    pub fn attach(&self, segment: u64) -> Result<RemoteSegment<F>, ClientError> {
        self.use_segment(SegmentRequest::Attach { segment }, false)
    }

    fn use_segment(
        &self,
        request: SegmentRequest,
        owned: bool,
    ) -> Result<RemoteSegment<F>, ClientError> {
        let (core, session) = self.parts();
        let _one_at_a_time = session.segments.asking.lock();
        let call = self.ask_about_segment(request)?;
        let grant = match call.outcome() {
            Some(Outcome::Value(bytes)) => SegmentGrant::decode(bytes).map_err(|error| {
                ClientError::Internal(format!("the node's grant of a segment is none: {error}"))
            })?,
            other => return Err(self.refused(other)),
        };
        let region = core.fabric.import(session.peer, grant.key)?;
        if region.len() < grant.len {
            let message = format!("the key to segment {:#x} is another's", grant.segment);
            return Err(ClientError::Internal(message));
        }
        let usage = {
            let mut used = session.segments.used.lock();
            let entry = used.entry(grant.segment).or_default();
            if entry.usage.is_gone() {
                // It went while its grant was on the way.
                used.remove(&grant.segment);
                let (number, node) = (grant.segment, self.name());
                let message = format!("segment {number:#x} of {node} was freed by its owner");
                return Err(ClientError::SegmentGone(message));
            }
            entry.handles += 1;
            Arc::clone(&entry.usage)
        };
        Ok(RemoteSegment {
            session: self.clone(),
            number: grant.segment,
            owned,
            region,
            usage,
            open: RwLock::new(true),
        })
    }

    /// Asks, and waits for the answer.
    fn ask_about_segment(&self, request: SegmentRequest) -> Result<crate::Call<F>, ClientError> {
        let payload = Segment::shared(Arc::new(request.encode()));
        let options = CallOptions::default().deadline(Some(PATIENCE));
        let call = self.ask(Kind::Segment, &[payload], &options)?;
        call.wait(Some(PATIENCE));
        Ok(call)
    }

    /// What an answer says that is not the one wanted.
    fn refused(&self, outcome: Option<Outcome<'_>>) -> ClientError {
        match outcome {
            Some(Outcome::Error(ClientError::Remote {
                code: ErrorCode::NO_SEGMENT,
                message,
            })) => ClientError::SegmentGone(format!("{}: {message}", self.name())),
            Some(Outcome::Error(ClientError::Remote {
                code: ErrorCode::SEGMENT_LIMIT,
                message,
            })) => ClientError::TooLarge(format!("{}: {message}", self.name())),
            Some(Outcome::Error(error)) => error.clone(),
            Some(_) => ClientError::Internal("the node's answer about a segment is none".into()),
            None => ClientError::Timeout(format!(
                "{} said nothing about a segment within {PATIENCE:?}",
                self.name()
            )),
        }
    }
}

impl<F: Fabric> RemoteSegment<F> {
    /// Its number on its node: what others attach it by.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.region.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it can be used.
    pub fn is_open(&self) -> bool {
        *self.open.read() && self.check().is_ok()
    }

    /// Fetches bytes.
    ///
    /// # Errors
    /// The segment is gone, the range is not inside it (nothing is touched then), or the node is gone.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), ClientError> {
        self.transfer(|region| {
            check(region, offset, to.len())?;
            let mut pieces = to.chunks_mut(PIECE).zip((offset..).step_by(PIECE));
            pieces.try_for_each(|(piece, offset)| region.read(offset, piece, PATIENCE))
        })
    }

    /// Writes bytes, and returns when they are there.
    ///
    /// # Errors
    /// As for [`RemoteSegment::read`].
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), ClientError> {
        self.transfer(|region| {
            check(region, offset, from.len())?;
            let mut pieces = from.chunks(PIECE).zip((offset..).step_by(PIECE));
            pieces.try_for_each(|(piece, offset)| region.write(offset, piece, PATIENCE))?;
            region.flush(PATIENCE)
        })
    }

    /// Changes the 64-bit word at `offset`, a multiple of 8, at once for everybody, and returns what it was before.
    ///
    /// # Errors
    /// As for [`RemoteSegment::read`].
    pub fn update(&self, offset: u64, update: Update) -> Result<u64, ClientError> {
        self.transfer(|region| region.update(offset, update, PATIENCE))
    }

    /// Frees the segment, if it is this session's own; else only stops using it. Whatever is under way ends first. Closing
    /// again does nothing, and neither does closing what is gone already.
    ///
    /// # Errors
    /// What is under way does not end: the segment is still open. Or the node does not answer: it frees the segment with
    /// the session.
    pub fn close(&self) -> Result<(), ClientError> {
        let mut open = self.open.write();
        if !std::mem::replace(&mut *open, false) || self.check().is_err() {
            return Ok(());
        }
        if let Err(error) = self.region.flush(PATIENCE) {
            *open = true;
            return Err(error.into());
        }
        let segment = self.number;
        let segments = &self.session.parts().1.segments;
        let _one_at_a_time = segments.asking.lock();
        if self.owned {
            // Others of this process that have attached it must not begin anything after the node was asked.
            segments.used.lock().remove(&segment);
            if !self.usage.go() {
                let message = format!(
                    "segment {segment:#x} is being used: it will be freed with its session"
                );
                return Err(ClientError::BadArgument(message));
            }
            return self.ask_to(SegmentRequest::Free { segment });
        }
        let last = {
            let mut used = segments.used.lock();
            let left = used.get_mut(&segment).map(|entry| {
                entry.handles -= 1;
                entry.handles
            });
            if left == Some(0) {
                used.remove(&segment);
            }
            left == Some(0)
        };
        if last {
            self.ask_to(SegmentRequest::Detach { segment })?;
        }
        Ok(())
    }

    fn ask_to(&self, request: SegmentRequest) -> Result<(), ClientError> {
        let call = self.session.ask_about_segment(request)?;
        match call.outcome() {
            Some(Outcome::Value(_)) => Ok(()),
            other => Err(self.session.refused(other)),
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.usage.is_gone() {
            return Err(self.gone("freed by its owner"));
        }
        self.session.parts().1.check_open()
    }

    fn transfer<T>(
        &self,
        transfer: impl FnOnce(&dyn RemoteRegion) -> Result<T, TransportError>,
    ) -> Result<T, ClientError> {
        let open = self.open.read();
        if !*open {
            return Err(self.gone("closed"));
        }
        self.check()?;
        if !self.usage.begin() {
            return Err(self.gone("freed by its owner"));
        }
        let done = transfer(&*self.region);
        // What did not end in time may still be under way: then it counts as such as long as the session lives, and the
        // node keeps the memory.
        let late = matches!(done, Err(TransportError::Timeout { .. }));
        if !late && self.usage.end() {
            let (core, session) = self.session.parts();
            core.say_detached(session, self.number);
        }
        done.map_err(|error| match self.check() {
            // A session that ended meanwhile, or an owner who freed the segment, says it better.
            Err(reason) => reason,
            Ok(()) => error.into(),
        })
    }

    fn gone(&self, how: &str) -> ClientError {
        let (number, node) = (self.number, self.session.name());
        ClientError::SegmentGone(format!("segment {number:#x} of {node} was {how}"))
    }
}

/// Whether a range is inside the region, before any piece of it is moved.
fn check(region: &dyn RemoteRegion, offset: u64, len: usize) -> Result<(), TransportError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= region.len() => Ok(()),
        _ => Err(TransportError::OutOfRange {
            offset,
            len,
            region: region.len(),
        }),
    }
}

impl<F: Fabric> Core<F> {
    /// A SEGMENT_GONE frame has come. False if it is not believed.
    pub(crate) fn segment_went(&self, bytes: &HeaderBytes, body: &Body) -> bool {
        let Some((session, _)) = self.speaks_in(bytes, body.len()) else {
            return false;
        };
        let Ok(SegmentGone { segment }) = SegmentGone::decode(body.bytes()) else {
            session.stats.lock().dropped_frames += 1;
            return true;
        };
        let segments = &session.segments;
        let idle = {
            let mut used = segments.used.lock();
            let entry = used.remove(&segment).unwrap_or_default();
            let idle = entry.usage.go();
            // Whoever attaches just now may have its grant already.
            if entry.handles == 0 && segments.asking.is_locked() {
                used.insert(segment, entry);
            }
            idle
        };
        if idle {
            self.say_detached(&session, segment);
        }
        true
    }

    /// Tells the node that this side is through with a segment that is gone. Its answer is awaited by nobody.
    fn say_detached(&self, session: &SessionCore, segment: u64) {
        let body = SegmentRequest::Detach { segment }.encode();
        let header = Header {
            session: session.id,
            origin: session.origin,
            epoch: session.epoch,
            ..Header::new(Kind::Segment)
        };
        let header = header.encode(&session.keys.to_node, body.len());
        // A node that cannot be told is gone, and so is its memory.
        let _ = self
            .fabric
            .send(session.peer, &header, &[Segment::borrowed(&body)], Token(0));
    }
}
