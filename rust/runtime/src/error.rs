//! The errors that Julia's own runtime raises: each makes the exception that a local call would see, and throws it.
//!
//! None of these functions returns: each may be called only with plain frames up to the handler (see `exception.rs`).

use crate::boxes;
use crate::builtin::{Builtins, id};
use crate::exception::throw;
use crate::function::Args;
use crate::layout::{DataType, Value};
use crate::memory::{object, struct_of};
use crate::string;
use crate::tuple::jl_f_tuple;
use libc::c_char;
use std::ffi::CStr;

/// An exception of one of the types with a single message.
unsafe fn with_message(number: u16, message: &str) -> ! {
    // SAFETY: called from shipped code, says the caller.
    let text = unsafe { string::from_bytes(message.as_bytes()) };
    // SAFETY: as above; the type has one field.
    let exception = unsafe { struct_of(Builtins::get().ty(number), [text]) };
    // SAFETY: as above.
    unsafe { throw(exception) }
}

/// `ErrorException(message)`.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe fn error(message: &str) -> ! {
    // SAFETY: the caller's promise.
    unsafe { with_message(id::ERROR_EXCEPTION, message) }
}

/// `ArgumentError(message)`.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe fn argument_error(message: &str) -> ! {
    // SAFETY: the caller's promise.
    unsafe { with_message(id::ARGUMENT_ERROR, message) }
}

/// `error(message)`.
///
/// # Safety
/// - see the top of this file; `message` is a C string.
pub(crate) unsafe extern "C" fn jl_error(message: *const c_char) -> ! {
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(message) }.to_bytes();
    // SAFETY: the caller's promise.
    let text = unsafe { string::from_bytes(bytes) };
    // SAFETY: the type has one field.
    let exception = unsafe { struct_of(Builtins::get().ty(id::ERROR_EXCEPTION), [text]) };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

/// Formats as C does. The arguments are those of a variadic call: all words, in registers.
unsafe fn formatted(ty: *const DataType, format: *const c_char, words: [usize; 4]) -> ! {
    let mut buffer = [0 as c_char; 1024];
    let [a, b, c, d] = words;
    // SAFETY: the caller's format asks for at most four words; the buffer's size is passed.
    unsafe { libc::snprintf(buffer.as_mut_ptr(), buffer.len(), format, a, b, c, d) };
    // SAFETY: snprintf ends what it writes with NUL.
    let bytes = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_bytes();
    // SAFETY: the caller's promise.
    let text = unsafe { string::from_bytes(bytes) };
    // SAFETY: an exception type with one message field.
    let exception = unsafe { struct_of(ty, [text]) };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

/// `jl_errorf`: at most four further words.
///
/// # Safety
/// - see the top of this file; `format` is a C format that fits its arguments.
pub(crate) unsafe extern "C" fn jl_errorf(
    format: *const c_char,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
) -> ! {
    // SAFETY: the caller's promise.
    unsafe {
        formatted(
            Builtins::get().ty(id::ERROR_EXCEPTION),
            format,
            [a, b, c, d],
        )
    }
}

/// `jl_exceptionf`: at most four further words.
///
/// # Safety
/// - see the top of this file; `ty` has one message field; `format` fits its arguments.
pub(crate) unsafe extern "C" fn jl_exceptionf(
    ty: *const DataType,
    format: *const c_char,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
) -> ! {
    // SAFETY: the caller's promise.
    unsafe { formatted(ty, format, [a, b, c, d]) }
}

/// `UndefVarError(name)`.
///
/// # Safety
/// - see the top of this file; `name` is a symbol.
pub(crate) unsafe extern "C" fn jl_undefined_var_error(name: *mut Value) -> ! {
    // SAFETY: the type has one field.
    let exception = unsafe { struct_of(Builtins::get().ty(id::UNDEF_VAR_ERROR), [name]) };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

/// `TypeError(function, context, expected, got)`.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe fn type_error(
    function: *mut Value,
    context: &str,
    expected: *mut Value,
    got: *mut Value,
) -> ! {
    // SAFETY: the caller's promise.
    let context = unsafe { string::from_bytes(context.as_bytes()) };
    // SAFETY: the type has four fields.
    let exception = unsafe {
        struct_of(
            Builtins::get().ty(id::TYPE_ERROR),
            [function, context, expected, got],
        )
    };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

/// `TypeError` of a function of ours.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe fn wrong_type(function: &str, expected: *mut Value, got: *mut Value) -> ! {
    // SAFETY: the caller's promise.
    let function = unsafe { string::symbol_of_call(function.as_bytes()) };
    // SAFETY: the caller's promise.
    unsafe { type_error(function, "", expected, got) }
}

/// The symbol for a name that our own code or emitted code gives.
unsafe fn function_name(name: *const c_char) -> *mut Value {
    // SAFETY: a C string, says the caller.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    // SAFETY: called from shipped code, says the caller.
    unsafe { string::symbol_of_call(name) }
}

/// `jl_type_error`.
///
/// # Safety
/// - see the top of this file; `function` is a C string.
pub(crate) unsafe extern "C" fn jl_type_error(
    function: *const c_char,
    expected: *mut Value,
    got: *mut Value,
) -> ! {
    // SAFETY: the caller's promise.
    let function = unsafe { function_name(function) };
    // SAFETY: the caller's promise.
    unsafe { type_error(function, "", expected, got) }
}

/// `jl_type_error_rt`.
///
/// # Safety
/// - see the top of this file; `function` and `context` are C strings.
pub(crate) unsafe extern "C" fn jl_type_error_rt(
    function: *const c_char,
    context: *const c_char,
    expected: *mut Value,
    got: *mut Value,
) -> ! {
    // SAFETY: the caller's promise.
    let function = unsafe { function_name(function) };
    // SAFETY: the caller's promise.
    let context = unsafe { CStr::from_ptr(context) }.to_str().unwrap_or("");
    // SAFETY: the caller's promise.
    unsafe { type_error(function, context, expected, got) }
}

/// `BoundsError(array, index)`.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe extern "C" fn jl_bounds_error(array: *mut Value, index: *mut Value) -> ! {
    // SAFETY: the type has two fields.
    let exception = unsafe { struct_of(Builtins::get().ty(id::BOUNDS_ERROR), [array, index]) };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

/// `BoundsError(array, i)`.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe extern "C" fn jl_bounds_error_int(array: *mut Value, index: i64) -> ! {
    // SAFETY: the caller's promise.
    let index = unsafe { boxes::jl_box_int64(index) };
    // SAFETY: the caller's promise.
    unsafe { jl_bounds_error(array, index) }
}

/// `BoundsError(array, (i, j, …))`.
///
/// # Safety
/// - see the top of this file; `indices` points to `count` words.
pub(crate) unsafe extern "C" fn jl_bounds_error_ints(
    array: *mut Value,
    indices: *const i64,
    count: usize,
) -> ! {
    // SAFETY: the caller's promise: making the type may lock and allocate.
    unsafe { crate::memory::check_stack(crate::thread::ThreadState::current()) };
    let ty = Builtins::get().index_tuple(count);
    // SAFETY: the caller's promise.
    let tuple = unsafe { object(count * size_of::<i64>(), ty) };
    // SAFETY: both have room for `count` words.
    unsafe { tuple.cast::<i64>().copy_from_nonoverlapping(indices, count) };
    // SAFETY: the caller's promise.
    unsafe { jl_bounds_error(array, tuple) }
}

/// `BoundsError(value, i)` for a value that is not boxed.
///
/// # Safety
/// - see the top of this file; `data` points to a value of type `ty`.
pub(crate) unsafe extern "C" fn jl_bounds_error_unboxed_int(
    data: *const u8,
    ty: *const DataType,
    index: i64,
) -> ! {
    // SAFETY: the caller's promise.
    let value = unsafe { boxes::jl_new_bits(ty, data) };
    // SAFETY: the caller's promise.
    unsafe { jl_bounds_error_int(value, index) }
}

unsafe fn tuple(values: *const *mut Value, count: usize) -> *mut Value {
    // SAFETY: so many references, says the caller.
    let args = unsafe { Args::new(values) };
    // SAFETY: called from shipped code, says the caller.
    unsafe { jl_f_tuple(std::ptr::null_mut(), args, count as u32) }
}

/// `BoundsError((v...,), i)`.
///
/// # Safety
/// - see the top of this file; `values` points to `count` references.
pub(crate) unsafe extern "C" fn jl_bounds_error_tuple_int(
    values: *const *mut Value,
    count: usize,
    index: i64,
) -> ! {
    // SAFETY: the caller's promise.
    let tuple = unsafe { tuple(values, count) };
    // SAFETY: the caller's promise.
    unsafe { jl_bounds_error_int(tuple, index) }
}

/// `BoundsError(array, (i...,))` with boxed indices.
///
/// # Safety
/// - see the top of this file; `indices` points to `count` references.
pub(crate) unsafe extern "C" fn jl_bounds_error_v(
    array: *mut Value,
    indices: *const *mut Value,
    count: usize,
) -> ! {
    // SAFETY: the caller's promise.
    let tuple = unsafe { tuple(indices, count) };
    // SAFETY: the caller's promise.
    unsafe { jl_bounds_error(array, tuple) }
}

/// `assert_fail` of C code and LLVM's stack protector: an error like others.
///
/// # Safety
/// - see the top of this file.
pub(crate) unsafe extern "C" fn stack_chk_fail() -> ! {
    // SAFETY: the caller's promise.
    unsafe { error("stack smashing detected in shipped code") }
}
