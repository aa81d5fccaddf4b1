//! The core: begins calls, ends them, fails them. The protocol of the calling side, without threads and without sockets.
//!
//! Locks are taken in this order, and only ever briefly: a slot's, then (inside the fabric) the fabric's. The fabric
//! delivers with none of its own held, so a delivery may lock a slot and send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bitcode_transport::{Fabric, HEADER_LEN, PeerId, Segment, SendStatus, Token, body_len};
use bitcode_wire::frame::{Flags, Header, Kind};
use parking_lot::{Mutex, MutexGuard, RwLock};
use smallvec::SmallVec;

use crate::code::Carry;
use crate::deliver::Deliver;
use crate::directory::{CurrentDirectory, Directory};
use crate::output::OutputQueue;
use crate::session::SessionCore;
use crate::slab::Slab;
use crate::slot::{Bytes, CallState, Ending, Inner, Slot};
use crate::trail::Traced;
use crate::{CallOptions, ClientError, Code};

/// What all sessions and calls of a client share.
pub(crate) struct Core<F> {
    pub(crate) fabric: F,
    pub(crate) slab: Slab,
    /// Open sessions; looked at when something fails, never on the way of a call.
    pub(crate) sessions: RwLock<Vec<Arc<SessionCore>>>,
    /// What the sessions' nodes know of each other.
    pub(crate) directory: CurrentDirectory,
    /// Connections made so far: the last session's epoch.
    pub(crate) connections: AtomicU16,
    /// Calls under way that have a deadline.
    pub(crate) deadlines: AtomicUsize,
    /// Frames dropped that belong to no session.
    pub(crate) stray_frames: AtomicU64,
    /// Number of codes made, and so the next one's number.
    pub(crate) codes: AtomicU32,
    /// Callers drive the fabric themselves, and so the helper need not: set by them, and taken back by the helper, or by a caller that leaves.
    pub(crate) driven: AtomicBool,
    /// The client is gone: the helper thread ends.
    pub(crate) stop: AtomicBool,
    /// Sessions whose peers the fabric reported as failed while it was delivering.
    pub(crate) failed_peers: Mutex<Vec<(PeerId, String)>>,
    /// What shipped code printed.
    pub(crate) output: OutputQueue,
}

/// What is left of a call that is over.
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    pub(crate) bytes: Bytes,
    pub(crate) timings: crate::Timings,
    /// Of a call that may have hopped, and has failed.
    pub(crate) traced: Option<Arc<Traced>>,
}

/// How many empty polls go by between two looks at the clock.
const POLLS_PER_CLOCK: u32 = 16;
/// After this long without success a spinning thread offers its core to others between polls. A warm answer is back by
/// then if the node runs on another core; if it shares ours, as happens on a busy machine, it cannot run before we let it.
const POLITE_AFTER: Duration = Duration::from_micros(1);

impl<F: Fabric> Core<F> {
    pub(crate) fn new(fabric: F) -> Self {
        Self {
            fabric,
            slab: Slab::new(),
            sessions: RwLock::new(Vec::new()),
            directory: CurrentDirectory::default(),
            connections: AtomicU16::new(0),
            deadlines: AtomicUsize::new(0),
            stray_frames: AtomicU64::new(0),
            codes: AtomicU32::new(0),
            driven: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            failed_peers: Mutex::new(Vec::new()),
            output: OutputQueue::default(),
        }
    }

    /// Begins a call: takes a slot, sends the frame. With a `directory` the call may hop. The slot is the caller's until [`Core::take`] or [`Core::abandon`].
    pub(crate) fn begin(
        &self,
        session: &Arc<SessionCore>,
        kind: Kind,
        code: Option<&Code>,
        directory: Option<&Arc<Directory>>,
        payload: &[Segment<'static>],
        options: &CallOptions,
    ) -> Result<&Slot, ClientError> {
        session.check_open()?;
        let slot = self.slab.acquire().ok_or_else(|| {
            ClientError::TooLarge("millions of calls are under way; wait for some of them".into())
        })?;
        let mut inner = slot.inner.lock();
        slot.set_state(CallState::Pending);
        let call = inner.open(slot.index);
        let carry = code.filter(|code| !session.known.contains(code.number()));
        inner.header = Header {
            flags: flags(options),
            session: session.id,
            origin: session.origin,
            call,
            code: code.map_or_else(Default::default, Code::prefix),
            epoch: session.epoch,
            ..Header::new(kind)
        };
        if let Some(directory) = directory {
            inner.header.origin = directory.id;
            if kind == Kind::Call {
                inner.header.hop_budget = options.hop_budget;
                inner.header.fan_out = options.fan_out;
                inner.directory = Some(Arc::clone(directory));
            }
        }
        inner.posted = options.posted;
        inner.belong_to(session, code);
        match payload {
            [only] => inner.payload.push(only.clone()),
            several => inner.payload.extend(several.iter().cloned()),
        }
        inner.sends = 0;
        if let Some(deadline) = options.deadline {
            inner.deadline = Some(Instant::now() + deadline);
            inner.header.deadline_ms = deadline_ms(deadline);
            self.deadlines.fetch_add(1, Ordering::Relaxed);
        }
        if carry.is_some() || options.timed {
            inner.started = Some(Instant::now());
        }
        let with = if carry.is_some() {
            Carry::Archive
        } else {
            Carry::Nothing
        };
        let bytes = match self.transmit(session, &mut inner, with) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.forget_deadline(&mut inner);
                self.free(slot, inner);
                return Err(error);
            }
        };
        {
            let mut stats = session.stats.lock();
            stats.calls += options.posted.max(1);
            stats.pending += options.posted.max(1);
            stats.bytes_sent += bytes;
            stats.archives_sent += u64::from(carry.is_some());
        }
        if let Some(code) = carry {
            session.known.insert(code.number());
        }
        // Looked at again with the call in place: a failing session marks itself as failed before it looks for the calls
        // that are in place. From here on a failure is the call's own ending, since its payload may be being read.
        if let Err(error) = session.check_open() {
            self.end(slot, inner, Ending::Error(error));
        }
        Ok(slot)
    }

    /// Sends the call's frame, with or without its code. Returns the number of bytes.
    pub(crate) fn transmit(
        &self,
        session: &Arc<SessionCore>,
        inner: &mut Inner,
        carry: Carry,
    ) -> Result<u64, ClientError> {
        let payload_len = body_len(&inner.payload)
            .ok_or_else(|| ClientError::TooLarge("the payload's length overflows".into()))?;
        let trailer = match &inner.code {
            Some(code) => code.carried(carry)?,
            None => None,
        };
        let trailer_len = u32::try_from(trailer.as_ref().map_or(0, Segment::len));
        inner.header.archive_len = trailer_len
            .map_err(|_| ClientError::TooLarge("the code takes 4 GiB or more".into()))?;
        let body = payload_len.saturating_add(inner.header.archive_len as usize);
        if body as u64 > session.max_body {
            return Err(ClientError::TooLarge(format!(
                "arguments and code take {body} bytes, {} takes at most {}",
                session.name, session.max_body
            )));
        }
        inner.header.flags = Flags(inner.header.flags.0 & !Flags::HAS_ARCHIVE.0);
        let (token, peer) = (Token(inner.call), session.peer);
        let status = if let Some(trailer) = trailer {
            inner.header.flags = inner.header.flags.with(Flags::HAS_ARCHIVE);
            let header = inner.header.encode(&session.keys.to_node, body);
            let mut segments: SmallVec<[Segment<'static>; 8]> =
                inner.payload.iter().cloned().collect();
            segments.push(trailer);
            inner.timings.archive_sent = true;
            self.fabric.send(peer, &header, &segments, token)
        } else {
            let header = inner.foresight.header_bytes(session, &inner.header, body);
            self.fabric.send(peer, &header, &inner.payload, token)
        };
        if status? == SendStatus::Pending {
            inner.sends += 1;
        }
        Ok((HEADER_LEN + body) as u64)
    }

    /// Ends a call, if it has not ended yet. `guard` is the slot's.
    pub(crate) fn end(&self, slot: &Slot, mut guard: MutexGuard<'_, Inner>, ending: Ending) {
        if guard.ending.is_some() {
            return;
        }
        self.forget_deadline(&mut guard);
        guard.timings.total = guard.started.map(|started| started.elapsed());
        if let Some(session) = &guard.session {
            let mut stats = session.stats.lock();
            stats.pending -= guard.calls();
            stats.bytes_received += guard.bytes_received;
            match &ending {
                Ending::Value => stats.values += guard.calls(),
                Ending::Throw => stats.throws += 1,
                Ending::Error(error) => {
                    stats.errors += 1;
                    stats.timeouts += u64::from(matches!(error, ClientError::Timeout(_)));
                }
            }
        }
        guard.ending = Some(ending);
        self.finish(slot, guard);
    }

    /// Finishes a call that has ended and whose payload the transport has let go of.
    pub(crate) fn finish(&self, slot: &Slot, mut guard: MutexGuard<'_, Inner>) {
        if guard.sends > 0 || guard.finished {
            return;
        }
        if guard.abandoned {
            return self.free(slot, guard);
        }
        let Some(ending) = &guard.ending else { return };
        if guard.posted > 0 {
            let session = guard.session.clone();
            self.free(slot, guard);
            if let Some(session) = session {
                self.acknowledged(&session);
            }
            return;
        }
        let state = ending.state();
        guard.finished = true;
        // What the payload was made of is not needed any more; the state tells the caller so.
        guard.payload.clear();
        let notify = guard.notify.take();
        // With the lock held: once it is not, the call may be taken and the slot be another's.
        if notify.is_none() && guard.waiters.is_empty() {
            slot.set_state(state);
            return;
        }
        let waiters = std::mem::take(&mut guard.waiters);
        slot.notifying(true);
        slot.set_state(state);
        drop(guard);
        if let Some(notify) = notify {
            notify();
        }
        slot.notifying(false);
        for waiter in waiters {
            waiter.unpark();
        }
    }

    /// Takes a finished call's ending and frees its slot.
    pub(crate) fn take(&self, slot: &Slot) -> Option<Ended> {
        let mut inner = slot.settled();
        if !inner.finished {
            return None;
        }
        let ending = inner.ending.take()?;
        let traced = match (&ending, inner.directory.take()) {
            (Ending::Value, _) | (_, None) => None,
            (_, Some(directory)) => Some(Arc::new(Traced {
                call: inner.call,
                began: inner.session.clone(),
                directory,
            })),
        };
        let ended = Ended {
            ending,
            traced,
            bytes: std::mem::replace(&mut inner.bytes, Bytes::EMPTY),
            timings: inner.timings,
        };
        self.free(slot, inner);
        Some(ended)
    }

    /// Gives a call up. If the transport still reads its payload, `patient` leaves everything as it is and answers
    /// `false`; else the slot is freed later, by itself.
    pub(crate) fn abandon(&self, slot: &Slot, patient: bool) -> bool {
        let mut inner = slot.settled();
        if inner.sends > 0 && patient {
            return false;
        }
        inner.notify = None;
        inner.waiters.clear();
        if inner.ending.is_none()
            && let Some(session) = &inner.session
        {
            session.stats.lock().pending -= 1;
        }
        self.forget_deadline(&mut inner);
        if inner.sends > 0 {
            inner.abandoned = true;
        } else {
            self.free(slot, inner);
        }
        true
    }

    pub(crate) fn free(&self, slot: &Slot, mut inner: MutexGuard<'_, Inner>) {
        inner.clear();
        if !inner.session.as_ref().is_some_and(|held| held.is_open()) {
            inner.forget_session();
        }
        drop(inner);
        self.slab.release(slot);
    }

    fn forget_deadline(&self, inner: &mut Inner) {
        if inner.deadline.take().is_some() {
            self.deadlines.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Drives the fabric once. Returns the number of deliveries.
    pub(crate) fn poll(&self) -> usize {
        self.polled(self.fabric.poll(&mut Deliver::new(self)))
    }

    /// Drives the fabric once for one node.
    pub(crate) fn poll_peer(&self, peer: PeerId) -> usize {
        self.polled(self.fabric.poll_peer(peer, &mut Deliver::new(self)))
    }

    #[inline]
    fn polled(&self, delivered: usize) -> usize {
        if delivered > 0 && !self.failed_peers.lock().is_empty() {
            self.fail_reported_peers();
        }
        delivered
    }

    /// Notes that the calling thread drives.
    #[inline]
    pub(crate) fn note_driven(&self) {
        if !self.driven.load(Ordering::Relaxed) {
            self.driven.store(true, Ordering::Relaxed);
        }
    }

    /// The calling thread drives no more, and something is under way: the helper takes over.
    pub(crate) fn hand_over(&self) {
        self.driven.store(false, Ordering::Relaxed);
        self.fabric.wake();
    }

    /// Drives the fabric, first of all for the call's own node, until the call is finished or `spin` has passed.
    pub(crate) fn spin(&self, slot: &Slot, peer: PeerId, spin: Duration) -> CallState {
        let mut start: Option<Instant> = None;
        self.note_driven();
        if self.poll_peer(peer) == 0 {
            Self::look_ahead(slot);
        }
        loop {
            for _ in 0..POLLS_PER_CLOCK {
                let state = slot.state();
                if state != CallState::Pending {
                    return state;
                }
                if self.poll_peer(peer) == 0 {
                    std::hint::spin_loop();
                }
            }
            // Others may wait for what other nodes send. The clock is not read before the first polls are over: a warm call is back by then.
            self.poll();
            let now = Instant::now();
            let spun = now - *start.get_or_insert(now);
            if spun >= spin {
                return slot.state();
            }
            if spun >= POLITE_AFTER {
                std::thread::yield_now();
            }
        }
    }

    /// Uses the time until the answer comes.
    fn look_ahead(slot: &Slot) {
        let mut guard = slot.inner.lock();
        let next_call = guard.next_call(slot.index);
        let inner = &mut *guard;
        // An archive goes along once: the next call will not be like this one.
        let likely = inner.header.archive_len == 0 && inner.deadline.is_none();
        if let (Some(session), None, true) = (&inner.session, &inner.ending, likely) {
            inner
                .foresight
                .look_ahead(session, &inner.header, next_call);
        }
    }

    /// Fails every call of the session that has not ended, closes it, and lets its peer go.
    pub(crate) fn fail_session(&self, session: &Arc<SessionCore>, reason: ClientError) {
        if session.is_open()
            && let Err(error) = self.flush_posts(session)
        {
            tracing::debug!(%error, node = session.name, "calls that nobody waits for were not sent");
        }
        if !session.fail(reason.clone()) {
            return;
        }
        self.sessions
            .write()
            .retain(|other| !Arc::ptr_eq(other, session));
        self.directory.forget();
        for slot in self.slab.iter() {
            let mut inner = slot.inner.lock();
            if !inner.is_of(session) {
                if inner.may_be_at(session) {
                    let reason = lost_on_the_way(&inner, session, &reason);
                    self.end(slot, inner, Ending::Error(reason));
                }
                continue;
            }
            if inner.call == 0 {
                inner.forget_session();
            } else if !inner.abandoned {
                self.end(slot, inner, Ending::Error(reason.clone()));
            }
        }
        // Pending sends end now, with an error that the next polls deliver.
        self.fabric.remove_peer(session.peer);
        self.fabric.wake();
        session.hang_up();
    }

    fn fail_reported_peers(&self) {
        let failed = std::mem::take(&mut *self.failed_peers.lock());
        for (peer, reason) in failed {
            let session = {
                let sessions = self.sessions.read();
                sessions
                    .iter()
                    .find(|session| session.peer == peer)
                    .cloned()
            };
            if let Some(session) = session {
                let reason = ClientError::PeerDied(format!("{} died: {reason}", session.name));
                self.fail_session(&session, reason);
            }
        }
    }

    /// Fails the calls whose deadline has passed at `now`.
    pub(crate) fn expire(&self, now: Instant) {
        if self.deadlines.load(Ordering::Relaxed) == 0 {
            return;
        }
        for slot in self.slab.iter() {
            let inner = slot.inner.lock();
            if inner.ending.is_none() && inner.deadline.is_some_and(|deadline| deadline <= now) {
                let node = inner
                    .session
                    .as_ref()
                    .map_or("the node", |s| s.name.as_str());
                let error = ClientError::Timeout(format!(
                    "{node} did not answer within the call's deadline of {} ms",
                    inner.header.deadline_ms
                ));
                self.end(slot, inner, Ending::Error(error));
            }
        }
    }
}

/// What a call's options ask of the node.
fn flags(options: &CallOptions) -> Flags {
    let mut flags = Flags::NONE;
    if options.no_result {
        flags = flags.with(Flags::NO_REPLY);
    }
    if options.posted > 0 {
        flags = flags.with(Flags::MANY);
    }
    if options.show {
        flags = flags.with(Flags::SHOW);
    }
    flags
}

/// A deadline as a frame carries it: whole milliseconds, never 0, which would mean none.
fn deadline_ms(deadline: Duration) -> u32 {
    u32::try_from(deadline.as_millis())
        .unwrap_or(u32::MAX)
        .max(1)
}

/// Why a call fails that may have hopped to a node whose session is over.
fn lost_on_the_way(inner: &Inner, gone: &SessionCore, reason: &ClientError) -> ClientError {
    let begun = inner.session.as_ref().map_or("a node", |it| &it.name);
    ClientError::PeerDied(format!(
        "a call that was made on {begun} may have been on {} when it went: {reason}",
        gone.name
    ))
}
