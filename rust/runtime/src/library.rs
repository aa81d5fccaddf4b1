//! What C libraries need to serve shipped code: memory that belongs to the call, state of each thread, and a few functions
//! that stand in front of their own.
//!
//! The libraries themselves are opened elsewhere (`rust/jit`); whoever opens one that [`adopt`] knows hands it over before
//! any shipped code can call it. This file also has the slots in which shipped code keeps objects for the length of a call.

mod gmp;
mod mpfr;
mod pcre;

use crate::layout::Value;
use crate::thread::ThreadState;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::ptr;
use std::sync::Arc;

/// A library that lacks a function which the runtime needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuitable {
    /// The library.
    pub library: &'static str,
    /// What it lacks.
    pub symbol: &'static str,
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no function `{}`", self.library, self.symbol)
    }
}

impl std::error::Error for Unsuitable {}

/// Prepares a library that was just opened; `find` gives the addresses of its functions. Others than the ones known here
/// need no preparation.
///
/// # Errors
/// The library is not what its name says.
///
/// # Safety
/// - `find` gives addresses of the functions that the library `name` is known for.
pub unsafe fn adopt(name: &str, find: &dyn Fn(&str) -> Option<usize>) -> Result<(), Unsuitable> {
    match name {
        // SAFETY: the caller's promise, for each of them.
        "libgmp" => unsafe { gmp::adopt(find) },
        // SAFETY: as above.
        "libmpfr" => unsafe { mpfr::adopt(find) },
        // SAFETY: as above.
        "libpcre2-8" => unsafe { pcre::adopt(find) },
        _ => Ok(()),
    }
}

/// The function that shipped code gets when it asks an adopted library for `symbol`, if it is not the library's own.
pub fn replacement(name: &str, symbol: &str) -> Option<usize> {
    match (name, symbol) {
        ("libmpfr", "mpfr_custom_get_size") => Some(mpfr::custom_get_size as *const () as usize),
        ("libpcre2-8", "pcre2_compile_8") => Some(pcre::compile as *const () as usize),
        ("libpcre2-8", "pcre2_match_8") => Some(pcre::run as *const () as usize),
        _ => None,
    }
}

/// How many objects shipped code can keep for the length of a call.
pub(crate) const CALL_SLOTS: usize = 4;

/// What libraries keep for a thread.
pub(crate) struct PerThread {
    /// There is something to do when the call ends.
    dirty: Cell<bool>,
    /// References to objects of the call; empty when it starts.
    slots: [Cell<*mut Value>; CALL_SLOTS],
    /// GMP took memory of the call.
    numbers: Cell<bool>,
    /// This thread's range of exponents is set.
    exponents: Cell<bool>,
    matching: pcre::Matching,
    /// Regular expressions that the call holds, by their address.
    expressions: RefCell<HashMap<usize, Arc<pcre::Code>>>,
}

impl PerThread {
    pub(crate) fn new() -> Self {
        Self {
            dirty: Cell::new(false),
            slots: [const { Cell::new(ptr::null_mut()) }; CALL_SLOTS],
            numbers: Cell::new(false),
            exponents: Cell::new(false),
            matching: pcre::Matching::new(),
            expressions: RefCell::new(HashMap::new()),
        }
    }

    /// Must [`end_of_call`] be called?
    #[inline]
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.get()
    }

    /// What shipped code keeps in its slots, for a collector.
    pub(crate) fn roots(&self) -> impl Iterator<Item = *mut Value> + '_ {
        self.slots.iter().map(Cell::get)
    }
}

/// Lets go of everything that belongs to the call which just ended on this thread. The libraries' own state is cleaned
/// first, which could fault where shipped code broke it: the caller has a landing for that.
pub(crate) extern "C" fn end_of_call(_: usize, _: usize, _: usize) -> i64 {
    let library = &ThreadState::current().library;
    library.dirty.set(false);
    for slot in &library.slots {
        slot.set(ptr::null_mut());
    }
    if let Ok(mut expressions) = library.expressions.try_borrow_mut() {
        expressions.clear();
    }
    forget_caches();
    0
}

/// Makes libraries forget what they keep in memory of the call: before that goes, or is collected.
pub(crate) fn forget_caches() {
    let library = &ThreadState::current().library;
    if library.numbers.replace(false) {
        mpfr::forget_caches();
    }
}

/// For shipped code: where it may keep a reference to an object until the call ends; null at first.
///
/// # Safety
/// - called from shipped code: throws if there is no such slot.
pub(crate) unsafe extern "C" fn bc_call_slot(number: i32) -> *mut *mut Value {
    let library = &ThreadState::current().library;
    let slot = usize::try_from(number)
        .ok()
        .and_then(|number| library.slots.get(number));
    let Some(slot) = slot else {
        // SAFETY: called from shipped code; nothing here needs dropping.
        unsafe { crate::error::error("bc_call_slot: there is no such slot") }
    };
    library.dirty.set(true);
    slot.as_ptr()
}

/// For shipped code: fills memory with random bytes from the operating system.
///
/// # Safety
/// - called from shipped code with room for so many bytes; throws if the system has none.
pub(crate) unsafe extern "C" fn bc_random_bytes(data: *mut u8, bytes: usize) {
    let mut done = 0;
    while done < bytes {
        // SAFETY: the caller's room.
        let got = unsafe { libc::getrandom(data.wrapping_add(done).cast(), bytes - done, 0) };
        if let Ok(got) = usize::try_from(got) {
            done += got;
        } else if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            // SAFETY: called from shipped code; nothing here needs dropping.
            unsafe { crate::error::error("the operating system gives no random numbers") }
        }
    }
}

/// Looks a function up for an adopted library.
fn need(
    library: &'static str,
    find: &dyn Fn(&str) -> Option<usize>,
    symbol: &'static str,
) -> Result<usize, Unsuitable> {
    find(symbol).ok_or(Unsuitable { library, symbol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_empty_after_each_call() {
        // SAFETY: the slot exists.
        let slot = unsafe { bc_call_slot(1) };
        // SAFETY: a slot of this thread's.
        unsafe { slot.write(16 as *mut Value) };
        let library = &ThreadState::current().library;
        assert!(library.is_dirty());
        assert_eq!(library.roots().filter(|root| !root.is_null()).count(), 1);
        end_of_call(0, 0, 0);
        assert!(!library.is_dirty());
        assert!(library.roots().all(<*mut Value>::is_null));
    }

    #[test]
    fn random_bytes_differ() {
        let mut bytes = [[0_u8; 300]; 2];
        for some in &mut bytes {
            // SAFETY: room for them.
            unsafe { bc_random_bytes(some.as_mut_ptr(), some.len()) };
        }
        assert_ne!(bytes[0], bytes[1]);
    }

    #[test]
    fn libraries_must_have_what_they_are_known_for() {
        // SAFETY: nothing is found, so nothing is called.
        let error = unsafe { adopt("libgmp", &|_| None) }.unwrap_err();
        assert!(error.to_string().contains("libgmp"), "{error}");
        // SAFETY: as above.
        assert_eq!(unsafe { adopt("libz.so.1", &|_| None) }, Ok(()));
        assert!(replacement("libz.so.1", "pcre2_match_8").is_none());
    }
}
