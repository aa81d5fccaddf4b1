//! The state of a thread that runs shipped code: what emitted code takes for Julia's `jl_ptls_t`, and what is ours.

use crate::call::Call;
use crate::fault::SignalStack;
use crate::heap::{self, Heap};
use crate::layout::{ThreadHead, Value};
use crate::library::PerThread;
use crate::machine::{Context, Landing, stack_pointer};
use crate::trace::Trace;
use std::cell::{Cell, RefCell};
use std::mem::offset_of;
use std::ptr;

/// Where the runs of free slots are that emitted code takes objects from: the address of the first slot and of the end, for
/// each multiple of 16 bytes in turn, tags included.
pub const RUNS_OFFSET: usize = offset_of!(ThreadState, heap);
/// Where the innermost exception handler is.
pub const HANDLER_OFFSET: usize = offset_of!(ThreadState, handler);
/// Objects above this many bytes have no run that emitted code knows.
pub const BUMP_MAX: usize = heap::INLINE;
/// Where the number of exceptions being handled is.
pub const EXCEPTIONS_OFFSET: usize =
    offset_of!(ThreadState, exceptions) + offset_of!(ExceptionStack, top);
/// Bytes of a [`Handler`], aligned to 16.
pub const HANDLER_BYTES: usize = size_of::<Handler>();
/// Where a handler keeps the one around it.
pub const HANDLER_PREV: usize = offset_of!(Handler, prev);

/// Shipped code may not begin anything that needs more of the stack than this.
const STACK_RESERVE: usize = 48 << 10;

/// A `try` that is being executed: lies in the frame of the function that has it.
#[repr(C)]
pub struct Handler {
    pub(crate) context: Context,
    pub(crate) prev: *mut Handler,
}

const _: () = {
    assert!(size_of::<ThreadHead>() <= RUNS_OFFSET);
    assert!(offset_of!(Handler, context) == 0);
    assert!(HANDLER_BYTES <= crate::layout::FOREIGN_HANDLER_BYTES);
};

/// Everything a thread needs to run shipped code.
#[repr(C)]
pub struct ThreadState {
    head: ThreadHead,
    pub(crate) heap: Heap,
    pub(crate) handler: Cell<*mut Handler>,
    pub(crate) exceptions: ExceptionStack,
    /// Where to go when nobody catches; null while no shipped code runs.
    pub(crate) landing: Cell<*const Landing>,
    /// Why the landing was used: 0, or one of the codes of `call.rs`.
    pub(crate) left: Cell<i64>,
    pub(crate) call: Cell<*const Call>,
    /// The highest address of the stack that shipped code and what it calls can use; 0 while none runs.
    pub(crate) stack_top: Cell<usize>,
    /// The trace of the exception that the last call ended with, by its place among the exceptions, from 1.
    pub(crate) thrown: Cell<usize>,
    pub(crate) stack: StackBounds,
    pub(crate) library: PerThread,
    safepoint: usize,
    _signal_stack: SignalStack,
}

impl ThreadState {
    fn new() -> Box<Self> {
        let mut state = Box::new(Self {
            head: ThreadHead {
                pgcstack: ptr::null_mut(),
                world_age: 1,
                // Shipped code is the only code of its Julia: thread 1 of 1, whichever thread of ours runs it.
                tid: 0,
                rngseed: 0,
                safepoint: ptr::null(),
                sleep_check_state: 0,
                gc_state: 0,
                in_finalizer: 0,
                disable_gc: 0,
            },
            heap: Heap::new(),
            handler: Cell::new(ptr::null_mut()),
            exceptions: ExceptionStack::new(),
            landing: Cell::new(ptr::null()),
            left: Cell::new(0),
            call: Cell::new(ptr::null()),
            stack_top: Cell::new(0),
            thrown: Cell::new(0),
            stack: StackBounds::of_this_thread(),
            library: PerThread::new(),
            safepoint: 0,
            _signal_stack: SignalStack::install(),
        });
        state.head.safepoint = &raw const state.safepoint;
        state.heap.set_collector(heap::collect);
        state
    }

    /// This thread's state; attaches the thread if it is not yet.
    #[inline]
    pub(crate) fn current() -> &'static Self {
        let mut state = CURRENT.get();
        if state.is_null() {
            attach();
            state = CURRENT.get();
        }
        // SAFETY: set by `attach`, and cleared before the state is dropped, when the thread ends.
        unsafe { &*state }
    }

    /// This thread's state, if it is attached. For signal handlers.
    pub(crate) fn if_attached() -> Option<&'static Self> {
        // SAFETY: as in `current`.
        unsafe { CURRENT.get().as_ref() }
    }

    /// What this thread's state refers to.
    pub(crate) fn roots(&self, found: &mut dyn FnMut(*const Value)) {
        self.exceptions.each(found);
        for root in self.library.roots() {
            found(root);
        }
        // SAFETY: null or the call that this thread is running.
        if let Some(call) = unsafe { self.call.get().as_ref() } {
            call.roots(found);
        }
    }

    /// Is there stack enough for a call into the runtime or the system?
    #[inline]
    pub(crate) fn has_stack(&self) -> bool {
        stack_pointer() > self.stack.lowest + STACK_RESERVE
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        self.heap.release();
    }
}

thread_local! {
    static CURRENT: Cell<*mut ThreadState> = const { Cell::new(ptr::null_mut()) };
    static OWNER: RefCell<Option<Owner>> = const { RefCell::new(None) };
}

struct Owner(*mut ThreadState);

impl Drop for Owner {
    fn drop(&mut self) {
        CURRENT.set(ptr::null_mut());
        // SAFETY: made by `attach` from a box, and nobody finds it any more.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Prepares this thread to run shipped code: its heap, its signal stack, the process's signal handlers. Cheap to repeat.
pub fn attach() {
    if !CURRENT.get().is_null() {
        return;
    }
    crate::fault::install_handlers();
    let state = Box::into_raw(ThreadState::new());
    CURRENT.set(state);
    OWNER.with_borrow_mut(|owner| *owner = Some(Owner(state)));
}

/// For emitted code: this thread's state.
pub extern "C" fn bc_thread_state() -> *const ThreadState {
    ThreadState::current()
}

/// The part of memory that is this thread's stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackBounds {
    pub(crate) lowest: usize,
    guard: usize,
}

impl StackBounds {
    /// Code compiled here touches every page of a frame in order, C code may skip some.
    const SLACK: usize = 64 << 10;

    fn of_this_thread() -> Self {
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        // SAFETY: asks for the calling thread's handle.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: fills in the attributes of the calling thread.
        let failed = unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) };
        if failed != 0 {
            return Self {
                lowest: 0,
                guard: 0,
            };
        }
        let mut lowest = ptr::null_mut();
        let mut size = 0;
        // SAFETY: the attributes were filled in.
        unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size) };
        let mut guard = 0;
        // SAFETY: as above.
        unsafe { libc::pthread_attr_getguardsize(attributes.as_ptr(), &raw mut guard) };
        // SAFETY: as above; not used again.
        unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
        Self {
            lowest: lowest as usize,
            guard: guard.max(4096),
        }
    }

    /// Does a fault at `address` mean that the stack is full?
    pub(crate) fn is_overflow(self, address: usize) -> bool {
        self.lowest != 0
            && address < self.lowest + self.guard
            && address + self.guard + Self::SLACK >= self.lowest
    }
}

/// Exceptions being handled, the innermost last.
#[repr(C)]
pub(crate) struct ExceptionStack {
    entries: Cell<*mut *mut Value>,
    room: Cell<usize>,
    top: Cell<usize>,
    /// Where each was thrown.
    traces: Cell<*mut Trace>,
}

impl ExceptionStack {
    const FIRST: usize = 64;

    fn new() -> Self {
        let stack = Self {
            entries: Cell::new(ptr::null_mut()),
            room: Cell::new(0),
            top: Cell::new(0),
            traces: Cell::new(ptr::null_mut()),
        };
        stack.grow(Self::FIRST);
        stack
    }

    fn grow(&self, room: usize) {
        let bytes = room * size_of::<*mut Value>();
        // SAFETY: null or memory that this function got.
        let entries = unsafe { libc::realloc(self.entries.get().cast(), bytes) };
        if entries.is_null() {
            return;
        }
        self.entries.set(entries.cast());
        let bytes = room * size_of::<Trace>();
        // SAFETY: as above.
        let traces = unsafe { libc::realloc(self.traces.get().cast(), bytes) };
        if !traces.is_null() {
            self.traces.set(traces.cast());
            self.room.set(room);
        }
    }

    /// The trace of the exception at this place; it means something if that exception was not truncated before the next push.
    pub(crate) fn trace(&self, index: usize) -> Option<&Trace> {
        // SAFETY: inside the allocation, where `push_reserved` has been.
        (index < self.room.get()).then(|| unsafe { &*self.traces.get().wrapping_add(index) })
    }

    /// The trace of the innermost exception.
    pub(crate) fn innermost_trace(&self) -> Option<&Trace> {
        self.trace(self.top.get().checked_sub(1)?)
    }

    /// The place of an exception from 1, 0 if it is not here.
    pub(crate) fn place(&self, exception: *const Value) -> usize {
        let is_it = |index: &usize| {
            // SAFETY: inside the filled part of the allocation.
            let entry = unsafe { self.entries.get().wrapping_add(*index).read() };
            ptr::eq(entry, exception)
        };
        (0..self.top.get()).rev().find(is_it).map_or(0, |at| at + 1)
    }

    /// Adds an exception. The last place is kept for the signal handler, which cannot grow the stack: see
    /// [`ExceptionStack::push_reserved`].
    pub(crate) fn push(&self, exception: *mut Value) {
        if self.top.get() + 1 >= self.room.get() {
            self.grow(2 * self.room.get());
        }
        self.push_reserved(exception);
    }

    /// Adds an exception without asking the system for memory: overwrites the innermost if there is no room.
    pub(crate) fn push_reserved(&self, exception: *mut Value) {
        let top = self.top.get().min(self.room.get().saturating_sub(1));
        if self.room.get() > 0 {
            // SAFETY: inside the allocation.
            unsafe { self.entries.get().wrapping_add(top).write(exception) };
            // SAFETY: as above; a new trace is empty.
            unsafe { Trace::make(self.traces.get().wrapping_add(top)) };
            self.top.set(top + 1);
        }
    }

    pub(crate) fn top(&self) -> usize {
        self.top.get()
    }

    pub(crate) fn truncate(&self, top: usize) {
        self.top.set(top.min(self.top.get()));
    }

    /// Gives each of them to `found`.
    pub(crate) fn each(&self, found: &mut dyn FnMut(*const Value)) {
        for index in 0..self.top.get().min(self.room.get()) {
            // SAFETY: inside the filled part of the allocation.
            found(unsafe { self.entries.get().wrapping_add(index).read() });
        }
    }

    /// The innermost exception, or null.
    pub(crate) fn current(&self) -> *mut Value {
        match self.top.get() {
            0 => ptr::null_mut(),
            // SAFETY: inside the filled part of the allocation.
            top => unsafe { self.entries.get().wrapping_add(top - 1).read() },
        }
    }

    pub(crate) fn replace_current(&self, exception: *mut Value) {
        // It was thrown where the other one was.
        if let Some(last) = self.top.get().checked_sub(1) {
            // SAFETY: inside the filled part of the allocation.
            unsafe { self.entries.get().wrapping_add(last).write(exception) };
        } else {
            self.push(exception);
        }
    }
}

impl Drop for ExceptionStack {
    fn drop(&mut self) {
        // SAFETY: null or memory that `grow` got.
        unsafe { libc::free(self.entries.get().cast()) };
        // SAFETY: as above.
        unsafe { libc::free(self.traces.get().cast()) };
    }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_where_emitted_code_looks() {
        let state = ThreadState::current();
        let words = (&raw const *state).cast::<usize>();
        // SAFETY: inside the state: word 4 is the address of the safepoint.
        let safepoint = unsafe { words.add(4).read() };
        assert_eq!(safepoint, (&raw const state.safepoint) as usize);
        assert_eq!(bc_thread_state(), &raw const *state);
    }

    #[test]
    fn each_thread_has_its_own() {
        let mine = bc_thread_state() as usize;
        let other = std::thread::spawn(|| bc_thread_state() as usize)
            .join()
            .unwrap();
        assert_ne!(mine, other);
    }

    #[test]
    fn the_stack_is_here() {
        let state = ThreadState::current();
        assert!(state.stack.lowest < stack_pointer());
        assert!(state.has_stack());
        assert!(state.stack.is_overflow(state.stack.lowest - 8));
        assert!(!state.stack.is_overflow(stack_pointer()));
        assert!(!state.stack.is_overflow(0));
    }

    #[test]
    fn exceptions_stack_up() {
        let stack = ExceptionStack::new();
        assert!(stack.current().is_null());
        for i in 1..1000_usize {
            stack.push((16 * i) as *mut Value);
            assert_eq!((stack.top(), stack.current() as usize), (i, 16 * i));
        }
        stack.truncate(10);
        assert_eq!(stack.current() as usize, 160);
        stack.replace_current(32 as *mut Value);
        assert_eq!((stack.top(), stack.current() as usize), (10, 32));
        stack.truncate(usize::MAX);
        assert_eq!(stack.top(), 10);
        assert_eq!(stack.place(32 as *const Value), 10);
        assert_eq!(stack.place(16 as *const Value), 1);
        assert_eq!(stack.place(8 as *const Value), 0);
        assert_eq!(
            stack.trace(9).map(|trace| trace.addresses().count()),
            Some(0)
        );
        assert!(stack.trace(1 << 20).is_none());
    }
}
