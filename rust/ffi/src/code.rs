//! `bc_code`: an archive that can be called.

use bitcode_client::Code;
use bitcode_wire::code::CodeId;

use crate::handle::{Handle, PANICKED, REFUSED, bad, borrow, guarded, status, take};
use crate::{BC_OK, BcClient, BcError};

/// An archive with its code id. One handle serves all sessions of its client.
pub struct BcCode {
    magic: u64,
    pub(crate) code: Code,
}

// SAFETY: `magic` is the u64 at that offset.
unsafe impl Handle for BcCode {
    const OFFSET: usize = std::mem::offset_of!(BcCode, magic);
    const MAGIC: u64 = u64::from_le_bytes(*b"bc_code\0");
}

/// Copies an archive of `len` bytes and computes its code id, which is also written to `id_out` (32 bytes) unless
/// that is NULL. The archive is checked for its form, not for what is in the image.
///
/// # Safety
/// `client` is a client that was not freed; `archive` holds `len` bytes; `id_out` is NULL or has room for 32 bytes; `out` is
/// writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_code_new(
    client: *mut BcClient,
    archive: *const u8,
    len: usize,
    id_out: *mut u8,
    out: *mut *mut BcCode,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let client = unsafe { borrow(client) }.ok_or_else(|| bad("client"))?;
        if out.is_null() {
            return Err(bad("out"));
        }
        // SAFETY: as this function demands.
        let archive = unsafe { bytes(archive, len) }.ok_or_else(|| bad("archive"))?;
        let code = client.client.code(archive.to_vec())?;
        if !id_out.is_null() {
            let CodeId(id) = code.id();
            // SAFETY: room for 32 bytes, the caller vouches for it.
            unsafe { id_out.copy_from_nonoverlapping(id.as_ptr(), id.len()) };
        }
        let handle = BcCode {
            magic: BcCode::MAGIC,
            code,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(handle.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// Frees a code handle; NULL is ignored. Calls under way keep what they need.
///
/// # Safety
/// `code` is NULL or a code handle that was not freed; it must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_code_free(code: *mut BcCode) {
    // SAFETY: as this function demands.
    guarded((), || drop(unsafe { take(code) }));
}

/// BLAKE3 of `len` bytes, 32 bytes into `out`.
///
/// # Safety
/// `bytes` holds `len` bytes; `out` has room for 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_hash(bytes: *const u8, len: usize, out: *mut u8) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let Some(bytes) = (unsafe { self::bytes(bytes, len) }) else {
            return REFUSED;
        };
        if out.is_null() {
            return REFUSED;
        }
        let CodeId(hash) = CodeId::of(bytes);
        // SAFETY: room for 32 bytes, the caller vouches for it.
        unsafe { out.copy_from_nonoverlapping(hash.as_ptr(), hash.len()) };
        BC_OK
    })
}

/// Bytes from C. `None` if they cannot be: at null, or longer than the address space allows.
///
/// # Safety
/// `ptr` holds `len` bytes that nobody changes during `'a`, or is null.
pub(crate) unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if ptr.is_null() || len > isize::MAX as usize {
        return None;
    }
    // SAFETY: not null, of a possible length, and the caller vouches for the rest.
    Some(unsafe { std::slice::from_raw_parts(ptr, len) })
}
