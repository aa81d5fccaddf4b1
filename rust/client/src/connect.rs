//! Connecting: the control channel's handshake, and the thread that notices the node's end.
//!
//! The control channel stays open as long as the session does. Its end is the quickest sign that a process died: the
//! kernel closes it, whatever happened to the process.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bitcode_transport::Fabric;
use bitcode_transport::control::{self, ControlError, EndReason};
use bitcode_wire::handshake::{Hello, Role};

use crate::ClientError;
use crate::call::Outcome;
use crate::client::Client;
use crate::core::Core;
use crate::session::{CallOptions, Session, SessionCore, Terms};

/// The most polls, of many frames each, for what a node sent before its end.
const LAST_POLLS: usize = 1024;
/// What may stand before an address.
const SCHEME: &str = "bitcode://";

impl<F: Fabric> Client<F> {
    /// Connects to the node at `address` (`host:port`, with or without `bitcode://` in front).
    ///
    /// # Errors
    /// Why it did not work, and what to do about it.
    pub fn connect(
        &self,
        address: &str,
        key: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Session<F>, ClientError> {
        let address = address.strip_prefix(SCHEME).unwrap_or(address);
        let address = address.strip_suffix('/').unwrap_or(address);
        let end = Instant::now() + timeout;
        let way = self.way_in()?;
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            role: Role::Origin,
            pid: std::process::id(),
            hostname: hostname(),
            arch: std::env::consts::ARCH.into(),
            worker_address: way.address().to_vec(),
            transport: self.fabric().describe(),
            // All sessions of a client differ in it, which tells answers apart that come from several nodes.
            epoch: self.next_epoch(),
        };
        let connected = control::connect(address, key, &hello, timeout)
            .map_err(|error| explain(address, &error))?;
        let mut channel = connected.channel;
        let closer = channel.closer();
        let session = self.open(
            way,
            Terms {
                keys: connected.keys,
                welcome: connected.welcome,
                address: address.to_owned(),
                hang_up: Some(Box::new(move || closer.close())),
            },
        )?;
        let (core, watched) = session.watched();
        let spawned = std::thread::Builder::new()
            .name("bitcode-liveness".into())
            .stack_size(256 << 10)
            .spawn(move || ended(&core, &watched, &channel.wait_for_end()));
        spawned
            .map_err(|error| ClientError::Transport(format!("no thread for a session: {error}")))?;
        greet(&session, end)?;
        Ok(session)
    }
}

/// One round trip on the data plane: a session whose frames do not get through is none. It also sees to it that both ends
/// have wired up; UCX 1.13 aborts the process if an endpoint over TCP is destroyed before it has.
fn greet<F: Fabric>(session: &Session<F>, end: Instant) -> Result<(), ClientError> {
    let left = end.saturating_duration_since(Instant::now());
    let ping = session.ping(&CallOptions::default())?;
    ping.wait(Some(left));
    match ping.outcome() {
        Some(Outcome::Error(error)) => Err(error.clone()),
        Some(_) => {
            session.forget_stats();
            Ok(())
        }
        None => Err(ClientError::Timeout(format!(
            "{} was reached over TCP, but frames over {} do not come back; do both sides allow a transport in common?",
            session.name(),
            session.transport()
        ))),
    }
}

/// The control channel has ended.
fn ended<F: Fabric>(core: &Weak<Core<F>>, session: &Arc<SessionCore>, reason: &EndReason) {
    let Some(core) = core.upgrade() else { return };
    if *reason == EndReason::ClosedHere {
        return;
    }
    // What the node sent before its end counts: an answer may be here and not have been looked at yet. Of this node alone,
    // and not for ever: others may go on sending.
    for _ in 0..LAST_POLLS {
        if core.poll_peer(session.peer) == 0 {
            break;
        }
    }
    let sentence = match reason {
        EndReason::PeerClosed => format!("{} closed the session: it was stopped", session.name),
        other => format!("{} died: {other}", session.name),
    };
    core.fail_session(session, ClientError::PeerDied(sentence));
}

/// An error of the handshake in the client's words.
fn explain(address: &str, error: &ControlError) -> ClientError {
    let text = format!("cannot connect to {address}: {error}");
    match error {
        ControlError::Unreachable { .. } | ControlError::Closed { .. } => {
            ClientError::ConnectRefused(text)
        }
        ControlError::WrongKey | ControlError::Forged => ClientError::AuthFailed(text),
        ControlError::KeyRequired
        | ControlError::KeyUnexpected
        | ControlError::KeyNeeded { .. } => ClientError::KeyRequired(text),
        ControlError::Version(_) => ClientError::VersionMismatch(text),
        ControlError::Timeout { .. } => ClientError::Timeout(text),
        ControlError::Refused(refusal) => ClientError::Remote {
            code: refusal.code,
            message: format!("{address} refused the session: {}", refusal.message),
        },
        ControlError::TooLarge(_) => ClientError::BadArgument(text),
        ControlError::Cipher { .. } => ClientError::Internal(text),
        _ => ClientError::Transport(text),
    }
}

/// The host's name, for the node's log.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}
