//! One-sided access, the owner's side: memory that others may read and write, and the keys that let them.
//!
//! Over RDMA the owner of the memory takes no part in a transfer. Over shared memory a transfer is a load or store. Over
//! TCP UCX emulates it with messages that the owner must progress: right, but slow (FIELD: a get of 8 bytes took from
//! 20 µs to 1 ms).
//!
//! A key is a capability: who holds it and reaches the worker may write to the region. So it travels on the
//! authenticated control channel only.

use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use ucx_sys as sys;

use super::context::{Context, params};
use super::fabric::UcxFabric;
use super::status;
use crate::error::TransportError;
use crate::region::{Region, check_range};

/// A packed key begins with the region's address and length, little endian; UCX's own bytes follow.
pub(super) const KEY_PREFIX: usize = 16;

/// Memory that UCX knows, so that peers with its key may read and write it. Unmapped when dropped.
pub struct MemoryRegion {
    context: Arc<Context>,
    handle: sys::ucp_mem_h,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a handle and an address; UCX guards its context itself.
unsafe impl Send for MemoryRegion {}
// SAFETY: as above; the bytes are only touched through raw copies.
unsafe impl Sync for MemoryRegion {}

impl MemoryRegion {
    fn map(context: &Arc<Context>, base: *mut u8, len: usize) -> Result<Self, TransportError> {
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_mem_map_params_t = unsafe { params() };
        params.field_mask =
            (sys::UCP_MEM_MAP_PARAM_FIELD_ADDRESS | sys::UCP_MEM_MAP_PARAM_FIELD_LENGTH).into();
        params.address = base.cast();
        params.length = len;
        if base.is_null() {
            params.field_mask |= u64::from(sys::UCP_MEM_MAP_PARAM_FIELD_FLAGS);
            params.flags = sys::UCP_MEM_MAP_ALLOCATE;
        }
        let mut handle = ptr::null_mut();
        // SAFETY: a live context, parameters with their mask; the caller vouches for the memory.
        let status = unsafe { sys::ucp_mem_map(context.raw(), &params, &mut handle) };
        status::check("registering memory", status)?;
        // SAFETY: a parameter structure of UCX.
        let mut attributes: sys::ucp_mem_attr_t = unsafe { super::context::params() };
        attributes.field_mask =
            (sys::UCP_MEM_ATTR_FIELD_ADDRESS | sys::UCP_MEM_ATTR_FIELD_LENGTH).into();
        // SAFETY: a live handle, attributes with their mask.
        let status = unsafe { sys::ucp_mem_query(handle, &mut attributes) };
        let address = NonNull::new(attributes.address.cast::<u8>());
        match (
            status::check("asking for registered memory", status),
            address,
        ) {
            (Ok(()), Some(base)) => Ok(Self {
                context: Arc::clone(context),
                handle,
                base,
                len,
            }),
            (result, _) => {
                // SAFETY: mapped above, unmapped once.
                unsafe { sys::ucp_mem_unmap(context.raw(), handle) };
                result.and(Err(TransportError::OutOfMemory {
                    what: "registering memory",
                }))
            }
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte. Peers may change the bytes at any time.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Copies bytes out. What a peer writes at the same time may be seen in part.
    ///
    /// # Errors
    /// The range is not inside the region.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), TransportError> {
        let from = self.place(offset, to.len())?;
        // SAFETY: inside the region, and no Rust reference to it exists.
        unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// The range is not inside the region.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), TransportError> {
        let to = self.place(offset, from.len())?;
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Ok(())
    }

    fn place(&self, offset: usize, len: usize) -> Result<*mut u8, TransportError> {
        check_range(offset as u64, len, self.len as u64)?;
        // SAFETY: the offset is inside the region, or one past its end.
        Ok(unsafe { self.base.as_ptr().add(offset) })
    }

    /// The key, for a peer's [`UcxFabric::import_key`].
    ///
    /// # Errors
    /// UCX cannot pack it.
    pub fn key(&self) -> Result<Vec<u8>, TransportError> {
        let mut key = Vec::new();
        key.extend_from_slice(&(self.base.as_ptr().addr() as u64).to_le_bytes());
        key.extend_from_slice(&(self.len as u64).to_le_bytes());
        let (mut packed, mut len) = (ptr::null_mut(), 0);
        // SAFETY: a live context and handle, two places.
        let status =
            unsafe { sys::ucp_rkey_pack(self.context.raw(), self.handle, &mut packed, &mut len) };
        status::check("packing a key", status)?;
        // SAFETY: UCX gave `len` bytes.
        key.extend_from_slice(unsafe { slice::from_raw_parts(packed.cast::<u8>(), len) });
        // SAFETY: given by UCX, released once.
        unsafe { sys::ucp_rkey_buffer_release(packed) };
        Ok(key)
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, unmapped once.
        let status = unsafe { sys::ucp_mem_unmap(self.context.raw(), self.handle) };
        if status != sys::UCS_OK {
            tracing::warn!(
                status = status.0,
                text = status::words(status),
                "cannot unmap memory"
            );
        }
    }
}

impl Region for MemoryRegion {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }

    fn key(&self) -> Result<Vec<u8>, TransportError> {
        self.key()
    }
}

impl UcxFabric {
    /// New memory that peers may use, from UCX, which knows best where (shared memory, say). All zero.
    ///
    /// # Errors
    /// UCX cannot allocate or register it.
    pub fn allocate_region(&self, len: usize) -> Result<MemoryRegion, TransportError> {
        let region = MemoryRegion::map(&self.lanes().context, ptr::null_mut(), len.max(1))?;
        // SAFETY: all of the region, which nobody else knows yet.
        unsafe { region.base.write_bytes(0, region.len) };
        Ok(region)
    }

    /// Lets peers use memory that exists.
    ///
    /// # Errors
    /// UCX cannot register it.
    ///
    /// # Safety
    /// The memory is readable and writable until the region is dropped, and whoever else uses it reckons with changes
    /// at any time: no Rust reference to it lives.
    pub unsafe fn register_region(
        &self,
        base: NonNull<u8>,
        len: usize,
    ) -> Result<MemoryRegion, TransportError> {
        MemoryRegion::map(&self.lanes().context, base.as_ptr(), len)
    }
}
