//! `bc_remote`: a segment of a node, memory that this process reads and writes itself.

use bitcode_client::{ClientError, RemoteSegment, Session};
use bitcode_transport::Update;

use crate::client::TheFabric;
use crate::code::bytes;
use crate::handle::{Handle, bad, borrow, guarded, status, take};
use crate::{BcError, BcSession};

/// A segment of a node.
pub struct BcRemote {
    magic: u64,
    segment: RemoteSegment<TheFabric>,
}

// SAFETY: `magic` is the u64 at that offset.
unsafe impl Handle for BcRemote {
    const OFFSET: usize = std::mem::offset_of!(BcRemote, magic);
    const MAGIC: u64 = u64::from_le_bytes(*b"bcremote");
}

/// What `bc_remote_update` does: adds `operand`, modulo 2^64.
pub const BC_UPDATE_ADD: u32 = 0;
/// What `bc_remote_update` does: puts `operand` in the word's place.
pub const BC_UPDATE_SWAP: u32 = 1;
/// What `bc_remote_update` does: puts `operand` in the word's place if it is `expected`.
pub const BC_UPDATE_COMPARE_SWAP: u32 = 2;

/// Makes a segment of `length` bytes, all zero, on the node. It is freed by bc_remote_close, or when the session ends.
///
/// # Safety
/// `session` is a session that was not freed; `out` is writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_new(
    session: *mut BcSession,
    length: u64,
    out: *mut *mut BcRemote,
    err: *mut *mut BcError,
) -> i32 {
    let make = |session: &Session<TheFabric>| session.allocate(length);
    // SAFETY: as this function demands.
    unsafe { give(session, make, out, err) }
}

/// Uses a segment of the node that exists, by its number. It is its owner's to free; bc_remote_close ends the use.
///
/// # Safety
/// As for `bc_remote_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_attach(
    session: *mut BcSession,
    number: u64,
    out: *mut *mut BcRemote,
    err: *mut *mut BcError,
) -> i32 {
    let attach = |session: &Session<TheFabric>| session.attach(number);
    // SAFETY: as this function demands.
    unsafe { give(session, attach, out, err) }
}

/// Gives a segment's handle to C.
///
/// # Safety
/// As `bc_remote_new` demands.
unsafe fn give(
    session: *mut BcSession,
    make: impl FnOnce(&Session<TheFabric>) -> Result<RemoteSegment<TheFabric>, ClientError>,
    out: *mut *mut BcRemote,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: the caller vouches for it.
        let session = unsafe { borrow(session) }.ok_or_else(|| bad("session"))?;
        if out.is_null() {
            return Err(bad("out"));
        }
        let handle = BcRemote {
            magic: BcRemote::MAGIC,
            segment: make(&session.session)?,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(handle.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// The segment's number on its node, by which others attach it; 0 if `remote` is NULL.
///
/// # Safety
/// `remote` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_number(remote: *const BcRemote) -> u64 {
    // SAFETY: as this function demands.
    unsafe { borrow(remote) }.map_or(0, |remote| remote.segment.number())
}

/// Bytes of the segment; 0 if `remote` is NULL.
///
/// # Safety
/// `remote` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_length(remote: *const BcRemote) -> u64 {
    // SAFETY: as this function demands.
    unsafe { borrow(remote) }.map_or(0, |remote| remote.segment.len())
}

/// 1 while the segment can be used, 0 once it was closed, its owner freed it, or the session ended.
///
/// # Safety
/// `remote` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_is_open(remote: *const BcRemote) -> i32 {
    guarded(0, || {
        // SAFETY: as this function demands.
        let remote = unsafe { borrow(remote) };
        i32::from(remote.is_some_and(|remote| remote.segment.is_open()))
    })
}

/// Fetches `length` bytes from `offset`. A range that is not inside the segment is BC_E_BAD_ARGUMENT, and nothing is touched.
///
/// # Safety
/// `remote` is a handle that was not freed; `to` has room for `length` bytes; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_read(
    remote: *const BcRemote,
    offset: u64,
    to: *mut u8,
    length: usize,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let remote = unsafe { borrow(remote) }.ok_or_else(|| bad("remote"))?;
        if length == 0 {
            return remote.segment.read(offset, &mut []);
        }
        if to.is_null() || isize::try_from(length).is_err() {
            return Err(bad("to"));
        }
        // SAFETY: as this function demands. The bytes are initialised for Rust's sake: nobody reads them before.
        unsafe { to.write_bytes(0, length) };
        // SAFETY: as this function demands.
        let to = unsafe { std::slice::from_raw_parts_mut(to, length) };
        remote.segment.read(offset, to)
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// Writes `length` bytes at `offset`, and returns when they are there. Ranges: as for bc_remote_read.
///
/// # Safety
/// `remote` is a handle that was not freed; `from` holds `length` bytes; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_write(
    remote: *const BcRemote,
    offset: u64,
    from: *const u8,
    length: usize,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let remote = unsafe { borrow(remote) }.ok_or_else(|| bad("remote"))?;
        // SAFETY: as this function demands.
        let from = unsafe { bytes(from, length) }.ok_or_else(|| bad("from"))?;
        remote.segment.write(offset, from)
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// Changes the 64-bit word at `offset`, a multiple of 8, at once for everybody: `update` is a BC_UPDATE_…, `expected` counts
/// for BC_UPDATE_COMPARE_SWAP only. What the word was before goes to `before`.
///
/// # Safety
/// `remote` is a handle that was not freed; `before` is writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_update(
    remote: *const BcRemote,
    offset: u64,
    update: u32,
    operand: u64,
    expected: u64,
    before: *mut u64,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let remote = unsafe { borrow(remote) }.ok_or_else(|| bad("remote"))?;
        if before.is_null() {
            return Err(bad("before"));
        }
        let new = operand;
        let update = match update {
            BC_UPDATE_ADD => Update::Add(operand),
            BC_UPDATE_SWAP => Update::Swap(new),
            BC_UPDATE_COMPARE_SWAP => Update::CompareSwap { expected, new },
            _ => return Err(bad("update")),
        };
        let word = remote.segment.update(offset, update)?;
        // SAFETY: not null, and the caller vouches for it.
        unsafe { before.write(word) };
        Ok(())
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// Frees the segment on its node, if this session made it; else only ends its use here. Waits for what is under way. Closing
/// again does nothing, nor does closing what is gone already.
///
/// # Safety
/// `remote` is a handle that was not freed; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_close(remote: *mut BcRemote, err: *mut *mut BcError) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let remote = unsafe { borrow(remote) }.ok_or_else(|| bad("remote"))?;
        remote.segment.close()
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// Frees the handle; NULL is ignored. A segment that was not closed stays on its node until the session ends.
///
/// # Safety
/// `remote` is NULL or a handle that was not freed; it must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_remote_free(remote: *mut BcRemote) {
    // SAFETY: as this function demands.
    guarded((), || drop(unsafe { take(remote) }));
}
