//! GMP: the limbs of big integers are memory of the call that makes them.

use super::{Unsuitable, need};
use crate::heap::LARGE;
use crate::memory;
use crate::thread::ThreadState;
use libc::c_void;

type Allocate = unsafe extern "C" fn(usize) -> *mut c_void;
type Reallocate = unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void;
type Release = unsafe extern "C" fn(*mut c_void, usize);
type SetMemoryFunctions = unsafe extern "C" fn(Allocate, Reallocate, Release);

/// Gives GMP the call's memory.
///
/// # Safety
/// - as for [`super::adopt`].
pub(super) unsafe fn adopt(find: &dyn Fn(&str) -> Option<usize>) -> Result<(), Unsuitable> {
    let set = need("libgmp", find, "__gmp_set_memory_functions")?;
    // SAFETY: GMP's function of this name has this type.
    let set = unsafe { std::mem::transmute::<usize, SetMemoryFunctions>(set) };
    // SAFETY: the three keep GMP's rules.
    unsafe { set(gmp_allocate, gmp_reallocate, gmp_release) };
    Ok(())
}

fn note_use() {
    let library = &ThreadState::current().library;
    library.numbers.set(true);
    library.dirty.set(true);
}

/// Memory that is the call's until nothing refers to it. GMP may have its references anywhere while it works, so nothing is
/// collected now. It cannot be told that there is no memory.
///
/// # Safety
/// - called from shipped code, by way of GMP, which holds nothing.
unsafe extern "C" fn gmp_allocate(bytes: usize) -> *mut c_void {
    note_use();
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { memory::check_stack(state) };
    // SAFETY: as above.
    unsafe { memory::or_throw(state.heap.buffer_quietly(bytes)) }.cast()
}

unsafe extern "C" fn gmp_reallocate(data: *mut c_void, old: usize, bytes: usize) -> *mut c_void {
    if bytes <= old && old <= LARGE {
        return data;
    }
    // SAFETY: called from shipped code, by way of GMP, with what `gmp_allocate` gave.
    let new = unsafe { gmp_allocate(bytes) };
    let kept = old.min(bytes);
    // SAFETY: both have so many bytes, and one of them is new.
    unsafe { new.cast::<u8>().copy_from_nonoverlapping(data.cast(), kept) };
    // SAFETY: GMP uses the old memory no more.
    unsafe { gmp_release(data, old) };
    new
}

unsafe extern "C" fn gmp_release(data: *mut c_void, bytes: usize) {
    if bytes > LARGE {
        // SAFETY: called from shipped code, by way of GMP, with what `gmp_allocate` gave.
        unsafe { memory::free_block(data.cast()) };
    }
}
