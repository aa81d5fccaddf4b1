//! All lanes of a fabric: where they are, which of them are awake, and what is left of those that are gone.
//!
//! A place is never unmade, so a [`PeerId`] finds its place with two loads and no lock but the lane's own; the place's
//! generation, looked at under that lock, says whether the lane is still the same.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::bitmap::{Bitmap, CAPACITY};
use super::context::Context;
use super::inbox::Inbox;
use super::lane::{Driving, Lane};
use super::lock::DriverLock;
use super::sleep::Sleep;
use super::state::Notice;
use crate::body::BodyPool;
use crate::error::TransportError;
use crate::fabric::{FabricStats, PeerId};

/// Places that are made at once.
const BLOCK: usize = 64;

/// Where a lane is, or was, or will be.
#[repr(align(128))] // Neighbours are driven by different threads.
pub(crate) struct Place {
    pub(crate) lock: DriverLock,
    content: UnsafeCell<Content>,
    /// A thread is delivering a frame of the lane's. Set under the lock, where frames are to be delivered in order.
    delivering: AtomicBool,
}

/// Held while a frame is delivered.
pub(crate) struct Turn<'a>(&'a Place);

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.delivering.store(false, Ordering::Release);
    }
}

impl Place {
    /// The right to deliver the next frame, for who holds the lock; `None` while somebody delivers the one before.
    #[inline]
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        if self.delivering.load(Ordering::Acquire) {
            return None;
        }
        self.delivering.store(true, Ordering::Relaxed);
        Some(Turn(self))
    }
}

// SAFETY: the content is used under the lock only; UCX allows a worker's callers to take turns.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

#[derive(Default)]
struct Content {
    /// Lanes that were here before.
    generation: u32,
    /// A box, taken apart because UCX keeps the address of the lane's state.
    lane: Option<NonNull<Lane>>,
}

impl Content {
    /// Whoever calls this holds the lock and does not use the lane through any other pointer.
    fn take(&mut self) -> Option<Box<Lane>> {
        // SAFETY: made by `Box::into_raw` in `Lanes::open`, and taken once.
        self.lane
            .take()
            .map(|lane| unsafe { Box::from_raw(lane.as_ptr()) })
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Some(lane) = self.take() {
            lane.end();
        }
    }
}

impl Place {
    fn new() -> Self {
        Self {
            lock: DriverLock::default(),
            content: UnsafeCell::default(),
            delivering: AtomicBool::new(false),
        }
    }
}

/// Places to be had.
#[derive(Default)]
struct Free {
    places: Vec<u32>,
    /// Places from here on were never used.
    fresh: u32,
}

/// See the module's documentation.
pub(crate) struct Lanes {
    blocks: [OnceLock<Box<[Place]>>; CAPACITY as usize / BLOCK],
    free: Mutex<Free>,
    /// Lanes that there are.
    pub(crate) open: Bitmap,
    /// Lanes that want to be driven; the others are armed, and `sleep` hears of what happens to them.
    pub(crate) awake: Bitmap,
    pub(crate) sleep: Sleep,
    /// What lanes that are gone still have to tell.
    left: Mutex<VecDeque<Notice>>,
    /// Its length, to be looked at without the lock.
    left_len: AtomicUsize,
    /// What lanes that are gone have counted.
    past: Mutex<FabricStats>,
    pub(crate) pool: Arc<BodyPool>,
    max_body: usize,
    /// Dropped after the lanes.
    pub(crate) context: Arc<Context>,
}

impl Lanes {
    pub(crate) fn new(context: Context, max_body: usize) -> Result<Self, TransportError> {
        Ok(Self {
            blocks: [const { OnceLock::new() }; _],
            free: Mutex::default(),
            open: Bitmap::new(),
            awake: Bitmap::new(),
            sleep: Sleep::new()?,
            left: Mutex::default(),
            left_len: AtomicUsize::new(0),
            past: Mutex::default(),
            pool: BodyPool::new(),
            max_body,
            context: Arc::new(context),
        })
    }

    /// Makes a lane, awake, and returns its number and its worker's address.
    pub(crate) fn open(&self) -> Result<(PeerId, Vec<u8>), TransportError> {
        let inbox = Inbox::new(Arc::clone(&self.pool), self.max_body);
        let lane = Lane::new(&self.context, inbox)?;
        let address = lane.worker().address()?;
        let index = {
            let mut free = self.free.lock();
            match free.places.pop() {
                Some(index) => index,
                None if free.fresh < CAPACITY => {
                    free.fresh += 1;
                    free.fresh - 1
                }
                None => {
                    return Err(TransportError::TooManyPeers {
                        most: CAPACITY as usize,
                    });
                }
            }
        };
        let block = &self.blocks[index as usize / BLOCK];
        let places = block.get_or_init(|| (0..BLOCK).map(|_| Place::new()).collect());
        let place = &places[index as usize % BLOCK];
        if let Err(error) = self.sleep.watch(lane.worker().event_fd(), index) {
            self.free.lock().places.push(index);
            return Err(error);
        }
        place.lock.lock();
        // SAFETY: we hold the lock.
        let content = unsafe { &mut *place.content.get() };
        let peer = PeerId(u64::from(content.generation) << 32 | u64::from(index));
        content.lane = NonNull::new(Box::into_raw(lane));
        // SAFETY: taken above.
        unsafe { place.lock.unlock() };
        self.open.insert(index);
        self.awake.insert(index);
        // A sleeper does not know it yet.
        self.sleep.disarmed();
        Ok((peer, address))
    }

    #[inline]
    fn place(&self, index: u32) -> Option<&Place> {
        let block = self.blocks.get(index as usize / BLOCK)?.get()?;
        Some(&block[index as usize % BLOCK])
    }

    /// Waits for the lock of a peer's lane. `None` if it has gone.
    #[inline]
    pub(crate) fn drive(&self, peer: PeerId) -> Option<Driving<'_>> {
        let index = peer.0 as u32;
        let place = self.place(index)?;
        place.lock.lock();
        self.enter(place, index, Some((peer.0 >> 32) as u32))
    }

    /// Takes the lock of a peer's lane unless somebody has it or wants it.
    #[inline]
    pub(crate) fn try_drive(&self, peer: PeerId) -> Option<Driving<'_>> {
        let index = peer.0 as u32;
        let place = self.place(index)?;
        if !place.lock.try_lock() {
            return None;
        }
        self.enter(place, index, Some((peer.0 >> 32) as u32))
    }

    /// Waits for the lock of the lane that is at a place. `None` if there is none.
    pub(crate) fn drive_at(&self, index: u32) -> Option<Driving<'_>> {
        let place = self.place(index)?;
        place.lock.lock();
        self.enter(place, index, None)
    }

    /// Takes the lock of the lane that is at a place unless somebody has it or wants it.
    #[inline]
    pub(crate) fn try_drive_at(&self, index: u32) -> TryDrive<'_> {
        let Some(place) = self.place(index) else {
            return TryDrive::Gone;
        };
        if !place.lock.try_lock() {
            return TryDrive::Taken;
        }
        match self.enter(place, index, None) {
            Some(driving) => TryDrive::Here(driving),
            None => TryDrive::Gone,
        }
    }

    /// The lock is held; gives it back if the lane is not the one that was meant.
    #[inline]
    fn enter<'a>(
        &'a self,
        place: &'a Place,
        index: u32,
        generation: Option<u32>,
    ) -> Option<Driving<'a>> {
        // SAFETY: we hold the lock.
        let content = unsafe { &*place.content.get() };
        match content.lane {
            Some(lane) if generation.is_none_or(|wanted| wanted == content.generation) => {
                let id = PeerId(u64::from(content.generation) << 32 | u64::from(index));
                // SAFETY: we hold the lock of a lane that is there.
                Some(unsafe { Driving::new(self, place, lane, id) })
            }
            _ => {
                // SAFETY: the caller's lock.
                unsafe { place.lock.unlock() };
                None
            }
        }
    }

    /// Takes a lane out of its place and ends it, outside of every lock. What it still had to tell is told later.
    pub(crate) fn end(&self, driving: Driving<'_>) {
        let (place, index) = (driving.place(), driving.index());
        self.awake.remove(index);
        self.open.remove(index);
        self.sleep.unwatch(driving.worker().event_fd());
        // SAFETY: `driving` holds the lock, and its own reference to the lane is not used any more.
        let content = unsafe { &mut *place.content.get() };
        let lane = content.take();
        let next = content.generation.checked_add(1);
        content.generation = next.unwrap_or(content.generation);
        drop(driving);
        let Some(lane) = lane else { return };
        let (notices, stats) = lane.end();
        self.past.lock().add(&stats);
        if !notices.is_empty() {
            let mut left = self.left.lock();
            left.extend(notices);
            self.left_len.store(left.len(), Ordering::SeqCst);
            drop(left);
            self.sleep.disarmed();
        }
        // A place whose generations are used up is left alone.
        if next.is_some() {
            self.free.lock().places.push(index);
        }
    }

    /// Wakes the lanes that doze and on which something has happened.
    pub(crate) fn look(&self) {
        let mut any = false;
        self.sleep.look(|index| {
            self.awake.insert(index);
            any = true;
        });
        if any {
            // The events are taken: a sleeper that relies on them has to look itself.
            self.sleep.disarmed();
        }
    }

    /// Whether lanes that are gone have something to tell.
    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.left_len.load(Ordering::SeqCst) > 0
    }

    /// Something that a lane that is gone has to tell.
    pub(crate) fn next_left(&self) -> Option<Notice> {
        let mut left = self.left.lock();
        let next = left.pop_front();
        self.left_len.store(left.len(), Ordering::SeqCst);
        next
    }

    /// Sends whose ends are still to be told.
    pub(crate) fn unfinished(&self) -> usize {
        let of_lane = |index| {
            self.drive_at(index)
                .map_or(0, |mut driving| driving.state().outbox.unfinished())
        };
        let open: usize = self.open.iter().map(of_lane).sum();
        let left = self.left.lock();
        let sent = |notice: &&Notice| matches!(notice, Notice::Sent { .. });
        open + left.iter().filter(sent).count()
    }

    /// What all lanes have counted.
    pub(crate) fn stats(&self) -> FabricStats {
        let mut stats = *self.past.lock();
        for index in self.open.iter() {
            if let Some(mut driving) = self.drive_at(index) {
                stats.add(&driving.state().stats);
            }
        }
        stats
    }
}

/// What [`Lanes::try_drive_at`] found.
pub(crate) enum TryDrive<'a> {
    /// The lane, and the caller drives it.
    Here(Driving<'a>),
    /// Somebody else drives it.
    Taken,
    /// There is no lane.
    Gone,
}
