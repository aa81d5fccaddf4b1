//! How long a thread that drives a fabric looks for frames before it sleeps.
//!
//! Looking is the quickest way to get a frame as long as the core is the looker's own. It offers its core to others
//! meanwhile, and where they keep it each time, there are more threads that want a core than cores: then it must not look
//! for long but sleep: whoever offers its core may wait for as long as others use theirs up, while one that sleeps is let in
//! soon after its frame has come. (Observed, with four nodes and an origin on two cores: a step of a chase over TCP took about
//! 90 µs between nodes that look, and about 40 µs between nodes that sleep.)

use std::time::{Duration, Instant};

/// After this long without a frame the core is offered to others between polls.
const POLITE_AFTER: Duration = Duration::from_micros(1);
/// How many polls in vain go by between two looks at the clock, at most; fewer where they take longer than `LOOK_TAKES`: over
/// TCP each is a system call for every peer.
const POLLS_PER_CLOCK: u32 = 16;
const LOOK_TAKES: Duration = Duration::from_micros(2);
/// An offer that takes no longer is worth making: over shared memory a sleep costs the call 20 µs. The caller may have taken it,
/// if it shares the core: then 10 µs go by until its next call is there.
const CHEAP: Duration = Duration::from_micros(12);
/// The same where polls are slow, which are system calls: over TCP a sleep costs a call no more than an offer does.
const CHEAP_IF_SLOW: Duration = Duration::from_micros(2);
const SLOW: u32 = POLLS_PER_CLOCK / 4;
/// So many offers in a row that were dearer show that the cores do not suffice; one or two are somebody who woke up, did a
/// little and slept again.
const CROWDED_AFTER: u32 = 3;
/// It is tried again whether the cores suffice after so many times what the last tries took: they cost 1 % of the time.
const TRY_AGAIN_AFTER: u32 = 100;
const LONGEST_CROWDED: Duration = Duration::from_secs(1);
/// In a crowd the core is not offered, and this is all the patience there is: enough for a caller that has its answer to call again,
/// which takes 1 µs over shared memory, while a sleep would cost each call 20 µs.
const CROWDED_SPIN: Duration = Duration::from_micros(3);

/// The patience of one thread that drives a fabric.
///
/// ```
/// # use std::time::Duration;
/// # use bitcode_transport::Patience;
/// let mut patience = Patience::new(Duration::ZERO);
/// patience.rewarded(); // A poll has delivered something.
/// // Polls in vain, until the thread is to sleep.
/// while !patience.runs_out() {}
/// ```
#[derive(Debug)]
pub struct Patience {
    spin: Duration,
    quiet_since: Option<Instant>,
    last_look: Option<Instant>,
    polls: u32,
    polls_per_look: u32,
    crowd: Crowd,
}

impl Patience {
    /// One that lasts for `spin` after the last delivery, on cores that suffice.
    pub fn new(spin: Duration) -> Self {
        Self {
            spin,
            quiet_since: None,
            last_look: None,
            polls: 0,
            polls_per_look: POLLS_PER_CLOCK,
            crowd: Crowd::default(),
        }
    }

    /// A poll has delivered something: the waiting begins anew.
    #[inline]
    pub fn rewarded(&mut self) {
        self.quiet_since = None;
        self.last_look = None;
        self.polls = 0;
    }

    /// A poll has delivered nothing. May offer the core to others. `true` if the thread is to sleep now; after that the
    /// waiting begins anew.
    #[inline]
    pub fn runs_out(&mut self) -> bool {
        std::hint::spin_loop();
        self.polls += 1;
        if self.polls < self.polls_per_look {
            return false;
        }
        self.look()
    }

    fn look(&mut self) -> bool {
        let now = Instant::now();
        self.polls = 0;
        if let Some(last) = self.last_look {
            self.polls_per_look = polls_for(self.polls_per_look, now - last);
        }
        let quiet = now - *self.quiet_since.get_or_insert(now);
        let crowded = self.crowd.lasts(now);
        let spin = if crowded {
            self.spin.min(CROWDED_SPIN)
        } else {
            self.spin
        };
        if quiet >= spin {
            self.rewarded();
            return true;
        }
        if quiet >= POLITE_AFTER && !crowded {
            std::thread::yield_now();
            let after = Instant::now();
            let cheap = if self.polls_per_look <= SLOW {
                CHEAP_IF_SLOW
            } else {
                CHEAP
            };
            self.crowd.note(after - now, cheap, after);
            self.last_look = Some(after);
        } else {
            self.last_look = Some(now);
        }
        false
    }
}

/// How many polls are to go by until the next look, after so many have taken so long.
fn polls_for(polls: u32, took: Duration) -> u32 {
    if took > LOOK_TAKES {
        (polls / 2).max(1)
    } else if took < LOOK_TAKES / 4 {
        (polls * 2).min(POLLS_PER_CLOCK)
    } else {
        polls
    }
}

/// Whether others want the core, as offers of it show.
#[derive(Debug, Default)]
struct Crowd {
    /// Dear offers in a row, and how long they took.
    dear: u32,
    lost: Duration,
    until: Option<Instant>,
}

impl Crowd {
    /// An offer took so long, and is over now. No longer than `cheap`, and it was worth making.
    fn note(&mut self, took: Duration, cheap: Duration, now: Instant) {
        if took <= cheap {
            self.dear = 0;
            self.lost = Duration::ZERO;
            return;
        }
        self.dear += 1;
        self.lost += took;
        if self.dear >= CROWDED_AFTER {
            let long = (self.lost * TRY_AGAIN_AFTER).min(LONGEST_CROWDED);
            self.until = now.checked_add(long);
            self.dear = 0;
            self.lost = Duration::ZERO;
        }
    }

    fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAR: Duration = Duration::from_micros(50);

    #[test]
    fn looks_come_as_often_as_polls_are_slow() {
        let mut polls = POLLS_PER_CLOCK;
        for expected in [8, 4, 2, 1, 1] {
            polls = polls_for(polls, 2 * LOOK_TAKES);
            assert_eq!(polls, expected);
        }
        assert_eq!(polls_for(4, LOOK_TAKES / 2), 4);
        for expected in [2, 4, 8, 16, 16] {
            polls = polls_for(polls, Duration::ZERO);
            assert_eq!(polls, expected);
        }
    }

    #[test]
    fn dear_offers_in_a_row_make_a_crowd_for_a_while() {
        let start = Instant::now();
        let mut crowd = Crowd::default();
        for _ in 0..2 {
            crowd.note(DEAR, CHEAP, start);
            crowd.note(DEAR, CHEAP, start);
            crowd.note(CHEAP, CHEAP, start);
        }
        assert!(!crowd.lasts(start), "nobody wants the core for long");
        for _ in 0..3 {
            crowd.note(DEAR, CHEAP, start);
        }
        let end = start + 3 * DEAR * TRY_AGAIN_AFTER;
        assert!(crowd.lasts(end - Duration::from_nanos(1)));
        assert!(!crowd.lasts(end));
    }

    #[test]
    fn a_crowd_is_looked_for_again_within_a_second() {
        let start = Instant::now();
        let mut crowd = Crowd::default();
        for _ in 0..3 {
            crowd.note(Duration::from_secs(5), CHEAP, start);
        }
        assert!(!crowd.lasts(start + LONGEST_CROWDED));
    }

    #[test]
    fn in_a_crowd_an_hour_of_spinning_is_over_soon() {
        let hour = Duration::from_secs(3600);
        let mut patience = Patience::new(hour);
        patience.crowd.until = Some(Instant::now() + hour);
        let start = Instant::now();
        while !patience.runs_out() {}
        assert!(start.elapsed() >= CROWDED_SPIN, "callers may call again");
    }
}
