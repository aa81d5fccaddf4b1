//! x86-64, System V calling convention. Preserved: rbx, rbp, r12–r15 and the stack pointer.
//!
//! Shadow stacks (CET) are not kept in step: the process must not run with them.

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
        "mov [rdi], rbx",
        "mov [rdi + 8], rbp",
        "mov [rdi + 16], r12",
        "mov [rdi + 24], r13",
        "mov [rdi + 32], r14",
        "mov [rdi + 40], r15",
        "lea rdx, [rsp + 8]",
        "mov [rdi + 48], rdx",
        "mov rdx, [rsp]",
        "mov [rdi + 56], rdx",
        "xor eax, eax",
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
        "mov rbx, [rdi]",
        "mov rbp, [rdi + 8]",
        "mov r12, [rdi + 16]",
        "mov r13, [rdi + 24]",
        "mov r14, [rdi + 32]",
        "mov r15, [rdi + 40]",
        "mov rsp, [rdi + 48]",
        "mov eax, esi",
        "jmp [rdi + 56]",
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
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [r8], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "call rax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
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
        "mov rsp, [rdi]",
        "mov rax, rsi",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The number of rbp in unwind tables.
pub(crate) const FRAME_POINTER: i32 = 6;

/// The instruction and the frame pointer that a signal interrupted.
///
/// # Safety
/// - `context` is what the kernel gave a signal handler.
pub(crate) unsafe fn interrupted(context: *const core::ffi::c_void) -> (usize, usize) {
    // SAFETY: the caller's promise.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let register = |number: i32| registers[number as usize] as usize;
    (register(libc::REG_RIP), register(libc::REG_RBP))
}

/// The stack pointer, about.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// How the processor rounds and treats subnormal numbers: shipped code may change it, and must not change it for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatControl {
    mxcsr: u32,
}

impl FloatControl {
    /// MXCSR without its six sticky exception flags.
    const CONTROL: u32 = !0x3f;

    /// What the thread has now.
    #[inline]
    pub(crate) fn read() -> Self {
        let mut mxcsr = 0_u32;
        // SAFETY: stores MXCSR into a local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
        Self {
            mxcsr: mxcsr & Self::CONTROL,
        }
    }

    /// Puts it back, if it was changed.
    #[inline]
    pub(crate) fn restore(self) {
        if Self::read() != self {
            // SAFETY: the value was read from MXCSR.
            unsafe {
                asm!("ldmxcsr [{}]", in(reg) &raw const self.mxcsr, options(nostack, preserves_flags))
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
        asm!("mov {}, [{}]", out(reg) word, in(reg) address, options(nostack, readonly, preserves_flags))
    };
    word
}
