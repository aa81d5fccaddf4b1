//! The supervisor: the control plane. It listens, authenticates, hands origins to the engine, and decides when to stop.
//!
//! It meets the engine in messages alone (`message.rs`). One thread accepts, one per origin holds its control channel (and
//! one per link to another node, see `supervisor/links.rs`), and [`Supervisor::run`] itself waits for what happens:
//! messages of the engine, signals, the end of standard input.

mod handshakes;
mod links;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use bitcode_transport::control::{self, Arrived, Channel, Closer, ControlError};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::handshake::{Hello, Welcome};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::counters::Rarely;
use crate::key::Key;
use crate::message::{FromEngine, ToEngine};
use crate::{Opened, Opening};

use handshakes::{Handshakes, UnderWay};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the engine may take to open a session.
const OPENING: Duration = Duration::from_secs(10);
/// Stack of a thread that holds a control channel.
const CHANNEL_STACK: usize = 512 << 10;

/// What can happen to a supervisor.
pub enum Happening {
    /// The engine says something.
    Engine(FromEngine),
    /// The process got a signal that asks it to end.
    Signal(i32),
    /// Standard input has ended: the parent is gone.
    InputEnded,
}

/// See the module's documentation.
pub struct Supervisor {
    listener: TcpListener,
    shared: Arc<Shared>,
    happenings: Receiver<Happening>,
    happen: Sender<Happening>,
}

/// A session, or why there is none.
type Taken = Result<Opened, (ErrorCode, String)>;

struct Shared {
    key: Option<Key>,
    /// What every origin is told; the session's own fields are filled in for each.
    welcome: Welcome,
    to_engine: Mutex<Sender<ToEngine>>,
    /// Who waits for the engine's answer to which ticket.
    tickets: Mutex<HashMap<u64, SyncSender<Taken>>>,
    next_ticket: AtomicU64,
    /// The control channels of sessions.
    channels: Mutex<HashMap<u32, ChannelOf>>,
    /// The control channels of links to other nodes.
    links: Mutex<HashMap<u16, Closer>>,
    handshakes: Arc<Handshakes>,
    stopping: AtomicBool,
    crowded: Rarely,
    failed: Rarely,
}

impl Supervisor {
    /// Binds to the first of the addresses that can be had. Nobody is served before [`Supervisor::run`].
    ///
    /// # Errors
    /// The system's, when none can be had.
    pub fn bind(
        listen: &[SocketAddr],
        key: Option<Key>,
        welcome: Welcome,
        to_engine: Sender<ToEngine>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let (happen, happenings) = channel();
        let shared = Shared {
            key,
            welcome,
            to_engine: Mutex::new(to_engine),
            tickets: Mutex::new(HashMap::new()),
            next_ticket: AtomicU64::new(0),
            channels: Mutex::new(HashMap::new()),
            links: Mutex::new(HashMap::new()),
            handshakes: Arc::default(),
            stopping: AtomicBool::new(false),
            crowded: Rarely::default(),
            failed: Rarely::default(),
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
            happenings,
            happen,
        })
    }

    /// The address that it really listens on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where to say what happens.
    pub fn happenings(&self) -> Sender<Happening> {
        self.happen.clone()
    }

    /// Serves until it is told to stop and the engine has stopped. Returns whether everything that ran came to its end.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn run(self, grace: Duration) -> std::io::Result<bool> {
        let Self {
            listener,
            shared,
            happenings,
            happen,
        } = self;
        drop(happen);
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("bitcode-accept".into())
            .stack_size(CHANNEL_STACK)
            .spawn(move || accept(&listener, &accepting))?;
        for happening in happenings {
            match happening {
                Happening::Engine(message) => {
                    if let ControlFlow::Break(clean) = shared.hear(message) {
                        return Ok(clean);
                    }
                }
                Happening::Signal(number) => {
                    info!(signal = number, "told to stop");
                    shared.stop(grace);
                }
                Happening::InputEnded => {
                    info!("standard input ended");
                    shared.stop(Duration::ZERO);
                }
            }
        }
        // Nobody is left who could say anything: the engine is gone without a word.
        shared.close_channels();
        Ok(false)
    }
}

impl Shared {
    fn tell_engine(&self, message: ToEngine) {
        if self.to_engine.lock().send(message).is_err() {
            debug!("the engine is gone");
        }
    }

    fn stop(&self, grace: Duration) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            self.tell_engine(ToEngine::Stop { grace });
        }
    }

    fn close_channels(&self) {
        for (_, closer) in self.links.lock().drain() {
            closer.close();
        }
        for (_, channel) in self.channels.lock().drain() {
            if let ChannelOf::Session(closer) = channel {
                closer.close();
            }
        }
    }

    /// What the engine says. Breaks when it has stopped, with whether everything that ran came to its end.
    fn hear(self: &Arc<Self>, message: FromEngine) -> ControlFlow<bool> {
        match message {
            FromEngine::Opened { ticket, opened } => {
                // Here, so that it stands before the engine can say that the session is lost.
                let session = opened.session;
                self.channels.lock().insert(session, ChannelOf::Opening);
                self.answer(ticket, Ok(opened));
            }
            FromEngine::Refused {
                ticket,
                code,
                message,
            } => self.answer(ticket, Err((code, message))),
            FromEngine::Lost { session } => self.lost(session),
            FromEngine::Link {
                link,
                place,
                address,
            } => self.begin_link(link, place, address),
            FromEngine::Unlink { link } => {
                let known = self.links.lock().remove(&link);
                known.iter().for_each(Closer::close);
            }
            FromEngine::Stopped { clean } => {
                self.close_channels();
                return ControlFlow::Break(clean);
            }
        }
        ControlFlow::Continue(())
    }

    /// The engine's answer to whoever asked it to take an origin in.
    fn answer(&self, ticket: u64, answer: Taken) {
        let waiting = self.tickets.lock().remove(&ticket);
        let heard = waiting.is_some_and(|waiting| waiting.try_send(answer.clone()).is_ok());
        if let (Ok(Opened { session, .. }), false) = (answer, heard) {
            // Whoever asked has given up meanwhile.
            self.channels.lock().remove(&session);
            let reason = "the handshake was given up".into();
            self.tell_engine(ToEngine::Close { session, reason });
        }
    }

    /// Asks the engine to take an origin in.
    fn open(&self, opening: Opening) -> Taken {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = sync_channel(1);
        self.tickets.lock().insert(ticket, answer);
        self.tell_engine(ToEngine::Open { ticket, opening });
        answered.recv_timeout(OPENING).unwrap_or_else(|_| {
            if self.tickets.lock().remove(&ticket).is_none()
                && let Ok(answer) = answered.try_recv()
            {
                return answer; // At the last moment.
            }
            let message = "the node's engine does not answer".to_owned();
            Err((ErrorCode::INTERNAL, message))
        })
    }

    /// The engine has given a session up: its channel is closed, at the latest when it is here.
    fn lost(&self, session: u32) {
        // A session whose channel has ended is not there any more.
        if let Some(channel) = self.channels.lock().get_mut(&session)
            && let ChannelOf::Session(closer) = std::mem::replace(channel, ChannelOf::Lost)
        {
            closer.close();
        }
    }

    /// The whole life of a connection.
    fn serve(&self, stream: TcpStream, peer: SocketAddr, under_way: UnderWay) {
        let key = self.key.as_ref().map(Key::bytes);
        let arrived = control::accept(stream, key, HANDSHAKE);
        // Whoever has come so far holds the key.
        drop(under_way);
        let ready = arrived
            .map_err(HandshakeError::from)
            .and_then(|arrived| self.take_in(arrived, peer));
        let (session, mut channel) = match ready {
            Ok(ready) => ready,
            Err(error) => {
                if self.failed.now() {
                    warn!(%peer, %error, "handshake failed");
                } else {
                    debug!(%peer, %error, "handshake failed");
                }
                return;
            }
        };
        let closer = channel.closer();
        let opening = self
            .channels
            .lock()
            .insert(session, ChannelOf::Session(closer.clone()));
        if !matches!(opening, Some(ChannelOf::Opening)) {
            closer.close();
        }
        let reason = channel.wait_for_end().to_string();
        self.channels.lock().remove(&session);
        self.tell_engine(ToEngine::Close { session, reason });
    }

    /// Opens a session for whoever has arrived, and tells them.
    fn take_in(
        &self,
        arrived: Arrived,
        peer: SocketAddr,
    ) -> Result<(u32, Channel), HandshakeError> {
        let Hello {
            version,
            hostname,
            pid,
            epoch,
            ..
        } = &arrived.hello;
        let name = format!("{peer} ({version}, pid {pid} on {hostname})");
        let epoch = *epoch;
        let opening = Opening {
            keys: arrived.keys.clone(),
            address: arrived.hello.worker_address.clone(),
            epoch,
            name,
        };
        let Opened { session, address } = match self.open(opening) {
            Ok(opened) => opened,
            Err((code, message)) => {
                arrived.refuse(code, &message)?;
                return Err(HandshakeError::Refused(message));
            }
        };
        let welcome = Welcome {
            session,
            origin: session,
            worker_address: address,
            epoch,
            ..self.welcome.clone()
        };
        let welcomed = arrived.welcome(welcome);
        if let Err(error) = &welcomed {
            let reason = error.to_string();
            self.channels.lock().remove(&session);
            self.tell_engine(ToEngine::Close { session, reason });
        }
        Ok((session, welcomed?))
    }
}

/// How far a session's control channel is.
enum ChannelOf {
    /// Not here yet.
    Opening,
    /// Here.
    Session(Closer),
    /// The engine has lost the session, and its channel is about to end.
    Lost,
}

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("{0}")]
    Control(#[from] ControlError),
    #[error("refused: {0}")]
    Refused(String),
}

/// Accepts connections until the process ends.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let arrived = stream.and_then(|stream| Ok((stream.peer_addr()?, stream)));
        let (peer, stream) = match arrived {
            Ok(arrived) => arrived,
            Err(error) => {
                // Out of file descriptors, most likely: others may close some.
                if shared.failed.now() {
                    warn!(%error, "cannot accept a connection");
                }
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        if shared.stopping.load(Ordering::SeqCst) {
            continue;
        }
        let begun = match shared.handshakes.begin(&stream) {
            Ok(begun) => begun,
            Err(error) => {
                warn!(%peer, %error, "cannot serve a connection");
                continue;
            }
        };
        if begun.crowded && shared.crowded.now() {
            let most = handshakes::MOST;
            warn!(most, "too many handshakes at once: the oldest is closed");
        }
        let serving = Arc::clone(shared);
        let spawned = std::thread::Builder::new()
            .name("bitcode-origin".into())
            .stack_size(CHANNEL_STACK)
            .spawn(move || serving.serve(stream, peer, begun.under_way));
        if let Err(error) = spawned {
            warn!(%peer, %error, "no thread for a connection");
        }
    }
}
