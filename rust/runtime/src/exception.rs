//! Throwing and catching: the handler stack and the exceptions being handled.
//!
//! `try` in emitted code is `jl_enter_handler` and a `setjmp` in the function's own frame; a throw jumps to the innermost
//! handler, or, with none, to the landing of the call. Every function here that does not return may be called only with
//! plain frames between it and its handler: nothing is dropped on the way.

use crate::builtin::{Builtins, id};
use crate::call::code;
use crate::layout::Value;
use crate::machine::{bc_leave, bc_longjmp};
use crate::thread::{Handler, ThreadState};

/// Throws.
///
/// # Safety
/// - no frame between here and the innermost handler holds a value that must be dropped.
pub(crate) unsafe fn throw(exception: *mut Value) -> ! {
    let state = ThreadState::current();
    state.exceptions.push(exception);
    if let Some(trace) = state.exceptions.innermost_trace() {
        trace.record(state);
    }
    // SAFETY: the caller's promise.
    unsafe { jump(state) }
}

/// Throws from a signal handler: asks the system for nothing. `place` are the instruction and the frame pointer that were
/// interrupted.
///
/// # Safety
/// - as for [`throw`].
pub(crate) unsafe fn throw_from_handler(
    state: &ThreadState,
    exception: *mut Value,
    place: (usize, usize),
) -> ! {
    state.exceptions.push_reserved(exception);
    if let Some(trace) = state.exceptions.innermost_trace() {
        trace.record_fault(state, place.0, place.1);
    }
    // SAFETY: the caller's promise.
    unsafe { jump(state) }
}

/// Throws one of the exceptions without fields.
///
/// # Safety
/// - as for [`throw`].
pub(crate) unsafe fn throw_instance(number: u16) -> ! {
    // SAFETY: the caller's promise.
    unsafe { throw(Builtins::get().instance(number)) }
}

/// To the innermost handler, or to the landing.
unsafe fn jump(state: &ThreadState) -> ! {
    let handler = state.handler.get();
    if !handler.is_null() {
        // SAFETY: a handler in the list lies in a frame that is still there.
        let context = unsafe { &raw const (*handler).context };
        // SAFETY: as above, and the value is not 0.
        unsafe { bc_longjmp(context, 1) }
    }
    let landing = state.landing.get();
    if landing.is_null() {
        // Only tests and mistakes of our own get here: nobody called us from shipped code.
        eprintln!("bitcode-runtime: a Julia exception was thrown outside a call");
        std::process::abort();
    }
    state.left.set(code::UNCAUGHT);
    // SAFETY: the landing belongs to a `bc_enter` further up this thread's stack.
    unsafe { bc_leave(landing, 0) }
}

/// `throw(exception)`.
///
/// # Safety
/// - called from emitted code with a Julia object or null; see [`throw`].
pub(crate) unsafe extern "C" fn jl_throw(exception: *mut Value) -> ! {
    if exception.is_null() {
        // SAFETY: the caller's promise.
        unsafe { throw_instance(id::UNDEF_REF_ERROR) }
    }
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

/// `rethrow()`.
///
/// # Safety
/// - as for [`throw`].
pub(crate) unsafe extern "C" fn jl_rethrow() -> ! {
    let state = ThreadState::current();
    if state.exceptions.top() == 0 {
        // SAFETY: the caller's promise.
        unsafe { crate::error::error("rethrow() not allowed outside a catch block") }
    }
    // SAFETY: the caller's promise.
    unsafe { jump(state) }
}

/// `rethrow(exception)`.
///
/// # Safety
/// - as for [`throw`].
pub(crate) unsafe extern "C" fn jl_rethrow_other(exception: *mut Value) -> ! {
    let state = ThreadState::current();
    if state.exceptions.top() == 0 {
        // SAFETY: the caller's promise.
        unsafe { crate::error::error("rethrow(exc) not allowed outside a catch block") }
    }
    state.exceptions.replace_current(exception);
    // SAFETY: the caller's promise.
    unsafe { jump(state) }
}

/// Begins a `try`; emitted code calls `setjmp` on the handler's context next.
///
/// # Safety
/// - `handler` points to memory for a [`Handler`] in the caller's frame, which pops it before it returns.
pub(crate) unsafe extern "C" fn jl_enter_handler(handler: *mut Handler) {
    let state = ThreadState::current();
    // SAFETY: the caller's memory.
    unsafe { (*handler).prev = state.handler.get() };
    state.handler.set(handler);
}

/// Ends the innermost `count` `try`s.
///
/// # Safety
/// - as many are active.
pub(crate) unsafe extern "C" fn jl_pop_handler(count: i32) {
    let state = ThreadState::current();
    let mut handler = state.handler.get();
    for _ in 0..count {
        if handler.is_null() {
            break;
        }
        // SAFETY: an active handler lies in a frame that is still there.
        handler = unsafe { (*handler).prev };
    }
    state.handler.set(handler);
}

/// How many exceptions are being handled.
pub(crate) extern "C" fn jl_excstack_state() -> usize {
    ThreadState::current().exceptions.top()
}

/// Forgets exceptions that were handled.
pub(crate) extern "C" fn jl_restore_excstack(top: usize) {
    ThreadState::current().exceptions.truncate(top);
}

/// The exception being handled.
pub(crate) extern "C" fn jl_current_exception() -> *mut Value {
    let current = ThreadState::current().exceptions.current();
    if current.is_null() {
        Builtins::get().nothing()
    } else {
        current
    }
}

/// The exception being handled, or null.
pub(crate) extern "C" fn jl_exception_occurred() -> *mut Value {
    ThreadState::current().exceptions.current()
}

/// Forgets the saved exception: there is none here.
pub(crate) extern "C" fn jl_exception_clear() {}
