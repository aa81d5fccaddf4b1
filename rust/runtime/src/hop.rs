//! Code that moves: what shipped code may know of where it runs, and how it ends by going on elsewhere.
//!
//! Sending is not this room's business. A call that is forwarded ends here, like one that returns: the payload of the
//! next call lies where a result would, and the outcome says which node and which entry it is for.

use crate::call::{Call, Outcome, bc_result, code, pack_now};
use crate::layout::Value;
use crate::machine::bc_leave;
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
