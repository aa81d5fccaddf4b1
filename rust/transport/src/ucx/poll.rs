//! Who is driven when: polling, and sleeping when there is nothing to do.
//!
//! A lane is *awake* while things happen on it, and is then driven by every poll. One that has been quiet for a while, beside
//! others that are not, *dozes*: its event fd is armed, and polls look at all such fds together once in a while. So a poll
//! costs what the lanes cost that are in use, and the others cost next to nothing. Whoever sleeps first lets all lanes
//! doze. A lane that cannot (others drive it, or something is under way on it) makes the sleep a nap.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::warn;

use super::fabric::UcxFabric;
use super::inbox::Offer;
use super::lane::{Doze, Driving};
use super::lanes::TryDrive;
use super::sleep::Park;
use super::state::{Notice, State};
use crate::body::Body;
use crate::fabric::{HEADER_LEN, PeerId, Sink};

/// How long a nap is: the longest time for which frames may lie there after the last driver has left without a word.
const NAP: Duration = Duration::from_millis(1);

/// Deliveries per lane and poll, so that a fast sender cannot keep a driver in there.
const BATCH: usize = 64;

/// One in this many polls looks whether something has happened on a lane that dozes. A look is a system call of 0.3 µs, a
/// poll of a lane that is awake takes about 20 ns over shared memory.
const LOOK_EVERY: u32 = 256;

/// A lane that was quiet for this many polls dozes off if it is not the only one awake.
const QUIET: u32 = 4096;

/// How often a lane that seems busy is tried before a sleep.
const TRIES: u32 = 100;

/// A number for the calling thread; cheaper than its id.
#[inline]
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// What `poll` took out under the lock besides frames, to be delivered without it.
enum Delivery {
    Offer { offer: Box<Offer>, known: bool },
    Notice(Notice),
}

impl State {
    /// Whether there is something to deliver.
    #[inline]
    pub(crate) fn has_deliveries(&self) -> bool {
        self.inbox.has_deliveries() || !self.notices.is_empty()
    }

    fn next_delivery(&mut self) -> Option<Delivery> {
        if let Some(offer) = self.inbox.offers.pop_front() {
            let known = self.inbox.is_admitted(&offer);
            let offer = Box::new(offer);
            // Its descriptor is UCX's: the lane is not over before it is settled.
            self.under_way += 1;
            return Some(Delivery::Offer { offer, known });
        }
        let notice = self.notices.pop_front()?;
        if let Notice::Sent { .. } = notice {
            self.outbox.reported -= 1;
        }
        Some(Delivery::Notice(notice))
    }
}

/// How a thread that waits may rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// Every lane dozes.
    Sleep,
    /// Some lane wants to be looked at in a while.
    Nap,
    /// Things move: only the core is offered to others.
    Yield,
}

impl UcxFabric {
    #[inline]
    pub(super) fn poll_all(&self, sink: &mut dyn Sink) -> usize {
        // Not exact when several threads poll, and need not be.
        let polls = self.polls.load(Ordering::Relaxed).wrapping_add(1);
        self.polls.store(polls, Ordering::Relaxed);
        let lanes = self.lanes();
        if polls.is_multiple_of(LOOK_EVERY) {
            lanes.look();
        }
        let (mut delivered, mut several) = (0, false);
        let mut awake = lanes.awake.iter();
        let mut next = awake.next();
        while let Some(index) = next {
            next = awake.next();
            several |= next.is_some();
            delivered += self.poll_lane(index, several, sink);
        }
        if lanes.has_left() {
            delivered += self.deliver_left(sink);
        }
        delivered
    }

    /// Drives one lane and delivers what has come in. If it `may_doze` and has been quiet for long, it dozes off.
    #[inline]
    pub(super) fn poll_lane(&self, index: u32, may_doze: bool, sink: &mut dyn Sink) -> usize {
        let mut delivered = 0;
        for round in 0..BATCH {
            let TryDrive::Here(mut driving) = self.lanes().try_drive_at(index) else {
                break;
            };
            if round == 0 {
                driving.state().sign(this_thread());
                if !driving.state().has_deliveries() {
                    driving.progress();
                }
            }
            let state = driving.state();
            if !state.has_deliveries() {
                state.quiet = state.quiet.saturating_add(1);
                if may_doze && state.quiet >= QUIET {
                    try_doze(&mut driving);
                }
                if driving.state().is_over() {
                    self.lanes().end(driving);
                }
                break;
            }
            state.quiet = 0;
            // What comes after a frame must not overtake it on another thread.
            let place = driving.place();
            let turn = if self.in_order {
                let Some(turn) = place.turn() else { break };
                Some(turn)
            } else {
                None
            };
            let state = driving.state();
            let mut body = Body::default();
            let more = if let Some(header) = state.inbox.frames.pop(&mut body) {
                state.stats.frames_received += 1;
                state.stats.bytes_received += (HEADER_LEN + body.len()) as u64;
                let more = state.has_deliveries();
                drop(driving);
                sink.frame(&header, &mut body);
                drop(turn);
                delivered += 1;
                more
            } else {
                drop(turn);
                let Some(delivery) = state.next_delivery() else {
                    break;
                };
                let more = state.has_deliveries();
                let peer = driving.peer();
                drop(driving);
                delivered += self.deliver(peer, delivery, sink);
                // An offer that was taken up may have become a frame at once.
                more || delivered == 0
            };
            if !more {
                break;
            }
        }
        delivered
    }

    /// Delivers what is not a frame; the lock is free.
    #[cold]
    fn deliver(&self, peer: PeerId, delivery: Delivery, sink: &mut dyn Sink) -> usize {
        match delivery {
            Delivery::Offer { offer, known } => {
                let admitted = known || sink.admit(&offer.header, offer.body_len);
                if let Some(mut driving) = self.lanes().drive(peer) {
                    driving.settle(*offer, admitted);
                    driving.begun();
                }
                0
            }
            Delivery::Notice(notice) => tell(notice, sink),
        }
    }

    #[cold]
    fn deliver_left(&self, sink: &mut dyn Sink) -> usize {
        let mut delivered = 0;
        while delivered < BATCH
            && let Some(notice) = self.lanes().next_left()
        {
            delivered += tell(notice, sink);
        }
        delivered
    }

    pub(super) fn sleep(&self, timeout: Duration) {
        let nap = timeout.min(NAP);
        let lanes = self.lanes();
        let parked = match lanes.sleep.park() {
            Park::Here(parked) => parked,
            Park::Taken => return std::thread::sleep(nap),
            Park::Woken => return,
        };
        let left = lanes.sleep.has_left();
        let mut rest = Rest::Sleep;
        for index in lanes.awake.iter() {
            let of_lane = match lanes.try_drive_at(index) {
                TryDrive::Here(mut driving) => match prepare_sleep(&mut driving, left) {
                    Some(rest) => rest,
                    None => return,
                },
                TryDrive::Taken => Rest::Nap,
                TryDrive::Gone => continue,
            };
            rest = rest.max(of_lane);
        }
        match rest {
            Rest::Yield => return std::thread::yield_now(),
            Rest::Nap => parked.sleep(nap),
            Rest::Sleep => {
                parked.set_armed();
                // A lane that was roused since it dozed off has told nobody: there was no sleeper.
                if lanes.awake.is_empty() && !lanes.has_left() {
                    parked.sleep(timeout);
                }
            }
        }
        drop(parked);
        lanes.look();
    }
}

/// Lets a lane doze off, if that is possible, and says how the caller may rest. `None`: not at all, there is something
/// to deliver. With `left`, others who have driven drive no more.
fn prepare_sleep(driving: &mut Driving<'_>, left: bool) -> Option<Rest> {
    let state = driving.state();
    if state.has_deliveries() || driving.state().is_over() {
        return None;
    }
    let state = driving.state();
    let others_drive = state.handovers_since_wait() > 0;
    if others_drive && !left {
        return Some(Rest::Nap);
    }
    if state.under_way > 0 {
        // Unfinished requests may need progress that no event announces: over shared memory a large body goes through a
        // queue of 512 KiB, and when that is full nothing tells the sender that the receiver has made room. A nap each
        // time would cost ten times the copying, so the core is only offered to others while things move.
        return Some(if state.is_moving() {
            Rest::Yield
        } else {
            Rest::Nap
        });
    }
    state.waiting_since = None;
    match driving.doze(TRIES) {
        Ok(Doze::Dozing) => Some(Rest::Sleep),
        Ok(Doze::Deliveries) => None,
        Ok(Doze::Stuck) => Some(Rest::Nap),
        Err(error) => {
            warn!(%error, "cannot sleep on UCX's events");
            Some(Rest::Nap)
        }
    }
}

/// Lets a lane doze off that has been quiet for long.
#[cold]
fn try_doze(driving: &mut Driving<'_>) {
    let state = driving.state();
    state.quiet = 0;
    if state.under_way == 0
        && let Err(error) = driving.doze(1)
    {
        warn!(%error, "cannot be woken by UCX's events");
    }
}

/// Tells a sink; no lock is held.
fn tell(notice: Notice, sink: &mut dyn Sink) -> usize {
    match notice {
        Notice::Sent {
            token,
            result,
            kept,
        } => {
            drop(kept);
            sink.sent(token, result);
            1
        }
        Notice::Transferred(_) => 0,
        Notice::PeerFailed { peer, reason } => {
            warn!(?peer, %reason, "a peer failed");
            sink.peer_failed(peer, reason);
            1
        }
    }
}
