//! GMP: the limbs of big integers are memory of the call that makes them.

use super::{Unsuitable, need};
use crate::builtin::id;
use crate::exception::throw_instance;
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

/// GMP cannot be told that there is no memory.
///
/// # Safety
/// - called from shipped code, by way of GMP.
unsafe fn or_throw(data: *mut c_void) -> *mut c_void {
    if data.is_null() {
        // SAFETY: the caller's promise; GMP holds nothing.
        unsafe { throw_instance(id::OUT_OF_MEMORY_ERROR) }
    }
    data
}

unsafe extern "C" fn gmp_allocate(bytes: usize) -> *mut c_void {
    note_use();
    // SAFETY: called from shipped code, by way of GMP.
    let data = unsafe { memory::malloc(bytes) };
    // SAFETY: as above.
    unsafe { or_throw(data) }
}

unsafe extern "C" fn gmp_reallocate(data: *mut c_void, _old: usize, bytes: usize) -> *mut c_void {
    note_use();
    // SAFETY: called from shipped code, by way of GMP, with what `gmp_allocate` gave.
    let data = unsafe { memory::realloc(data, bytes) };
    // SAFETY: as above.
    unsafe { or_throw(data) }
}

unsafe extern "C" fn gmp_release(data: *mut c_void, _bytes: usize) {
    // SAFETY: called from shipped code, by way of GMP, with what `gmp_allocate` gave.
    unsafe { memory::free(data) }
}
