//! `bc_code`: an archive that can be called.

use std::ffi::c_char;
use std::ptr;

use bitcode_client::{ClientError, Code};
use bitcode_wire::archive::ArchiveError;
use bitcode_wire::code::CodeId;
use bitcode_wire::library::{Function, Library};

use crate::client::text;
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
/// that is NULL. The archive is checked for its form, not for what is in the image. BC_E_BAD_ARGUMENT if it is none, or links to other code: see
/// bc_code_new_linked.
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
    // SAFETY: as this function demands.
    unsafe { bc_code_new_linked(client, archive, len, ptr::null(), 0, id_out, out, err) }
}

/// The same for an archive that links to other code (docs/ARCHIVE.md, "Links"): `links` are `link_count` handles, among which that code has to be.
/// Nodes that lack it are given it. The handles may be freed afterwards.
///
/// # Safety
/// As for bc_code_new; `links` holds `link_count` code handles of this client that were not freed.
#[unsafe(no_mangle)]
#[allow(
    clippy::too_many_arguments,
    reason = "bc_code_new's, and an array with its length"
)]
pub unsafe extern "C" fn bc_code_new_linked(
    client: *mut BcClient,
    archive: *const u8,
    len: usize,
    links: *const *mut BcCode,
    link_count: usize,
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
        // SAFETY: as this function demands.
        let links = unsafe { codes(links, link_count) }?;
        let code = client.client.linked_code(archive.to_vec(), &links)?;
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

/// The codes behind some handles.
///
/// # Safety
/// `links` holds `count` code handles that were not freed.
unsafe fn codes(links: *const *mut BcCode, count: usize) -> Result<Vec<Code>, ClientError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if links.is_null() {
        return Err(bad("links"));
    }
    // SAFETY: not null, and the caller vouches for the rest.
    let links = unsafe { std::slice::from_raw_parts(links, count) };
    let code = |link: &*mut BcCode| {
        // SAFETY: the caller vouches for the handle.
        let link = unsafe { borrow(*link) }.ok_or_else(|| bad("links"))?;
        Ok(link.code.clone())
    };
    links.iter().map(code).collect()
}

/// The code of one function of a library, a file that `BitCode.save` wrote (docs/ARCHIVE.md), or of a file that holds one archive.
///
/// `name` is what was shipped, such as "f(::Int64)", or the function's name alone if the file holds but one of that name; NULL means the only
/// function of the file. BC_E_BAD_ARGUMENT if the file cannot be read or is no library, or if the name means none of its functions or
/// several; the message lists those that are there.
///
/// # Safety
/// `client` is a client that was not freed; `path` is a C string; `name` is NULL or a C string; `out` is writable; `err` is NULL or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_code_load(
    client: *mut BcClient,
    path: *const c_char,
    name: *const c_char,
    out: *mut *mut BcCode,
    err: *mut *mut BcError,
) -> i32 {
    let body = || {
        // SAFETY: as this function demands.
        let client = unsafe { borrow(client) }.ok_or_else(|| bad("client"))?;
        if out.is_null() || path.is_null() {
            return Err(bad(if out.is_null() { "out" } else { "path" }));
        }
        // SAFETY: the caller vouches for the string.
        let path = unsafe { text(path, "", "path")? };
        // SAFETY: as above.
        let name = unsafe { text(name, "", "name")? };
        let file = std::fs::read(path)
            .map_err(|error| ClientError::BadArgument(format!("{path}: {error}")))?;
        let refused = |error: ArchiveError| ClientError::BadArgument(format!("{path}: {error}"));
        let library = Library::decode(&file).map_err(refused)?;
        let handle = BcCode {
            magic: BcCode::MAGIC,
            code: code_of(client, &library, named(&library, path, name)?)?,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(handle.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller vouches for `err`.
    unsafe { status(err, body) }
}

/// The code of a function, with that of the library's others that it links to.
fn code_of(
    client: &BcClient,
    library: &Library<'_>,
    function: &Function<'_>,
) -> Result<Code, ClientError> {
    let mut links = Vec::new();
    for id in function.archive.manifest.links() {
        // An archive holds the hashes of those that it links to: there are no circles.
        let linked = library.functions.iter().find(|it| it.id() == id);
        if let Some(linked) = linked {
            links.push(code_of(client, library, linked)?);
        }
    }
    client.client.linked_code(function.bytes.to_vec(), &links)
}

/// The one function that is called `name`, or the only one if that is empty.
fn named<'l, 'a>(
    library: &'l Library<'a>,
    path: &str,
    name: &str,
) -> Result<&'l Function<'a>, ClientError> {
    let refused = |problem: String| ClientError::BadArgument(format!("{path}: {problem}"));
    let meant = |function: &&Function<'_>| name.is_empty() || function.is_named(name);
    let found: Vec<_> = library.functions.iter().filter(meant).collect();
    if let [function] = found[..] {
        return Ok(function);
    }
    let there: Vec<_> = library
        .functions
        .iter()
        .map(|function| function.archive.manifest.name)
        .collect();
    let which = match (found.len(), name) {
        (_, "") => "name the function".to_owned(),
        (0, name) => format!("there is no function `{name}`"),
        (_, name) => format!("several functions are called `{name}`"),
    };
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    Err(refused(format!("{which}; it holds {there}")))
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
