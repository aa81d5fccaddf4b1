//! Memory from the system.

use crate::layout::CACHE_ALIGN;
use std::ptr;

/// From this size on, memory is asked for in large pages: touching it for the first time is what a large array costs most.
const HUGE_FROM: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// So many bytes, aligned to [`CACHE_ALIGN`] at least; null if there are none. To be freed with [`give_back`].
pub(crate) fn take(bytes: usize) -> *mut u8 {
    if bytes > isize::MAX as usize {
        return ptr::null_mut();
    }
    let huge = bytes >= HUGE_FROM;
    let align = if huge { HUGE_PAGE } else { CACHE_ALIGN };
    let mut memory = ptr::null_mut();
    // SAFETY: writes one pointer into a local.
    if unsafe { libc::posix_memalign(&raw mut memory, align, bytes) } != 0 {
        return ptr::null_mut();
    }
    if huge {
        // A wish: if the system has no large pages, small ones do.
        // SAFETY: the memory is ours, and starts at a page.
        unsafe { libc::madvise(memory, bytes, libc::MADV_HUGEPAGE) };
    }
    memory.cast()
}

/// Frees it.
///
/// # Safety
/// - `memory` is null, or came from [`take`] and is used no more.
pub(crate) unsafe fn give_back(memory: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { libc::free(memory.cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_writable() {
        for bytes in [1, 100, 4096, HUGE_FROM, HUGE_FROM + 1] {
            let memory = take(bytes);
            assert_eq!(memory as usize % CACHE_ALIGN, 0);
            let last = memory.wrapping_add(bytes - 1);
            // SAFETY: inside what was just taken.
            unsafe { last.write(1) };
            // SAFETY: taken here, and not used again.
            unsafe { give_back(memory) };
        }
        assert!(take(usize::MAX).is_null());
        assert!(take(1 << 60).is_null());
    }
}
