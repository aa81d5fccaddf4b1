//! Calls that came in one frame (MANY), while they wait for their turn.
//!
//! The leader runs short ones one after the other. Each of them is the leader's only when it takes it: if one takes long after all, the
//! watchdog gives those behind it to other threads, because the long one may be waiting for them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bitcode_transport::Body;

use super::cache::Entry;
use super::{CallContext, Job, Roster, Work};

/// See the module's documentation.
pub(crate) struct Many<P> {
    context: CallContext,
    entry: Arc<Entry<P>>,
    body: Body,
    places: Vec<Range<usize>>,
    next: AtomicUsize,
}

impl<P> Many<P> {
    /// The calls whose payloads are at these places in `body`.
    pub(super) fn new(
        context: CallContext,
        entry: Arc<Entry<P>>,
        body: Body,
        places: Vec<Range<usize>>,
    ) -> Self {
        Self {
            context,
            entry,
            body,
            places,
            next: AtomicUsize::new(0),
        }
    }

    /// What all of them have in common.
    pub(super) fn context(&self) -> &CallContext {
        &self.context
    }

    /// The payload of the next one that nobody has taken.
    pub(super) fn take(&self) -> Option<&[u8]> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        Some(&self.body.bytes()[self.places.get(place)?.clone()])
    }

    /// Makes jobs of all that nobody has taken.
    pub(crate) fn disperse(&self, roster: &Roster<Job<P>>) {
        while let Some(payload) = self.take() {
            roster.push(Job {
                context: CallContext {
                    payload_len: payload.len(),
                    ..self.context.clone()
                },
                body: Body::copy_of(payload),
                work: Work::Run(Arc::clone(&self.entry)),
            });
        }
    }
}
