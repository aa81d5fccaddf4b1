//! The sessions that the data plane believes, found by number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcode_transport::PeerId;
use bitcode_wire::frame::SessionKeys;
use parking_lot::{Mutex, RwLock};

use super::output::Outflow;

/// The most sessions at once: what the lower half of a session number can tell apart.
pub(crate) const MAX_SESSIONS: usize = 0xFFFF;

/// One session as the data plane sees it.
pub(crate) struct SessionEntry {
    pub(crate) id: u32,
    pub(crate) epoch: u16,
    pub(crate) peer: PeerId,
    pub(crate) keys: SessionKeys,
    /// For messages: where the origin is.
    pub(crate) name: String,
    pub(crate) outflow: Outflow,
    /// The ids of its directories, the oldest first.
    pub(crate) directories: Mutex<VecDeque<u32>>,
    closed: AtomicBool,
}

impl SessionEntry {
    /// Whether the session is over; nothing is sent to it then, and nothing believed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// All open sessions.
pub(crate) struct SessionTable {
    places: RwLock<Vec<Place>>,
}

#[derive(Default)]
struct Place {
    /// Sessions that had this place before, so that numbers are not used again soon.
    generation: u16,
    session: Option<Arc<SessionEntry>>,
}

impl SessionTable {
    pub(crate) fn new() -> Self {
        Self {
            places: RwLock::new(Vec::new()),
        }
    }

    /// Takes a session in and gives it a number, never 0. `None` if there are too many.
    pub(crate) fn insert(
        &self,
        peer: PeerId,
        keys: SessionKeys,
        epoch: u16,
        name: String,
    ) -> Option<Arc<SessionEntry>> {
        let mut places = self.places.write();
        let free = places.iter().position(|place| place.session.is_none());
        let index = free.unwrap_or(places.len());
        if index >= MAX_SESSIONS {
            return None;
        }
        if index == places.len() {
            places.push(Place::default());
        }
        let place = &mut places[index];
        place.generation = place.generation.wrapping_add(1);
        let id = u32::from(place.generation) << 16 | (index as u32 + 1);
        let session = Arc::new(SessionEntry {
            id,
            epoch,
            peer,
            keys,
            name,
            outflow: Outflow::default(),
            directories: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        place.session = Some(Arc::clone(&session));
        Some(session)
    }

    /// The open session with this number.
    pub(crate) fn get(&self, id: u32) -> Option<Arc<SessionEntry>> {
        let index = (id & 0xFFFF).checked_sub(1)? as usize;
        let places = self.places.read();
        let session = places.get(index)?.session.as_ref()?;
        (session.id == id).then(|| Arc::clone(session))
    }

    /// Closes a session and forgets it.
    pub(crate) fn remove(&self, id: u32) -> Option<Arc<SessionEntry>> {
        let index = (id & 0xFFFF).checked_sub(1)? as usize;
        let mut places = self.places.write();
        let place = &mut places.get_mut(index)?.session;
        let session = place.take_if(|session| session.id == id)?;
        session.closed.store(true, Ordering::Relaxed);
        session.outflow.close();
        Some(session)
    }

    /// The session whose frames go to this peer.
    pub(crate) fn of_peer(&self, peer: PeerId) -> Option<Arc<SessionEntry>> {
        let places = self.places.read();
        let mut sessions = places.iter().filter_map(|place| place.session.as_ref());
        sessions.find(|session| session.peer == peer).cloned()
    }

    /// Number of open sessions.
    pub(crate) fn len(&self) -> usize {
        let places = self.places.read();
        places
            .iter()
            .filter(|place| place.session.is_some())
            .count()
    }
}
