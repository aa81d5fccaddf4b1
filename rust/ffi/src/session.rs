//! `bc_session`: a connection to one node.

use std::ffi::{CString, c_char};
use std::time::Duration;

use bitcode_client::Session;
use serde_json::json;

use crate::client::{TheFabric, text};
use crate::code::bytes;
use crate::error::c_string;
use crate::handle::{Handle, PANICKED, REFUSED, bad, borrow, guarded, status, take};
use crate::{BC_OK, BcClient, BcError};

/// A connection to one node.
pub struct BcSession {
    magic: u64,
    pub(crate) session: Session<TheFabric>,
    info: CString,
}

// SAFETY: `magic` is the u64 at that offset.
unsafe impl Handle for BcSession {
    const OFFSET: usize = std::mem::offset_of!(BcSession, magic);
    const MAGIC: u64 = u64::from_le_bytes(*b"bc_sessn");
}

/// How long connecting may take if the caller does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the node at `host_port` ("host:port"; an optional "bitcode://" in front is ignored) and authenticates both sides.
/// `key` may be NULL (with `key_len` 0) when the node has none, which is allowed on a loopback address only.
/// The key is the bytes of the node's key file, 16 to 65,536 of them, without one newline at their end.
/// `timeout_ms` bounds the whole of it; 0 means ten seconds.
///
/// # Safety
/// `client` is a client that was not freed; `host_port` is a C string; `key` holds `key_len` bytes; `out` is
/// writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_connect(
    client: *mut BcClient,
    host_port: *const c_char,
    key: *const u8,
    key_len: usize,
    timeout_ms: u64,
    out: *mut *mut BcSession,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let client = unsafe { borrow(client) }.ok_or_else(|| bad("client"))?;
        if host_port.is_null() || out.is_null() {
            return Err(bad("host_port or out"));
        }
        // SAFETY: as this function demands.
        let address = unsafe { text(host_port, "", "host_port")? };
        // SAFETY: as this function demands.
        let key = unsafe { bytes(key, key_len) }.ok_or_else(|| bad("key"))?;
        let key = (!key.is_empty()).then_some(key);
        let timeout = match timeout_ms {
            0 => DEFAULT_TIMEOUT,
            ms => Duration::from_millis(ms),
        };
        let session = client.client.connect(address, key, timeout)?;
        let info = c_string(&describe(&session));
        let handle = BcSession {
            magic: BcSession::MAGIC,
            session,
            info,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(handle.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// What the node said of itself, as JSON.
fn describe(session: &Session<TheFabric>) -> String {
    let node = session.welcome();
    json!({
        "address": session.address(),
        "pid": node.pid,
        "hostname": node.hostname,
        "arch": node.arch,
        "cpu": node.cpu,
        "features": node.features,
        "llvm": node.llvm,
        "version": node.version,
        "transport": session.transport(),
        "session": node.session,
        "origin": node.origin,
        "max_frame": node.max_frame,
        "abis": node.abis,
    })
    .to_string()
}

/// What the node said of itself, as a JSON object: address, pid, hostname, arch, cpu, features, llvm, version, transport,
/// session, origin, max_frame, abis. Lives as long as the session. NULL if `session` is.
///
/// # Safety
/// `session` is NULL or a session that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_session_info(session: *const BcSession) -> *const c_char {
    // SAFETY: as this function demands.
    let session = unsafe { borrow(session) };
    session.map_or(std::ptr::null(), |session| session.info.as_ptr())
}

/// 1 while calls can be made, 0 once the session was closed or the node died; BC_E_BAD_ARGUMENT for NULL.
///
/// # Safety
/// `session` is NULL or a session that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_session_is_open(session: *const BcSession) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let session = unsafe { borrow(session) };
        session.map_or(REFUSED, |session| i32::from(session.session.is_open()))
    })
}

/// The node's number in code that hops: its place, from 1, among the client's open sessions in the order in which they were
/// opened. 0 once the session is over; BC_E_BAD_ARGUMENT for NULL.
///
/// # Safety
/// `session` is NULL or a session that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_session_number(session: *const BcSession) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let session = unsafe { borrow(session) };
        session.map_or(REFUSED, |session| {
            session.session.number().map_or(0, |number| number as i32)
        })
    })
}

/// Closes the session: pending calls fail with BC_E_SESSION_CLOSED. Closing again does nothing.
///
/// # Safety
/// `session` is NULL or a session that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_session_close(session: *mut BcSession) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let Some(session) = (unsafe { borrow(session) }) else {
            return REFUSED;
        };
        session.session.close();
        BC_OK
    })
}

/// Closes and frees the session; NULL is ignored.
///
/// # Safety
/// `session` is NULL or a session that was not freed; it must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_session_free(session: *mut BcSession) {
    guarded((), || {
        // SAFETY: as this function demands.
        if let Some(session) = unsafe { take(session) } {
            session.session.close();
        }
    });
}

/// Counters as a JSON object: calls, pending, bytes_sent, bytes_received, archives_sent, need_code, values, throws, errors,
/// timeouts, dropped_frames. Owned: free it with bc_string_free. NULL if `session` is.
///
/// # Safety
/// `session` is NULL or a session that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_session_stats(session: *const BcSession) -> *mut c_char {
    guarded(std::ptr::null_mut(), || {
        // SAFETY: as this function demands.
        let Some(session) = (unsafe { borrow(session) }) else {
            return std::ptr::null_mut();
        };
        let stats = session.session.stats();
        let json = json!({
            "calls": stats.calls,
            "pending": stats.pending,
            "bytes_sent": stats.bytes_sent,
            "bytes_received": stats.bytes_received,
            "archives_sent": stats.archives_sent,
            "need_code": stats.need_code,
            "values": stats.values,
            "throws": stats.throws,
            "errors": stats.errors,
            "timeouts": stats.timeouts,
            "dropped_frames": stats.dropped_frames,
        });
        c_string(&json.to_string()).into_raw()
    })
}

/// Frees a string that this library gave away as owned; NULL is ignored.
///
/// # Safety
/// `string` is NULL or such a string, not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: made by `CString::into_raw` here, the caller vouches for it.
        drop(unsafe { CString::from_raw(string) });
    }
}
