//! MPFR: the widest range of exponents, as Julia sets it, for each thread; and constants that MPFR keeps for a thread, in
//! memory of GMP's, go when that does.

use super::{Unsuitable, need};
use crate::thread::ThreadState;
use std::ffi::c_long;
use std::sync::OnceLock;

struct Functions {
    custom_get_size: unsafe extern "C" fn(c_long) -> usize,
    get_emin_min: unsafe extern "C" fn() -> c_long,
    get_emax_max: unsafe extern "C" fn() -> c_long,
    set_emin: unsafe extern "C" fn(c_long) -> i32,
    set_emax: unsafe extern "C" fn(c_long) -> i32,
    cleanup: unsafe extern "C" fn() -> i32,
}

static MPFR: OnceLock<Functions> = OnceLock::new();

/// Remembers MPFR's functions.
///
/// # Safety
/// - as for [`super::adopt`].
pub(super) unsafe fn adopt(find: &dyn Fn(&str) -> Option<usize>) -> Result<(), Unsuitable> {
    let address = |symbol| need("libmpfr", find, symbol);
    let functions = Functions {
        // SAFETY: MPFR's functions of these names have these types, here and below.
        custom_get_size: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_long) -> usize>(address(
                "mpfr_custom_get_size",
            )?)
        },
        // SAFETY: as above.
        get_emin_min: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn() -> c_long>(address(
                "mpfr_get_emin_min",
            )?)
        },
        // SAFETY: as above.
        get_emax_max: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn() -> c_long>(address(
                "mpfr_get_emax_max",
            )?)
        },
        // SAFETY: as above.
        set_emin: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_long) -> i32>(address(
                "mpfr_set_emin",
            )?)
        },
        // SAFETY: as above.
        set_emax: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_long) -> i32>(address(
                "mpfr_set_emax",
            )?)
        },
        // SAFETY: as above.
        cleanup: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn() -> i32>(address(
                "mpfr_mp_memory_cleanup",
            )?)
        },
    };
    // A second library of the same name is the same library.
    let _ = MPFR.set(functions);
    Ok(())
}

/// In place of `mpfr_custom_get_size`, which Julia asks whenever it makes a number: also sets this thread's exponents.
///
/// # Safety
/// - called from shipped code, which can name it only when MPFR was adopted.
pub(super) unsafe extern "C" fn custom_get_size(precision: c_long) -> usize {
    let Some(mpfr) = MPFR.get() else { return 0 };
    let library = &ThreadState::current().library;
    if !library.exponents.replace(true) {
        // SAFETY: no arguments.
        let lowest = unsafe { (mpfr.get_emin_min)() };
        // SAFETY: no arguments.
        let highest = unsafe { (mpfr.get_emax_max)() };
        // SAFETY: a value that MPFR gave.
        unsafe { (mpfr.set_emin)(lowest) };
        // SAFETY: a value that MPFR gave.
        unsafe { (mpfr.set_emax)(highest) };
    }
    // SAFETY: any number will do.
    unsafe { (mpfr.custom_get_size)(precision) }
}

/// Empties MPFR's caches of this thread.
pub(super) fn forget_caches() {
    if let Some(mpfr) = MPFR.get() {
        // SAFETY: MPFR is not at work on this thread: its only way back to the runtime is GMP's memory functions, which
        // do not come here.
        unsafe { (mpfr.cleanup)() };
    }
}
