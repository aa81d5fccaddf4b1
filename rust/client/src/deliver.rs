//! Deliveries: what a client does with what the fabric brings.
//!
//! A frame is believed once it names a call that is under way, on the session that the call was made on, with that
//! session's tag; OUTPUT needs the session alone. Everything else, late, doubled or forged, is counted and dropped.

use bitcode_transport::{Body, Fabric, HEADER_LEN, HeaderBytes, PeerFailure, PeerId, Sink};
use bitcode_transport::{Token, TransportError};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{
    Flags, Header, KIND_OFFSET, Kind, OutputPayload, SessionKey, StageTimings,
};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ClientError;
use crate::core::Core;
use crate::directory::Directory;
use crate::session::SessionCore;
use crate::slot::{Ending, Inner, Slot};

/// The sink of a client's fabric.
pub(crate) struct Deliver<'a, F>(&'a Core<F>);

impl<'a, F: Fabric> Deliver<'a, F> {
    pub(crate) fn new(core: &'a Core<F>) -> Self {
        Self(core)
    }

    /// Finds the call that a frame answers, and locks its slot. `None` if there is no such call: the frame was counted.
    fn answered(
        &self,
        bytes: &HeaderBytes,
        body_len: usize,
    ) -> Option<(Header, &'a Slot, MutexGuard<'a, Inner>)> {
        let found = Header::decode(bytes).ok().and_then(|header| {
            let slot = self.0.slab.of_call(header.call)?;
            Some((header, slot, slot.inner.lock()))
        });
        if let Some((header, slot, mut guard)) = found
            && let inner = &mut *guard
            && header.call != 0 // A free slot's call.
            && header.call == inner.call
            && let Some(session) = speaker(&inner.session, &inner.directory, &header)
        {
            let key: &SessionKey = &session.keys.to_origin;
            if inner.foresight.expects(session, bytes, body_len)
                || (header.verify(bytes, key, body_len).is_ok() && header.epoch == session.epoch)
            {
                return Some((header, slot, guard));
            }
            session.stats.lock().dropped_frames += 1;
        } else {
            self.0.stray_frames.fetch_add(1, Ordering::Relaxed);
        }
        None
    }

    /// The node lacks the code: the same call goes out again, with the archive; or with all that it links to, if it had its archive with it.
    /// Once each per call.
    fn need_code(&self, slot: &Slot, mut inner: MutexGuard<'_, Inner>) {
        let Some(session) = inner.session.clone() else {
            return;
        };
        let sent = if inner.timings.archive_sent {
            inner.header.archive_len
        } else {
            0
        };
        let code = inner
            .code
            .as_ref()
            .filter(|_| inner.ending.is_none() && !inner.abandoned);
        let Some(carry) = code.and_then(|code| code.next_carry(sent)) else {
            session.stats.lock().dropped_frames += 1;
            return;
        };
        inner.timings.need_code += 1;
        let sent = self.0.transmit(&session, &mut inner, carry);
        let mut stats = session.stats.lock();
        stats.need_code += 1;
        match sent {
            Ok(bytes) => {
                stats.bytes_sent += bytes;
                stats.archives_sent += 1;
            }
            Err(error) => {
                drop(stats);
                self.0.end(slot, inner, Ending::Error(error));
            }
        }
    }
}

impl<F: Fabric> Sink for Deliver<'_, F> {
    fn admit(&mut self, header: &HeaderBytes, body_len: usize) -> bool {
        if is(header, Kind::Output) {
            return body_len <= OutputPayload::HEAD + OutputPayload::MAX_TEXT
                && self.0.speaks_in(header, body_len).is_some();
        }
        if is(header, Kind::SegmentGone) || is(header, Kind::HopsLost) {
            return false; // A number is not long, and a sentence neither.
        }
        self.answered(header, body_len)
            .is_some_and(|(_, _, inner)| inner.ending.is_none() && !inner.abandoned)
    }

    fn frame(&mut self, bytes: &HeaderBytes, body: &mut Body) {
        if is(bytes, Kind::Output) {
            if !self.0.output_came(bytes, body) {
                self.0.stray_frames.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        if is(bytes, Kind::SegmentGone) {
            if !self.0.segment_went(bytes, body) {
                self.0.stray_frames.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        if is(bytes, Kind::HopsLost) {
            if !self.0.hops_lost(bytes, body) {
                self.0.stray_frames.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let Some((header, slot, mut inner)) = self.answered(bytes, body.len()) else {
            return;
        };
        if header.kind == Kind::NeedCode {
            return self.need_code(slot, inner);
        }
        let call = &mut *inner;
        let Some(session) = &call.session else {
            return;
        };
        if call.ending.is_some() || call.abandoned {
            session.stats.lock().dropped_frames += 1; // A duplicate, or too late.
            return;
        }
        call.bytes_received = (HEADER_LEN + body.len()) as u64;
        let len = header.payload_len(body.len()).unwrap_or_default();
        if header.flags.contains(Flags::TIMED) {
            call.timings.node = StageTimings::decode(&body.bytes()[len..]).ok();
        }
        let ending = match header.kind {
            Kind::Value | Kind::Pong => {
                call.bytes.fill(body, len);
                Ending::Value
            }
            Kind::Throw => {
                call.bytes.fill(body, len);
                Ending::Throw
            }
            Kind::Error => {
                let error = remote_error(&body.bytes()[..len]);
                if let (Some(code), true) = (&call.code, refuses_code(&error)) {
                    session.known.remove(code.number());
                }
                Ending::Error(error)
            }
            _ => {
                session.stats.lock().dropped_frames += 1;
                return;
            }
        };
        self.0.end(slot, inner, ending);
    }

    fn sent(&mut self, token: Token, result: Result<(), TransportError>) {
        let Some(slot) = self.0.slab.of_call(token.0) else {
            return;
        };
        let mut inner = slot.inner.lock();
        if inner.call != token.0 {
            return;
        }
        inner.sends = inner.sends.saturating_sub(1);
        match result {
            Ok(()) => self.0.finish(slot, inner),
            // The call itself may be over already; then only the payload was being waited for.
            Err(_) if inner.ending.is_some() || inner.abandoned => self.0.finish(slot, inner),
            Err(error) => self.0.end(slot, inner, Ending::Error(error.into())),
        }
    }

    fn peer_failed(&mut self, peer: PeerId, reason: PeerFailure) {
        let mut failed = self.0.failed_peers.lock();
        failed.push((peer, reason.to_string()));
    }
}

/// The session that a frame about a call claims to be of, if it may be: the call's own, or one with a node that the call may
/// have hopped to.
fn speaker<'a>(
    own: &'a Option<Arc<SessionCore>>,
    directory: &'a Option<Arc<Directory>>,
    header: &Header,
) -> Option<&'a Arc<SessionCore>> {
    match directory {
        None => own.as_ref().filter(|it| it.id == header.session),
        Some(directory) => directory.speaker(header),
    }
}

/// Whether the header, which is not believed yet, says that it is of this kind.
fn is(bytes: &HeaderBytes, kind: Kind) -> bool {
    bytes[KIND_OFFSET] == kind as u8
}

/// Whether the error means that the node did not keep the code.
fn refuses_code(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Remote {
            code: ErrorCode::BAD_ARCHIVE
                | ErrorCode::BAD_HASH
                | ErrorCode::BAD_IMAGE
                | ErrorCode::NO_IMAGE
                | ErrorCode::UNRESOLVED_SYMBOL
                | ErrorCode::UNSUPPORTED
                | ErrorCode::BAD_ABI,
            ..
        }
    )
}

pub(crate) fn remote_error(payload: &[u8]) -> ClientError {
    match ErrorPayload::decode(payload) {
        Ok(error) => ClientError::Remote {
            code: error.code,
            message: error.message.to_owned(),
        },
        Err(error) => ClientError::Internal(format!("the node's ERROR frame is not one: {error}")),
    }
}
