//! Sleeping until there is something to do, and being woken.
//!
//! Three things end a sleep: UCX's event fd, [`Sleep::wake`] through an eventfd of our own, and time. The event fd is
//! *armed* only while nobody else drives: over shared memory an armed receiver costs its sender a system call per
//! frame (a datagram to a unix socket), which is more than the frame. A sleeper that finds that other threads drive
//! naps instead.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::TransportError;

/// How long a nap is: the longest time for which frames may lie there after the last driver has left without a word.
pub(crate) const NAP: Duration = Duration::from_millis(1);

/// The sleeper's half of a driver.
pub(crate) struct Sleep {
    wake_fd: OwnedFd,
    /// A thread is in [`Parked::sleep`], or about to be.
    parked: AtomicBool,
    /// That thread relies on UCX's event fd.
    armed: AtomicBool,
    /// Somebody called `wake` and no sleep has ended for it yet.
    woken: AtomicBool,
}

impl Sleep {
    pub(crate) fn new() -> Result<Self, TransportError> {
        // SAFETY: makes a new fd.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(TransportError::Os {
                what: "making an eventfd",
                text: io::Error::last_os_error().to_string(),
            });
        }
        // SAFETY: just made, owned by nobody else.
        let wake_fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            wake_fd,
            parked: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            woken: AtomicBool::new(false),
        })
    }

    /// Ends the present sleep, or the next one.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        // Either we see the sleeper, or it sees `woken` (both orders are sequentially consistent).
        if self.parked.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// A driver made progress: if a sleeper relies on the event fd, its event may be gone.
    #[inline]
    pub(crate) fn disarmed(&self) {
        if self.armed.load(Ordering::Relaxed) {
            self.disarm();
        }
    }

    #[cold]
    fn disarm(&self) {
        if self.armed.swap(false, Ordering::Relaxed) {
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
        if self.woken.swap(false, Ordering::SeqCst) {
            return Park::Woken;
        }
        Park::Here(parked)
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
    /// Notes that UCX's event fd is armed. Called by a driver, so no progress can happen in between.
    pub(crate) fn set_armed(&self) {
        self.sleep.armed.store(true, Ordering::Relaxed);
    }

    /// Sleeps until `event_fd` (if given) is readable, a wake-up, or the end of `timeout`.
    pub(crate) fn sleep(&self, event_fd: Option<RawFd>, timeout: Duration) {
        let poll_fd = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // A negative fd is ignored.
        let mut fds = [
            poll_fd(self.sleep.wake_fd.as_raw_fd()),
            poll_fd(event_fd.unwrap_or(-1)),
        ];
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
        self.sleep.armed.store(false, Ordering::Relaxed);
        // A wake-up that came while we slept has done its work. In this order one that comes now is kept for next time.
        self.sleep.woken.store(false, Ordering::SeqCst);
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
            here(&sleep).sleep(None, LONG);
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
        parked.sleep(None, Duration::from_millis(1));
    }

    #[test]
    fn a_driver_wakes_a_sleeper_that_relies_on_the_event_fd() {
        let sleep = Sleep::new().unwrap();
        let parked = here(&sleep);
        parked.set_armed();
        sleep.disarmed();
        let start = Instant::now();
        parked.sleep(None, LONG);
        assert!(start.elapsed() < LONG);
        sleep.disarmed(); // Nobody relies on it now: nothing rings.
        parked.sleep(None, Duration::from_millis(1));
    }
}
