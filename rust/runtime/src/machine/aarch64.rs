//! AArch64, AAPCS64. Preserved: x19–x30, the stack pointer and d8–d15.

use super::{Context, Landing};
use core::arch::{asm, naked_asm};

/// Remembers the caller's place in `context` and returns 0; returns again, with another value, when [`bc_longjmp`]
/// goes there. Emitted code calls it in place of C's `__sigsetjmp`; the second argument is ignored.
///
/// # Safety
/// - only code whose compiler knows that this returns twice may call it: never Rust;
/// - the caller's frame must still be there when somebody jumps.
#[unsafe(naked)]
pub unsafe extern "C" fn bc_setjmp(context: *mut Context, _save_mask: i32) -> i32 {
    naked_asm!(
        "stp x19, x20, [x0]",
        "stp x21, x22, [x0, #16]",
        "stp x23, x24, [x0, #32]",
        "stp x25, x26, [x0, #48]",
        "stp x27, x28, [x0, #64]",
        "stp x29, x30, [x0, #80]",
        "stp d8, d9, [x0, #96]",
        "stp d10, d11, [x0, #112]",
        "stp d12, d13, [x0, #128]",
        "stp d14, d15, [x0, #144]",
        "mov x2, sp",
        "str x2, [x0, #160]",
        "mov w0, #0",
        "ret",
    )
}

/// Goes back to the place that `context` remembers; [`bc_setjmp`] returns `value` there.
///
/// # Safety
/// - the frame that called `bc_setjmp` still exists, on this thread's stack;
/// - no frame in between holds a value that must be dropped;
/// - `value` is not 0.
#[unsafe(naked)]
pub unsafe extern "C" fn bc_longjmp(context: *const Context, value: i32) -> ! {
    naked_asm!(
        "ldp x19, x20, [x0]",
        "ldp x21, x22, [x0, #16]",
        "ldp x23, x24, [x0, #32]",
        "ldp x25, x26, [x0, #48]",
        "ldp x27, x28, [x0, #64]",
        "ldp x29, x30, [x0, #80]",
        "ldp d8, d9, [x0, #96]",
        "ldp d10, d11, [x0, #112]",
        "ldp d12, d13, [x0, #128]",
        "ldp d14, d15, [x0, #144]",
        "ldr x2, [x0, #160]",
        "mov sp, x2",
        "mov w0, w1",
        "ret",
    )
}

/// Calls `code(a, b, c)` and returns its result, or what [`bc_leave`] was given while it ran.
///
/// # Safety
/// - `code` may be called with these arguments;
/// - `landing` is written, and is used by nobody after this returns.
#[unsafe(naked)]
pub unsafe extern "C" fn bc_enter(
    code: extern "C" fn(usize, usize, usize) -> i64,
    a: usize,
    b: usize,
    c: usize,
    landing: *mut Landing,
) -> i64 {
    naked_asm!(
        "stp x29, x30, [sp, #-160]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x5, sp",
        "str x5, [x4]",
        "mov x5, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "blr x5",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

/// Abandons everything that runs inside the [`bc_enter`] of `landing`, which returns `code`.
///
/// # Safety
/// - that `bc_enter` is still running, on this thread;
/// - no frame in between holds a value that must be dropped.
#[unsafe(naked)]
pub unsafe extern "C" fn bc_leave(landing: *const Landing, code: i64) -> ! {
    naked_asm!(
        "ldr x2, [x0]",
        "mov sp, x2",
        "mov x0, x1",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

/// The number of x29 in unwind tables.
pub(crate) const FRAME_POINTER: i32 = 29;

/// The instruction and the frame pointer that a signal interrupted.
///
/// # Safety
/// - `context` is what the kernel gave a signal handler.
pub(crate) unsafe fn interrupted(context: *const core::ffi::c_void) -> (usize, usize) {
    // SAFETY: the caller's promise.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    (machine.pc as usize, machine.regs[29] as usize)
}

/// The stack pointer, about.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// How the processor rounds and treats subnormal numbers: shipped code may change it, and must not change it for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatControl {
    fpcr: u64,
}

impl FloatControl {
    /// What the thread has now.
    #[inline]
    pub(crate) fn read() -> Self {
        let fpcr: u64;
        // SAFETY: copies a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags)) };
        Self { fpcr }
    }

    /// Puts it back, if it was changed.
    #[inline]
    pub(crate) fn restore(self) {
        if Self::read() != self {
            // SAFETY: the value was read from FPCR.
            unsafe {
                asm!("msr fpcr, {}", in(reg) self.fpcr, options(nomem, nostack, preserves_flags))
            };
        }
    }
}

/// The word at this address, read behind the compiler's back: a collector reads frames that belong to others.
///
/// # Safety
/// - the address is readable, and a multiple of eight.
#[inline(always)]
pub(crate) unsafe fn peek(address: usize) -> usize {
    let word: usize;
    // SAFETY: the caller's promise; changes nothing.
    unsafe {
        asm!("ldr {}, [{}]", out(reg) word, in(reg) address, options(nostack, readonly, preserves_flags))
    };
    word
}
