//! Links: the sessions that this node has, as the side that connected, with other nodes. Made when a call first wants to
//! go there, and kept until one end goes.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcode_transport::PeerId;
use bitcode_wire::code::CodePrefix;
use bitcode_wire::frame::SessionKeys;
use parking_lot::Mutex;

use super::Departure;
use crate::engine::cache::PrefixHasher;
use crate::engine::reach::Reached;

/// A session with another node.
pub(crate) struct Link {
    pub(in crate::engine) peer: PeerId,
    pub(in crate::engine) keys: SessionKeys,
    /// The session's number over there.
    pub(in crate::engine) session: u32,
    /// The session's epoch: our number for the link.
    pub(in crate::engine) epoch: u16,
    /// The longest body that the other node takes.
    pub(super) max_frame: u64,
    /// Codes that were taken there.
    known: Mutex<HashSet<CodePrefix, BuildHasherDefault<PrefixHasher>>>,
    open: AtomicBool,
    /// Segments over there.
    pub(in crate::engine) reached: Reached,
}

impl Link {
    pub(super) fn new(
        peer: PeerId,
        keys: SessionKeys,
        session: u32,
        epoch: u16,
        max_frame: u64,
    ) -> Self {
        Self {
            peer,
            keys,
            session,
            epoch,
            max_frame,
            known: Mutex::default(),
            open: AtomicBool::new(true),
            reached: Reached::default(),
        }
    }

    pub(in crate::engine) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Whether the code was taken there before.
    pub(super) fn knows(&self, code: CodePrefix) -> bool {
        self.known.lock().contains(&code)
    }

    /// Notes that the code was taken there.
    pub(super) fn learn(&self, code: CodePrefix) {
        self.known.lock().insert(code);
    }
}

/// What is known of the way to one address.
enum Way {
    /// Being connected to; these calls wait for it.
    Opening(u16, Vec<Departure>),
    Open(Arc<Link>),
}

/// A link that is being made.
struct Opening {
    address: String,
    peer: PeerId,
}

/// All links.
#[derive(Default)]
pub(crate) struct Links(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ways: HashMap<String, Way>,
    opening: HashMap<u16, Opening>,
    open: HashMap<u16, (String, Arc<Link>)>,
    last: u16,
}

/// The answer to a call that wants to go somewhere.
pub(super) enum Found {
    /// By this link, and the call back.
    Open(Arc<Link>, Departure),
    /// The call waits until the link is there.
    Waiting,
    /// Nobody has asked for a link there: make one by [`Links::begin`].
    Missing(Departure),
}

impl Links {
    /// Finds the way to an address, or has the call wait for it.
    pub(super) fn find(&self, address: &str, call: Departure) -> Found {
        let mut inner = self.0.lock();
        match inner.ways.get_mut(address) {
            Some(Way::Open(link)) => Found::Open(Arc::clone(link), call),
            Some(Way::Opening(_, waiting)) => {
                waiting.push(call);
                Found::Waiting
            }
            None => Found::Missing(call),
        }
    }

    /// The link to an address, if it is open.
    pub(in crate::engine) fn open_to(&self, address: &str) -> Option<Arc<Link>> {
        match self.0.lock().ways.get(address) {
            Some(Way::Open(link)) => Some(Arc::clone(link)),
            _ => None,
        }
    }

    /// Whether a link to an address is being made.
    pub(in crate::engine) fn is_opening(&self, address: &str) -> bool {
        matches!(self.0.lock().ways.get(address), Some(Way::Opening(..)))
    }

    /// Begins a link, for a call if there is one, over a lane that was opened for it. Returns its number; if somebody else has
    /// begun one meanwhile, the call waits for that and there is none.
    pub(super) fn begin(&self, address: &str, peer: PeerId, call: Option<Departure>) -> Begun {
        let mut inner = self.0.lock();
        match inner.ways.get_mut(address) {
            Some(Way::Open(link)) => return Begun::AlreadyOpen(Arc::clone(link), call),
            Some(Way::Opening(_, waiting)) => {
                waiting.extend(call);
                return Begun::AlreadyOpening;
            }
            None => {}
        }
        let Some(number) = inner.free_number() else {
            return Begun::TooMany(call);
        };
        let address = address.to_owned();
        let way = Way::Opening(number, call.into_iter().collect());
        inner.ways.insert(address.clone(), way);
        inner.opening.insert(number, Opening { address, peer });
        Begun::Number(number)
    }

    /// The link is there. Returns the lane that was opened for it, and [`Links::settle`] is to follow.
    pub(super) fn lane_of(&self, number: u16) -> Option<PeerId> {
        Some(self.0.lock().opening.get(&number)?.peer)
    }

    /// The link can be used. Returns the calls that waited for it.
    pub(super) fn settle(&self, link: &Arc<Link>) -> Vec<Departure> {
        let mut inner = self.0.lock();
        let Some(Opening { address, .. }) = inner.opening.remove(&link.epoch) else {
            return Vec::new();
        };
        let open = Way::Open(Arc::clone(link));
        let way = inner.ways.insert(address.clone(), open);
        inner.open.insert(link.epoch, (address, Arc::clone(link)));
        match way {
            Some(Way::Opening(_, waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    /// A link is over, or was never made.
    pub(super) fn remove(&self, number: u16) -> Option<Removed> {
        let mut inner = self.0.lock();
        let (peer, address, link) = if let Some(opening) = inner.opening.remove(&number) {
            (opening.peer, opening.address, None)
        } else {
            let (address, link) = inner.open.remove(&number)?;
            link.open.store(false, Ordering::Release);
            (link.peer, address, Some(link))
        };
        let waiting = match inner.ways.remove(&address) {
            Some(Way::Opening(of, waiting)) if of == number => waiting,
            _ => Vec::new(),
        };
        Some(Removed {
            peer,
            address,
            link,
            waiting,
        })
    }

    /// The open link of this number.
    pub(in crate::engine) fn get(&self, number: u16) -> Option<Arc<Link>> {
        let inner = self.0.lock();
        inner.open.get(&number).map(|(_, link)| Arc::clone(link))
    }

    /// The number of the link over this lane.
    pub(super) fn of_peer(&self, peer: PeerId) -> Option<u16> {
        let inner = self.0.lock();
        let opening = inner.opening.iter().map(|(number, it)| (*number, it.peer));
        let open = inner.open.iter().map(|(number, it)| (*number, it.1.peer));
        let mut all = opening.chain(open);
        all.find(|(_, lane)| *lane == peer)
            .map(|(number, _)| number)
    }

    /// Number of open links.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().open.len()
    }
}

/// What there was of a link that is over.
pub(super) struct Removed {
    /// Its lane.
    pub(super) peer: PeerId,
    /// Where it led.
    pub(super) address: String,
    /// The link itself, if it was ever open.
    pub(super) link: Option<Arc<Link>>,
    /// The calls that waited for it.
    pub(super) waiting: Vec<Departure>,
}

/// What became of a link that was to be begun.
pub(super) enum Begun {
    /// It has this number now, and the call waits for it.
    Number(u16),
    /// Another call was quicker, and this one waits, too.
    AlreadyOpening,
    /// Another call was quicker, and the link is there: the call back.
    AlreadyOpen(Arc<Link>, Option<Departure>),
    /// All numbers are in use: the call back.
    TooMany(Option<Departure>),
}

impl Inner {
    /// A number that no link has, and none had lately.
    fn free_number(&mut self) -> Option<u16> {
        for _ in 0..u16::MAX {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let number = self.last;
            if !self.opening.contains_key(&number) && !self.open.contains_key(&number) {
                return Some(number);
            }
        }
        None
    }
}
