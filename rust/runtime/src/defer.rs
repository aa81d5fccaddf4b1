//! Messages that are made at home.
//!
//! The text of an exception is mostly made by code that is large and dynamic. It is not shipped: in its place the code
//! notes *which call* would have made the text, and the origin makes that call when the exception arrives. Until then a
//! placeholder stands for it, a real string or exception that the shipped code may look at.

use crate::builtin::{Builtins, id};
use crate::call::Call;
use crate::exception::throw;
use crate::layout::{DataType, Value, set_reference_at};
use crate::memory::{buffer, object};
use crate::snapshot;
use crate::string;
use crate::thread::ThreadState;
use crate::types::{FieldKind, TypeCell};
use std::cell::Cell;
use std::ptr;

const PLACEHOLDER: &[u8] = b"(this text is made at the origin)";
const UNKNOWN: &[u8] = b"the details of this error are not known";

/// A call that the origin makes in place of an object. Its arguments follow it in memory.
#[repr(C)]
pub(crate) struct Deferred {
    next: *const Deferred,
    object: *mut Value,
    pub(crate) function: *mut Value,
    pub(crate) count: usize,
}

/// Remembers the call that makes `object`, until the call that is running ends.
unsafe fn remember(object: *mut Value, function: *mut Value, args: *const *mut Value, count: u32) {
    let state = ThreadState::current();
    // SAFETY: null or the call that this thread is running.
    let Some(call) = (unsafe { state.call.get().cast::<Call>().as_ref() }) else {
        return;
    };
    let count = count as usize;
    // SAFETY: the caller's promise.
    let args = unsafe { as_they_are(state, call, args, count) };
    // SAFETY: called from shipped code, says the caller.
    let (memory, _) = unsafe { buffer(size_of::<Deferred>() + count * size_of::<*mut Value>()) };
    let entry = memory.cast::<Deferred>();
    // SAFETY: fresh memory with room for the entry and the arguments.
    unsafe {
        entry.write(Deferred {
            next: call.deferred.get(),
            object,
            function,
            count,
        })
    };
    if count > 0 {
        // SAFETY: as above.
        unsafe {
            entry
                .wrapping_add(1)
                .cast::<*mut Value>()
                .copy_from_nonoverlapping(args, count)
        };
    }
    call.deferred.set(entry);
}

/// How many of the newest entries are looked at for an argument that is made at the origin itself.
const NEWEST: usize = 1000;

/// The arguments, or copies of them if code of the call may still change them before it ends: if it has a `try` around it, beside
/// the one that every call's entry has.
///
/// # Safety
/// - called from shipped code: may throw; `args` points to `count` objects of the call.
unsafe fn as_they_are(
    state: &ThreadState,
    call: &Call,
    args: *const *mut Value,
    count: usize,
) -> *const *mut Value {
    // SAFETY: null or an active handler, which lies in a frame that is still there.
    let handler = unsafe { state.handler.get().as_ref() };
    if count == 0 || handler.is_none_or(|entrys| entrys.prev.is_null()) {
        return args;
    }
    let made_at_origin = |object: *mut Value| {
        let mut at = call.deferred.get();
        for _ in 0..NEWEST {
            // SAFETY: null or an entry of the call's list.
            let Some(entry) = (unsafe { at.as_ref() }) else {
                return false;
            };
            if entry.object == object {
                return true;
            }
            at = entry.next;
        }
        false
    };
    // SAFETY: the caller's promise.
    let copied = unsafe { snapshot::copies(args, count, made_at_origin) };
    if copied.is_null() { args } else { copied }
}

/// Enters a list of deferred objects by their addresses.
///
/// # Safety
/// - the list of a call whose memory is still there.
pub(crate) unsafe fn by_object(
    newest: *const Deferred,
    mut found: impl FnMut(usize, *const Deferred),
) {
    let mut at = newest;
    while !at.is_null() {
        // SAFETY: the caller's promise.
        let entry = unsafe { &*at };
        found(entry.object as usize, at);
        at = entry.next;
    }
}

/// What an entry refers to: the function and its arguments.
///
/// # Safety
/// - an entry of a call whose memory is still there.
pub(crate) unsafe fn references(entry: *const Deferred) -> impl Iterator<Item = *mut Value> {
    // SAFETY: the caller's promise.
    let Deferred {
        function, count, ..
    } = unsafe { entry.read() };
    let arguments = entry.wrapping_add(1).cast::<*mut Value>();
    // SAFETY: `count` arguments follow.
    let argument = move |i| unsafe { arguments.wrapping_add(i).read() };
    std::iter::once(function).chain((0..count).map(argument))
}

/// Forgets the entries whose objects are not wanted any more.
///
/// # Safety
/// - the list of a call whose memory is still there.
pub(crate) unsafe fn retain(list: &Cell<*const Deferred>, wanted: impl Fn(*mut Value) -> bool) {
    let (mut at, mut last) = (list.replace(ptr::null()), ptr::null_mut::<Deferred>());
    while !at.is_null() {
        // SAFETY: the caller's promise.
        let Deferred { next, object, .. } = unsafe { at.read() };
        if wanted(object) {
            if last.is_null() {
                list.set(at);
            } else {
                // SAFETY: an entry of the list.
                unsafe { (*last).next = at };
            }
            last = at.cast_mut();
        }
        at = next;
    }
    if !last.is_null() {
        // SAFETY: an entry of the list.
        unsafe { (*last).next = ptr::null() };
    }
}

/// An instance of `ty` (or an `ErrorException`), with `text` where a text may be.
unsafe fn instance(ty: *const DataType, text: *mut Value, everywhere: bool) -> *mut Value {
    let ty = if ty.is_null() {
        Builtins::get().ty(id::ERROR_EXCEPTION)
    } else {
        ty
    };
    // SAFETY: a type, says the caller.
    let cell = unsafe { TypeCell::of(ty) };
    let record = cell.record();
    if record.size == 0 {
        return cell.instance();
    }
    let size = record.size as usize;
    // SAFETY: called from shipped code, says the caller.
    let made = unsafe { object(size, ty) };
    // SAFETY: made with that size.
    unsafe { made.cast::<u8>().write_bytes(0, size) };
    for &slot in &record.pointers {
        if may_hold_string(cell, slot) {
            // SAFETY: a reference slot.
            unsafe { set_reference_at(made, slot as usize, text) };
            if !everywhere {
                break;
            }
        }
    }
    made
}

/// May the reference slot at this offset refer to a string? Yes if nothing says no.
fn may_hold_string(cell: &TypeCell, slot: u32) -> bool {
    let builtin = |number| Builtins::get().ty(number);
    // The exceptions that this room knows without being told about their fields.
    match (cell.record().builtin, slot) {
        (id::UNDEF_VAR_ERROR | id::UNDEF_KEYWORD_ERROR, _) => return false,
        (id::TYPE_ERROR | id::INEXACT_ERROR, 0) | (id::TYPE_ERROR, 16) => return false,
        _ => {}
    }
    let field = cell
        .links()
        .and_then(|links| links.fields.iter().find(|field| field.offset == slot));
    match field
        .filter(|field| field.kind == FieldKind::Reference)
        .and_then(|field| field.ty.as_deref())
    {
        None => true,
        Some(ty) => {
            let same = ptr::eq(ty.data_type(), builtin(id::STRING))
                || ptr::eq(ty.data_type(), builtin(id::ANY));
            same || &*ty.record().name == "Core.AbstractString"
        }
    }
}

/// For shipped code: a string that the origin makes by `function(args...)`.
///
/// # Safety
/// - called from shipped code; `args` points to `count` objects.
pub(crate) unsafe extern "C" fn bc_defer(
    function: *mut Value,
    args: *const *mut Value,
    count: u32,
) -> *mut Value {
    // SAFETY: the caller's promise.
    let text = unsafe { string::from_bytes(PLACEHOLDER) };
    // SAFETY: the caller's promise.
    unsafe { remember(text, function, args, count) };
    text
}

/// For shipped code: throws a `ty` that the origin replaces by what `function(args...)` gives or throws.
///
/// # Safety
/// - called from shipped code; `ty` is null or a type, `args` points to `count` objects.
pub(crate) unsafe extern "C" fn bc_throw_deferred(
    ty: *const DataType,
    function: *mut Value,
    args: *const *mut Value,
    count: u32,
) -> ! {
    // SAFETY: the caller's promise.
    let text = unsafe { string::from_bytes(PLACEHOLDER) };
    // SAFETY: the caller's promise.
    let mut exception = unsafe { instance(ty, text, true) };
    if ptr::eq(exception, singleton(ty)) {
        // An exception without fields has one instance for all: this one must be told from the others.
        // SAFETY: the caller's promise.
        exception = unsafe { object(0, ty) };
    }
    // SAFETY: the caller's promise.
    unsafe { remember(exception, function, args, count) };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}

fn singleton(ty: *const DataType) -> *mut Value {
    if ty.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: a type, says the caller.
    unsafe { TypeCell::of(ty) }.instance()
}

/// For shipped code: throws a `ty` with `message` where a text may be.
///
/// # Safety
/// - called from shipped code; `ty` is null or a type, `message` null or a string.
pub(crate) unsafe extern "C" fn bc_throw_static(ty: *const DataType, message: *mut Value) -> ! {
    let message = if message.is_null() {
        // SAFETY: the caller's promise.
        unsafe { string::from_bytes(UNKNOWN) }
    } else {
        message
    };
    // SAFETY: the caller's promise.
    let exception = unsafe { instance(ty, message, false) };
    // SAFETY: the caller's promise.
    unsafe { throw(exception) }
}
