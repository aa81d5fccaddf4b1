//! Counters of the engine, and a brake for log lines that a peer could cause at will.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, and returns the new value.
    pub(crate) fn add(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed) + count
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What an engine has counted since it was made.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Calls run by the leader.
    pub ran_inline: Counter,
    /// Calls run by another thread.
    pub ran_queued: Counter,
    /// Archives compiled.
    pub compiled: Counter,
    /// Archives whose code an earlier node had compiled and kept.
    pub loaded: Counter,
    /// Archives refused.
    pub refused: Counter,
    /// Codes evicted from the cache.
    pub evicted: Counter,
    /// Answers NEED_CODE.
    pub need_code: Counter,
    /// Answers ERROR.
    pub errors: Counter,
    /// Calls that went on to another node.
    pub hops: Counter,
    /// Calls that running code has started.
    pub spawned: Counter,
    /// Calls on other nodes that running code has waited for.
    pub asked: Counter,
    /// Runs that ended with a signal.
    pub faults: Counter,
    /// Bytes of output that were dropped because their origin did not take them.
    pub output_dropped: Counter,
    /// Frames that were not believed.
    pub bad_frames: Counter,
    /// How often the lead was taken from a leader that was held up.
    pub takeovers: Counter,
}

/// Lets something happen once a second at most.
#[derive(Default)]
pub(crate) struct Rarely {
    start: OnceLock<Instant>,
    /// Milliseconds since `start` before which nothing may happen.
    next: AtomicU64,
}

impl Rarely {
    /// Whether it may happen now.
    pub(crate) fn now(&self) -> bool {
        let start = self.start.get_or_init(Instant::now);
        let now = start.elapsed().as_millis() as u64;
        let next = self.next.load(Ordering::Relaxed);
        now >= next
            && self
                .next
                .compare_exchange(next, now + 1000, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rarely_is_once_at_first() {
        let rarely = Rarely::default();
        assert!(rarely.now());
        assert!(!rarely.now());
    }
}
