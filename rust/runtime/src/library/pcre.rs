//! PCRE2: compiled regular expressions are kept for the process and shared, and each thread has a match context.
//!
//! In Julia a `Regex` owns its compiled code and a finalizer frees it. A node runs no finalizers, so what `pcre2_compile`
//! gives to shipped code is owned here: equal patterns are compiled once; the call holds what it uses, and a table the most
//! recent ones. Constants of an archive refer to code that is kept for ever.

use super::{Unsuitable, need};
use crate::memory::check_stack;
use crate::thread::ThreadState;
use libc::c_void;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

type Compile =
    unsafe extern "C" fn(*const u8, usize, u32, *mut c_int, *mut usize, *mut c_void) -> *mut c_void;
type Match = unsafe extern "C" fn(
    *const c_void,
    *const u8,
    usize,
    usize,
    u32,
    *mut c_void,
    *mut c_void,
) -> c_int;
type Free = unsafe extern "C" fn(*mut c_void);

struct Functions {
    compile: Compile,
    jit_compile: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    code_free: Free,
    run: Match,
    context_create: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    context_free: Free,
    stack_create: unsafe extern "C" fn(usize, usize, *mut c_void) -> *mut c_void,
    stack_assign: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void),
    stack_free: Free,
}

static PCRE: OnceLock<Functions> = OnceLock::new();

const JIT_COMPLETE: u32 = 1;
const ERROR_HEAP_FAILED: c_int = 121;
/// Sizes of the stack that compiled expressions run on: Julia's.
const STACK_FIRST: usize = 32 << 10;
const STACK_MOST: usize = 1 << 20;
/// Patterns that are kept although no call uses them.
const KEPT: usize = 512;
/// Patterns that one call may use.
const PER_CALL: usize = 65_536;

/// Remembers PCRE's functions.
///
/// # Safety
/// - as for [`super::adopt`].
pub(super) unsafe fn adopt(find: &dyn Fn(&str) -> Option<usize>) -> Result<(), Unsuitable> {
    let address = |symbol| need("libpcre2-8", find, symbol);
    let free = |symbol| {
        // SAFETY: PCRE's functions that free something have this type; the others have the types written, here and below.
        address(symbol).map(|found| unsafe { std::mem::transmute::<usize, Free>(found) })
    };
    let functions = Functions {
        // SAFETY: as above.
        compile: unsafe { std::mem::transmute::<usize, Compile>(address("pcre2_compile_8")?) },
        // SAFETY: as above.
        jit_compile: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void, u32) -> c_int>(address(
                "pcre2_jit_compile_8",
            )?)
        },
        code_free: free("pcre2_code_free_8")?,
        // SAFETY: as above.
        run: unsafe { std::mem::transmute::<usize, Match>(address("pcre2_match_8")?) },
        // SAFETY: as above.
        context_create: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> *mut c_void>(address(
                "pcre2_match_context_create_8",
            )?)
        },
        context_free: free("pcre2_match_context_free_8")?,
        // SAFETY: as above.
        stack_create: unsafe {
            std::mem::transmute::<
                usize,
                unsafe extern "C" fn(usize, usize, *mut c_void) -> *mut c_void,
            >(address("pcre2_jit_stack_create_8")?)
        },
        // SAFETY: as above.
        stack_assign: unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void)>(
                address("pcre2_jit_stack_assign_8")?,
            )
        },
        stack_free: free("pcre2_jit_stack_free_8")?,
    };
    // A second library of the same name is the same library.
    let _ = PCRE.set(functions);
    Ok(())
}

/// A compiled expression.
pub(super) struct Code(*mut c_void);

// SAFETY: PCRE never changes compiled code, so that any thread may match with it, and the last one free it.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(pcre) = PCRE.get() {
            // SAFETY: made by `pcre2_compile`, and nobody else's.
            unsafe { (pcre.code_free)(self.0) };
        }
    }
}

/// Patterns with their compiled code.
#[derive(Default)]
struct Known {
    by_pattern: HashMap<(Vec<u8>, u32), Entry>,
    /// Counts up: how recently something was used.
    clock: u64,
    lasting: usize,
}

struct Entry {
    code: Arc<Code>,
    used: u64,
    /// Constants refer to it: it stays.
    lasts: bool,
}

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

impl Known {
    fn find(&mut self, key: &(Vec<u8>, u32), lasts: bool) -> Option<Arc<Code>> {
        self.clock += 1;
        let entry = self.by_pattern.get_mut(key)?;
        entry.used = self.clock;
        if lasts && !entry.lasts {
            entry.lasts = true;
            self.lasting += 1;
        }
        Some(entry.code.clone())
    }

    /// Adds code, unless somebody was quicker; forgets what was not used for longest.
    fn add(&mut self, key: (Vec<u8>, u32), code: Code, lasts: bool) -> Arc<Code> {
        if let Some(found) = self.find(&key, lasts) {
            return found;
        }
        if self.by_pattern.len() - self.lasting >= KEPT {
            let oldest = self
                .by_pattern
                .iter()
                .filter(|(_, entry)| !entry.lasts)
                .min_by_key(|(_, entry)| entry.used)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.by_pattern.remove(&oldest);
            }
        }
        let code = Arc::new(code);
        let entry = Entry {
            code: code.clone(),
            used: self.clock,
            lasts,
        };
        self.lasting += usize::from(lasts);
        self.by_pattern.insert(key, entry);
        code
    }
}

fn with_known<T>(action: impl FnOnce(&mut Known) -> T) -> T {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    action(known.get_or_insert_default())
}

/// In place of `pcre2_compile`: the code is the runtime's own, which the caller must not free. A `context` of 1 asks for
/// code that lasts as long as the process; else it lasts as long as the call.
///
/// # Safety
/// - called from shipped code with `length` bytes at `pattern`, and places for an error.
pub(super) unsafe extern "C" fn compile(
    pattern: *const u8,
    length: usize,
    options: u32,
    error: *mut c_int,
    place: *mut usize,
    context: *mut c_void,
) -> *mut c_void {
    let state = ThreadState::current();
    // SAFETY: called from shipped code; nothing here needs dropping yet.
    unsafe { check_stack(state) };
    let Some(pcre) = PCRE.get() else {
        return ptr::null_mut();
    };
    let bytes = if length == 0 {
        &[]
    } else {
        // SAFETY: the caller's pattern.
        unsafe { std::slice::from_raw_parts(pattern, length) }
    };
    let lasts = context as usize == 1;
    let key = (bytes.to_vec(), options);
    let code = match with_known(|known| known.find(&key, lasts)) {
        Some(code) => code,
        None => {
            // SAFETY: the caller's arguments, but for the context, which is a mark of ours.
            let made =
                unsafe { (pcre.compile)(pattern, length, options, error, place, ptr::null_mut()) };
            if made.is_null() {
                return made;
            }
            // Where this fails, as on a processor without a JIT, expressions are interpreted.
            // SAFETY: code that was just made.
            unsafe { (pcre.jit_compile)(made, JIT_COMPLETE) };
            with_known(|known| known.add(key, Code(made), lasts))
        }
    };
    let address = code.0;
    if !lasts {
        let library = &state.library;
        let mut expressions = library.expressions.borrow_mut();
        if expressions.len() >= PER_CALL && !expressions.contains_key(&(address as usize)) {
            // SAFETY: the caller's place.
            unsafe { error.write(ERROR_HEAP_FAILED) };
            return ptr::null_mut();
        }
        expressions.insert(address as usize, code);
        library.dirty.set(true);
    }
    address
}

/// What a thread matches with.
pub(super) struct Matching {
    context: Cell<*mut c_void>,
    stack: Cell<*mut c_void>,
}

impl Matching {
    pub(super) const fn new() -> Self {
        Self {
            context: Cell::new(ptr::null_mut()),
            stack: Cell::new(ptr::null_mut()),
        }
    }

    /// This thread's context. Null, which PCRE takes too, if there is no memory for one.
    fn context(&self, pcre: &Functions) -> *mut c_void {
        if self.context.get().is_null() {
            // SAFETY: with PCRE's own memory.
            let context = unsafe { (pcre.context_create)(ptr::null_mut()) };
            if context.is_null() {
                return context;
            }
            // SAFETY: as above.
            let stack = unsafe { (pcre.stack_create)(STACK_FIRST, STACK_MOST, ptr::null_mut()) };
            // SAFETY: both were just made; without a function, the stack is the data itself.
            unsafe { (pcre.stack_assign)(context, ptr::null_mut(), stack) };
            self.stack.set(stack);
            self.context.set(context);
        }
        self.context.get()
    }
}

impl Drop for Matching {
    fn drop(&mut self) {
        if let Some(pcre) = PCRE.get() {
            // SAFETY: null or this thread's, which matches no more.
            unsafe { (pcre.context_free)(self.context.get()) };
            // SAFETY: as above.
            unsafe { (pcre.stack_free)(self.stack.get()) };
        }
    }
}

/// In place of `pcre2_match`: without a context, this thread's.
///
/// # Safety
/// - called from shipped code with what PCRE asks for.
pub(super) unsafe extern "C" fn run(
    code: *const c_void,
    subject: *const u8,
    length: usize,
    start: usize,
    options: u32,
    data: *mut c_void,
    context: *mut c_void,
) -> c_int {
    let state = ThreadState::current();
    // SAFETY: called from shipped code; nothing here needs dropping.
    unsafe { check_stack(state) };
    let Some(pcre) = PCRE.get() else { return -1 };
    let context = if context.is_null() {
        state.library.matching.context(pcre)
    } else {
        context
    };
    // SAFETY: the caller's arguments.
    unsafe { (pcre.run)(code, subject, length, start, options, data, context) }
}
