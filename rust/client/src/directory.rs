//! Directories: the client's nodes by numbers, for calls that may hop (docs/WIRE.md, *Hops*).
//!
//! A directory is made when a call that may hop finds that the nodes are not those of the last one, and told to all
//! of them. It never changes, so calls under way keep the numbers that they began with.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bitcode_transport::{Body, Fabric, HeaderBytes, Segment};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{Directory as Told, Header, Kind};

use crate::call::{Call, Outcome};
use crate::client::Handle;
use crate::core::Core;
use crate::deliver::remote_error;
use crate::session::SessionCore;
use crate::slot::Ending;
use crate::{CallOptions, ClientError};

/// How long the nodes may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a directory is made anew because its id was in use or nodes came and went meanwhile.
const ATTEMPTS: usize = 8;

/// How many directories calls may be under way with. Nodes keep 64, and it does not matter to them that one was told in vain.
const KEPT: usize = 60;

/// The nodes that a call may hop to.
pub(crate) struct Directory {
    pub(crate) id: u32,
    /// Node `i + 1` is that of the session at `i`.
    sessions: Vec<Arc<SessionCore>>,
}

impl Directory {
    /// Whether the session is with one of the nodes.
    pub(crate) fn holds(&self, session: &Arc<SessionCore>) -> bool {
        self.sessions.iter().any(|it| Arc::ptr_eq(it, session))
    }

    /// The nodes by their numbers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (u32, &Arc<SessionCore>)> {
        (1..).zip(&self.sessions)
    }

    /// The number of a session's node.
    pub(crate) fn number_of(&self, session: &Arc<SessionCore>) -> Option<u32> {
        let mut nodes = self.nodes();
        nodes.find_map(|(node, it)| Arc::ptr_eq(it, session).then_some(node))
    }

    /// The session that a frame claims to be of. (Nodes number sessions by themselves, we number epochs: together they
    /// are unique.)
    pub(crate) fn speaker(&self, header: &Header) -> Option<&Arc<SessionCore>> {
        let mut sessions = self.sessions.iter();
        sessions.find(|it| it.id == header.session && it.epoch == header.epoch)
    }

    fn is_of(&self, sessions: &[Arc<SessionCore>]) -> bool {
        self.sessions.len() == sessions.len()
            && std::iter::zip(&self.sessions, sessions).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

/// A directory on its way to the nodes. They know it once [`Telling::settle`] says so.
pub struct Telling<F: Fabric + 'static> {
    handle: Arc<Handle<F>>,
    directory: Arc<Directory>,
    calls: Vec<(Arc<SessionCore>, Call<F>)>,
}

impl<F: Fabric> Handle<F> {
    /// The directory of the present nodes, which all of them know.
    pub(crate) fn directory(self: &Arc<Self>) -> Result<Arc<Directory>, ClientError> {
        let core = self.core();
        if let Some(directory) = core.directory.current() {
            return Ok(directory);
        }
        let _one_at_a_time = core.directory.telling.lock();
        for _ in 0..ATTEMPTS {
            if let Some(directory) = core.directory.current() {
                return Ok(directory);
            }
            self.tell_nodes()?.settle(PATIENCE)?;
        }
        Err(ClientError::Internal(
            "the nodes could not agree on a directory".into(),
        ))
    }

    /// Tells all nodes of each other.
    pub(crate) fn tell_nodes(self: &Arc<Self>) -> Result<Telling<F>, ClientError> {
        let core = self.core();
        let directory = Directory {
            // Keys at random, drawn anew by each process.
            id: RandomState::new().build_hasher().finish() as u32,
            sessions: core.sessions.read().clone(),
        };
        let mut telling = Telling {
            handle: Arc::clone(self),
            directory: Arc::new(directory),
            calls: Vec::new(),
        };
        if let Some(old) = core.directory.tell(&telling.directory) {
            core.give_up_hops(&old, || {
                ClientError::Remote {
                    code: ErrorCode::UNREACHABLE,
                    message: format!(
                        "the nodes have changed {KEPT} times since the call was made, and have forgotten which ones it may hop to"
                    ),
                }
            });
        }
        let sessions = &telling.directory.sessions;
        let nodes: Vec<_> = sessions.iter().map(|it| it.address().to_owned()).collect();
        for (index, session) in sessions.iter().enumerate() {
            let told = Told {
                here: index as u32 + 1,
                nodes: nodes.clone(),
            };
            let payload = told.encode().map_err(|error| {
                ClientError::TooLarge(format!("too many nodes for code that hops: {error}"))
            })?;
            let payload = Segment::shared(Arc::new(payload));
            let slot = core.begin(
                session,
                Kind::Directory,
                None,
                Some(&telling.directory),
                &[payload],
                &CallOptions::default(),
            );
            match slot {
                Ok(slot) => {
                    let call = Call::new(Arc::clone(self), slot.index);
                    telling.calls.push((Arc::clone(session), call));
                }
                // One that has just died will be missed in a moment.
                Err(_) if session.check_open().is_err() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(telling)
    }
}

impl<F: Fabric> Telling<F> {
    /// Waits for the nodes' answers. From then on the directory is in use, unless nodes came or went meanwhile or its id
    /// was another's: then it is to be done again.
    ///
    /// # Errors
    /// A node refuses the directory, or does not answer within `patience`.
    pub fn settle(self, patience: Duration) -> Result<(), ClientError> {
        let end = Instant::now() + patience;
        for (session, call) in &self.calls {
            call.wait(Some(end.saturating_duration_since(Instant::now())));
            match call.outcome() {
                Some(Outcome::Value(_)) => {}
                Some(Outcome::Error(ClientError::Remote { code, .. }))
                    if *code == ErrorCode::UNSUPPORTED =>
                {
                    return Ok(());
                }
                Some(Outcome::Error(ClientError::Remote { code, message })) => {
                    return Err(ClientError::Remote {
                        code: *code,
                        message: message.clone(),
                    });
                }
                None => {
                    return Err(ClientError::Timeout(format!(
                        "{} does not answer; a call that may hop needs all nodes (close those that do not answer)",
                        session.name
                    )));
                }
                // It is gone, and not among the nodes any more.
                Some(_) => return Ok(()),
            }
        }
        let core = self.handle.core();
        let sessions = core.sessions.read();
        if self.directory.is_of(&sessions) {
            // With the sessions locked: whoever changes them forgets the directory afterwards.
            core.directory.set(Some(Arc::clone(&self.directory)));
        }
        Ok(())
    }
}

impl<F: Fabric> Core<F> {
    /// A node has lost a link that calls with a directory of ours have used: each of them may have been on it. `false` if no
    /// node of ours says so.
    pub(crate) fn hops_lost(&self, bytes: &HeaderBytes, body: &Body) -> bool {
        let Some((session, header)) = self.speaks_in(bytes, body.len()) else {
            return false;
        };
        let directory = self.directory.told(header.origin);
        match directory.filter(|it| it.holds(&session)) {
            Some(directory) => self.give_up_hops(&directory, || remote_error(body.bytes())),
            // It has let go of its last call.
            None => session.stats.lock().dropped_frames += 1,
        }
        true
    }

    /// Ends the calls under way that may hop by this directory.
    fn give_up_hops(&self, directory: &Directory, reason: impl Fn() -> ClientError) {
        for slot in self.slab.iter() {
            let inner = slot.inner.lock();
            if inner.hops_by(directory.id) {
                self.end(slot, inner, Ending::Error(reason()));
            }
        }
    }
}

/// The directory in use.
#[derive(Default)]
pub(crate) struct CurrentDirectory {
    current: parking_lot::RwLock<Option<Arc<Directory>>>,
    /// What the nodes have been told, the oldest first; only those live that are in use, or that calls are under way with.
    told: parking_lot::Mutex<VecDeque<Weak<Directory>>>,
    telling: parking_lot::Mutex<()>,
}

impl CurrentDirectory {
    fn current(&self) -> Option<Arc<Directory>> {
        self.current.read().clone()
    }

    fn set(&self, directory: Option<Arc<Directory>>) {
        *self.current.write() = directory;
    }

    /// Notes what the nodes are told. Returns a directory that they forget for it, if there are calls under way with it.
    fn tell(&self, directory: &Arc<Directory>) -> Option<Arc<Directory>> {
        let mut told = self.told.lock();
        told.push_back(Arc::downgrade(directory));
        let oldest = (told.len() > KEPT).then(|| told.pop_front());
        oldest.flatten()?.upgrade()
    }

    /// The directory of this id, if it is alive.
    fn told(&self, id: u32) -> Option<Arc<Directory>> {
        let told = self.told.lock();
        let mut alive = told.iter().filter_map(Weak::upgrade);
        alive.find(|it| it.id == id)
    }

    /// The nodes are others now.
    pub(crate) fn forget(&self) {
        self.set(None);
    }
}
