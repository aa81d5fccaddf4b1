//! Address space that is reserved once, and given memory from its beginning on as it is needed.

use std::cell::Cell;
use std::ptr;

/// Regions start at a multiple of this: a large page of the system's.
const ALIGN: usize = 2 << 20;
/// Memory is asked for in pieces of this many bytes.
const STEP: usize = 4 << 20;
const SYSTEM_PAGE: usize = 4096;

/// A part of the address space. Its memory starts as zeros.
pub(super) struct Region {
    base: Cell<usize>,
    reserved: Cell<usize>,
    /// So many bytes can be used.
    committed: Cell<usize>,
}

impl Region {
    pub(super) const fn new() -> Self {
        Self {
            base: Cell::new(0),
            reserved: Cell::new(0),
            committed: Cell::new(0),
        }
    }

    /// Where it starts; 0 before it is reserved.
    #[inline]
    pub(super) fn base(&self) -> usize {
        self.base.get()
    }

    /// Reserves the address space. False if there is none.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, of which nothing is accessible yet.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes + ALIGN,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return false;
        }
        let start = memory as usize;
        let base = start.next_multiple_of(ALIGN);
        let (before, behind) = (base - start, ALIGN - (base - start));
        for (at, count) in [(start, before), (base + bytes, behind)] {
            if count > 0 {
                // SAFETY: the ends of the new mapping, which nobody uses.
                unsafe { libc::munmap(at as *mut _, count) };
            }
        }
        self.base.set(base);
        self.reserved.set(bytes);
        self.committed.set(0);
        true
    }

    /// Makes the first `bytes` usable. False if the system has no memory, or the region is not that large.
    pub(super) fn commit(&self, bytes: usize) -> bool {
        let committed = self.committed.get();
        if bytes <= committed {
            return true;
        }
        let Some(wanted) = bytes.checked_next_multiple_of(STEP) else {
            return false;
        };
        let wanted = wanted.min(self.reserved.get());
        if wanted < bytes {
            return false;
        }
        let at = (self.base.get() + committed) as *mut libc::c_void;
        let more = wanted - committed;
        // SAFETY: inside the region, and not in use yet.
        if unsafe { libc::mprotect(at, more, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return false;
        }
        if committed > 0 {
            // A wish: if the system has no large pages, small ones do.
            // SAFETY: inside the region.
            unsafe { libc::madvise(at, more, libc::MADV_HUGEPAGE) };
        }
        self.committed.set(wanted);
        true
    }

    /// Gives the memory from `from` to `to` back to the system. It stays usable, as zeros.
    pub(super) fn forget(&self, from: usize, to: usize) {
        let from = from.next_multiple_of(SYSTEM_PAGE);
        let to = to.next_multiple_of(SYSTEM_PAGE).min(self.committed.get());
        if from < to {
            let at = (self.base.get() + from) as *mut libc::c_void;
            // SAFETY: inside the region; the caller needs its content no more.
            unsafe { libc::madvise(at, to - from, libc::MADV_DONTNEED) };
        }
    }

    /// Gives everything back.
    pub(super) fn release(&self) {
        if self.base.get() != 0 {
            // SAFETY: the mapping made by `reserve`, which nobody uses any more.
            unsafe { libc::munmap(self.base.get() as *mut _, self.reserved.get()) };
        }
        self.base.set(0);
        self.reserved.set(0);
        self.committed.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_in_steps_and_goes() {
        let region = Region::new();
        assert!(!region.commit(1));
        assert!(region.reserve(64 << 20));
        assert_eq!(region.base() % ALIGN, 0);
        assert!(region.commit(1));
        assert!(region.commit(STEP + 1));
        let last = (region.base() + 2 * STEP - 8) as *mut u64;
        // SAFETY: usable, says `commit`.
        unsafe { last.write(7) };
        region.forget(STEP, 2 * STEP);
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 0);
        assert!(!region.commit((64 << 20) + 1));
        assert!(region.commit(64 << 20));
        region.release();
        assert_eq!(region.base(), 0);
        assert!(!region.reserve(1 << 60));
    }
}
