//! Owned errors of the C ABI.

use std::ffi::{CString, c_char};

use bitcode_client::ClientError;

use crate::handle::{Handle, borrow, guarded, take};
use crate::status::number;

/// An owned error: a code and a sentence that says what, where and what to do.
pub struct BcError {
    magic: u64,
    code: i32,
    message: CString,
}

// SAFETY: `magic` is the u64 at that offset.
unsafe impl Handle for BcError {
    const OFFSET: usize = std::mem::offset_of!(BcError, magic);
    const MAGIC: u64 = u64::from_le_bytes(*b"bc_error");
}

impl BcError {
    pub(crate) fn new(error: &ClientError) -> Self {
        Self {
            magic: Self::MAGIC,
            code: number(error),
            message: c_string(&error.to_string()),
        }
    }
}

/// Text for C. A zero byte, which ends a string there, becomes a question mark.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).unwrap_or_default()
}

/// Code of the error (BC_E_…), or 0 if `error` is NULL.
///
/// # Safety
/// `error` is NULL or an error of this library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_error_code(error: *const BcError) -> i32 {
    // SAFETY: as this function demands.
    unsafe { borrow(error) }.map_or(0, |error| error.code)
}

/// Message of the error in UTF-8; it lives as long as the error. Empty if `error` is NULL.
///
/// # Safety
/// `error` is NULL or an error of this library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_error_message(error: *const BcError) -> *const c_char {
    // SAFETY: as this function demands.
    let error = unsafe { borrow(error) };
    error.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error; NULL is ignored.
///
/// # Safety
/// `error` is NULL or an error of this library that was not freed; it must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_error_free(error: *mut BcError) {
    // SAFETY: as this function demands.
    guarded((), || drop(unsafe { take(error) }));
}
