//! Memory for shipped code: objects, and C's `malloc` family kept within the call.
//!
//! Everything taken here is given back when the call ends, also what the code forgot to free: a call cannot leak. Any
//! function here that takes memory may collect: what nobody on the stack, and no object, refers to by then is gone.

use crate::builtin::id;
use crate::exception::throw_instance;
use crate::heap::{Exhausted, LARGE, Tag};
use crate::layout::{DataType, TAG_CONSTANT, Value, tag_of};
use crate::thread::ThreadState;
use libc::c_void;
use std::ptr;

/// Unwraps what the heap gave.
///
/// # Safety
/// - as for [`crate::exception::throw`]: throws `OutOfMemoryError`.
#[inline]
pub(crate) unsafe fn or_throw<T>(given: Result<T, Exhausted>) -> T {
    match given {
        Ok(given) => given,
        // SAFETY: the caller's promise.
        Err(Exhausted) => unsafe { throw_instance(id::OUT_OF_MEMORY_ERROR) },
    }
}

/// Throws `StackOverflowError` now if the system would run out of stack soon, with its locks held.
///
/// # Safety
/// - as for [`crate::exception::throw`].
#[inline]
pub(crate) unsafe fn check_stack(state: &ThreadState) {
    if !state.has_stack() {
        // SAFETY: the caller's promise.
        unsafe { throw_instance(id::STACK_OVERFLOW_ERROR) }
    }
}

/// An object of type `ty` with `size` bytes, not initialised.
///
/// # Safety
/// - as for [`crate::exception::throw`].
#[inline]
pub(crate) unsafe fn object(size: usize, ty: *const DataType) -> *mut Value {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { bc_alloc(state, size, ty) }
}

/// A struct of references.
///
/// # Safety
/// - as for [`crate::exception::throw`]; `ty` has that many reference fields, one after the other from the start.
pub(crate) unsafe fn struct_of<const N: usize>(
    ty: *const DataType,
    fields: [*mut Value; N],
) -> *mut Value {
    // SAFETY: the caller's promise.
    let made = unsafe { object(N * size_of::<*mut Value>(), ty) };
    // SAFETY: the object was made with room for them.
    unsafe { made.cast::<[*mut Value; N]>().write(fields) };
    made
}

/// For emitted code: an object of type `ty`. The inline path of `julia.gc_alloc_obj` ends here when its run is used up.
///
/// # Safety
/// - called from shipped code; see [`crate::exception::throw`].
pub(crate) unsafe extern "C" fn bc_alloc(
    state: *const ThreadState,
    size: usize,
    ty: *const DataType,
) -> *mut Value {
    // SAFETY: emitted code passes its thread's state.
    let state = unsafe { &*state };
    // SAFETY: the caller's promise.
    unsafe { check_stack(state) };
    // SAFETY: as above.
    unsafe { or_throw(state.heap.object(size, ty as usize)) }
}

/// Julia's `jl_gc_alloc_typed` and `jl_gc_alloc`.
///
/// # Safety
/// - as for [`bc_alloc`].
pub(crate) unsafe extern "C" fn jl_gc_alloc_typed(
    _ptls: *const c_void,
    size: usize,
    ty: *const DataType,
) -> *mut Value {
    // SAFETY: the caller's promise.
    unsafe { object(size, ty) }
}

/// Julia's `jl_gc_allocobj`: without a type yet.
///
/// # Safety
/// - as for [`bc_alloc`].
pub(crate) unsafe extern "C" fn jl_gc_allocobj(size: usize) -> *mut Value {
    // SAFETY: the caller's promise.
    unsafe { words(size.div_ceil(size_of::<usize>())) }.cast()
}

/// A buffer of so many words, each of which may refer to an object. They are zeros.
///
/// # Safety
/// - as for [`crate::exception::throw`].
pub(crate) unsafe fn words(count: usize) -> *mut usize {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { check_stack(state) };
    // SAFETY: the caller's promise.
    let words = unsafe { or_throw(state.heap.words(count)) };
    // SAFETY: there is room for so many.
    unsafe { words.write_bytes(0, count) };
    words
}

/// A buffer of `bytes`, in which nothing is looked at; of its own block when large. Says which.
///
/// # Safety
/// - as for [`crate::exception::throw`].
pub(crate) unsafe fn buffer(bytes: usize) -> (*mut u8, bool) {
    // SAFETY: the caller's promise.
    unsafe { data(bytes, Tag::BYTES) }
}

/// A buffer for an array's elements. An array says itself which of them there are; but code may have only the address of
/// its data left when the collector comes.
///
/// # Safety
/// - as for [`crate::exception::throw`].
pub(crate) unsafe fn array_data(bytes: usize, references: bool) -> (*mut u8, bool) {
    let tag = if references { Tag::WORDS } else { Tag::BYTES };
    // SAFETY: the caller's promise.
    unsafe { data(bytes, tag) }
}

unsafe fn data(bytes: usize, tag: usize) -> (*mut u8, bool) {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { check_stack(state) };
    // SAFETY: the caller's promise.
    let data = unsafe { or_throw(state.heap.object(bytes, tag)) };
    (data.cast(), bytes > LARGE)
}

/// Gives a block back early. Other pointers are left alone.
///
/// # Safety
/// - `data` came from a block and is used no more.
pub(crate) unsafe fn free_block(data: *mut u8) {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    let _ = unsafe { state.heap.free_block(data) };
}

/// C's `malloc`, for the length of the call.
///
/// # Safety
/// - called from shipped code.
pub(crate) unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    let state = ThreadState::current();
    // SAFETY: see the caller.
    unsafe { check_stack(state) };
    state
        .heap
        .block(bytes, Tag::PINNED)
        .map_or(ptr::null_mut(), <*mut u8>::cast)
}

/// C's `calloc`, for the length of the call.
///
/// # Safety
/// - called from shipped code.
pub(crate) unsafe extern "C" fn calloc(count: usize, each: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(each) else {
        return ptr::null_mut();
    };
    // SAFETY: as here.
    let data = unsafe { malloc(bytes) };
    if !data.is_null() {
        // SAFETY: fresh memory of that size.
        unsafe { data.write_bytes(0, bytes) };
    }
    data
}

/// C's `realloc`, for the length of the call.
///
/// # Safety
/// - called from shipped code, with null or a pointer from [`malloc`].
pub(crate) unsafe extern "C" fn realloc(old: *mut c_void, bytes: usize) -> *mut c_void {
    if old.is_null() {
        // SAFETY: as here.
        return unsafe { malloc(bytes) };
    }
    let state = ThreadState::current();
    // SAFETY: the caller's pointer has a header before it, or the call faults.
    let Ok(had) = (unsafe { state.heap.block_bytes(old.cast()) }) else {
        // SAFETY: called from shipped code.
        unsafe {
            crate::error::error("realloc: this pointer did not come from malloc in this call")
        }
    };
    // SAFETY: as here.
    let data = unsafe { malloc(bytes) };
    if !data.is_null() {
        // SAFETY: both blocks have that many bytes, and the new one is fresh.
        unsafe {
            data.cast::<u8>()
                .copy_from_nonoverlapping(old.cast(), had.min(bytes))
        };
        // SAFETY: the old block is live, and nobody uses it any more.
        unsafe { free_block(old.cast()) };
    }
    data
}

/// C's `free`.
///
/// # Safety
/// - called from shipped code, with null or a pointer from [`malloc`].
pub(crate) unsafe extern "C" fn free(data: *mut c_void) {
    if data.is_null() {
        return;
    }
    let state = ThreadState::current();
    // SAFETY: the caller's pointer has a header before it, or the call faults.
    if unsafe { state.heap.free_block(data.cast()) }.is_err() {
        // SAFETY: called from shipped code.
        unsafe { crate::error::error("free: this pointer did not come from malloc in this call") }
    }
}

/// Julia's counted `free`: the size is not needed.
///
/// # Safety
/// - as for [`free`].
pub(crate) unsafe extern "C" fn jl_gc_counted_free_with_size(data: *mut c_void, _bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { free(data) }
}

/// Julia's counted `realloc`: the old size is not needed.
///
/// # Safety
/// - as for [`realloc`].
pub(crate) unsafe extern "C" fn jl_gc_counted_realloc_with_old_size(
    data: *mut c_void,
    _old: usize,
    bytes: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { realloc(data, bytes) }
}

/// Nothing to do: there are no old objects here, and nobody stops a thread.
pub(crate) extern "C" fn nothing_to_collect() {}

/// `GC.gc()`: collects now.
///
/// # Safety
/// - called from shipped code: may throw.
pub(crate) unsafe extern "C" fn jl_gc_collect(_how: i32) {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { check_stack(state) };
    state.heap.collect();
}

/// Nothing to do: finalizers never run; what they would free goes with the call.
pub(crate) extern "C" fn no_finalizer(
    _ptls: *const c_void,
    _object: *mut Value,
    _f: *const c_void,
) {
}

/// `GC.enable`: whether collections may start, until the call ends. Says whether they could.
pub(crate) extern "C" fn jl_gc_enable(on: i32) -> i32 {
    let heap = &ThreadState::current().heap;
    let could = !heap.is_paused();
    heap.pause(on == 0);
    i32::from(could)
}

/// Bytes that were given out so far: differences within a call mean something.
pub(crate) extern "C" fn jl_gc_total_bytes() -> i64 {
    ThreadState::current().heap.given() as i64
}

/// What emitted write barriers do, for stores that the runtime makes: nothing of a call may be stored into a constant.
///
/// # Safety
/// - called from shipped code: may throw; `parent` is an object, `child` one or null.
#[inline]
pub(crate) unsafe fn check_store(parent: *mut Value, child: *const Value) {
    // SAFETY: an object, says the caller.
    if unsafe { tag_of(parent) } & TAG_CONSTANT != TAG_CONSTANT || child.is_null() {
        return;
    }
    // SAFETY: an object, says the caller.
    if unsafe { tag_of(child) } & 1 == 0 {
        // SAFETY: the caller's promise.
        unsafe { bc_refuse_store(parent) }
    }
}

/// For emitted write barriers: shipped code stored a reference to something of this call into an object that outlives
/// the call. When the call ends the reference would point nowhere, so the slots that do are emptied and the call fails.
///
/// # Safety
/// - called from shipped code; `parent` is a constant object of the archive.
pub(crate) unsafe extern "C" fn bc_refuse_store(parent: *mut Value) -> ! {
    // SAFETY: an object, says the caller.
    unsafe { crate::constant::forget_call_references(parent) };
    let message = "shipped code changed a constant: a global array, dictionary or mutable struct that was captured with \
                   the function cannot hold values made during a call; pass it as an argument and return it instead";
    // SAFETY: called from shipped code.
    unsafe { crate::error::error(message) }
}
