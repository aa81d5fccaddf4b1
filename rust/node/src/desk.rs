//! The engine's desk: takes the supervisor's messages one by one and does what they say.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bitcode_transport::Fabric;
use tracing::debug;

use crate::loader::Loader;
use crate::message::{FromEngine, ToEngine};
use crate::{Engine, Pool};

/// How often the desk looks whether what runs has ended.
const LOOK: Duration = Duration::from_millis(1);
/// How often the desk looks whether memory of segments can be given back that somebody might still reach.
const SWEEP: Duration = Duration::from_millis(100);
/// How long sends may take once everything else is over.
const LAST_SENDS: Duration = Duration::from_millis(500);

/// Serves until the supervisor says stop, or is gone.
pub(crate) fn serve<F: Fabric + 'static, L: Loader>(
    engine: &Arc<Engine<F, L>>,
    pool: &mut Pool<F, L>,
    inbox: &Receiver<ToEngine>,
    outbox: &Sender<FromEngine>,
) {
    // The supervisor is gone when nobody listens; there is nobody to tell then.
    let say = |message| drop(outbox.send(message));
    loop {
        let heard = if engine.segments().is_leaving() {
            inbox.recv_timeout(SWEEP)
        } else {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let message = match heard {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                engine.sweep_segments();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match message {
            ToEngine::Open { ticket, opening } => say(match engine.open_session(opening) {
                Ok(opened) => FromEngine::Opened { ticket, opened },
                Err((code, message)) => FromEngine::Refused {
                    ticket,
                    code,
                    message,
                },
            }),
            ToEngine::Close { session, reason } => engine.close_session(session, &reason),
            ToEngine::Linked { link, terms } => engine.linked(link, terms),
            ToEngine::Unlinked { link, reason } => engine.unlinked(link, &reason),
            ToEngine::Stop { grace } => {
                let clean = stop(engine, pool, grace);
                return say(FromEngine::Stopped { clean });
            }
        }
    }
    stop(engine, pool, Duration::ZERO);
}

fn stop<F: Fabric + 'static, L: Loader>(
    engine: &Arc<Engine<F, L>>,
    pool: &mut Pool<F, L>,
    grace: Duration,
) -> bool {
    engine.stop_accepting();
    let start = Instant::now();
    while !engine.is_idle() && start.elapsed() < grace {
        std::thread::sleep(LOOK);
    }
    let clean = engine.is_idle();
    // The answers that were sent last leave while the leader still drives.
    let end = Instant::now() + LAST_SENDS;
    while engine.fabric().pending_sends() > 0 && Instant::now() < end {
        std::thread::sleep(LOOK);
    }
    let ended = pool.stop(Duration::from_millis(100));
    debug!(clean, ended, "engine stopped");
    clean && ended
}
