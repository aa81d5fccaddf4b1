//! Segments of other nodes, which code that runs here reads and changes one-sidedly.
//!
//! Such a node is asked once for each segment, over the link that hops take, as an origin would ask. What it grants is kept
//! with the link. When the segment is freed it says so, and keeps the memory until this node has answered that nothing of its own is
//! under way there: that is when nobody holds the [`Grant`] any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcode_jit::{Access, Denied};
use bitcode_transport::{Fabric, RemoteRegion, Segment, TransportError, Update};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Header, Kind, SegmentGone, SegmentGrant, SegmentRequest};
use parking_lot::Mutex;
use tracing::debug;

use super::hops::{Directory, Link};
use super::reply::NO_TOKEN;
use super::{Beat, Engine, Leader};
use crate::loader::Loader;

/// How long another node may take to answer, and a transfer of a [`PIECE`] to end. A node that died is known sooner.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are moved at once.
const PIECE: usize = 4 << 20;
/// How long a thread that waits for a link sleeps between two looks.
const NAP: Duration = Duration::from_micros(100);
/// Ids of questions over a link have this bit, which those of an origin's calls do not have.
pub(super) const QUESTION: u64 = 1 << 63;

/// The right to use a segment at the other end of a link. Whoever uses it holds it.
struct Grant {
    number: u64,
    region: Arc<dyn RemoteRegion>,
}

/// Segments at the other end of a link.
#[derive(Default)]
pub(super) struct Reached(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    grants: HashMap<u64, Arc<Grant>>,
    /// What the other node has been asked for, and what it said if it did not grant it.
    asked: HashMap<u64, Asked>,
}

struct Asked {
    call: u64,
    denied: Option<Denied>,
}

impl Reached {
    /// What is known of a segment: the right to use it, or why there is none. `None`: the node has not answered yet.
    fn answer(&self, segment: u64) -> Option<Result<Arc<Grant>, Denied>> {
        let mut inner = self.0.lock();
        if let Some(grant) = inner.grants.get(&segment) {
            return Some(Ok(Arc::clone(grant)));
        }
        let denied = match inner.asked.get(&segment) {
            // It was granted and freed again, or whoever else waited has heard the answer.
            None => Denied::Gone,
            Some(asked) => asked.denied?,
        };
        inner.asked.remove(&segment);
        Some(Err(denied))
    }

    /// Notes that the node is to be asked, as `call`. `false` if that is not necessary.
    fn ask(&self, segment: u64, call: u64) -> bool {
        let mut inner = self.0.lock();
        if inner.grants.contains_key(&segment) || inner.asked.contains_key(&segment) {
            return false;
        }
        let asked = Asked { call, denied: None };
        inner.asked.insert(segment, asked);
        true
    }

    /// The node's answer to question `call` is no. `false` if that was not asked.
    fn deny(&self, call: u64, why: Denied) -> bool {
        let mut inner = self.0.lock();
        let asked = inner.asked.values_mut().find(|asked| asked.call == call);
        asked.is_some_and(|asked| asked.denied.replace(why).is_none())
    }

    /// The node's answer is yes. `false` if nobody wants it any more.
    fn grant(&self, grant: Grant) -> bool {
        let mut inner = self.0.lock();
        match inner.asked.remove(&grant.number) {
            Some(Asked { denied: None, .. }) => {
                inner.grants.insert(grant.number, Arc::new(grant));
                true
            }
            Some(other) => {
                inner.asked.insert(grant.number, other);
                false
            }
            None => false,
        }
    }

    /// The segment is not there any more: its grant, if there was one.
    fn forget(&self, segment: u64) -> Option<Arc<Grant>> {
        let mut inner = self.0.lock();
        if let Some(asked) = inner.asked.get_mut(&segment) {
            // Its grant is still on the way, and comes too late.
            asked.denied = Some(Denied::Gone);
        }
        inner.grants.remove(&segment)
    }

    fn give_up(&self, segment: u64) {
        self.0.lock().asked.remove(&segment);
    }
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Does something to a segment of another node.
    pub(super) fn reach(
        &self,
        directory: &Directory,
        node: u32,
        segment: u64,
        offset: u64,
        access: Access<'_>,
    ) -> Result<u64, Denied> {
        let link = match directory.link(node) {
            Some(link) => link,
            None => self.link_to(directory, node)?,
        };
        let grant = self.granted(&link, segment)?;
        let done = carry_out(&*grant.region, offset, access);
        if matches!(done, Err(TransportError::Timeout { .. })) {
            // It may still be under way, so it counts as such as long as there is a link.
            std::mem::forget(grant);
        } else {
            self.let_go(&link, grant);
        }
        done.map_err(|error| denied(&error))
    }

    /// The right to use a segment at the other end of a link.
    fn granted(&self, link: &Link, segment: u64) -> Result<Arc<Grant>, Denied> {
        let call = QUESTION | self.next_count();
        if link.reached.ask(segment, call) {
            self.say(link, call, SegmentRequest::Attach { segment })
                .map_err(|error| {
                    link.reached.give_up(segment);
                    denied(&error)
                })?;
        }
        let start = Instant::now();
        // It takes in whatever comes, but runs no code meanwhile: that is left to other threads.
        let beat = Beat::default();
        beat.lose();
        let mut ears = Leader::new(self, &beat);
        loop {
            if let Some(answer) = link.reached.answer(segment) {
                return answer;
            }
            if !link.is_open() {
                return Err(Denied::Unreachable);
            }
            if start.elapsed() > PATIENCE {
                link.reached.give_up(segment);
                return Err(Denied::Late);
            }
            // The thread that drives this node may be the one that waits here.
            if self.fabric.poll_peer(link.peer, &mut ears) == 0 {
                std::thread::yield_now();
            }
        }
    }

    /// The link to a node, made now if there is none.
    pub(super) fn link_to(&self, directory: &Directory, node: u32) -> Result<Arc<Link>, Denied> {
        let address = directory.address(node).ok_or(Denied::Unreachable)?;
        let start = Instant::now();
        self.want_link(address)?;
        loop {
            if let Some(link) = self.links.open_to(address) {
                directory.remember(node, &link);
                return Ok(link);
            }
            if !self.links.is_opening(address) {
                return Err(Denied::Unreachable);
            }
            if start.elapsed() > PATIENCE {
                return Err(Denied::Late);
            }
            std::thread::sleep(NAP);
        }
    }

    fn say(&self, link: &Link, call: u64, request: SegmentRequest) -> Result<(), TransportError> {
        let body = request.encode();
        let header = Header {
            call,
            session: link.session,
            epoch: link.epoch,
            ..Header::new(Kind::Segment)
        };
        let header = header.encode(&link.keys.to_node, body.len());
        let body = [Segment::borrowed(&body)];
        self.fabric
            .send(link.peer, &header, &body, NO_TOKEN)
            .map(|_| ())
    }

    /// Somebody is through with a grant. The last one, of a segment that is gone, tells the other node.
    fn let_go(&self, link: &Link, grant: Arc<Grant>) {
        let Some(Grant { number, .. }) = Arc::into_inner(grant) else {
            return;
        };
        // A node that cannot be told is gone, and so is its memory.
        let _ = self.say(link, 0, SegmentRequest::Detach { segment: number });
    }

    /// The other end of a link has granted a segment.
    pub(super) fn segment_granted(&self, header: &Header, body: &[u8]) {
        let Some(link) = self.links.get(header.epoch) else {
            return;
        };
        if header.call & QUESTION == 0 {
            return; // The answer to a DETACH, which nobody waits for.
        }
        let grant = SegmentGrant::decode(body).ok().and_then(|grant| {
            let region = self.fabric.import(link.peer, grant.key).ok()?;
            let number = grant.segment;
            (region.len() >= grant.len).then_some(Grant { number, region })
        });
        let Some(grant) = grant else {
            debug!(link = link.epoch, "a grant of a segment that is none");
            link.reached.deny(header.call, Denied::Unreachable);
            return;
        };
        let segment = grant.number;
        if !link.reached.grant(grant) {
            // As above.
            let _ = self.say(&link, 0, SegmentRequest::Detach { segment });
        }
    }

    /// The other end of a link has sent an error. `false` if that is not the answer to a question about a segment.
    pub(super) fn segment_denied(&self, header: &Header, body: &[u8]) -> bool {
        if header.call & QUESTION == 0 {
            return false;
        }
        let Some(link) = self.links.get(header.epoch) else {
            return false;
        };
        let why = match ErrorPayload::decode(body) {
            Ok(error) if error.code == ErrorCode::NO_SEGMENT => Denied::Gone,
            _ => Denied::Unreachable,
        };
        link.reached.deny(header.call, why)
    }

    /// The other end of a link has freed a segment.
    pub(super) fn segment_went(&self, header: &Header, body: &[u8]) {
        let Some(link) = self.links.get(header.epoch) else {
            return;
        };
        match SegmentGone::decode(body) {
            Ok(SegmentGone { segment }) => {
                if let Some(grant) = link.reached.forget(segment) {
                    self.let_go(&link, grant);
                }
            }
            Err(error) => self.bad_frame(&error),
        }
    }
}

fn carry_out(
    region: &dyn RemoteRegion,
    offset: u64,
    access: Access<'_>,
) -> Result<u64, TransportError> {
    match access {
        Access::Read(to) => {
            check(region, offset, to.len())?;
            let mut pieces = to.chunks_mut(PIECE).zip((offset..).step_by(PIECE));
            pieces.try_for_each(|(piece, offset)| region.read(offset, piece, PATIENCE))?;
            Ok(0)
        }
        Access::Write(from) => {
            check(region, offset, from.len())?;
            let mut pieces = from.chunks(PIECE).zip((offset..).step_by(PIECE));
            pieces.try_for_each(|(piece, offset)| region.write(offset, piece, PATIENCE))?;
            region.flush(PATIENCE)?;
            Ok(0)
        }
        Access::Add(operand) => region.update(offset, Update::Add(operand), PATIENCE),
        Access::Swap(new) => region.update(offset, Update::Swap(new), PATIENCE),
        Access::CompareSwap { expected, new } => {
            region.update(offset, Update::CompareSwap { expected, new }, PATIENCE)
        }
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

fn denied(error: &TransportError) -> Denied {
    match error {
        TransportError::OutOfRange { .. } | TransportError::Misaligned { .. } => Denied::OutOfRange,
        TransportError::Timeout { .. } => Denied::Late,
        _ => Denied::Unreachable,
    }
}
