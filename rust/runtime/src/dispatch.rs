//! Where a node has to give up: calls whose method would have to be chosen while the code runs.

use crate::builtin::{Builtins, id};
use crate::exception::throw;
use crate::function::{Args, cell_of};
use crate::layout::Value;
use crate::memory::{check_stack, struct_of};
use crate::thread::ThreadState;

/// What a node cannot do: find the method for arguments whose types were not known when the code was captured.
unsafe fn refuse_dispatch(callee: *const Value) -> ! {
    let state = ThreadState::current();
    // SAFETY: called from shipped code: making the message allocates.
    unsafe { check_stack(state) };
    // SAFETY: an object or null, says the caller.
    let message = unsafe { dispatch_message(state, callee) };
    // SAFETY: called from shipped code.
    let exception = unsafe { struct_of(Builtins::get().ty(id::ERROR_EXCEPTION), [message]) };
    // SAFETY: called from shipped code.
    unsafe { throw(exception) }
}

/// The message, as a Julia string. Its Rust form is gone before anything may throw, but for running out of memory.
#[inline(never)]
unsafe fn dispatch_message(state: &ThreadState, callee: *const Value) -> *mut Value {
    // SAFETY: null or the call that this thread is running.
    let call = unsafe { state.call.get().as_ref() };
    // SAFETY: the constants live as long as the call.
    let named = call.and_then(|call| unsafe { (*call.constants).name_of(callee) });
    // SAFETY: null or an object, says the caller.
    let name =
        named.or_else(|| (!callee.is_null()).then(|| unsafe { &*cell_of(callee).record().name }));
    let text = format!(
        "the call of {} was not resolved when this function was captured: a node cannot choose methods at run time",
        name.unwrap_or("a function")
    );
    // SAFETY: called from shipped code.
    unsafe { crate::string::from_bytes(text.as_bytes()) }
}

/// `f(args...)` with types that nobody knew.
///
/// # Safety
/// - called from shipped code.
pub(crate) unsafe extern "C" fn jl_apply_generic(
    f: *mut Value,
    _args: Args,
    _count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { refuse_dispatch(f) }
}

/// A call of a known method that was not captured with the rest.
///
/// # Safety
/// - called from shipped code; `method` is the method instance.
pub(crate) unsafe extern "C" fn jl_invoke(
    _f: *mut Value,
    _args: Args,
    _count: u32,
    method: *mut Value,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { refuse_dispatch(method) }
}
