//! A collection on the thread whose heap it is: what the thread's stack, its registers and its state refer to is marked,
//! and everything else becomes free.
//!
//! The stack is read word by word, since nothing says where in it references are. Registers that a function must
//! preserve are on it, once they are saved; all others were saved by whoever called us, if they hold something.

use super::Heap;
use super::trace::{Marker, Pending};
use crate::call::Call;
use crate::defer::{self, Deferred};
use crate::library;
use crate::machine::{Landing, bc_enter, peek, stack_pointer};
use crate::thread::ThreadState;

/// Collects in the heap of this thread.
pub(crate) fn collect(heap: &Heap) {
    let state = ThreadState::current();
    if !std::ptr::eq(heap, &raw const state.heap) || state.stack_top.get() == 0 {
        return;
    }
    // SAFETY: null or the call that this thread is running.
    if unsafe { state.call.get().as_ref() }.is_some_and(|call| call.holding.get()) {
        return;
    }
    library::forget_caches();
    let mut landing = Landing::new();
    // SAFETY: `collect_here` takes the state; nobody leaves through this landing, which only gives us the registers on the
    // stack.
    unsafe {
        bc_enter(
            collect_here,
            (&raw const *state) as usize,
            0,
            0,
            &raw mut landing,
        )
    };
}

extern "C" fn collect_here(state: usize, _: usize, _: usize) -> i64 {
    // SAFETY: `collect` passes its thread's state.
    let state = unsafe { &*(state as *const ThreadState) };
    collect_from(&state.heap, |marker| {
        let bottom = stack_pointer().next_multiple_of(size_of::<usize>());
        for address in (bottom..state.stack_top.get()).step_by(size_of::<usize>()) {
            // SAFETY: the part of the stack that is in use.
            marker.ambiguous(unsafe { peek(address) });
        }
        state.roots(&mut |root| marker.reference(root as usize));
        // SAFETY: null or the call that this thread is running.
        if let Some(call) = unsafe { state.call.get().as_ref() } {
            mark_deferred(marker, call);
        }
    });
    0
}

/// Collects, given the roots. If there is no memory for that, everything stays as it is.
pub(super) fn collect_from(heap: &Heap, mark_roots: impl FnOnce(&Marker<'_>)) {
    heap.collected.set(true);
    heap.settle();
    let Some(pending) = Pending::new(&heap.pending).filter(|_| heap.blocks.list()) else {
        return;
    };
    let marker = Marker::new(heap, pending);
    mark_roots(&marker);
    if marker.finish() {
        heap.sweep();
    } else {
        heap.forget_marks();
    }
}

/// What the origin is to make in place of an object is wanted as long as the object is, and no longer: a loop that catches
/// exceptions must not keep them all.
fn mark_deferred(marker: &Marker<'_>, call: &Call) {
    let mut whole = marker.finish();
    loop {
        let before = marker.marked();
        let wanted = |object: usize, entry: *const Deferred| {
            if marker.is_in_use(object) {
                marker.data(entry as usize);
                // SAFETY: an entry of the call that is running.
                for value in unsafe { defer::references(entry) } {
                    marker.reference(value as usize);
                }
            }
        };
        // SAFETY: the list of the call that is running.
        unsafe { defer::by_object(call.deferred.get(), wanted) };
        whole &= marker.finish();
        if marker.marked() == before {
            break;
        }
    }
    if whole {
        // SAFETY: as above.
        unsafe { defer::retain(&call.deferred, |object| marker.is_in_use(object as usize)) };
    }
}
