//! Code that moves: what shipped code may know of where it runs, and how it ends by going on elsewhere.
//!
//! Sending is not this room's business. A call that is forwarded ends here, like one that returns: the payload of the
//! next call lies where a result would, and the outcome says which node and which entry it is for.

use crate::call::{Call, Outcome, bc_result, code, pack_now};
use crate::host::Answer;
use crate::layout::{CACHE_ALIGN, Value, round_up};
use crate::machine::bc_leave;
use crate::memory::buffer;
use crate::thread::ThreadState;

/// Where a call runs, and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of this node among the origin's, from 1; 0 if the origin has not said.
    pub here: u32,
    /// How many nodes the origin has; 0 if it has not said.
    pub nodes: u32,
    /// Which of the code's entries is called.
    pub entry: u16,
}

/// Where a call goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Onward {
    /// The node's number, as the code gave it: there need not be such a node.
    pub node: i64,
    /// Which of the code's entries to call there.
    pub entry: u16,
}

/// The place of the call that this thread is running.
fn place() -> Place {
    // SAFETY: null or the call that this thread is running.
    let call = unsafe { ThreadState::current().call.get().as_ref() };
    call.map_or(Place::default(), |call| call.place)
}

/// For shipped code: the number of the node that it runs on.
pub(crate) extern "C" fn bc_here() -> i64 {
    place().here.into()
}

/// For shipped code: how many nodes the origin has.
pub(crate) extern "C" fn bc_nodes() -> i64 {
    place().nodes.into()
}

/// For shipped code: which of its entries is called.
pub(crate) extern "C" fn bc_entry() -> i64 {
    place().entry.into()
}

/// For shipped code: memory for the payload of the call that it goes on as, at a multiple of 64. Calling it again
/// replaces it.
///
/// # Safety
/// - called from shipped code.
pub(crate) unsafe extern "C" fn bc_forward_room(bytes: u64) -> i64 {
    let call = ThreadState::current().call.get() as i64;
    // SAFETY: the call that this thread is running.
    unsafe { bc_result(call, bytes) }
}

/// For shipped code: ends this call here, to go on at `entry` on `node` with the payload that was written into the room.
/// Nothing else of the code runs here, `finally` neither.
///
/// # Safety
/// - called from shipped code.
pub(crate) unsafe extern "C" fn bc_forward(node: i64, entry: i64) -> ! {
    // SAFETY: the caller's promise.
    unsafe { bc_forward_graph(node, entry, std::ptr::null_mut()) }
}

/// As [`bc_forward`], with a payload that is made of an object, as a graph.
///
/// # Safety
/// - called from shipped code, with an object of the call's or null.
pub(crate) unsafe extern "C" fn bc_forward_graph(node: i64, entry: i64, payload: *mut Value) -> ! {
    let state = ThreadState::current();
    // SAFETY: the call that this thread is running.
    let call = unsafe { &*state.call.get() };
    call.result.set(payload);
    call.onward.set(Onward {
        node,
        entry: u16::try_from(entry).unwrap_or(u16::MAX),
    });
    state.left.set(code::FORWARDED);
    // SAFETY: the landing belongs to a `bc_enter` further up this thread's stack.
    unsafe { bc_leave(state.landing.get(), 0) }
}

/// For shipped code: starts another call, at `entry` on `node`, with the payload that was written into the room, and goes on. If
/// that cannot be, the call ends here.
///
/// # Safety
/// - called from shipped code.
pub(crate) unsafe extern "C" fn bc_spawn(node: i64, entry: i64) {
    let state = ThreadState::current();
    // SAFETY: the call that this thread is running.
    let call = unsafe { &*state.call.get() };
    if !spawned(call, node, entry) {
        // SAFETY: the caller's promise.
        unsafe { leave_stopped(state) }
    }
}

/// As [`bc_spawn`], with a payload that is made of an object, as a graph.
///
/// # Safety
/// - called from shipped code, with an object of the call's.
pub(crate) unsafe extern "C" fn bc_spawn_graph(node: i64, entry: i64, payload: *mut Value) {
    let state = ThreadState::current();
    // SAFETY: the call that this thread is running.
    let call = unsafe { &*state.call.get() };
    let packed = pack_now(state, call, payload);
    let started = match packed {
        Outcome::Value => spawned(call, node, entry),
        other => {
            call.stopped.set(other);
            false
        }
    };
    if !started {
        // SAFETY: the caller's promise.
        unsafe { leave_stopped(state) }
    }
}

/// For shipped code: makes another call, at `entry` on `node`, with the payload that was written into the room, and waits for it. Returns
/// where its packed result is, at a multiple of 64, and writes its length to `length`. If the call throws, or cannot be made, this
/// call ends here in the same way.
///
/// # Safety
/// - called from shipped code: may throw `OutOfMemoryError`; `length` points to a word.
pub(crate) unsafe extern "C" fn bc_ask(node: i64, entry: i64, length: *mut i64) -> i64 {
    let state = ThreadState::current();
    // SAFETY: the call that this thread is running.
    let call = unsafe { &*state.call.get() };
    if !asked(call, node, entry) {
        // SAFETY: the caller's promise.
        unsafe { leave_stopped(state) }
    }
    // Nothing is borrowed while there may be no memory, which is a jump.
    let bytes = call.answer.borrow().len();
    // SAFETY: the caller's promise.
    let (memory, _) = unsafe { buffer(bytes + CACHE_ALIGN) };
    let start = round_up(memory as usize, CACHE_ALIGN) - memory as usize;
    let answer = call.answer.take();
    let memory = memory.wrapping_add(start);
    // SAFETY: room for it was just made.
    unsafe { memory.copy_from_nonoverlapping(answer.as_ptr(), answer.len()) };
    // SAFETY: the caller's promise.
    unsafe { length.write(answer.len() as i64) };
    memory as i64
}

/// As [`bc_ask`], with a payload that is made of an object, as a graph.
///
/// # Safety
/// - as for [`bc_ask`], with an object of the call's.
pub(crate) unsafe extern "C" fn bc_ask_graph(
    node: i64,
    entry: i64,
    payload: *mut Value,
    length: *mut i64,
) -> i64 {
    let state = ThreadState::current();
    // SAFETY: the call that this thread is running.
    let call = unsafe { &*state.call.get() };
    match pack_now(state, call, payload) {
        // SAFETY: the caller's promise.
        Outcome::Value => unsafe { bc_ask(node, entry, length) },
        other => {
            call.stopped.set(other);
            // SAFETY: the caller's promise.
            unsafe { leave_stopped(state) }
        }
    }
}

/// For shipped code: what the entry of the call that this thread is running was given as `call`.
pub(crate) extern "C" fn bc_running() -> i64 {
    ThreadState::current().call.get() as i64
}

/// Has the host make the call whose payload is in the output, which is then empty again. The result is kept in the call; `false` if
/// there is none.
fn asked(call: &Call, node: i64, entry: i64) -> bool {
    let onward = Onward {
        node,
        entry: u16::try_from(entry).unwrap_or(u16::MAX),
    };
    let output = call.output();
    let answer = call.hosted.host().call(onward, output.bytes());
    output.clear();
    match answer {
        Some(Answer::Value(bytes)) => {
            call.answer.replace(bytes);
            true
        }
        Some(Answer::Thrown(bytes)) => {
            call.stopped.set(if output.set(&bytes) {
                Outcome::ThrownElsewhere
            } else {
                Outcome::OutOfMemory
            });
            false
        }
        None => false,
    }
}

/// Has the host start the call whose payload is in the output, which is then empty again.
fn spawned(call: &Call, node: i64, entry: i64) -> bool {
    let onward = Onward {
        node,
        entry: u16::try_from(entry).unwrap_or(u16::MAX),
    };
    let output = call.output();
    let started = call.hosted.host().spawn(onward, output.bytes());
    output.clear();
    started
}

/// Ends the call at once, as its `stopped` says.
///
/// # Safety
/// - called within a call, with nothing to drop between here and its landing.
unsafe fn leave_stopped(state: &ThreadState) -> ! {
    state.left.set(code::STOPPED);
    // SAFETY: the landing belongs to a `bc_enter` further up this thread's stack.
    unsafe { bc_leave(state.landing.get(), 0) }
}
