//! LLVM's C API made a little safer: contexts, modules, target machines and buffers that free themselves, iteration over
//! what a module holds, errors as values.
//!
//! A module lives in a context of its own, used by one thread at a time; nothing is shared between compilations. The raw
//! handles stay inside this crate.

mod context;
mod features;
pub(crate) mod machine;
mod walk;

pub(crate) use context::{Buffer, Context, Module};
pub(crate) use features::inlinable;
pub(crate) use machine::{Machine, initialise};
pub(crate) use walk::{
    functions, globals, instructions, kind, name_of, opcode, operands, type_of, uses,
};

use inkwell::llvm_sys::core::LLVMDisposeMessage;
use inkwell::llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use std::ffi::{CStr, c_char};

/// Takes a message that LLVM allocated.
///
/// # Safety
/// - `message` is null, or a string that LLVM gave away and nobody frees elsewhere.
pub(crate) unsafe fn take_message(message: *mut c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: a C string.
    let text = unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: LLVM's to free, once.
    unsafe { LLVMDisposeMessage(message) };
    text
}

/// The outcome of a call that returns an `LLVMErrorRef`.
///
/// # Safety
/// - `error` is what LLVM returned, not yet consumed.
pub(crate) unsafe fn outcome(error: LLVMErrorRef) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: consumes the error.
    let message = unsafe { LLVMGetErrorMessage(error) };
    // SAFETY: a C string.
    let text = unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: the message of an error, freed once.
    unsafe { LLVMDisposeErrorMessage(message) };
    Err(text)
}

/// LLVM's version, e.g. `"19.1.7"`.
pub fn version() -> String {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: writes three locals.
    unsafe {
        inkwell::llvm_sys::core::LLVMGetVersion(&raw mut major, &raw mut minor, &raw mut patch)
    };
    format!("{major}.{minor}.{patch}")
}
