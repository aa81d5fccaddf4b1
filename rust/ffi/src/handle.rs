//! Handles: how memory of this library looks from C, and how a pointer from C is believed.
//!
//! Each handle holds a number that says what it is. A pointer that is null, not aligned or does not lead to the
//! right number is refused; a freed handle has lost its number, as long as nothing else took its place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bitcode_client::ClientError;

use crate::BcError;
use crate::status::{self, BC_E_BAD_ARGUMENT, BC_E_INTERNAL};

/// A type that C holds pointers to.
///
/// # Safety
/// `OFFSET` is that of a field of type `u64`, which holds `MAGIC`.
pub(crate) unsafe trait Handle: Sized {
    /// Where the number stands.
    const OFFSET: usize;

    /// What the field holds as long as the handle lives.
    const MAGIC: u64;

    /// Gives the handle to C.
    fn into_raw(self) -> *mut Self {
        Box::into_raw(Box::new(self))
    }
}

/// The place of a handle's number; `None` if the pointer cannot lead to a `T`.
fn number<T: Handle>(ptr: *const T) -> Option<*mut u64> {
    let usable = !ptr.is_null() && ptr.is_aligned();
    usable.then(|| ptr.wrapping_byte_add(T::OFFSET).cast::<u64>().cast_mut())
}

/// Whether the pointer leads to a handle of type `T`, as far as that can be told.
///
/// # Safety
/// `ptr` is null or leads to readable memory.
unsafe fn is_handle<T: Handle>(ptr: *const T) -> bool {
    // SAFETY: aligned, and the caller vouches for the memory.
    number(ptr).is_some_and(|number| unsafe { number.read() } == T::MAGIC)
}

/// The handle behind a pointer from C.
///
/// # Safety
/// As the C function that passes it on demands: null, or a handle that was not freed and is not freed during `'a`.
pub(crate) unsafe fn borrow<'a, T: Handle>(ptr: *const T) -> Option<&'a T> {
    // SAFETY: the caller vouches for the pointer.
    let is_handle = unsafe { is_handle(ptr) };
    // SAFETY: a live handle, of which only shared references are ever made while C uses it.
    is_handle.then(|| unsafe { &*ptr })
}

/// Takes a handle back from C, to be dropped.
///
/// # Safety
/// As [`borrow`], and the pointer must not be used any more afterwards.
pub(crate) unsafe fn take<T: Handle>(ptr: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller vouches for the pointer.
    if !unsafe { is_handle(ptr) } {
        return None;
    }
    let number = number(ptr)?;
    // SAFETY: a live handle of ours, and this is its number. Volatile, or the store would be optimised away together with
    // the memory.
    unsafe { number.write_volatile(0) };
    // SAFETY: made by `into_raw`, and the caller gives it up.
    Some(unsafe { Box::from_raw(ptr) })
}

/// Runs `body`; should it panic, the answer is `otherwise`. Nothing may unwind into C: whatever does more than read a field of a
/// handle goes through here.
pub(crate) fn guarded<R>(otherwise: R, body: impl FnOnce() -> R) -> R {
    // Whatever a panic leaves half done is behind locks that do not poison and is a fault of ours in any case.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Runs `body`, puts its error where C wants it, and turns the result into a status.
///
/// # Safety
/// `err` is null or writable.
pub(crate) unsafe fn status(
    err: *mut *mut BcError,
    body: impl FnOnce() -> Result<(), ClientError>,
) -> i32 {
    let panicked = || Err(ClientError::Internal("libbitcode panicked".into()));
    let result = guarded(None, || Some(body())).unwrap_or_else(panicked);
    let (status, error) = match result {
        Ok(()) => (0, std::ptr::null_mut()),
        Err(error) => {
            let made = guarded(std::ptr::null_mut(), || BcError::new(&error).into_raw());
            (status::number(&error), made)
        }
    };
    if err.is_null() {
        // SAFETY: null, or made just above.
        drop(unsafe { take(error) });
    } else {
        // SAFETY: the caller vouches for it.
        unsafe { err.write(error) };
    }
    status
}

/// The error for an argument that is null or not what it should be.
pub(crate) fn bad(what: &str) -> ClientError {
    ClientError::BadArgument(format!("{what} is null, or not what it should be"))
}

/// What functions that answer with a status say to a bad handle.
pub(crate) const REFUSED: i32 = BC_E_BAD_ARGUMENT;
/// What functions that answer with a status say after a panic.
pub(crate) const PANICKED: i32 = BC_E_INTERNAL;
