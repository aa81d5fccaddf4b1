//! Answers: one frame back to the origin.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bitcode_transport::{Fabric, Segment, SendStatus, Token, TransportError, body_len};
use bitcode_wire::code::CodePrefix;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Flags, Foreseen, Header, Kind, StageTimings as Stages};
use tracing::debug;

use super::cache::Entry;
use super::sessions::SessionEntry;
use super::{CallContext, Engine, OutputOf};
use crate::loader::{Loader, Ran};

/// Results up to this length are copied by the fabric if need be; longer ones are lent to it.
pub(super) const COPY_BELOW: usize = 16 << 10;
/// How many large outputs are kept for later calls.
const SPARE_KEPT: usize = 4;
/// The token of sends whose end does not matter.
pub(super) const NO_TOKEN: Token = Token(0);

/// Which call an answer is for.
#[derive(Clone, Copy)]
pub(super) struct Answered<'a> {
    pub(super) session: &'a Arc<SessionEntry>,
    pub(super) call: u64,
    pub(super) prefix: CodePrefix,
    /// The answer's header, if it was made beforehand, with this session's key.
    pub(super) foreseen: Option<&'a Foreseen>,
}

impl Answered<'_> {
    /// The answer's header.
    pub(super) fn header(&self, kind: Kind, stages: Option<&Stages>) -> Header {
        let (flags, archive_len) = match stages {
            Some(_) => (Flags::TIMED, Stages::LEN as u32),
            None => (Flags::NONE, 0),
        };
        Header {
            flags,
            archive_len,
            session: self.session.id,
            origin: self.session.id,
            call: self.call,
            code: self.prefix,
            epoch: self.session.epoch,
            ..Header::new(kind)
        }
    }
}

impl CallContext {
    /// Whoever waits for it.
    pub(super) fn answered(&self) -> Answered<'_> {
        match &self.asked {
            None => self.of_origin(),
            Some(asker) => Answered {
                session: &asker.session,
                call: asker.number,
                ..self.of_origin()
            },
        }
    }

    /// The origin, whoever waits.
    pub(super) fn of_origin(&self) -> Answered<'_> {
        Answered {
            session: &self.session,
            call: self.call,
            prefix: self.prefix,
            foreseen: None,
        }
    }
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Sends a frame with a short body.
    pub(super) fn send_short(&self, to: Answered<'_>, kind: Kind, body: &[u8]) {
        self.send_copied(to, kind, body, None);
    }

    fn send_copied(&self, to: Answered<'_>, kind: Kind, body: &[u8], stages: Option<&Stages>) {
        let sent = match stages {
            None => self.send(to, kind, &[Segment::borrowed(body)], None, NO_TOKEN),
            Some(stages) => {
                let trailer = stages.encode();
                let parts = [Segment::borrowed(body), Segment::borrowed(&trailer)];
                self.send(to, kind, &parts, Some(stages), NO_TOKEN)
            }
        };
        self.note_unsent(to, sent.map(|_| ()));
    }

    /// Sends `body`, whose last segment is the trailer if there are `stages`.
    pub(super) fn send(
        &self,
        to: Answered<'_>,
        kind: Kind,
        body: &[Segment<'_>],
        stages: Option<&Stages>,
        token: Token,
    ) -> Result<SendStatus, TransportError> {
        let header = to.header(kind, stages);
        let len = body_len(body).unwrap_or(usize::MAX);
        let foreseen = to.foreseen.and_then(|it| it.bytes_for(&header, len));
        let header = match foreseen {
            Some(bytes) => *bytes,
            None => header.encode(&to.session.keys.to_origin, len),
        };
        self.fabric.send(to.session.peer, &header, body, token)
    }

    /// An answer that does not get through is nobody's fault here: its origin is gone, or going.
    pub(super) fn note_unsent(&self, to: Answered<'_>, sent: Result<(), TransportError>) {
        if let Err(error) = sent {
            debug!(session = to.session.id, call = to.call, %error, "answer not sent");
        }
    }

    /// Sends an ERROR.
    pub(super) fn send_error(&self, to: Answered<'_>, code: ErrorCode, message: &str) {
        self.counters.errors.add(1);
        debug!(session = to.session.id, call = to.call, %code, message, "answered with an error");
        self.send_short(to, Kind::Error, &ErrorPayload { code, message }.encode());
    }

    /// Sends what a run left behind.
    pub(super) fn send_outcome(
        &self,
        to: Answered<'_>,
        entry: &Entry<L::Program>,
        ran: Ran,
        output: &mut OutputOf<L>,
        stages: Option<&Stages>,
    ) {
        let kind = match ran {
            Ran::Value => Kind::Value,
            Ran::Thrown => Kind::Throw,
            Ran::Fault { signal } => {
                self.counters.faults.add(1);
                let message = format!("{} died of signal {signal} on the node", entry.name);
                return self.send_error(to, ErrorCode::FAULT, &message);
            }
            Ran::OutOfMemory => {
                let message = format!("the node has no memory left for {}", entry.name);
                return self.send_error(to, ErrorCode::OUT_OF_MEMORY, &message);
            }
            Ran::Forward(_) | Ran::Stopped => {
                // Those who run code see to such.
                let message = format!(
                    "{} went on or was stopped, and was answered; please report it",
                    entry.name
                );
                return self.send_error(to, ErrorCode::INTERNAL, &message);
            }
            Ran::BadPayload(what) => {
                let message = format!("the arguments of {} are malformed: {what}", entry.name);
                return self.send_error(to, ErrorCode::BAD_PAYLOAD, &message);
            }
        };
        let len = output.as_ref().len();
        if len > self.settings.max_frame {
            let message = format!(
                "the result of {} takes {len} bytes, this node sends at most {}",
                entry.name, self.settings.max_frame
            );
            return self.send_error(to, ErrorCode::TOO_LARGE, &message);
        }
        if len <= COPY_BELOW {
            self.send_copied(to, kind, output.as_ref(), stages);
        } else {
            self.lend(to, kind, output, stages);
        }
    }

    /// Lends a long result to the fabric until it is sent, and gives the thread another output.
    fn lend(
        &self,
        to: Answered<'_>,
        kind: Kind,
        output: &mut OutputOf<L>,
        stages: Option<&Stages>,
    ) {
        let fresh = self.spare.lock().pop().unwrap_or_default();
        let owned = Arc::new(std::mem::replace(output, fresh));
        let token = Token(self.next_token.fetch_add(1, Ordering::Relaxed));
        // Before it is sent: its end may be reported, on another thread, before `send` returns.
        self.in_flight.lock().insert(token.0, Arc::clone(&owned));
        let sent = {
            let trailer = stages.map(Stages::encode).unwrap_or_default();
            let parts = [Segment::shared(owned), Segment::borrowed(&trailer)];
            let parts = &parts[..1 + usize::from(stages.is_some())];
            self.send(to, kind, parts, stages, token)
        };
        if !matches!(sent, Ok(SendStatus::Pending)) {
            self.reclaim(token);
        }
        if let Err(TransportError::TooLarge { len, max }) = sent {
            let message = format!("the result takes {len} bytes, the transport at most {max}");
            self.send_error(to, ErrorCode::TOO_LARGE, &message);
        } else {
            self.note_unsent(to, sent.map(|_| ()));
        }
    }

    /// Takes back an output that the fabric has let go of.
    pub(super) fn reclaim(&self, token: Token) {
        let owned = self.in_flight.lock().remove(&token.0);
        if let Some(output) = owned.and_then(Arc::into_inner) {
            let mut spare = self.spare.lock();
            if spare.len() < SPARE_KEPT {
                spare.push(output);
            }
        }
    }
}
