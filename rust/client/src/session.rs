//! Sessions: connections to one node each.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bitcode_transport::{Fabric, PeerId, Segment};
use bitcode_wire::frame::{Kind, SessionKeys};
use bitcode_wire::handshake::Welcome;
use parking_lot::Mutex;

use crate::call::Call;
use crate::client::Handle;
use crate::core::Core;
use crate::directory::Directory;
use crate::known::KnownSet;
use crate::output::Inflow;
use crate::post::Posts;
use crate::segment::SegmentsInUse;
use crate::slot::Ending;
use crate::{CallState, ClientError, Code, SessionStats};

/// How a call is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallOptions {
    /// The result is not wanted: the node answers with an empty value as soon as it has accepted the call.
    pub no_result: bool,
    /// Bounds the whole call: the node does not start it later, and it fails here.
    pub deadline: Option<Duration>,
    /// Measure the call even if it is warm (a call that carries its archive always is).
    pub timed: bool,
    /// Do not run the code: the value is what the node makes of it, as text. The payload is a
    /// [`View`](bitcode_wire::frame::View).
    pub show: bool,
    /// How many hops from node to node the call may make, if its code hops.
    pub hop_budget: u32,
    /// How many calls it may start on each node, if its code starts some.
    pub fan_out: u16,
    /// The payload is that of so many calls that nobody waits for, and whose frame nobody holds; 0 for a call by itself.
    pub(crate) posted: u64,
}

/// Enough for long chases; code that hops for ever ends.
const HOP_BUDGET: u32 = 1_000_000;
/// Enough for an operation on each element of a small collection.
const FAN_OUT: u16 = 10_000;

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            no_result: false,
            deadline: None,
            timed: false,
            show: false,
            hop_budget: HOP_BUDGET,
            fan_out: FAN_OUT,
            posted: 0,
        }
    }
}

impl CallOptions {
    /// The result is not wanted.
    #[must_use]
    pub fn no_result(mut self, no_result: bool) -> Self {
        self.no_result = no_result;
        self
    }

    /// Bounds the whole call.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Do not run the code, but show it.
    #[must_use]
    pub fn show(mut self, show: bool) -> Self {
        self.show = show;
        self
    }

    /// Measure even a warm call.
    #[must_use]
    pub fn timed(mut self, timed: bool) -> Self {
        self.timed = timed;
        self
    }

    /// How many hops the call may make.
    #[must_use]
    pub fn hop_budget(mut self, hop_budget: u32) -> Self {
        self.hop_budget = hop_budget;
        self
    }

    /// How many calls the call may start on each node.
    #[must_use]
    pub fn fan_out(mut self, fan_out: u16) -> Self {
        self.fan_out = fan_out;
        self
    }
}

/// What a handshake agreed on: all that a session needs to know.
pub struct Terms {
    /// The secret of the data plane.
    pub keys: SessionKeys,
    /// What the node said.
    pub welcome: Welcome,
    /// The node's address on the control plane, such as `127.0.0.1:13337`.
    pub address: String,
    /// Called once when the session ends, to close the control channel.
    pub hang_up: Option<Box<dyn FnOnce() + Send>>,
}

/// The shared part of a session.
pub(crate) struct SessionCore {
    pub(crate) id: u32,
    pub(crate) origin: u32,
    pub(crate) epoch: u16,
    pub(crate) peer: PeerId,
    pub(crate) keys: SessionKeys,
    pub(crate) max_body: u64,
    pub(crate) name: String,
    address: String,
    pub(crate) known: KnownSet,
    pub(crate) stats: Mutex<SessionStats>,
    pub(crate) inflow: Mutex<Inflow>,
    pub(crate) segments: SegmentsInUse,
    pub(crate) posts: Mutex<Posts>,
    /// There are posts that wait: looked at by every call.
    pub(crate) has_posts: AtomicBool,
    open: AtomicBool,
    failure: OnceLock<ClientError>,
    welcome: Welcome,
    hang_up: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl SessionCore {
    pub(crate) fn new(terms: Terms, peer: PeerId, max_body: u64) -> Self {
        Self {
            id: terms.welcome.session,
            origin: terms.welcome.origin,
            epoch: terms.welcome.epoch,
            peer,
            keys: terms.keys,
            max_body: terms.welcome.max_frame.min(max_body),
            name: format!("node {}", terms.address),
            address: terms.address,
            known: KnownSet::default(),
            stats: Mutex::default(),
            inflow: Mutex::default(),
            segments: SegmentsInUse::default(),
            posts: Mutex::default(),
            has_posts: AtomicBool::new(false),
            open: AtomicBool::new(true),
            failure: OnceLock::new(),
            welcome: terms.welcome,
            hang_up: Mutex::new(terms.hang_up),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        if self.is_open() {
            return Ok(());
        }
        let gone = || ClientError::SessionClosed(self.name.clone());
        Err(self.failure.get().cloned().unwrap_or_else(gone))
    }

    /// Marks the session as over. `false` if it was already.
    pub(crate) fn fail(&self, reason: ClientError) -> bool {
        let first = self.failure.set(reason).is_ok();
        self.open.store(false, Ordering::SeqCst);
        first
    }

    pub(crate) fn hang_up(&self) {
        let hang_up = self.hang_up.lock().take();
        if let Some(hang_up) = hang_up {
            hang_up();
        }
    }
}

/// A connection to one node. Cheap to clone; it is closed when the last clone is dropped.
pub struct Session<F: Fabric + 'static>(Arc<Connection<F>>);

struct Connection<F: Fabric + 'static> {
    handle: Arc<Handle<F>>,
    core: Arc<SessionCore>,
}

impl<F: Fabric> Drop for Connection<F> {
    fn drop(&mut self) {
        let reason = ClientError::SessionClosed(self.core.name.clone());
        self.handle.core().fail_session(&self.core, reason);
    }
}

impl<F: Fabric> Clone for Session<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: Fabric> fmt::Debug for Session<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {})", self.0.core.id, self.0.core.name)
    }
}

impl<F: Fabric> Session<F> {
    pub(crate) fn new(handle: Arc<Handle<F>>, core: Arc<SessionCore>) -> Self {
        Self(Arc::new(Connection { handle, core }))
    }

    /// Begins a call and returns at once. The segments of the payload stay readable until the call is finished (it may be
    /// sent twice), which is what makes them `'static`.
    ///
    /// # Errors
    /// Why it could not be sent. Whatever happens later is the call's own ending.
    pub fn call(
        &self,
        code: &Code,
        payload: &[Segment<'static>],
        options: &CallOptions,
    ) -> Result<Call<F>, ClientError> {
        let Connection { handle, core } = &*self.0;
        let client = handle.core();
        let directory = self.directory(code)?;
        let directory = directory.as_ref();
        client.flush_posts(core)?;
        let slot = client.begin(core, Kind::Call, Some(code), directory, payload, options)?;
        Ok(Call::new(Arc::clone(handle), slot.index))
    }

    /// Makes a call that nobody waits for: its `payload` is copied, and several such calls in a row go in one frame. `false` if it is none
    /// that this can be done with (it has a long payload, a deadline, a code that the node may not have…): make it by
    /// [`Session::call`] then.
    ///
    /// # Errors
    /// Why it could not be sent. Whatever happens later nobody hears of.
    pub fn post(
        &self,
        code: &Code,
        payload: &[Segment<'static>],
        options: &CallOptions,
    ) -> Result<bool, ClientError> {
        let Connection { handle, core } = &*self.0;
        let directory = self.directory(code)?;
        handle
            .core()
            .post(core, code, directory.as_ref(), payload, options)
    }

    /// Calls, and drives the transport for up to `spin` while waiting: the shortest way there is.
    ///
    /// A value is shown to `accept`; if that returns true the call is over and `None` is returned. In every other case the
    /// call is returned, finished or not: also while there is output to take, which comes before the value.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub fn call_and_spin(
        &self,
        code: &Code,
        payload: &[Segment<'static>],
        options: &CallOptions,
        spin: Duration,
        accept: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<Call<F>>, ClientError> {
        let Connection { handle, core } = &*self.0;
        let client = handle.core();
        let directory = self.directory(code)?;
        let directory = directory.as_ref();
        client.flush_posts(core)?;
        let slot = client.begin(core, Kind::Call, Some(code), directory, payload, options)?;
        let state = if spin.is_zero() {
            slot.state()
        } else {
            client.spin(slot, core.peer, spin)
        };
        match state {
            CallState::Value => {
                let inner = slot.inner.lock();
                if matches!(inner.ending, Some(Ending::Value))
                    && !client.output.is_waiting()
                    && accept(inner.bytes.as_slice())
                {
                    client.free(slot, inner);
                    return Ok(None);
                }
            }
            // The helper takes over.
            CallState::Pending => client.hand_over(),
            CallState::Throw | CallState::Error => {}
        }
        Ok(Some(Call::new(Arc::clone(handle), slot.index)))
    }

    /// What a call of this code has to have with it if it may hop.
    fn directory(&self, code: &Code) -> Result<Option<Arc<Directory>>, ClientError> {
        if code.hops() {
            self.0.handle.directory().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The node's number in code that hops, from 1: its place among the client's sessions that are open, in the order in
    /// which they were opened. `None` once the session is over.
    pub fn number(&self) -> Option<u32> {
        let sessions = self.0.handle.core().sessions.read();
        let place = sessions.iter().position(|it| Arc::ptr_eq(it, &self.0.core));
        place.map(|place| place as u32 + 1)
    }

    /// Asks the node for a sign of life over the data plane.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub fn ping(&self, options: &CallOptions) -> Result<Call<F>, ClientError> {
        self.ask(Kind::Ping, &[], options)
    }

    /// The client and the session's shared part.
    pub(crate) fn parts(&self) -> (&Core<F>, &Arc<SessionCore>) {
        (self.0.handle.core(), &self.0.core)
    }

    /// Sends a frame with a short payload that the node answers.
    pub(crate) fn ask(
        &self,
        kind: Kind,
        payload: &[Segment<'static>],
        options: &CallOptions,
    ) -> Result<Call<F>, ClientError> {
        let Connection { handle, core } = &*self.0;
        let slot = handle
            .core()
            .begin(core, kind, None, None, payload, options)?;
        Ok(Call::new(Arc::clone(handle), slot.index))
    }

    /// Begins to count anew.
    pub(crate) fn forget_stats(&self) {
        *self.0.core.stats.lock() = SessionStats::default();
    }

    /// What the thread that watches the control channel holds: not the client, so that it keeps nobody alive.
    pub(crate) fn watched(&self) -> (Weak<Core<F>>, Arc<SessionCore>) {
        let Connection { handle, core } = &*self.0;
        (handle.downgrade(), Arc::clone(core))
    }

    /// What the node said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.0.core.welcome
    }

    /// The node's address, as it was connected to.
    pub fn address(&self) -> &str {
        &self.0.core.address
    }

    /// The node's name in messages.
    pub fn name(&self) -> &str {
        &self.0.core.name
    }

    /// The transport that was really chosen to this node, for people.
    pub fn transport(&self) -> String {
        self.0.handle.core().fabric.describe_peer(self.0.core.peer)
    }

    /// Whether calls can be made.
    pub fn is_open(&self) -> bool {
        self.0.core.check_open().is_ok()
    }

    /// Closes the session: pending calls fail. Closing again does nothing.
    pub fn close(&self) {
        let reason = ClientError::SessionClosed(self.0.core.name.clone());
        self.0.handle.core().fail_session(&self.0.core, reason);
    }

    /// Why the session is not open any more.
    pub fn failure(&self) -> Option<ClientError> {
        self.0.core.failure.get().cloned()
    }

    /// Counters.
    pub fn stats(&self) -> SessionStats {
        *self.0.core.stats.lock()
    }
}
