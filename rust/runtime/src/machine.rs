//! The three jumps that Rust has no words for, one file per processor: remembering a place (`bc_setjmp`), going back to it
//! (`bc_longjmp`), and calling shipped code in such a way that it can be abandoned from anywhere (`bc_enter`, `bc_leave`).
//!
//! Jumping drops no Rust value on the way: every frame between a jump and its target must hold plain data only. That is
//! why functions that may throw (they say so) keep no `Vec`, guard or `Box` alive while they do.

#[cfg(target_arch = "x86_64")]
#[path = "machine/x86_64.rs"]
mod arch;

#[cfg(target_arch = "aarch64")]
#[path = "machine/aarch64.rs"]
mod arch;

pub(crate) use arch::{FRAME_POINTER, FloatControl, interrupted, peek, stack_pointer};
pub use arch::{bc_enter, bc_leave, bc_longjmp, bc_setjmp};

/// Registers that a function preserves, for [`bc_setjmp`]. Large enough for every processor we know.
#[repr(C, align(16))]
pub struct Context {
    registers: [usize; 24],
}

impl Context {
    /// A context that nothing was remembered in yet.
    pub const fn new() -> Self {
        Self { registers: [0; 24] }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// Where [`bc_leave`] returns to: the stack pointer of a running [`bc_enter`].
#[repr(C)]
pub struct Landing {
    stack_pointer: usize,
}

impl Landing {
    /// A landing that nothing entered yet.
    pub const fn new() -> Self {
        Self { stack_pointer: 0 }
    }
}

impl Default for Landing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    extern "C" fn adds(a: usize, b: usize, c: usize) -> i64 {
        (a + b + c) as i64
    }

    extern "C" fn leaves(landing: usize, depth: usize, _: usize) -> i64 {
        if depth == 0 {
            // SAFETY: the landing is the one that the test entered with; only plain frames lie between.
            unsafe { bc_leave(landing as *const Landing, 77) }
        }
        std::hint::black_box(leaves(landing, depth - 1, 0)) + 1
    }

    #[test]
    fn enter_returns_what_the_code_returns() {
        let mut landing = Landing::new();
        // SAFETY: `adds` is a plain function of three words.
        let sum = unsafe { bc_enter(adds, 1, 20, 300, &raw mut landing) };
        assert_eq!(sum, 321);
    }

    #[test]
    fn leave_abandons_frames_and_keeps_the_callers_registers() {
        let kept = Cell::new(5_u64);
        let float = std::hint::black_box(2.5_f64);
        for depth in 0..50 {
            let mut landing = Landing::new();
            let address = (&raw mut landing) as usize;
            // SAFETY: `leaves` comes back through `landing` while this frame lives.
            let code = unsafe { bc_enter(leaves, address, depth, 0, &raw mut landing) };
            assert_eq!(code, 77);
            kept.set(kept.get() + 1);
        }
        assert_eq!(kept.get(), 55);
        assert!((float - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn float_control_comes_back() {
        let before = FloatControl::read();
        before.restore();
        assert_eq!(FloatControl::read(), before);
    }
}
