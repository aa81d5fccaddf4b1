//! The lock around a worker: who holds it drives.
//!
//! UCX is told that threads take turns (`UCS_THREAD_MODE_SERIALIZED`); this is what makes them. A warm call takes it
//! four times, nearly always uncontended, and 10 ns each would be an eighth of the call: so one atomic exchange to take
//! it and one store to give it back. It is held for one round of progress or one send, never while a sink runs.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct DriverLock {
    held: AtomicBool,
    /// Threads in [`DriverLock::lock`]. A poller steps back for them, or it would take the lock again before they look.
    waiting: AtomicU32,
}

impl DriverLock {
    /// Takes the lock if it is free and nobody is waiting for it.
    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.take()
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) {
        if !self.take() {
            self.lock_slowly();
        }
    }

    /// Gives the lock back.
    ///
    /// # Safety
    /// The caller holds it.
    #[inline]
    pub(crate) unsafe fn unlock(&self) {
        self.held.store(false, Ordering::Release);
    }

    #[inline]
    fn take(&self) -> bool {
        !self.held.swap(true, Ordering::Acquire)
    }

    #[cold]
    fn lock_slowly(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut tries = 0u32;
        loop {
            if !self.held.load(Ordering::Relaxed) && self.take() {
                break;
            }
            tries = tries.saturating_add(1);
            match tries {
                0..100 => std::hint::spin_loop(),
                // The holder may have been descheduled, on a busy machine for as long as a time slice.
                100..200 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(20)),
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::UnsafeCell;

    struct Shared(DriverLock, UnsafeCell<u64>);
    // SAFETY: the counter is touched under the lock only.
    unsafe impl Sync for Shared {}

    #[test]
    fn one_holder_at_a_time() {
        let mut counted = Shared(DriverLock::default(), UnsafeCell::new(0));
        let shared = &counted;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let shared: &Shared = shared; // All of it: a closure would borrow its fields.
                    for _ in 0..10_000 {
                        shared.0.lock();
                        // SAFETY: we hold the lock.
                        unsafe { *shared.1.get() += 1 };
                        // SAFETY: we hold the lock.
                        unsafe { shared.0.unlock() };
                    }
                });
            }
        });
        assert_eq!(*counted.1.get_mut(), 40_000);
    }

    #[test]
    fn a_held_lock_is_not_taken() {
        let lock = DriverLock::default();
        assert!(lock.try_lock());
        assert!(!lock.try_lock());
        // SAFETY: taken above.
        unsafe { lock.unlock() };
        assert!(lock.try_lock());
    }
}
