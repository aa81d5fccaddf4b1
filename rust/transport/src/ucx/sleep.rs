//! Sleeping until there is something to do, and being woken.
//!
//! Three things end a sleep: the event fds of the lanes that doze, [`Sleep::wake`] through an eventfd of our own, and time.
//! An event fd is *armed* only while nobody drives its lane: over shared memory an armed receiver costs its sender a system
//! call per frame (a datagram to a unix socket), which is more than the frame. A sleeper that finds that other threads
//! drive naps instead, unless they have said by a wake-up that they leave.
//!
//! The lanes' event fds are in one epoll set, so that neither sleeping nor looking gets dearer with their number. Each is
//! reported once for each time that its lane dozed off (`EPOLLONESHOT`): the fd of a lane that is awake may be readable all
//! the time, since only arming it clears it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::TransportError;

/// See the module's documentation.
pub(crate) struct Sleep {
    wake_fd: OwnedFd,
    /// The lanes' event fds.
    events: OwnedFd,
    /// A thread is in [`Parked::sleep`], or about to be.
    parked: AtomicBool,
    /// That thread relies on every lane dozing.
    armed: AtomicBool,
    /// Somebody called `wake` and no sleep has ended for it yet.
    woken: AtomicBool,
    /// `wake` has ended a sleep: who drove until then has left.
    left: AtomicBool,
}

impl Sleep {
    pub(crate) fn new() -> Result<Self, TransportError> {
        // SAFETY: makes a new fd.
        let wake_fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        // SAFETY: makes a new fd.
        let events = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Ok(Self {
            wake_fd: owned(wake_fd, "making an eventfd")?,
            events: owned(events, "making an epoll fd")?,
            parked: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            left: AtomicBool::new(false),
        })
    }

    /// Takes a lane's event fd in, silent for now.
    pub(crate) fn watch(&self, event_fd: RawFd, lane: u32) -> Result<(), TransportError> {
        self.control(libc::EPOLL_CTL_ADD, event_fd, 0, lane)
    }

    /// Has the next event of an armed fd reported.
    pub(crate) fn expect(&self, event_fd: RawFd, lane: u32) -> Result<(), TransportError> {
        let events = libc::EPOLLIN | libc::EPOLLONESHOT;
        self.control(libc::EPOLL_CTL_MOD, event_fd, events as u32, lane)
    }

    /// Lets an event fd go, before it is closed.
    pub(crate) fn unwatch(&self, event_fd: RawFd) {
        if let Err(error) = self.control(libc::EPOLL_CTL_DEL, event_fd, 0, 0) {
            // Closing it takes it out as well.
            tracing::debug!(%error, "an event fd was not watched");
        }
    }

    fn control(
        &self,
        operation: libc::c_int,
        event_fd: RawFd,
        events: u32,
        lane: u32,
    ) -> Result<(), TransportError> {
        let mut event = libc::epoll_event {
            events,
            u64: lane.into(),
        };
        // SAFETY: two fds and an event that is only read.
        let status =
            unsafe { libc::epoll_ctl(self.events.as_raw_fd(), operation, event_fd, &mut event) };
        match status {
            0 => Ok(()),
            _ => Err(os_error("watching a lane's event fd")),
        }
    }

    /// Calls `happened` with the lanes whose event fds have something.
    pub(crate) fn look(&self, mut happened: impl FnMut(u32)) {
        const MANY: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MANY];
        // SAFETY: room for as many events as it says; does not wait.
        let count = unsafe {
            libc::epoll_wait(self.events.as_raw_fd(), events.as_mut_ptr(), MANY as i32, 0)
        };
        // An error (a signal came) means another look, later.
        for event in events.iter().take(count.max(0) as usize) {
            happened(event.u64 as u32);
        }
    }

    /// Ends the present sleep, or the next one.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        // Either we see the sleeper, or it sees `woken` (both orders are sequentially consistent).
        if self.parked.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// A lane is awake: a sleeper that relies on none being so has to look again.
    pub(crate) fn disarmed(&self) {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes to an eventfd. The one possible failure, a full counter, means that it rings already.
        unsafe { libc::write(self.wake_fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Becomes the sleeper, if that is possible and wanted.
    pub(crate) fn park(&self) -> Park<'_> {
        if self.parked.swap(true, Ordering::SeqCst) {
            return Park::Taken;
        }
        let parked = Parked { sleep: self };
        if self.woken.load(Ordering::SeqCst) {
            return Park::Woken; // `parked` uses it up.
        }
        Park::Here(parked)
    }

    /// Whether a sleep has ended by a wake-up since this was last asked: whoever drives and then calls `wake` drives no more.
    pub(crate) fn has_left(&self) -> bool {
        self.left.swap(false, Ordering::Relaxed)
    }
}

fn owned(fd: RawFd, what: &'static str) -> Result<OwnedFd, TransportError> {
    if fd < 0 {
        return Err(os_error(what));
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn os_error(what: &'static str) -> TransportError {
    TransportError::Os {
        what,
        text: io::Error::last_os_error().to_string(),
    }
}

/// What [`Sleep::park`] found.
pub(crate) enum Park<'a> {
    /// The caller is the sleeper.
    Here(Parked<'a>),
    /// Another thread is.
    Taken,
    /// A wake-up was due; it is hereby used up.
    Woken,
}

/// The one sleeper, until dropped.
pub(crate) struct Parked<'a> {
    sleep: &'a Sleep,
}

impl Parked<'_> {
    /// Notes that every lane dozes. Whether that is so has to be looked at after this once more.
    pub(crate) fn set_armed(&self) {
        self.sleep.armed.store(true, Ordering::SeqCst);
    }

    /// Sleeps until a lane that dozes has an event, a wake-up, or the end of `timeout`.
    pub(crate) fn sleep(&self, timeout: Duration) {
        let mut fds = [&self.sleep.wake_fd, &self.sleep.events].map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: two entries, a timeout, no signal mask. An error (a signal came) only ends the sleep early.
        unsafe {
            libc::ppoll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            )
        };
        if fds[0].revents != 0 {
            let mut count = [0u8; 8];
            // SAFETY: room for the eventfd's eight bytes. Non-blocking, so an empty one is no harm.
            unsafe {
                libc::read(
                    self.sleep.wake_fd.as_raw_fd(),
                    count.as_mut_ptr().cast(),
                    count.len(),
                )
            };
        }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.sleep.armed.store(false, Ordering::SeqCst);
        // A wake-up that came while we slept has done its work. In this order one that comes now is kept for next time.
        if self.sleep.woken.swap(false, Ordering::SeqCst) {
            self.sleep.left.store(true, Ordering::Relaxed);
        }
        self.sleep.parked.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn here(sleep: &Sleep) -> Parked<'_> {
        match sleep.park() {
            Park::Here(parked) => parked,
            _ => panic!("nobody else sleeps and nobody has called"),
        }
    }

    #[test]
    fn a_wake_ends_the_present_sleep() {
        let sleep = Sleep::new().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !sleep.parked.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                sleep.wake();
            });
            here(&sleep).sleep(LONG);
        });
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_wake_before_the_sleep_counts_once() {
        let sleep = Sleep::new().unwrap();
        sleep.wake();
        assert!(matches!(sleep.park(), Park::Woken));
        let parked = here(&sleep);
        assert!(matches!(sleep.park(), Park::Taken), "there is one sleeper");
        parked.sleep(Duration::from_millis(1));
    }

    #[test]
    fn a_driver_wakes_a_sleeper_that_relies_on_the_events() {
        let sleep = Sleep::new().unwrap();
        let parked = here(&sleep);
        parked.set_armed();
        sleep.disarmed();
        let start = Instant::now();
        parked.sleep(LONG);
        assert!(start.elapsed() < LONG);
        sleep.disarmed(); // Nobody relies on it now: nothing rings.
        parked.sleep(Duration::from_millis(1));
    }

    #[test]
    fn an_event_is_reported_once_for_each_time_that_it_is_expected() {
        let sleep = Sleep::new().unwrap();
        let other = Sleep::new().unwrap();
        let fd = other.wake_fd.as_raw_fd();
        let seen = || {
            let mut seen = Vec::new();
            sleep.look(|lane| seen.push(lane));
            seen
        };
        sleep.watch(fd, 7).unwrap();
        other.ring();
        assert!(seen().is_empty(), "nobody expects it yet");
        for _ in 0..2 {
            sleep.expect(fd, 7).unwrap();
            here(&sleep).sleep(LONG);
            assert_eq!(seen(), [7]);
            assert!(seen().is_empty());
        }
        sleep.expect(fd, 7).unwrap();
        sleep.unwatch(fd);
        assert!(seen().is_empty());
    }
}
