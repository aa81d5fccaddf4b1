//! The roster: jobs that wait, and who leads.
//!
//! The engine's threads are all alike. One of them leads (drives the fabric and runs short code on the spot), the
//! others take jobs. A leader that is held up loses the lead to a thread that is free.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What a thread is to do next.
pub(crate) enum Next<J> {
    /// Lead, as long as this is the term.
    Lead(u64),
    /// Carry this out.
    Job(J),
    /// Nothing more: end.
    Leave,
}

/// See the module's documentation.
pub(crate) struct Roster<J> {
    inner: Mutex<Inner<J>>,
    news: Condvar,
    /// Counts leaders; whoever leads under another number does not lead any more.
    term: AtomicU64,
}

struct Inner<J> {
    jobs: VecDeque<(Instant, J)>,
    /// Nobody leads.
    vacant: bool,
    idle: usize,
    threads: usize,
    /// Threads that are not counted now: their jobs wait for other nodes.
    paused: usize,
    stop: bool,
}

impl<J> Roster<J> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                jobs: VecDeque::new(),
                vacant: true,
                idle: 0,
                threads: 0,
                paused: 0,
                stop: false,
            }),
            news: Condvar::new(),
            term: AtomicU64::new(0),
        }
    }

    /// Adds a job.
    pub(crate) fn push(&self, job: J) {
        let mut inner = self.inner.lock();
        inner.jobs.push_back((Instant::now(), job));
        if inner.idle > 0 {
            self.news.notify_one();
        }
    }

    /// The next job, if there is one.
    pub(crate) fn try_pop(&self) -> Option<J> {
        self.inner.lock().jobs.pop_front().map(|(_, job)| job)
    }

    /// All jobs that wait.
    pub(crate) fn drain(&self) -> Vec<J> {
        let jobs = std::mem::take(&mut self.inner.lock().jobs);
        jobs.into_iter().map(|(_, job)| job).collect()
    }

    /// Counts a new thread, if there are fewer than `most` and the engine has not stopped.
    pub(crate) fn enlist(&self, most: usize) -> bool {
        let mut inner = self.inner.lock();
        let room = inner.threads < most && !inner.stop;
        inner.threads += usize::from(room);
        room
    }

    /// Uncounts a thread that ended by itself.
    pub(crate) fn discharge(&self) {
        self.inner.lock().threads -= 1;
    }

    /// The calling thread begins to wait for what other nodes do, and is not counted meanwhile: others may take its place. `false`
    /// if `most` do so already.
    pub(crate) fn pause(&self, most: usize) -> bool {
        let mut inner = self.inner.lock();
        let may = inner.paused < most;
        if may {
            inner.paused += 1;
            inner.threads = inner.threads.saturating_sub(1);
        }
        may
    }

    /// The calling thread goes on after [`Roster::pause`].
    pub(crate) fn resume(&self) {
        let mut inner = self.inner.lock();
        inner.paused -= 1;
        inner.threads += 1;
    }

    /// What the calling thread is to do next. It leaves if there has been nothing for `patience` and there are more than
    /// `keep` threads.
    pub(crate) fn next(&self, patience: Duration, keep: usize) -> Next<J> {
        let mut inner = self.inner.lock();
        loop {
            if inner.stop {
                inner.threads -= 1;
                return Next::Leave;
            }
            if inner.vacant {
                inner.vacant = false;
                return Next::Lead(self.term.fetch_add(1, Ordering::Relaxed) + 1);
            }
            if let Some((_, job)) = inner.jobs.pop_front() {
                return Next::Job(job);
            }
            inner.idle += 1;
            let waited = self.news.wait_for(&mut inner, patience);
            inner.idle -= 1;
            let nothing = inner.jobs.is_empty() && !inner.vacant && !inner.stop;
            if waited.timed_out() && nothing && inner.threads > keep {
                inner.threads -= 1;
                return Next::Leave;
            }
        }
    }

    /// Whether this term is still the present one.
    pub(crate) fn leads(&self, term: u64) -> bool {
        self.term.load(Ordering::Relaxed) == term
    }

    /// Takes the lead from whoever leads under `term`, for another thread. `false` if that is not the present term.
    pub(crate) fn depose(&self, term: u64) -> bool {
        let mut inner = self.inner.lock();
        if inner.vacant || !self.leads(term) {
            return false;
        }
        self.term.fetch_add(1, Ordering::Relaxed);
        inner.vacant = true;
        self.news.notify_one();
        true
    }

    /// Whether work waits that no thread is free for: the lead, or a job older than `age`.
    pub(crate) fn is_short_of_threads(&self, age: Duration) -> bool {
        let inner = self.inner.lock();
        let old = |(since, _): &(Instant, J)| since.elapsed() >= age;
        inner.idle == 0 && (inner.vacant || inner.jobs.front().is_some_and(old))
    }

    /// Whether jobs wait.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.inner.lock().jobs.is_empty()
    }

    /// Whether nothing waits: no job, and not the lead.
    pub(crate) fn is_quiet(&self) -> bool {
        let inner = self.inner.lock();
        inner.jobs.is_empty() && !inner.vacant
    }

    /// Ends all threads, as soon as each is free.
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stop = true;
        self.term.fetch_add(1, Ordering::Relaxed);
        self.news.notify_all();
    }

    /// Number of threads.
    pub(crate) fn threads(&self) -> usize {
        let inner = self.inner.lock();
        inner.threads + inner.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TIME: Duration = Duration::ZERO;

    #[test]
    fn the_lead_comes_first_then_jobs_in_order() {
        let roster = Roster::new();
        assert!(roster.enlist(1) && !roster.enlist(1));
        roster.push('a');
        roster.push('b');
        let Next::Lead(term) = roster.next(NO_TIME, 1) else {
            panic!("the lead was vacant")
        };
        assert!(roster.leads(term));
        assert!(matches!(roster.next(NO_TIME, 1), Next::Job('a')));
        assert_eq!(roster.try_pop(), Some('b'));
        assert!(roster.is_quiet());
    }

    #[test]
    fn a_deposed_leader_leads_no_more_and_cannot_be_deposed_twice() {
        let roster: Roster<()> = Roster::new();
        let Next::Lead(old) = roster.next(NO_TIME, 1) else {
            panic!("the lead was vacant")
        };
        assert!(roster.depose(old) && !roster.depose(old));
        assert!(!roster.leads(old));
        assert!(roster.is_short_of_threads(Duration::MAX));
        let Next::Lead(new) = roster.next(NO_TIME, 1) else {
            panic!("the lead was vacant again")
        };
        assert!(roster.leads(new) && new != old);
    }

    #[test]
    fn who_waits_for_other_nodes_is_not_counted() {
        let roster: Roster<()> = Roster::new();
        assert!(roster.enlist(1) && roster.pause(1));
        assert!(!roster.pause(1), "no more than that may wait");
        assert!(roster.enlist(1) && !roster.enlist(1));
        assert_eq!(roster.threads(), 2);
        roster.resume();
        assert!(roster.pause(1));
        roster.resume();
        assert_eq!(roster.threads(), 2);
    }

    #[test]
    fn surplus_threads_leave_and_all_leave_in_the_end() {
        let roster: Roster<()> = Roster::new();
        assert!(roster.enlist(9) && roster.enlist(9));
        assert!(matches!(roster.next(NO_TIME, 1), Next::Lead(_)));
        assert!(matches!(roster.next(NO_TIME, 1), Next::Leave));
        assert_eq!(roster.threads(), 1);
        roster.stop();
        assert!(matches!(roster.next(NO_TIME, 1), Next::Leave));
        assert!(!roster.enlist(9));
        assert_eq!(roster.threads(), 0);
    }
}
