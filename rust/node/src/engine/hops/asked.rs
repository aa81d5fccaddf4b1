//! Calls that running code makes on other nodes, and waits for.
//!
//! Such a call is a HOP that says so (ASKED): whoever runs it answers the node that sent it, on the link that it came by, and not the
//! origin. Everything else (directory, limits, output) is that of the origin's call. The thread that waits takes in what the
//! link brings, and leaves running it to others; the watchdog sees to it that there are others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bitcode_jit::{Answer, Onward};
use bitcode_transport::{Body, Fabric, Segment};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Flags, Header, Kind};
use parking_lot::{Condvar, Mutex};

use super::{Going, Refused};
use crate::engine::cache::Entry;
use crate::engine::reach::QUESTION;
use crate::engine::special::Made;
use crate::engine::{Beat, CallContext, Engine, Leader};
use crate::loader::Loader;

/// How often a waiting thread looks at its link before it sleeps between looks.
const LOOKS: u32 = 1000;
/// How long it sleeps then, unless the answer comes: longer each time.
const NAPS: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));
/// How many threads of a node may wait so. Each has a stack, and calls that call each other without end need one more each.
const MOST_WAITING: usize = 256;
/// Bytes behind the payload of an asked HOP: the id of the origin's call.
pub(in crate::engine) const ORIGINS_ID: usize = 8;

/// What came of an asked call.
type Reply = Result<Answer, Refused>;

/// An asked call that somebody waits for.
#[derive(Default)]
struct Asking {
    reply: Mutex<Option<Reply>>,
    news: Condvar,
}

/// Calls that code here waits for, by their numbers.
#[derive(Default)]
pub(in crate::engine) struct Asked(Mutex<HashMap<u64, Arc<Asking>>>);

impl Asked {
    fn begin(&self, number: u64) -> Arc<Asking> {
        let asking = Arc::new(Asking::default());
        self.0.lock().insert(number, Arc::clone(&asking));
        asking
    }

    fn forget(&self, number: u64) {
        self.0.lock().remove(&number);
    }

    fn settle(&self, number: u64, reply: impl FnOnce() -> Reply) -> bool {
        let asking = self.0.lock().remove(&number);
        if let Some(asking) = &asking {
            *asking.reply.lock() = Some(reply());
            asking.news.notify_all();
        }
        asking.is_some()
    }

    /// An asked call comes to nothing.
    pub(super) fn refuse(&self, number: u64, code: ErrorCode, message: &str) {
        self.settle(number, || Err(Refused::new(code, message.to_owned())));
    }

    /// What the other end of a link answers. `false` if nobody here has asked.
    pub(super) fn answered(&self, header: &Header, body: &Body) -> bool {
        let len = header.payload_len(body.len()).unwrap_or_default();
        let bytes = &body.bytes()[..len];
        self.settle(header.call, || match header.kind {
            Kind::Value => Ok(Answer::Value(bytes.to_vec())),
            Kind::Throw => Ok(Answer::Thrown(bytes.to_vec())),
            _ => Err(match ErrorPayload::decode(bytes) {
                Ok(error) => Refused::new(error.code, error.message.to_owned()),
                Err(error) => Refused::new(ErrorCode::INTERNAL, error.to_string()),
            }),
        })
    }
}

/// Who waits for an asked call.
#[derive(Clone)]
pub(in crate::engine) struct Asker {
    /// The link's session.
    pub(in crate::engine) session: Arc<crate::engine::sessions::SessionEntry>,
    /// The call's number over there.
    pub(in crate::engine) number: u64,
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// Makes a call for a program that waits for it.
    pub(in crate::engine) fn ask(
        &self,
        context: &CallContext,
        entry: &Arc<Entry<L::Program>>,
        onward: Onward,
        special: Option<Made>,
        payload: &[u8],
    ) -> Reply {
        let number = QUESTION | self.next_count();
        let (link, mut traveller) =
            match self.way(context, entry, onward, special, payload.len(), false)? {
                Going::By(link, traveller) => (link, traveller),
                Going::To(address, traveller) => {
                    let link = self.link_to(&traveller.directory, traveller.node);
                    let unreachable = |_| {
                        let (node, here) = (traveller.node, traveller.directory.here);
                        let message =
                            format!("node {node} ({address}) cannot be reached from node {here}");
                        Refused::new(ErrorCode::UNREACHABLE, message)
                    };
                    (link.map_err(unreachable)?, traveller)
                }
                Going::Stays(journey, _) => {
                    let here = journey.directory.here;
                    let message = format!("{} asks node {here}, on which it runs", entry.name);
                    return Err(Refused::new(ErrorCode::UNREACHABLE, message));
                }
            };
        let note = traveller.note();
        traveller.header.flags = Flags::ASKED;
        traveller.header.call = number;
        let body = [payload, &context.call.to_le_bytes()].concat();
        if !self.roster.pause(MOST_WAITING) {
            let message = format!(
                "on node {} {MOST_WAITING} calls wait for others, and no more may: {} was about to",
                traveller.directory.here, entry.name
            );
            return Err(Refused::new(ErrorCode::FAN_OUT, message));
        }
        let asking = self.asked.begin(number);
        let brings = !link.knows(traveller.header.code);
        self.counters.asked.add(1);
        self.send_hop(&link, &traveller, Segment::shared(Arc::new(body)), brings);
        let reply = self.wait_for_reply(context, entry, &asking, &link, &traveller.destination());
        self.asked.forget(number);
        self.roster.resume();
        if let Ok(Answer::Value(_)) = &reply {
            traveller.directory.trails.strike(note);
        }
        reply
    }

    fn wait_for_reply(
        &self,
        context: &CallContext,
        entry: &Entry<L::Program>,
        asking: &Asking,
        link: &super::Link,
        destination: &str,
    ) -> Reply {
        let refused = |code, why: &str| {
            let message = format!(
                "{} waited for a call on {destination}, but {why}",
                entry.name
            );
            Err(Refused::new(code, message))
        };
        // It takes in whatever comes, but runs no code meanwhile: that is left to other threads.
        let beat = Beat::default();
        beat.lose();
        let mut ears = Leader::new(self, &beat);
        let (mut looks, mut nap) = (0, NAPS.0);
        loop {
            if let Some(reply) = asking.reply.lock().take() {
                return reply;
            }
            if !link.is_open() {
                return refused(ErrorCode::UNREACHABLE, "the link to it was lost");
            }
            if context.deadline.is_some_and(|it| Instant::now() >= it) {
                return refused(ErrorCode::DEADLINE, "the deadline passed");
            }
            if context.session.is_closed() {
                return refused(ErrorCode::UNREACHABLE, "the origin is gone");
            }
            if self.stopping.load(Ordering::Relaxed) {
                return refused(ErrorCode::SHUTTING_DOWN, "this node is shutting down");
            }
            // The thread that drives this node may be the one that waits here.
            if self.fabric.poll_peer(link.peer, &mut ears) > 0 {
                (looks, nap) = (0, NAPS.0);
            } else if looks < LOOKS {
                looks += 1;
                std::thread::yield_now();
            } else {
                let mut reply = asking.reply.lock();
                if reply.is_none() {
                    asking.news.wait_for(&mut reply, nap);
                    nap = (2 * nap).min(NAPS.1);
                }
            }
        }
    }
}

impl CallContext {
    /// Where in the body the archive begins, if there is one.
    pub(in crate::engine) fn trailer_at(&self) -> usize {
        self.payload_len + if self.asked.is_some() { ORIGINS_ID } else { 0 }
    }

    /// Who waits for the call, if it is another node's code.
    pub(in crate::engine) fn asked_by(self, asker: Asker, origins: u64) -> Self {
        Self {
            call: origins,
            asked: Some(asker),
            ..self
        }
    }
}
