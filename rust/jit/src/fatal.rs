//! LLVM's last resort made ours: a fatal error ends a compilation, not the node.
//!
//! LLVM reports what it cannot go on from ("cannot select…", a broken invariant) to a handler that must not return. Ours
//! jumps back to where the compilation began. Everything the compilation held is lost: memory leaks, nothing else, since
//! each has a context of its own. What remains fatal: LLVM running out of memory inside an allocation of its own, and a
//! crash of LLVM's (a null pointer, a stack that is full): those are bugs that no handler can make safe.

use bitcode_runtime::machine::{Landing, bc_enter, bc_leave};
use inkwell::llvm_sys::error_handling::LLVMInstallFatalErrorHandler;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::Once;

thread_local! {
    static LANDING: Cell<*const Landing> = const { Cell::new(ptr::null()) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

const LEFT: i64 = 1;

/// Runs `work`; an error that LLVM calls fatal becomes a message.
pub(crate) fn guarded<T, F: FnOnce() -> T>(work: F) -> Result<T, String> {
    static INSTALLED: Once = Once::new();
    // SAFETY: a handler that does not return to LLVM.
    INSTALLED.call_once(|| unsafe { LLVMInstallFatalErrorHandler(Some(on_fatal)) });
    let mut job = Job::<T, F> {
        work: Some(work),
        result: None,
    };
    let mut landing = Landing::new();
    let outer = LANDING.replace(&raw const landing);
    // SAFETY: `run` takes the job's address; the landing lives on.
    let left = unsafe { bc_enter(run::<T, F>, &raw mut job as usize, 0, 0, &raw mut landing) };
    LANDING.set(outer);
    match job.result {
        Some(Ok(result)) if left != LEFT => Ok(result),
        Some(Err(panic)) if left != LEFT => resume_unwind(panic),
        _ => Err(MESSAGE.take()),
    }
}

struct Job<T, F> {
    work: Option<F>,
    result: Option<Result<T, Box<dyn Any + Send>>>,
}

extern "C" fn run<T, F: FnOnce() -> T>(job: usize, _: usize, _: usize) -> i64 {
    // SAFETY: `guarded` passes the address of its job, which lives on.
    let job = unsafe { &mut *(job as *mut Job<T, F>) };
    if let Some(work) = job.work.take() {
        job.result = Some(catch_unwind(AssertUnwindSafe(work)));
    }
    0
}

extern "C" fn on_fatal(reason: *const c_char) {
    // SAFETY: LLVM passes a C string.
    let reason = unsafe { CStr::from_ptr(reason) }
        .to_string_lossy()
        .into_owned();
    let landing = LANDING.get();
    if landing.is_null() {
        // Outside a compilation there is nowhere to go back to: LLVM exits.
        eprintln!("LLVM: {reason}");
        return;
    }
    MESSAGE.set(reason);
    // SAFETY: the landing belongs to a `bc_enter` further up this thread's stack. The frames between are LLVM's and the
    // compilation's: what they hold is lost, which leaks and breaks nothing else.
    unsafe { bc_leave(landing, LEFT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn a_fatal_error_is_a_message() {
        let reason = CString::new("cannot select: a test").unwrap();
        let address = reason.as_ptr() as usize;
        let error = guarded(|| on_fatal(address as *const c_char)).unwrap_err();
        assert_eq!(error, "cannot select: a test");
        assert_eq!(guarded(|| 5), Ok(5));
    }

    #[test]
    fn panics_go_through() {
        let panic = catch_unwind(|| guarded(|| panic!("a test"))).unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), "a test");
    }
}
