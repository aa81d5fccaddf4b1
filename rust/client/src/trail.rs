//! Trails: where a call that may hop went before it failed, put together from what its nodes remember (docs/WIRE.md, *Trails*).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcode_transport::{Fabric, Segment};
use bitcode_wire::frame::{Kind, Step, Steps, TrailRequest};

use crate::CallOptions;
use crate::call::{Call, Outcome};
use crate::client::Handle;
use crate::directory::Directory;
use crate::session::SessionCore;

/// Which call it was, for those who ask where it went.
pub(crate) struct Traced {
    pub(crate) call: u64,
    pub(crate) began: Option<Arc<SessionCore>>,
    pub(crate) directory: Arc<Directory>,
}

/// Where a call went. Nodes have the numbers that they had when the call was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The nodes that it was on, or was sent to, in order. `None` stands for hops that nobody remembers: nodes remember a thousand or so for each
    /// origin, and those that are gone, nothing.
    pub places: Vec<Option<u32>>,
    /// Nodes that were asked, and did not answer.
    pub silent: Vec<u32>,
    /// Where nodes 1, 2, … take sessions.
    pub addresses: Vec<String>,
}

/// A question to all nodes that a call may have been on.
pub struct TrailSought<F: Fabric + 'static> {
    traced: Arc<Traced>,
    /// By the node's number. Those that are gone are not asked.
    asked: Vec<(u32, Option<Call<F>>)>,
}

impl<F: Fabric> TrailSought<F> {
    pub(crate) fn ask(handle: &Arc<Handle<F>>, traced: &Arc<Traced>) -> Self {
        let question = TrailRequest { call: traced.call }.encode();
        let asked = traced.directory.nodes().map(|(node, session)| {
            let payload = Segment::shared(Arc::new(question));
            let begun = handle.core().begin(
                session,
                Kind::Trail,
                None,
                Some(&traced.directory),
                &[payload],
                &CallOptions::default(),
            );
            let call = begun.map(|slot| Call::new(Arc::clone(handle), slot.index));
            (node, call.ok())
        });
        Self {
            asked: asked.collect(),
            traced: Arc::clone(traced),
        }
    }

    /// Waits for the answers, no longer than `patience` for all of them.
    pub fn settle(self, patience: Duration) -> Trail {
        let end = Instant::now() + patience;
        let directory = &self.traced.directory;
        let mut steps = Vec::new();
        let mut silent = Vec::new();
        for (node, call) in &self.asked {
            let answer = call.as_ref().and_then(|call| {
                call.wait(Some(end.saturating_duration_since(Instant::now())));
                match call.outcome()? {
                    Outcome::Value(bytes) => Steps::decode(bytes).ok(),
                    Outcome::Throw(_) | Outcome::Error(_) => None,
                }
            });
            match answer {
                Some(of_node) => steps.extend(of_node.into_iter().map(|step| (*node, step))),
                None => silent.push(*node),
            }
        }
        let began = self.traced.began.as_ref();
        let began = began.and_then(|session| directory.number_of(session));
        let addresses = directory.nodes().map(|(_, it)| it.address().to_owned());
        Trail {
            places: join(began, steps),
            silent,
            addresses: addresses.collect(),
        }
    }
}

/// The way of a call that began on one node and made these steps, each from a node.
fn join(began: Option<u32>, mut steps: Vec<(u32, Step)>) -> Vec<Option<u32>> {
    // Steps of one node with the same number stay in the order in which it made them.
    steps.sort_by_key(|(_, step)| std::cmp::Reverse(step.hops_left));
    let mut way = vec![began];
    for (from, step) in steps {
        if way.last() != Some(&Some(from)) {
            way.extend([None, Some(from)]);
        }
        way.push(Some(step.to));
    }
    way.dedup_by(|next, before| next.is_none() && before.is_none());
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(from: u32, hops_left: u32, to: u32) -> (u32, Step) {
        (from, Step { hops_left, to })
    }

    #[test]
    fn steps_join_by_what_was_left_of_the_budget() {
        let way = |steps: &[_]| join(Some(1), steps.to_vec());
        assert_eq!(way(&[]), [Some(1)]);
        let steps = [step(1, 9, 2), step(1, 5, 3), step(2, 8, 1)];
        assert_eq!(way(&steps), [1, 2, 1, 3].map(Some));
        // Node 2 is gone and with it what it did, of which only one end is known; and so is what node 1 has forgotten.
        let lost = [step(1, 9, 2), step(3, 7, 1)];
        let expected = [Some(1), Some(2), None, Some(3), Some(1)];
        assert_eq!(way(&lost), expected);
        assert_eq!(way(&[step(3, 7, 1)]), [Some(1), None, Some(3), Some(1)]);
        assert_eq!(join(None, vec![step(3, 7, 1)]), [None, Some(3), Some(1)]);
    }
}
