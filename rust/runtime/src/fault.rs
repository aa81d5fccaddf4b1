//! Faults in shipped code: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, on a stack of their own.
//!
//! A fault while shipped code runs on the thread ends the call and nothing else: a full stack becomes
//! `StackOverflowError` and a trapped division `DivideError`, which the code may catch; everything else goes straight to
//! the call's landing as a fault, since code that touched memory it does not own must not go on. A fault anywhere else
//! goes to the handler that was there before.
//!
//! The handler leaves by a jump, not by returning: `SA_NODEFER` keeps the signal unblocked, and the kernel knows by the
//! stack pointer that the signal stack is free again.

use crate::builtin::{Builtins, id};
use crate::call::code;
use crate::exception;
use crate::machine::{bc_leave, interrupted};
use crate::thread::ThreadState;
use libc::{c_int, c_void, siginfo_t};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError};

const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
];
const SIGNAL_STACK: usize = 64 << 10;

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// What was there before us, by the signal's place in [`SIGNALS`]. Written before our handler can run.
static mut PREVIOUS: [MaybeUninit<libc::sigaction>; SIGNALS.len()] =
    [MaybeUninit::zeroed(); SIGNALS.len()];
static INSTALLING: Mutex<()> = Mutex::new(());

/// Makes our handler the process's, in front of the present one. Does nothing where it already is.
pub(crate) fn install_handlers() {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // The values that handlers need must exist before one runs.
    Builtins::get();
    for (index, signal) in SIGNALS.into_iter().enumerate() {
        let mut present = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks for the present action only.
        if unsafe { libc::sigaction(signal, ptr::null(), present.as_mut_ptr()) } != 0 {
            continue;
        }
        // SAFETY: filled in by the call above; all zeros is a valid action too.
        let found = unsafe { present.assume_init() };
        if found.sa_sigaction == on_fault as Handler as usize {
            continue;
        }
        // SAFETY: all zeros is a valid action.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = on_fault as Handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let slot = (&raw mut PREVIOUS)
            .cast::<libc::sigaction>()
            .wrapping_add(index);
        // SAFETY: under the lock; a fault that reads this slot meanwhile is one that nobody of ours caused.
        unsafe { slot.write(found) };
        // SAFETY: `on_fault` is a handler with the arguments that SA_SIGINFO promises.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let running = ThreadState::if_attached().filter(|state| !state.landing.get().is_null());
    if let Some(state) = running {
        // SAFETY: `info` is the kernel's.
        let info = unsafe { &*info };
        // SAFETY: these signals carry an address.
        let address = unsafe { info.si_addr() } as usize;
        // SAFETY: `context` is the kernel's, of this handler's signal.
        let place = unsafe { interrupted(context) };
        end_call(state, signal, address, place);
    }
    pass_on(signal, info, context);
}

/// The thread runs shipped code: leave it.
fn end_call(state: &ThreadState, signal: c_int, address: usize, place: (usize, usize)) -> ! {
    let memory = signal == libc::SIGSEGV || signal == libc::SIGBUS;
    if memory && state.stack.is_overflow(address) {
        let exception = Builtins::get().instance(id::STACK_OVERFLOW_ERROR);
        // SAFETY: the frames that are abandoned are shipped code's and the runtime's, which are plain.
        unsafe { exception::throw_from_handler(state, exception, place) }
    }
    if signal == libc::SIGFPE {
        let exception = Builtins::get().instance(id::DIVIDE_ERROR);
        // SAFETY: as above.
        unsafe { exception::throw_from_handler(state, exception, place) }
    }
    let landing = state.landing.get();
    state.left.set(code::fault(signal));
    // SAFETY: the landing belongs to a `bc_enter` further up this thread's stack.
    unsafe { bc_leave(landing, 0) }
}

/// Not our business: the previous handler's, or the default.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(index) = SIGNALS.iter().position(|known| *known == signal) else {
        return;
    };
    let slot = (&raw const PREVIOUS)
        .cast::<libc::sigaction>()
        .wrapping_add(index);
    // SAFETY: written before this handler was installed.
    let previous = unsafe { slot.read() };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // Returning runs the faulting instruction again, now with the default action.
            // SAFETY: gives the signal its default action.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: it was installed with SA_SIGINFO, so it is a function of these three arguments.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: it was installed without SA_SIGINFO, so it is a function of the signal's number.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
            handler(signal);
        }
    }
}

/// The stack that this thread's fault handlers run on.
pub(crate) struct SignalStack {
    memory: *mut c_void,
    previous: libc::stack_t,
}

impl SignalStack {
    /// A page of the largest kind that Linux has, on aarch64: what is protected is whole pages.
    const GUARD: usize = 64 << 10;

    pub(crate) fn install() -> Self {
        // SAFETY: all zeros is a valid, empty description.
        let mut previous: libc::stack_t = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: a private mapping of its own.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::GUARD + SIGNAL_STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Self {
                memory: ptr::null_mut(),
                previous,
            };
        }
        // SAFETY: the first pages of the mapping, which nobody uses yet.
        unsafe { libc::mprotect(memory, Self::GUARD, libc::PROT_NONE) };
        let stack = libc::stack_t {
            ss_sp: memory.wrapping_byte_add(Self::GUARD),
            ss_flags: 0,
            ss_size: SIGNAL_STACK,
        };
        // SAFETY: the memory stays mapped until this value is dropped, which puts the previous stack back.
        unsafe { libc::sigaltstack(&raw const stack, &raw mut previous) };
        Self { memory, previous }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        if self.memory.is_null() {
            return;
        }
        // SAFETY: puts back what was there.
        unsafe { libc::sigaltstack(&raw const self.previous, ptr::null_mut()) };
        // SAFETY: the mapping made by `install`, no longer anybody's stack.
        unsafe { libc::munmap(self.memory, Self::GUARD + SIGNAL_STACK) };
    }
}
