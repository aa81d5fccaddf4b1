//! What shipped code prints, from the frame that brings it to the caller that takes it.
//!
//! Output is the session's, not a call's: it comes also from calls whose outcome nobody waits for. The account that keeps
//! a node from sending more than we take is docs/WIRE.md's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcode_transport::{Body, Fabric, HeaderBytes, Segment, Token};
use bitcode_wire::frame::{Header, Kind, OUTPUT_WINDOW, OutputPayload, OutputTaken, Stream};
use parking_lot::Mutex;

use crate::core::Core;
use crate::session::SessionCore;

/// Told when there is output again, from whichever thread brought it. It should only wake somebody.
pub type OutputNotify = Box<dyn Fn() + Send + Sync>;

/// How much is taken before the node is told of it.
const TELL_AFTER: u64 = OUTPUT_WINDOW / 4;

/// A piece of what a call's code printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The node's address, as it was connected to.
    pub address: String,
    /// Tells sessions of one client apart.
    pub session: u64,
    /// The call, as the wire numbers it: tells calls of one session apart.
    pub call: u64,
    /// Where it goes.
    pub stream: Stream,
    /// The last line goes on in the call's next piece for this stream.
    pub open: bool,
    /// What was printed.
    pub text: Vec<u8>,
}

/// The output of all sessions that nobody has taken yet, in the order in which it came.
#[derive(Default)]
pub(crate) struct OutputQueue {
    pieces: Mutex<VecDeque<Piece>>,
    waiting: AtomicBool,
    notify: Mutex<Option<Arc<OutputNotify>>>,
}

struct Piece {
    session: Arc<SessionCore>,
    output: Output,
    end: u64,
}

/// A session's account.
#[derive(Default)]
pub(crate) struct Inflow {
    /// The end of the last piece that came.
    come: u64,
    /// The end of the last piece that was taken.
    taken: u64,
    /// What the node was told.
    told: u64,
}

impl OutputQueue {
    /// Whether there is any; costs nothing to ask.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    fn push(&self, piece: Piece) {
        let mut pieces = self.pieces.lock();
        pieces.push_back(piece);
        let first = !self.waiting.swap(true, Ordering::AcqRel);
        drop(pieces);
        if first {
            self.tell();
        }
    }

    fn pop(&self) -> Option<Piece> {
        let mut pieces = self.pieces.lock();
        let piece = pieces.pop_front();
        if pieces.is_empty() {
            self.waiting.store(false, Ordering::Release);
        }
        piece
    }

    /// Gives back what could not be taken after all.
    fn unpop(&self, piece: Piece) {
        let mut pieces = self.pieces.lock();
        pieces.push_front(piece);
        self.waiting.store(true, Ordering::Release);
    }

    fn tell(&self) {
        let notify = self.notify.lock().clone();
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Has `notify` called whenever there is output again; at once if there is some.
    pub(crate) fn set_notify(&self, notify: Option<OutputNotify>) {
        *self.notify.lock() = notify.map(Arc::new);
        if self.is_waiting() {
            self.tell();
        }
    }
}

impl<F: Fabric> Core<F> {
    /// An OUTPUT frame has come. False if it is not believed.
    pub(crate) fn output_came(&self, bytes: &HeaderBytes, body: &Body) -> bool {
        let Some((session, header)) = self.speaks_in(bytes, body.len()) else {
            return false;
        };
        let dropped = || session.stats.lock().dropped_frames += 1;
        let Ok(piece) = OutputPayload::decode(body.bytes()) else {
            dropped();
            return true;
        };
        {
            let mut inflow = session.inflow.lock();
            let within = piece.end().saturating_sub(inflow.told) <= OUTPUT_WINDOW;
            if piece.position < inflow.come || !within {
                drop(inflow);
                dropped();
                return true;
            }
            inflow.come = piece.end();
        }
        let output = Output {
            address: session.address().to_owned(),
            session: Arc::as_ptr(&session) as u64,
            call: header.call,
            stream: piece.stream,
            open: piece.open,
            text: piece.text.to_vec(),
        };
        let end = piece.end();
        self.output.push(Piece {
            session,
            output,
            end,
        });
        true
    }

    /// The session that a frame of the node's own accord is from.
    pub(crate) fn speaks_in(
        &self,
        bytes: &HeaderBytes,
        body_len: usize,
    ) -> Option<(Arc<SessionCore>, Header)> {
        let header = Header::decode(bytes).ok()?;
        // Nodes number their sessions by themselves: two may have the same number. Their keys differ.
        let sessions = self.sessions.read();
        let session = sessions.iter().find(|session| {
            session.id == header.session
                && session.epoch == header.epoch
                && header
                    .verify(bytes, &session.keys.to_origin, body_len)
                    .is_ok()
        });
        session.map(|session| (Arc::clone(session), header))
    }

    /// The next piece of output, if `wanted` wants it; else it stays.
    pub(crate) fn take_output(&self, wanted: impl FnOnce(&Output) -> bool) -> Option<Output> {
        let piece = self.output.pop()?;
        if !wanted(&piece.output) {
            self.output.unpop(piece);
            return None;
        }
        let told = {
            let mut inflow = piece.session.inflow.lock();
            inflow.taken = piece.end;
            let much = inflow.taken - inflow.told >= TELL_AFTER;
            much.then(|| {
                inflow.told = inflow.taken;
                inflow.told
            })
        };
        if let Some(position) = told
            && piece.session.is_open()
        {
            self.tell_taken(&piece.session, position);
        }
        Some(piece.output)
    }

    fn tell_taken(&self, session: &SessionCore, position: u64) {
        let body = OutputTaken { position }.encode();
        let header = Header {
            session: session.id,
            origin: session.origin,
            epoch: session.epoch,
            ..Header::new(Kind::OutputTaken)
        };
        let header = header.encode(&session.keys.to_node, body.len());
        // A node that cannot be told is gone, and so is its output. Nothing lasting is lent: the end of the send is told to
        // nobody.
        let _ = self
            .fabric
            .send(session.peer, &header, &[Segment::borrowed(&body)], Token(0));
        self.fabric.wake();
    }
}
