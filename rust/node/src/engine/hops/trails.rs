//! Trails: which calls went on from here, and where to. Their origins ask when a call has failed.

use std::sync::Arc;

use bitcode_transport::Fabric;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Header, Kind, Step, Steps, TrailRequest};
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::engine::reply::Answered;
use crate::engine::sessions::SessionEntry;
use crate::loader::Loader;

/// A step of some call.
#[derive(Clone, Copy)]
struct Noted {
    call: u64,
    step: Step,
}

/// The last steps of one directory's calls: a ring, because calls hop as often as they like.
#[derive(Default)]
pub(super) struct Trails(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    noted: Vec<Noted>,
    /// How many were ever noted; the ring holds the last ones.
    count: usize,
}

/// Which note it was.
#[derive(Clone, Copy)]
pub(super) struct Note(usize);

impl Trails {
    /// Notes that a call goes on.
    pub(super) fn note(&self, call: u64, step: Step) -> Note {
        let mut ring = self.0.lock();
        let place = ring.count % Steps::MAX;
        match ring.noted.get_mut(place) {
            Some(oldest) => *oldest = Noted { call, step },
            None => ring.noted.push(Noted { call, step }),
        }
        ring.count += 1;
        Note(ring.count - 1)
    }

    /// The call is back: a step that was waited for, and had a result, is none of the way that it goes.
    pub(super) fn strike(&self, note: Note) {
        let mut ring = self.0.lock();
        if ring.count - note.0 <= Steps::MAX
            && let Some(noted) = ring.noted.get_mut(note.0 % Steps::MAX)
        {
            noted.call = 0; // No call's id.
        }
    }

    /// The steps of a call that are still known, the earliest first.
    pub(super) fn of(&self, call: u64) -> Vec<Step> {
        let ring = self.0.lock();
        let oldest = ring.count % Steps::MAX;
        let (late, early) = ring.noted.split_at(oldest.min(ring.noted.len()));
        let steps = early.iter().chain(late);
        steps
            .filter(|it| it.call == call)
            .map(|it| it.step)
            .collect()
    }
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// An origin asks where a call of its own went from here.
    pub(in crate::engine) fn told_trail(
        &self,
        session: &Arc<SessionEntry>,
        header: &Header,
        body: &[u8],
    ) {
        let to = Answered {
            session,
            call: header.call,
            prefix: header.code,
            foreseen: None,
        };
        let request = match TrailRequest::decode(body) {
            Ok(request) => request,
            Err(error) => {
                return self.send_error(to, ErrorCode::BAD_PAYLOAD, &error.to_string());
            }
        };
        // Of a directory that is not here any more, or is another's, nothing is known.
        let directory = self.directories.get(header.origin);
        let own = directory.filter(|it| it.session.id == session.id);
        let steps = own.map_or_else(Vec::new, |it| it.trails.of(request.call));
        match Steps::encode(&steps) {
            Ok(payload) => self.send_short(to, Kind::Value, &payload),
            Err(error) => self.send_error(to, ErrorCode::INTERNAL, &error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(hops_left: u32) -> Step {
        Step { hops_left, to: 7 }
    }

    #[test]
    fn a_ring_keeps_the_last_steps_in_order_and_knows_calls_apart() {
        let trails = Trails::default();
        assert!(trails.of(1).is_empty());
        for k in 0..10 {
            trails.note(1 + u64::from(k % 2), step(100 - k));
        }
        let lefts = |call| {
            trails
                .of(call)
                .iter()
                .map(|it| it.hops_left)
                .collect::<Vec<_>>()
        };
        assert_eq!(lefts(1), [100, 98, 96, 94, 92]);
        assert_eq!(lefts(2), [99, 97, 95, 93, 91]);
        for k in 0..3000 {
            trails.note(3, step(5000 - k));
        }
        let last: Vec<_> = (0..Steps::MAX as u32)
            .map(|k| 2001 + Steps::MAX as u32 - 1 - k)
            .collect();
        assert_eq!(lefts(3), last);
        assert!(lefts(1).is_empty());
    }

    #[test]
    fn what_is_struck_is_gone_and_nothing_else() {
        let trails = Trails::default();
        let first = trails.note(1, step(3));
        trails.note(1, step(2));
        trails.strike(first);
        assert_eq!(trails.of(1), [step(2)]);
        for _ in 0..Steps::MAX {
            trails.note(2, step(1));
        }
        trails.strike(first); // Its place is another's by now.
        assert_eq!(trails.of(2).len(), Steps::MAX);
    }
}
