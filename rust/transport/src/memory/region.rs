//! Memory that the hub's fabrics read and write of each other.
//!
//! A transfer is over at once, whatever the weather: what one-sided access can do wrong, it does with its keys.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::MemoryHub;
use crate::error::TransportError;
use crate::fabric::PeerId;
use crate::region::{Region, RemoteRegion, Update, check_range, check_word};

/// Alignment of the memory.
const ALIGN: usize = 64;

/// Bytes that others change at any time.
pub(super) struct Block {
    base: NonNull<u8>,
    layout: Layout,
    len: usize,
}

// SAFETY: an address; the bytes are only touched through raw copies and atomic operations.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    fn new(len: usize) -> Result<Self, TransportError> {
        let what = "allocating memory for peers";
        let layout = Layout::from_size_align(len.max(1), ALIGN)
            .map_err(|_| TransportError::OutOfMemory { what })?;
        // SAFETY: the layout's size is not 0.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })
            .ok_or(TransportError::OutOfMemory { what })?;
        Ok(Self { base, layout, len })
    }

    /// Where a range begins that was checked.
    fn place(&self, offset: u64) -> *mut u8 {
        // SAFETY: inside the block, or one past its end.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, freed once.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// A region of a fabric on a hub. Others forget it when it is dropped.
pub(super) struct HubRegion {
    pub(super) hub: MemoryHub,
    pub(super) number: u64,
    pub(super) block: Arc<Block>,
}

impl HubRegion {
    pub(super) fn new(hub: &MemoryHub, owner: usize, len: usize) -> Result<Self, TransportError> {
        let block = Arc::new(Block::new(len)?);
        let number = hub.change(|world| world.add_region(owner, Arc::clone(&block)));
        Ok(Self {
            hub: hub.clone(),
            number,
            block,
        })
    }
}

impl Drop for HubRegion {
    fn drop(&mut self) {
        self.hub.change(|world| world.remove_region(self.number));
    }
}

impl Region for HubRegion {
    fn base(&self) -> NonNull<u8> {
        self.block.base
    }

    fn len(&self) -> usize {
        self.block.len
    }

    fn key(&self) -> Result<Vec<u8>, TransportError> {
        Ok([self.number, self.block.len as u64]
            .map(u64::to_le_bytes)
            .concat())
    }
}

/// A peer's region.
pub(super) struct HubRemote {
    hub: MemoryHub,
    id: usize,
    peer: PeerId,
    number: u64,
    len: u64,
}

impl HubRemote {
    pub(super) fn new(
        hub: &MemoryHub,
        id: usize,
        peer: PeerId,
        key: &[u8],
    ) -> Result<Self, TransportError> {
        let (numbers, rest) = key.as_chunks::<8>();
        let (&[number, len], []) = (numbers, rest) else {
            return Err(TransportError::Address {
                len: key.len(),
                reason: "it is not a memory key of this hub".to_owned(),
            });
        };
        let remote = Self {
            hub: hub.clone(),
            id,
            peer,
            number: u64::from_le_bytes(number),
            len: u64::from_le_bytes(len),
        };
        remote.block().map(|_| remote)
    }

    /// The memory, if it is still there and the peer lives.
    fn block(&self) -> Result<Arc<Block>, TransportError> {
        let world = self.hub.shared.world.lock();
        world.region_of(self.id, self.peer, self.number)
    }
}

impl RemoteRegion for HubRemote {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, to: &mut [u8], _: Duration) -> Result<(), TransportError> {
        check_range(offset, to.len(), self.len)?;
        let block = self.block()?;
        // SAFETY: inside the block, which is not a Rust object.
        unsafe { to.as_mut_ptr().copy_from(block.place(offset), to.len()) };
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8], _: Duration) -> Result<(), TransportError> {
        check_range(offset, from.len(), self.len)?;
        let block = self.block()?;
        // SAFETY: as in `read`.
        unsafe { block.place(offset).copy_from(from.as_ptr(), from.len()) };
        Ok(())
    }

    fn update(&self, offset: u64, update: Update, _: Duration) -> Result<u64, TransportError> {
        check_word(offset, self.len)?;
        let block = self.block()?;
        // SAFETY: inside the block, and aligned, as its base and the offset are.
        let word = unsafe { AtomicU64::from_ptr(block.place(offset).cast()) };
        Ok(match update {
            Update::Add(addend) => word.fetch_add(addend, Ordering::SeqCst),
            Update::Swap(new) => word.swap(new, Ordering::SeqCst),
            Update::CompareSwap { expected, new } => word
                .compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst)
                .unwrap_or_else(|found| found),
        })
    }

    fn flush(&self, _: Duration) -> Result<(), TransportError> {
        self.block().map(drop)
    }
}
