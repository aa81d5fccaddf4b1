//! Code that is specialised while it runs: some of its arguments fixed, as bytes that the compiler reads as constants.
//!
//! Compiling is the host's business. Specialised code has the same entries as the code that it was made of, and so is called by their numbers: with
//! a payload by another node, or, by code that runs here, with objects as they are ([`bc_run_special`]).

use crate::call::{Call, Entry};
use crate::host::Special;
use crate::layout::Value;
use crate::memory::check_stack;
use crate::thread::ThreadState;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;

/// What a call knows of the specialised code that it has called.
#[derive(Default)]
pub(crate) struct Specials {
    /// By what they are specialised for. They stay until the call ends.
    known: RefCell<HashMap<Box<[u8]>, Special>>,
    /// On its way to the code that is called, or back.
    passed: Cell<*mut Value>,
}

impl Specials {
    /// An object that nothing else may refer to.
    pub(crate) fn root(&self) -> *const Value {
        self.passed.get()
    }

    fn address(&self, call: &Call) -> i64 {
        let fixed = call.output().bytes();
        if let Some(special) = self.known.borrow().get(fixed) {
            return special.entry as i64;
        }
        let Some(special) = call.hosted.host().special(fixed) else {
            return 0;
        };
        let address = special.entry as i64;
        self.known.borrow_mut().insert(fixed.into(), special);
        address
    }
}

/// The call that this thread is running.
fn running() -> &'static Call {
    // SAFETY: called by code of a call, which goes on for as long.
    unsafe { &*ThreadState::current().call.get() }
}

/// For shipped code: where the bytes are that it is specialised for, at a multiple of 64; 0 if it is not. This is the answer of code that
/// no compiler of this node has seen.
pub(crate) extern "C" fn bc_fixed() -> i64 {
    0
}

/// For shipped code: the next call that it makes on another node, or goes on as, runs code that is specialised for the bytes in the room.
pub(crate) extern "C" fn bc_fix() {
    let call = running();
    let output = call.output();
    call.hosted.host().fix(output.bytes());
    output.clear();
}

/// For shipped code: the code that is specialised for the bytes in the room, compiled now if it has not been; 0 if this node cannot. It is there until the
/// call ends.
///
/// # Safety
/// - called from shipped code: may throw `StackOverflowError`.
pub(crate) unsafe extern "C" fn bc_special() -> i64 {
    // SAFETY: the caller's promise.
    unsafe { check_stack(ThreadState::current()) };
    let call = running();
    let address = call.specials.address(call);
    call.output().clear();
    address
}

/// For shipped code: calls an entry of specialised code with an object, and returns what it gives back.
///
/// # Safety
/// - called from shipped code, with an address of [`bc_special`]'s, the number of an entry that is made to be called so, and an object of the call's.
pub(crate) unsafe extern "C" fn bc_run_special(
    code: i64,
    entry: i64,
    arguments: *mut Value,
) -> *mut Value {
    let call = running();
    call.specials.passed.set(arguments);
    // SAFETY: the entry of compiled code, which the call keeps; the caller's promise.
    let code = unsafe { std::mem::transmute::<usize, Entry>(code as usize) };
    // SAFETY: the caller's promise. Nothing is to drop here if it does not return.
    unsafe { code(0, -entry, ptr::from_ref(call) as i64) };
    call.specials.passed.replace(ptr::null_mut())
}

/// For shipped code: what [`bc_run_special`] was given.
pub(crate) extern "C" fn bc_given() -> *mut Value {
    running().specials.passed.replace(ptr::null_mut())
}

/// For shipped code: what [`bc_run_special`] returns.
pub(crate) extern "C" fn bc_give(value: *mut Value) {
    running().specials.passed.set(value);
}
