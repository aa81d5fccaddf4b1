//! Foresight: while a slot's call waits for its answer, the headers of that answer and of the slot's next call are made.
//!
//! A loop of calls uses one slot for all of them, so the guess is mostly right; a wrong one costs nothing that anybody
//! waits for.

use std::sync::{Arc, Weak};

use bitcode_transport::HeaderBytes;
use bitcode_wire::frame::{Foreseen, Header, Kind};

use crate::session::SessionCore;

/// What a slot expects.
#[derive(Default)]
pub(crate) struct Foresight {
    /// The session whose keys made the headers. Weak, so that neither it nor its keys live longer for it.
    session: Weak<SessionCore>,
    answer: Option<Foreseen>,
    next: Option<Foreseen>,
    /// Length of the last call's body, and of the last answer's.
    sent_len: usize,
    answer_len: usize,
    #[cfg(test)]
    pub(crate) hits: u32,
}

impl Foresight {
    fn is_of(&self, session: &Arc<SessionCore>) -> bool {
        std::ptr::eq(self.session.as_ptr(), Arc::as_ptr(session))
    }

    /// The bytes of the header of a call about to be sent.
    pub(crate) fn header_bytes(
        &mut self,
        session: &Arc<SessionCore>,
        header: &Header,
        body_len: usize,
    ) -> HeaderBytes {
        self.sent_len = body_len;
        if self.is_of(session)
            && let Some(next) = &self.next
            && let Some(bytes) = next.bytes_for(header, body_len)
        {
            #[cfg(test)]
            (self.hits += 1);
            return *bytes;
        }
        header.encode(&session.keys.to_node, body_len)
    }

    /// Whether these are, tag and all, the expected answer's bytes. `session` is that of the call under way.
    pub(crate) fn expects(
        &mut self,
        session: &Arc<SessionCore>,
        bytes: &HeaderBytes,
        body_len: usize,
    ) -> bool {
        self.answer_len = body_len;
        let expected = self.is_of(session)
            && self
                .answer
                .as_ref()
                .is_some_and(|answer| answer.is(bytes, body_len));
        #[cfg(test)]
        (self.hits += u32::from(expected));
        expected
    }

    /// Makes the headers of the answer to `sent` and of the call after it, which will have the id `next_call`.
    pub(crate) fn look_ahead(&mut self, session: &Arc<SessionCore>, sent: &Header, next_call: u64) {
        if !self.is_of(session) {
            self.session = Arc::downgrade(session);
        }
        let answer = Header {
            session: session.id,
            origin: session.origin,
            call: sent.call,
            code: sent.code,
            epoch: session.epoch,
            ..Header::new(Kind::Value)
        };
        self.answer = Some(Foreseen::new(
            answer,
            &session.keys.to_origin,
            self.answer_len,
        ));
        let next = Header {
            call: next_call,
            ..*sent
        };
        self.next = Some(Foreseen::new(next, &session.keys.to_node, self.sent_len));
    }
}
