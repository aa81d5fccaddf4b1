//! What code prints, on its way to the origin: OUTPUT frames, no more of them than the origin keeps up with.

use std::time::{Duration, Instant};

use bitcode_transport::{Fabric, Segment};
use bitcode_wire::frame::{Kind, OUTPUT_WINDOW, OutputPayload, Stream};
use parking_lot::{Condvar, Mutex};
use tracing::warn;

use super::Engine;
use super::reply::{Answered, NO_TOKEN};
use crate::loader::Loader;

/// Those who wait look this often whether the node is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// A session's account of output (docs/WIRE.md).
#[derive(Default)]
pub(crate) struct Outflow {
    account: Mutex<Account>,
    /// The account has changed.
    changed: Condvar,
}

#[derive(Default)]
struct Account {
    /// What was sent.
    sent: u64,
    /// What the origin has dealt with.
    taken: u64,
    /// The origin let somebody wait for too long, and has taken nothing since: nobody waits for it now.
    given_up: bool,
    /// Bytes of text dropped, of which the origin has not been told.
    dropped: u64,
    closed: bool,
}

impl Account {
    fn has_room(&self, cost: u64) -> bool {
        self.sent - self.taken + cost <= OUTPUT_WINDOW
    }
}

impl Outflow {
    /// The origin has dealt with everything up to `position`.
    pub(super) fn taken(&self, position: u64) {
        let mut account = self.account.lock();
        // What was never sent cannot have been taken.
        if position > account.taken && position <= account.sent {
            account.taken = position;
            account.given_up = false;
            self.changed.notify_all();
        }
    }

    /// The session is over: nobody has to wait.
    pub(super) fn close(&self) {
        self.account.lock().closed = true;
        self.changed.notify_all();
    }
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Sends a piece of output, once the origin has room for it; drops it if that takes too long.
    pub(super) fn send_output(&self, to: Answered<'_>, stream: u8, text: &[u8], open: bool) {
        let Some(stream) = Stream::from_number(stream) else {
            return;
        };
        let outflow = &to.session.outflow;
        let cost = OutputPayload::OVERHEAD + text.len() as u64;
        let mut account = outflow.account.lock();
        let mut end = None;
        while !account.has_room(cost) && !account.closed && !account.given_up {
            let now = Instant::now();
            let end = *end.get_or_insert(now + self.settings.output_patience);
            if now >= end || self.is_stopping() {
                account.given_up = true;
                warn!(
                    session = to.session.id,
                    call = to.call,
                    "the origin does not take the output of its calls: it is dropped"
                );
            } else {
                let _ = outflow.changed.wait_for(&mut account, LOOK.min(end - now));
            }
        }
        if account.closed {
            return;
        }
        let note = match account.dropped {
            0 => String::new(),
            bytes => format!("[{bytes} bytes of output were dropped here: nobody took them]\n"),
        };
        let cost = cost + OutputPayload::OVERHEAD + note.len() as u64;
        if account.given_up || (!note.is_empty() && !account.has_room(cost)) {
            account.dropped += text.len() as u64;
            self.counters.output_dropped.add(text.len() as u64);
            return;
        }
        if !note.is_empty() {
            account.dropped = 0;
            self.send_piece(to, &mut account, stream, note.as_bytes(), false);
        }
        self.send_piece(to, &mut account, stream, text, open);
    }

    /// Sends one frame. The lock on the account sees to it that frames go out in the order of their positions.
    fn send_piece(
        &self,
        to: Answered<'_>,
        account: &mut Account,
        stream: Stream,
        text: &[u8],
        open: bool,
    ) {
        let piece = OutputPayload {
            position: account.sent,
            stream,
            open,
            text,
        };
        let head = piece.head();
        let body = [Segment::borrowed(&head), Segment::borrowed(text)];
        let sent = self.send(to, Kind::Output, &body, None, NO_TOKEN);
        if sent.is_ok() {
            account.sent = piece.end();
        }
        self.note_unsent(to, sent.map(|_| ()));
    }
}
