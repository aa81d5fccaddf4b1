//! Strings and symbols that calls make.

use crate::builtin::{Builtins, id};
use crate::error::argument_error;
use crate::exception::throw_instance;
use crate::layout::{DataType, STRING_DATA, Value, string_bytes};
use crate::memory::{check_stack, object};
use crate::symbol;
use crate::thread::ThreadState;
use libc::c_char;
use std::ffi::CStr;

/// Is this the type `String`?
pub(crate) fn is_string(ty: *const DataType) -> bool {
    std::ptr::eq(ty, Builtins::get().ty(id::STRING))
}

/// A string with a copy of these bytes.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`.
pub(crate) unsafe fn from_bytes(bytes: &[u8]) -> *mut Value {
    // SAFETY: the caller's promise.
    unsafe { jl_pchar_to_string(bytes.as_ptr(), bytes.len()) }
}

/// A string of `length` bytes, undefined but for the NUL behind them.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`.
pub(crate) unsafe extern "C" fn jl_alloc_string(length: usize) -> *mut Value {
    if length == 0 {
        return Builtins::get().empty_string();
    }
    let Some(bytes) = length.checked_add(STRING_DATA + 1) else {
        // SAFETY: the caller's promise.
        unsafe { throw_instance(id::OUT_OF_MEMORY_ERROR) }
    };
    // SAFETY: the caller's promise.
    let made = unsafe { object(bytes, Builtins::get().ty(id::STRING)) };
    // SAFETY: made with room for it.
    unsafe { made.cast::<usize>().write(length) };
    // SAFETY: as above: the last byte.
    unsafe {
        made.cast::<u8>()
            .wrapping_add(STRING_DATA + length)
            .write(0)
    };
    made
}

/// A string with a copy of C bytes.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`; `bytes` points to `length` bytes.
pub(crate) unsafe extern "C" fn jl_pchar_to_string(bytes: *const u8, length: usize) -> *mut Value {
    // SAFETY: the caller's promise.
    let made = unsafe { jl_alloc_string(length) };
    if length > 0 {
        // SAFETY: both have `length` bytes.
        unsafe {
            made.cast::<u8>()
                .wrapping_add(STRING_DATA)
                .copy_from_nonoverlapping(bytes, length)
        };
    }
    made
}

/// A string with a copy of a C string.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`; `text` is a C string.
pub(crate) unsafe extern "C" fn jl_cstr_to_string(text: *const c_char) -> *mut Value {
    // SAFETY: the caller's promise.
    let length = unsafe { libc::strlen(text) };
    // SAFETY: as above.
    unsafe { jl_pchar_to_string(text.cast(), length) }
}

/// The bytes of a string.
///
/// # Safety
/// - `string` is a string.
pub(crate) unsafe extern "C" fn jl_string_ptr(string: *mut Value) -> *mut u8 {
    string.cast::<u8>().wrapping_add(STRING_DATA)
}

/// The length of a string in bytes.
///
/// # Safety
/// - `string` is a string.
pub(crate) unsafe extern "C" fn jl_string_len(string: *const Value) -> usize {
    // SAFETY: a string starts with its length.
    unsafe { string.cast::<usize>().read() }
}

/// A symbol's name.
///
/// # Safety
/// - `symbol` is a symbol.
pub(crate) unsafe extern "C" fn jl_symbol_name(symbol: *const Value) -> *const c_char {
    symbol
        .cast::<c_char>()
        .wrapping_add(crate::layout::SYMBOL_NAME)
}

/// `Symbol` of `length` bytes.
///
/// # Safety
/// - called from shipped code: may throw; `name` points to `length` bytes.
pub(crate) unsafe extern "C" fn jl_symbol_n(name: *const u8, length: usize) -> *mut Value {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(name, length) };
    // SAFETY: the caller's promise.
    unsafe { symbol_of_call(bytes) }
}

/// `Symbol` of a C string.
///
/// # Safety
/// - called from shipped code: may throw; `name` is a C string.
pub(crate) unsafe extern "C" fn jl_symbol(name: *const c_char) -> *mut Value {
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    // SAFETY: the caller's promise.
    unsafe { symbol_of_call(bytes) }
}

/// A symbol with a name that nobody else has.
///
/// # Safety
/// - called from shipped code: may throw.
pub(crate) unsafe extern "C" fn jl_gensym() -> *mut Value {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut name = *b"##00000000000000000000";
    let mut number = NEXT.fetch_add(1, Ordering::Relaxed);
    for digit in name[2..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    // SAFETY: the caller's promise.
    unsafe { symbol_of_call(&name) }
}

/// The symbol for bytes that a call has. Kept until the call ends.
///
/// # Safety
/// - called from shipped code: may throw.
pub(crate) unsafe fn symbol_of_call(bytes: &[u8]) -> *mut Value {
    let state = ThreadState::current();
    // SAFETY: the caller's promise: from here to the return, nothing may fault with a lock held.
    unsafe { check_stack(state) };
    let refused = match std::str::from_utf8(bytes) {
        Ok(name) if !name.contains('\0') => return hold(state, name),
        Ok(_) => "Symbol name may not contain \\0",
        Err(_) => "the node can only make symbols of valid UTF-8",
    };
    // SAFETY: the caller's promise.
    unsafe { argument_error(refused) }
}

/// Interns and keeps: nothing in here throws.
#[inline(never)]
fn hold(state: &ThreadState, name: &str) -> *mut Value {
    let symbol = symbol::intern(name);
    let value = symbol.value();
    crate::call::keep(state, symbol);
    value
}

/// Do two strings hold the same bytes?
///
/// # Safety
/// - both are strings.
pub(crate) unsafe fn same_bytes(a: *const Value, b: *const Value) -> bool {
    // SAFETY: the caller's promise.
    let a = unsafe { string_bytes(a) };
    // SAFETY: the caller's promise.
    let b = unsafe { string_bytes(b) };
    a == b
}
