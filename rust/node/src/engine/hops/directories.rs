//! Directories: the nodes that origins have, by numbers.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use bitcode_wire::frame::Directory as Told;
use parking_lot::{Mutex, RwLock};

use super::links::Link;
use super::trails::Trails;
use crate::engine::sessions::SessionEntry;

/// How many directories of one session are kept: calls are under way with old ones while nodes come and go.
const KEPT: usize = 64;

/// What numbers of nodes mean to one origin's calls. Never changes.
pub(crate) struct Directory {
    pub(crate) id: u32,
    /// This node's own number.
    pub(crate) here: u32,
    /// The origin that gave it, which calls with this directory are answered to.
    pub(crate) session: Arc<SessionEntry>,
    nodes: Vec<Place>,
    /// How many calls each of the origin's calls has started from here.
    started: Mutex<HashMap<u64, u16>>,
    /// Which calls went on from here.
    pub(super) trails: Trails,
}

/// Of how many calls it is known what they have started. Of more nothing is, and then they may start so many once more.
const MOST_STARTERS: usize = 1 << 16;

/// Another node.
struct Place {
    address: String,
    /// The link to it that was used last.
    link: Mutex<Option<Arc<Link>>>,
}

impl Directory {
    /// How many nodes there are.
    pub(crate) fn len(&self) -> u32 {
        self.nodes.len() as u32
    }

    fn place(&self, node: u32) -> Option<&Place> {
        self.nodes.get((node as usize).checked_sub(1)?)
    }

    /// Where a node takes sessions. `None` if there is no node of this number.
    pub(crate) fn address(&self, node: u32) -> Option<&str> {
        Some(&self.place(node)?.address)
    }

    /// The link to a node, if one has been used and is still open.
    pub(in crate::engine) fn link(&self, node: u32) -> Option<Arc<Link>> {
        let place = self.place(node)?;
        let link = place.link.lock();
        link.as_ref().filter(|link| link.is_open()).cloned()
    }

    /// Counts a call that `call` starts from here. `false` if it has started `most` already.
    pub(super) fn may_start(&self, call: u64, most: u16) -> bool {
        let mut started = self.started.lock();
        if started.len() >= MOST_STARTERS && !started.contains_key(&call) {
            started.clear();
        }
        let count = started.entry(call).or_insert(0);
        let may = *count < most;
        *count += u16::from(may);
        may
    }

    /// Remembers the link to a node.
    pub(in crate::engine) fn remember(&self, node: u32, link: &Arc<Link>) {
        if let Some(place) = self.place(node) {
            *place.link.lock() = Some(Arc::clone(link));
        }
    }

    /// The node that calls with this directory have used the link to reach. Of directories that have not used it nothing is
    /// believed that comes from there.
    pub(super) fn node_over(&self, link: &Arc<Link>) -> Option<u32> {
        let is_it = |place: &Place| {
            let used = place.link.lock();
            used.as_ref().is_some_and(|it| Arc::ptr_eq(it, link))
        };
        let place = self.nodes.iter().position(is_it)?;
        Some(place as u32 + 1)
    }
}

/// All directories, by their ids.
#[derive(Default)]
pub(crate) struct Directories(RwLock<HashMap<u32, Arc<Directory>>>);

impl Directories {
    /// The directory of this id.
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Directory>> {
        self.0.read().get(&id).cloned()
    }

    /// All directories that have used the link.
    pub(super) fn users_of(&self, link: &Arc<Link>) -> Vec<Arc<Directory>> {
        let known = self.0.read();
        let users = known.values().filter(|it| it.node_over(link).is_some());
        users.cloned().collect()
    }

    /// Takes a directory in. `false` if another session has one of the same id. One of a session that is over, or that ends
    /// meanwhile on another thread, does not stay.
    pub(crate) fn insert(&self, id: u32, session: &Arc<SessionEntry>, told: Told) -> bool {
        let place = |address| Place {
            address,
            link: Mutex::new(None),
        };
        let directory = Arc::new(Directory {
            id,
            here: told.here,
            session: Arc::clone(session),
            nodes: told.nodes.into_iter().map(place).collect(),
            started: Mutex::default(),
            trails: Trails::default(),
        });
        let mut known = self.0.write();
        match known.entry(id) {
            MapEntry::Occupied(old) if old.get().session.id != session.id => return false,
            MapEntry::Occupied(mut old) => drop(old.insert(directory)),
            MapEntry::Vacant(free) => drop(free.insert(directory)),
        }
        drop(known);
        self.prune(session, id);
        // A session is marked as closed before its directories are looked for: one of the two sees this one.
        if session.is_closed() {
            self.close(session.id);
        }
        true
    }

    /// Forgets the session's directories beyond those that are kept, but not `newest`.
    fn prune(&self, session: &Arc<SessionEntry>, newest: u32) {
        let mut ids = session.directories.lock();
        ids.retain(|id| *id != newest);
        ids.push_back(newest);
        while ids.len() > KEPT {
            let oldest = ids.pop_front();
            oldest.and_then(|id| self.0.write().remove(&id));
        }
    }

    /// Forgets the directories of a session that is over.
    pub(crate) fn close(&self, session: u32) {
        self.0.write().retain(|_, it| it.session.id != session);
    }
}
