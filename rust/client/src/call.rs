//! Calls: handles on what is under way.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bitcode_transport::Fabric;

use crate::client::Handle;
use crate::core::Ended;
use crate::slot::{Ending, Notify, Slot};
use crate::trail::TrailSought;
use crate::{CallState, ClientError, Timings};

/// How long [`Call::wait`] drives the transport itself before it sleeps.
const WAIT_SPIN: Duration = Duration::from_micros(20);

/// How a call ended.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The packed result.
    Value(&'a [u8]),
    /// The exception's graph.
    Throw(&'a [u8]),
    /// Why it failed.
    Error(&'a ClientError),
}

/// A call under way, or finished. Dropping it gives the call up: the answer will be ignored.
pub struct Call<F: Fabric + 'static> {
    handle: Arc<Handle<F>>,
    slot: u32,
    /// The state once it was seen to be final; the slot may be another call's by then.
    settled: AtomicU8,
    ending: OnceLock<Option<Ended>>,
}

impl<F: Fabric> fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({:?})", self.state())
    }
}

impl<F: Fabric> Call<F> {
    pub(crate) fn new(handle: Arc<Handle<F>>, slot: u32) -> Self {
        Self {
            handle,
            slot,
            settled: AtomicU8::new(CallState::Pending as u8),
            ending: OnceLock::new(),
        }
    }

    /// The slot; it was made when the call began and is never unmade.
    fn slot(&self) -> Option<&Slot> {
        self.handle.core().slab.get(self.slot)
    }

    /// Where the call stands.
    pub fn state(&self) -> CallState {
        // First the slot, then `settled`: if the slot is another call's already, `settled` was set before.
        let seen = self.slot().map_or(CallState::Error, Slot::state);
        let settled = CallState::from_number(self.settled.load(Ordering::Acquire));
        if settled == CallState::Pending {
            seen
        } else {
            settled
        }
    }

    /// How the call ended; `None` while it is pending.
    pub fn outcome(&self) -> Option<Outcome<'_>> {
        let Ended { ending, bytes, .. } = self.ended()?;
        Some(match ending {
            Ending::Value => Outcome::Value(bytes.as_slice()),
            Ending::Throw => Outcome::Throw(bytes.as_slice()),
            Ending::Error(error) => Outcome::Error(error),
        })
    }

    /// Where the time went; `None` while the call is pending.
    pub fn timings(&self) -> Option<Timings> {
        self.ended().map(|ended| ended.timings)
    }

    /// Asks all nodes that the call may have been on where it went from there. `None` if it cannot have hopped, has not ended yet, or has
    /// ended with a value.
    pub fn seek_trail(&self) -> Option<TrailSought<F>> {
        let traced = self.ended()?.traced.as_ref()?;
        Some(TrailSought::ask(&self.handle, traced))
    }

    fn ended(&self) -> Option<&Ended> {
        if self.ending.get().is_none() {
            let state = self.state();
            if state == CallState::Pending {
                return None;
            }
            self.settled.store(state as u8, Ordering::Release);
        }
        let take = || self.handle.core().take(self.slot()?);
        self.ending.get_or_init(take).as_ref()
    }

    /// Has `notify` called once when the call is finished, at once if it already is.
    ///
    /// # Errors
    /// There is a callback already.
    pub fn notify(&self, notify: Notify) -> Result<(), ClientError> {
        if self.ending.get().is_none()
            && let Some(slot) = self.slot()
        {
            let mut inner = slot.inner.lock();
            if !inner.finished {
                if inner.notify.is_some() {
                    return Err(ClientError::BadArgument(
                        "the call has a callback already".into(),
                    ));
                }
                inner.notify = Some(notify);
                return Ok(());
            }
        }
        notify();
        Ok(())
    }

    /// Waits until the call is finished or `timeout` has passed, and returns its state.
    pub fn wait(&self, timeout: Option<Duration>) -> CallState {
        let state = self.state();
        if state != CallState::Pending {
            return state;
        }
        let Some(slot) = self.slot() else {
            return CallState::Error;
        };
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let core = self.handle.core();
        let spin = timeout.map_or(WAIT_SPIN, |timeout| timeout.min(WAIT_SPIN));
        let peer = slot.inner.lock().session.as_ref().map(|it| it.peer);
        let state = peer.map_or(state, |peer| core.spin(slot, peer, spin));
        if state != CallState::Pending {
            return state;
        }
        {
            let mut inner = slot.inner.lock();
            if !inner.finished {
                inner.waiters.push(std::thread::current());
            }
        }
        core.hand_over();
        loop {
            let state = self.state();
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if state != CallState::Pending || left == Some(Duration::ZERO) {
                return state;
            }
            match left {
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
        }
    }

    /// Gives a pending call up, or frees a finished one, now. `false` if the transport still reads the payload, and then
    /// nothing has changed.
    pub fn try_free(&mut self) -> bool {
        if self.ending.get().is_some() {
            return true;
        }
        let freed = self
            .slot()
            .is_none_or(|slot| self.handle.core().abandon(slot, true));
        if freed {
            // The slot is not ours any more.
            *self.settled.get_mut() = CallState::Error as u8;
            let _ = self.ending.set(None);
        }
        freed
    }
}

impl<F: Fabric> Drop for Call<F> {
    fn drop(&mut self) {
        if self.ending.get().is_none()
            && let Some(slot) = self.slot()
        {
            self.handle.core().abandon(slot, false);
        }
    }
}
