//! The client: one fabric, its sessions, and the helper thread that drives it while nobody else does.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcode_transport::{Fabric, PeerId};
use parking_lot::Mutex;

use crate::core::Core;
use crate::session::{Session, SessionCore, Terms};
use crate::{ClientError, Code, Output, OutputNotify, Telling};

/// How long the helper goes on driving after the last delivery before it sleeps.
const HELPER_SPIN: Duration = Duration::from_micros(20);
/// How often the helper looks for calls whose deadline has passed, when there are any with one.
const DEADLINE_TICK: Duration = Duration::from_millis(2);
/// How long [`Client::shut_down`] waits for sends to end that nobody wants any more.
const LAST_SENDS: Duration = Duration::from_secs(1);
/// How long the helper sleeps when there is nothing to watch.
const LONG_SLEEP: Duration = Duration::from_secs(1);

/// One fabric with its sessions. Cheap to clone. What was made from it keeps it alive.
pub struct Client<F: Fabric + 'static>(Arc<Handle<F>>);

impl<F: Fabric> Clone for Client<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What clients, sessions and calls hold. Its end is the helper's end.
pub(crate) struct Handle<F: Fabric + 'static> {
    core: Arc<Core<F>>,
    helper: Mutex<Option<JoinHandle<()>>>,
}

/// The way in for a node that there is no session with yet. Dropping it gives it up.
pub struct WayIn<F: Fabric + 'static> {
    handle: Arc<Handle<F>>,
    peer: PeerId,
    address: Vec<u8>,
    used: bool,
}

impl<F: Fabric> WayIn<F> {
    /// What the node is to be told: where to send its frames.
    pub fn address(&self) -> &[u8] {
        &self.address
    }
}

impl<F: Fabric> Drop for WayIn<F> {
    fn drop(&mut self) {
        if !self.used {
            self.handle.core.fabric.remove_peer(self.peer);
        }
    }
}

impl<F: Fabric> Handle<F> {
    pub(crate) fn core(&self) -> &Core<F> {
        &self.core
    }

    pub(crate) fn downgrade(&self) -> Weak<Core<F>> {
        Arc::downgrade(&self.core)
    }
}

impl<F: Fabric> Handle<F> {
    fn stop_helper(&self) {
        self.core.stop.store(true, Ordering::Release);
        self.core.fabric.wake();
        let helper = self.helper.lock().take();
        if let Some(helper) = helper
            && helper.thread().id() != std::thread::current().id()
        {
            // A helper that panicked has already said so.
            let _ = helper.join();
        }
    }
}

impl<F: Fabric> Drop for Handle<F> {
    fn drop(&mut self) {
        self.stop_helper();
    }
}

impl<F: Fabric> Client<F> {
    /// A client over this fabric, with its helper thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(fabric: F) -> Result<Self, ClientError> {
        let client = Self::without_helper(fabric);
        let core = Arc::clone(&client.0.core);
        let helper = std::thread::Builder::new()
            .name("bitcode-helper".into())
            .stack_size(256 << 10)
            .spawn(move || help(&core))
            .map_err(|error| {
                ClientError::Transport(format!("no thread for the client: {error}"))
            })?;
        *client.0.helper.lock() = Some(helper);
        Ok(client)
    }

    /// A client that nobody drives but its callers, through [`Client::poll`]: for tests with a virtual clock.
    pub fn without_helper(fabric: F) -> Self {
        Self(Arc::new(Handle {
            core: Arc::new(Core::new(fabric)),
            helper: Mutex::new(None),
        }))
    }

    /// The fabric.
    pub fn fabric(&self) -> &F {
        &self.0.core.fabric
    }

    /// Makes code of an archive: checks its form and computes its id.
    ///
    /// # Errors
    /// It is no archive, or links to other code: then see [`Client::linked_code`].
    pub fn code(&self, archive: Vec<u8>) -> Result<Code, ClientError> {
        self.linked_code(archive, &[])
    }

    /// The same for an archive that links to other code (docs/ARCHIVE.md, "Links"), which is among `links`. Nodes that lack it are given it.
    ///
    /// # Errors
    /// It is no archive, or code that it links to is missing.
    pub fn linked_code(&self, archive: Vec<u8>, links: &[Code]) -> Result<Code, ClientError> {
        // Beyond the last number codes are simply never known to be anywhere.
        let number = self.0.core.codes.fetch_add(1, Ordering::Relaxed);
        Code::new(archive, number, links)
    }

    /// Ends the client for good: closes its sessions, which fails their pending calls, and ends the helper thread. After
    /// this no thread of the client touches the fabric, which matters when the process is about to exit.
    pub fn shut_down(&self) {
        let core = self.0.core();
        core.stop.store(true, Ordering::Release);
        let sessions = core.sessions.read().clone();
        for session in sessions {
            let reason = ClientError::SessionClosed(session.name.clone());
            core.fail_session(&session, reason);
        }
        self.0.stop_helper();
        // Sends under way end with the removal of their peers; whoever waits for their memory learns of it here.
        let end = Instant::now() + LAST_SENDS;
        while core.fabric.pending_sends() > 0 && Instant::now() < end {
            core.poll();
        }
    }

    /// The number of the next connection.
    pub(crate) fn next_epoch(&self) -> u16 {
        let before = self.0.core.connections.fetch_add(1, Ordering::Relaxed);
        before.wrapping_add(1)
    }

    /// Makes a way in for a node.
    ///
    /// # Errors
    /// The transport's.
    pub fn way_in(&self) -> Result<WayIn<F>, ClientError> {
        let (peer, address) = self.fabric().open_peer()?;
        Ok(WayIn {
            handle: Arc::clone(&self.0),
            peer,
            address,
            used: false,
        })
    }

    /// Opens a session on terms that were agreed on elsewhere, with a node that was given the address of `way`.
    ///
    /// # Errors
    /// The node's address is of no use here.
    pub fn open(&self, mut way: WayIn<F>, terms: Terms) -> Result<Session<F>, ClientError> {
        let core = self.0.core();
        if core.stop.load(Ordering::Acquire) {
            return Err(ClientError::SessionClosed(terms.address));
        }
        core.fabric
            .connect_peer(way.peer, &terms.welcome.worker_address)?;
        let session = SessionCore::new(terms, way.peer, core.fabric.max_body() as u64);
        let session = Arc::new(session);
        way.used = true;
        core.sessions.write().push(Arc::clone(&session));
        core.directory.forget();
        Ok(Session::new(Arc::clone(&self.0), session))
    }

    /// Tells all nodes of each other, as the first call that may hop would do by itself: for tests with a virtual clock.
    ///
    /// # Errors
    /// There are too many nodes.
    pub fn tell_nodes(&self) -> Result<Telling<F>, ClientError> {
        self.0.tell_nodes()
    }

    /// Has `notify` called whenever shipped code of any session has printed something and all that was printed before was
    /// taken; at once if there is something.
    pub fn notify_output(&self, notify: Option<OutputNotify>) {
        self.0.core.output.set_notify(notify);
    }

    /// The oldest piece of output that was not taken yet, if `wanted` wants it; else it stays.
    pub fn take_output(&self, wanted: impl FnOnce(&Output) -> bool) -> Option<Output> {
        self.0.core.take_output(wanted)
    }

    /// Drives once: delivers what has come in. Returns the number of deliveries.
    pub fn poll(&self) -> usize {
        self.0.core.poll()
    }

    /// Fails calls whose deadline has passed at `now`.
    pub fn expire(&self, now: Instant) {
        self.0.core.expire(now);
    }

    /// Frames dropped because they named no call of this client.
    pub fn stray_frames(&self) -> u64 {
        self.0.core.stray_frames.load(Ordering::Relaxed)
    }
}

/// The helper thread: sleeps until something comes in that nobody waits for, and sees to it.
///
/// While callers drive the fabric themselves its sleeps are naps, and it must be gone at once, whether there was something to do or not: where
/// cores are few it runs on the node's, or on the caller's own, and as long as it stayed it would find something to do.
fn help<F: Fabric>(core: &Core<F>) {
    while !core.stop.load(Ordering::Acquire) {
        let watching = core.deadlines.load(Ordering::Relaxed) > 0;
        core.fabric
            .wait(if watching { DEADLINE_TICK } else { LONG_SLEEP });
        let mut last_delivery: Option<Instant> = None;
        loop {
            let delivered = core.poll() > 0;
            if core.driven.load(Ordering::Relaxed) {
                core.driven.store(false, Ordering::Relaxed);
                break;
            }
            if delivered {
                last_delivery = Some(Instant::now());
            } else if last_delivery.is_some_and(|last| last.elapsed() < HELPER_SPIN) {
                std::thread::yield_now();
            } else {
                break;
            }
        }
        core.expire(Instant::now());
    }
}
