//! `bc_client`: one per process and transport.

use std::ffi::{CStr, CString, c_char};

use bitcode_client::{Client, ClientError};
use bitcode_transport::{Fabric, Settings, TransportChoice, UcxFabric};

use crate::BcError;
use crate::error::c_string;
use crate::handle::{Handle, bad, borrow, guarded, status, take};

/// The fabric that this library is built on.
pub(crate) type TheFabric = UcxFabric;

/// One fabric with its sessions and its helper thread. A process needs one per transport.
pub struct BcClient {
    pub(crate) magic: u64,
    pub(crate) client: Client<TheFabric>,
    transport: CString,
}

// SAFETY: `magic` is the u64 at that offset.
unsafe impl Handle for BcClient {
    const OFFSET: usize = std::mem::offset_of!(BcClient, magic);
    const MAGIC: u64 = u64::from_le_bytes(*b"bcclient");
}

/// Opens UCX. `transport` is "auto", "shm", "tcp" or a list in UCX's own words; NULL means "auto".
///
/// # Safety
/// `transport` is NULL or a C string; `out` is writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_client_new(
    transport: *const c_char,
    out: *mut *mut BcClient,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        if out.is_null() {
            return Err(bad("out"));
        }
        // SAFETY: the caller vouches for the string.
        let transport = unsafe { text(transport, "auto", "transport")? };
        let choice: TransportChoice = transport.parse()?;
        let mut settings = Settings::with_transport(choice);
        // Output of a call comes before its outcome.
        settings.in_order = true;
        let client = Client::new(UcxFabric::new(&settings)?)?;
        let transport = c_string(&client.fabric().describe());
        let handle = BcClient {
            magic: BcClient::MAGIC,
            client,
            transport,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(handle.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// Ends a client for good and frees it; NULL is ignored. Its sessions are closed, which fails their pending calls; handles of
/// sessions, codes and calls stay valid until they are freed. Call it before the process exits: afterwards no thread of
/// this library is left.
///
/// # Safety
/// `client` is NULL or a client that was not freed; it must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_client_free(client: *mut BcClient) {
    guarded((), || {
        // SAFETY: as this function demands.
        if let Some(client) = unsafe { take(client) } {
            client.client.shut_down();
        }
    });
}

/// The transports that UCX offers here under this setting; lives as long as the client. NULL if `client` is.
///
/// # Safety
/// `client` is NULL or a client that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_client_transport(client: *const BcClient) -> *const c_char {
    // SAFETY: as this function demands.
    let client = unsafe { borrow(client) };
    client.map_or(std::ptr::null(), |client| client.transport.as_ptr())
}

/// A text argument; null stands for `default`.
///
/// # Safety
/// `ptr` is null or a C string that lives for `'a`.
pub(crate) unsafe fn text<'a>(
    ptr: *const c_char,
    default: &'a str,
    name: &str,
) -> Result<&'a str, ClientError> {
    if ptr.is_null() {
        return Ok(default);
    }
    // SAFETY: not null, and the caller vouches for it.
    let text = unsafe { CStr::from_ptr(ptr) };
    let not_utf8 = |_| ClientError::BadArgument(format!("{name} is not UTF-8"));
    text.to_str().map_err(not_utf8)
}
