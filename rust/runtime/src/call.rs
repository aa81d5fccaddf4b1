//! Running shipped code: one call, from its payload to its outcome.

use crate::constant::Constants;
use crate::defer::Deferred;
use crate::graph::{Encoder, Packed, Purpose, Reader, pack_result};
use crate::hop::{Onward, Place};
use crate::host::{Host, Hosted, Nowhere};
use crate::layout::{DataType, Value, type_of};
use crate::library;
use crate::machine::{FloatControl, Landing, bc_enter, bc_leave};
use crate::memory::or_throw;
use crate::pages;
use crate::print::{Lines, Listener};
use crate::special::Specials;
use crate::thread::{ThreadState, attach};
use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

/// Why a landing was used.
pub(crate) mod code {
    /// An exception that nobody caught.
    pub(crate) const UNCAUGHT: i64 = 1;
    /// The payload is not what the entry wants.
    pub(crate) const MALFORMED: i64 = 2;
    /// The call goes on elsewhere.
    pub(crate) const FORWARDED: i64 = 3;
    /// The call must not go on.
    pub(crate) const STOPPED: i64 = 4;
    const FAULT: i64 = 1 << 32;

    /// A fault.
    pub(crate) fn fault(signal: i32) -> i64 {
        FAULT | i64::from(signal)
    }

    /// The signal of a fault.
    pub(crate) fn signal(code: i64) -> Option<i32> {
        (code & FAULT != 0).then_some(code as i32)
    }
}

/// `bitcode_entry(payload, payload_len, call)`: 0 when a value was packed, 1 when an exception was recorded.
pub type Entry = unsafe extern "C" fn(payload: i64, length: i64, call: i64) -> i32;

/// An entry, where the code is that it belongs to, and as what it runs.
#[derive(Clone)]
pub struct Code<'a> {
    /// Where it begins.
    pub entry: Entry,
    /// Addresses of all its instructions, and of all that it links to: what a backtrace is made of. Empty if nobody wants one.
    pub text: &'a [Range<usize>],
    /// What the code may know of where it runs.
    pub place: Place,
    /// What it asks for memory of nodes.
    pub host: &'a dyn Host,
}

impl From<Entry> for Code<'_> {
    fn from(entry: Entry) -> Self {
        Self {
            entry,
            text: &[],
            place: Place::default(),
            host: &Nowhere,
        }
    }
}

/// What a call may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory for the call's objects and its result.
    pub memory: usize,
    /// Collect whenever the call has taken so many bytes; left to the runtime if there is none. Few bytes are good for
    /// finding mistakes, and for nothing else.
    pub collect_after: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 8 << 30,
            collect_after: None,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a value: the output holds it, packed.
    Value,
    /// With an exception: the output holds its graph.
    Thrown,
    /// With an exception that a call on another node threw: the output holds its graph and its backtrace.
    ThrownElsewhere,
    /// With a fault: the code did what it must not.
    Fault {
        /// The signal.
        signal: i32,
    },
    /// There was no memory even to say what happened.
    OutOfMemory,
    /// Not at all: this is wrong with the payload.
    BadPayload(&'static str),
    /// Not here: it goes on elsewhere, and the output is the payload for that.
    Forward(Onward),
    /// Its host has refused it something that it cannot do without.
    Stopped,
}

/// Where results go: memory that is reused from call to call. Its bytes start at a multiple of 64.
#[derive(Debug)]
pub struct Output {
    memory: Cell<*mut u8>,
    room: Cell<usize>,
    length: Cell<usize>,
}

// SAFETY: owns its memory.
unsafe impl Send for Output {}
// SAFETY: what others than this room can do through `&Output` only reads; the cells change through `&mut Output`, or while
// a call runs, which holds one. So a finished result can be lent to whoever sends it.
unsafe impl Sync for Output {}

impl Output {
    /// An empty output.
    pub const fn new() -> Self {
        Self {
            memory: Cell::new(ptr::null_mut()),
            room: Cell::new(0),
            length: Cell::new(0),
        }
    }

    /// What the last call left.
    pub fn bytes(&self) -> &[u8] {
        if self.memory.get().is_null() {
            return &[];
        }
        // SAFETY: `length` bytes of our own memory; changing them takes `&mut self` or a running call.
        unsafe { std::slice::from_raw_parts(self.memory.get(), self.length.get()) }
    }

    /// Adds to what the last call left. False, and nothing is added, if there is no memory.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let length = self.length.get();
        if self.room.get() - length < bytes.len() {
            return self.set(&[self.bytes(), bytes].concat());
        }
        // SAFETY: room for them behind what is there.
        unsafe {
            self.memory
                .get()
                .wrapping_add(length)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        self.length.set(length + bytes.len());
        true
    }

    /// How many bytes fit without asking the system.
    pub fn capacity(&self) -> usize {
        self.room.get()
    }

    /// Gives the memory back if it is more than `bytes`.
    pub fn shrink_above(&mut self, bytes: usize) {
        if self.room.get() > bytes {
            *self = Self::new();
        }
    }

    /// Room for `length` bytes, whose content is undefined. Null if there is none.
    pub(crate) fn reserve(&self, length: usize) -> *mut u8 {
        if length > self.room.get() || self.memory.get().is_null() {
            let room = length
                .max(4096)
                .checked_next_multiple_of(4096)
                .unwrap_or(usize::MAX);
            let memory = pages::take(room);
            if memory.is_null() {
                return ptr::null_mut();
            }
            // SAFETY: null or memory from an earlier `reserve`, replaced here.
            unsafe { pages::give_back(self.memory.replace(memory)) };
            self.room.set(room);
        }
        self.length.set(length);
        self.memory.get()
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        self.length.set(0);
    }

    /// Replaces the content. False if there is no memory.
    pub(crate) fn set(&self, bytes: &[u8]) -> bool {
        let memory = self.reserve(bytes.len());
        if memory.is_null() {
            return false;
        }
        // SAFETY: room for them was just made.
        unsafe { memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }
}

impl AsRef<[u8]> for Output {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: null or memory from `reserve`.
        unsafe { pages::give_back(self.memory.get()) };
    }
}

/// A call in progress: what the code's `call` argument points to.
pub(crate) struct Call {
    pub(crate) output: *const Output,
    pub(crate) constants: *const Constants,
    exception: Cell<*mut Value>,
    /// The result, if it is to be packed as a graph.
    pub(crate) result: Cell<*mut Value>,
    /// Objects of the call are held where no collector looks.
    pub(crate) holding: Cell<bool>,
    /// What is wrong with the payload.
    pub(crate) malformed: Cell<Option<&'static str>>,
    /// What reads the payload, while it does.
    reader: UnsafeCell<Option<Box<Reader>>>,
    /// Hash tables that the payload held.
    tables: RefCell<Vec<*mut Value>>,
    /// Of which type one of them was asked for last, and where to look for the next.
    next_table: Cell<(*const DataType, usize)>,
    memory: usize,
    payload: Range<usize>,
    /// What the origin makes when it gets the exception, the newest first.
    pub(crate) deferred: Cell<*const Deferred>,
    pub(crate) lines: Lines,
    /// Where its code is.
    pub(crate) text: *const [Range<usize>],
    pub(crate) place: Place,
    pub(crate) hosted: Hosted,
    /// The result of a call that this one made, until its code takes it.
    pub(crate) answer: RefCell<Vec<u8>>,
    pub(crate) specials: Specials,
    /// Where the call goes on, once it is forwarded.
    pub(crate) onward: Cell<Onward>,
    /// How the call ends, once it must not go on.
    pub(crate) stopped: Cell<Outcome>,
    /// The trace of `exception`, by its place among the exceptions, from 1.
    thrown: Cell<usize>,
    kept: RefCell<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl Call {
    /// Where its result goes.
    pub(crate) fn output(&self) -> &Output {
        call_output(self)
    }

    /// What the call refers to, besides what its code does and what the origin makes.
    pub(crate) fn roots(&self, found: &mut dyn FnMut(*const Value)) {
        found(self.exception.get());
        found(self.result.get());
        found(self.specials.root());
    }

    /// Keeps a reader until it is forgotten or the call ends, whichever way it ends.
    pub(crate) fn reading(&self, reader: Reader) -> *mut Reader {
        // SAFETY: a call belongs to one thread, and no reader is in use when the next one comes.
        let place = unsafe { &mut *self.reader.get() };
        &raw mut **place.insert(Box::new(reader))
    }

    /// Gives the reader's memory back, but for the tables that it found.
    pub(crate) fn finish_reading(&self) {
        // SAFETY: as above.
        let reader = unsafe { &mut *self.reader.get() }.take();
        if let Some(reader) = reader {
            self.tables.replace(reader.into_tables());
        }
    }

    /// The next of those tables that is of this type.
    ///
    /// # Safety
    /// - they are alive.
    pub(crate) unsafe fn next_table(&self, ty: *const DataType) -> Option<*mut Value> {
        let (of, from) = self.next_table.get();
        let from = if ptr::eq(of, ty) { from } else { 0 };
        let tables = self.tables.borrow();
        // SAFETY: the caller's promise.
        let wanted = |table: &*mut Value| ptr::eq(unsafe { type_of(*table) }, ty);
        let place = tables[from..].iter().position(wanted)?;
        self.next_table.set((ty, from + place + 1));
        Some(tables[from + place])
    }
}

/// Ends the call at once: its payload is malformed.
///
/// # Safety
/// - called within a call, with nothing to drop between here and its landing.
pub(crate) unsafe fn leave_malformed(state: &ThreadState) -> ! {
    let landing = state.landing.get();
    state.left.set(code::MALFORMED);
    // SAFETY: the landing belongs to a `bc_enter` further up this thread's stack.
    unsafe { bc_leave(landing, 0) }
}

/// Keeps something alive until the call on this thread ends; for ever if there is none.
pub(crate) fn keep(state: &ThreadState, thing: Arc<dyn Any + Send + Sync>) {
    // SAFETY: null or the call that this thread is running.
    match unsafe { state.call.get().as_ref() } {
        Some(call) => call.kept.borrow_mut().push(thing),
        None => std::mem::forget(thing),
    }
}

/// Runs `code` on this thread, with `payload` as its argument. What it prints goes to `listener`.
///
/// # Safety
/// - `code` is code that keeps the rules of docs/ABI.md, built with `constants`.
pub unsafe fn run<'a>(
    code: impl Into<Code<'a>>,
    payload: &mut [u8],
    constants: &Constants,
    limits: Limits,
    listener: &Listener<'_>,
    output: &mut Output,
) -> Outcome {
    let Code {
        entry,
        text,
        place,
        host,
    } = code.into();
    attach();
    let state = ThreadState::current();
    let call = Call {
        output,
        constants,
        exception: Cell::new(ptr::null_mut()),
        result: Cell::new(ptr::null_mut()),
        holding: Cell::new(false),
        malformed: Cell::new(None),
        reader: UnsafeCell::new(None),
        tables: RefCell::new(Vec::new()),
        next_table: Cell::new((ptr::null(), 0)),
        memory: limits.memory,
        payload: range_of(payload),
        deferred: Cell::new(ptr::null()),
        // SAFETY: it outlives this call.
        lines: unsafe { Lines::new(&listener) },
        text,
        place,
        // SAFETY: it outlives this call.
        hosted: unsafe { Hosted::new(host) },
        answer: RefCell::default(),
        specials: Specials::default(),
        onward: Cell::default(),
        stopped: Cell::new(Outcome::Stopped),
        thrown: Cell::new(0),
        kept: RefCell::new(Vec::new()),
    };
    call_output(&call).length.set(0);
    state.heap.begin(limits);
    state.stack_top.set(&raw const call as usize);
    state.call.set(&raw const call);
    let float = FloatControl::read();
    let work = Work {
        entry,
        payload: payload.as_mut_ptr(),
        length: payload.len(),
        call: &raw const call,
    };
    let (status, left) = landed(state, invoke, &raw const work as usize);
    float.restore();
    let outcome = match (left, status) {
        (0, 0) if call.result.get().is_null() => Outcome::Value,
        (0, 0) => pack_value(state, &call),
        (0, _) => pack(state, &call, call.exception.get()),
        (code::UNCAUGHT, _) => {
            call.thrown.set(state.exceptions.top());
            pack(state, &call, state.exceptions.current())
        }
        (code::MALFORMED, _) => {
            Outcome::BadPayload(call.malformed.get().unwrap_or("it is malformed"))
        }
        (code::FORWARDED, _) if call.result.get().is_null() => Outcome::Forward(call.onward.get()),
        (code::FORWARDED, _) => match pack_value(state, &call) {
            Outcome::Value => Outcome::Forward(call.onward.get()),
            other => other,
        },
        (code::STOPPED, _) => call.stopped.get(),
        (left, _) => Outcome::Fault {
            signal: code::signal(left).unwrap_or(0),
        },
    };
    if state.library.is_dirty() {
        let _ = landed(state, library::end_of_call, 0);
    }
    state.thrown.set(call.thrown.get());
    call.lines.finish();
    state.call.set(ptr::null());
    state.stack_top.set(0);
    state.heap.reset();
    outcome
}

/// Addresses of the payload, its end included: an array without elements may lie there.
fn range_of(payload: &[u8]) -> Range<usize> {
    let start = payload.as_ptr() as usize;
    start..start + payload.len() + 1
}

/// Does this lie in the payload of the call that this thread is running?
pub(crate) fn is_payload(data: *const u8) -> bool {
    // SAFETY: null or the call that this thread is running.
    let call = unsafe { ThreadState::current().call.get().as_ref() };
    call.is_some_and(|call| call.payload.contains(&(data as usize)))
}

fn call_output(call: &Call) -> &Output {
    // SAFETY: `run` holds the output while the call lives.
    unsafe { &*call.output }
}

/// Calls `code(argument)` with a landing, handlers and exceptions of its own. Returns its result, and why it was left.
fn landed(
    state: &ThreadState,
    code: extern "C" fn(usize, usize, usize) -> i64,
    argument: usize,
) -> (i64, i64) {
    let mut landing = Landing::new();
    let outer = (
        state.landing.get(),
        state.handler.get(),
        state.exceptions.top(),
    );
    state.left.set(0);
    state.handler.set(ptr::null_mut());
    state.landing.set(&raw const landing);
    // SAFETY: both functions that are passed here take what they are given; the landing lives on.
    let status = unsafe { bc_enter(code, argument, 0, 0, &raw mut landing) };
    state.landing.set(outer.0);
    state.handler.set(outer.1);
    let left = state.left.replace(0);
    if left != code::UNCAUGHT {
        state.exceptions.truncate(outer.2);
    }
    (status, left)
}

struct Work {
    entry: Entry,
    payload: *mut u8,
    length: usize,
    call: *const Call,
}

/// Plain frame between the landing and shipped code.
extern "C" fn invoke(work: usize, _: usize, _: usize) -> i64 {
    // SAFETY: `run` passes the address of its `Work`, which lives on.
    let work = unsafe { &*(work as *const Work) };
    // SAFETY: the promise of `run`'s caller.
    let status = unsafe { (work.entry)(work.payload as i64, work.length as i64, work.call as i64) };
    i64::from(status)
}

/// Writes the exception's graph into the output. Reading the objects may fault, if the code left them broken.
fn pack(state: &ThreadState, call: &Call, exception: *mut Value) -> Outcome {
    // SAFETY: `run` holds the constants while the call lives.
    let constants = unsafe { &*call.constants };
    let mut packing = Packing {
        encoder: Encoder::new(constants, Purpose::Exception),
        deferred: call.deferred.get(),
        exception,
    };
    let (_, left) = landed(state, pack_here, &raw mut packing as usize);
    state.exceptions.truncate(0);
    match code::signal(left) {
        Some(signal) => Outcome::Fault { signal },
        None if call_output(call).set(packing.encoder.bytes()) => Outcome::Thrown,
        None => Outcome::OutOfMemory,
    }
}

/// Writes the graph of an object into the output while the call runs on.
pub(crate) fn pack_now(state: &ThreadState, call: &Call, value: *mut Value) -> Outcome {
    let result = call.result.replace(value);
    let packed = pack_value(state, call);
    call.result.set(result);
    packed
}

/// Writes the result's graph into the output.
fn pack_value(state: &ThreadState, call: &Call) -> Outcome {
    // SAFETY: `run` holds the constants while the call lives.
    let constants = unsafe { &*call.constants };
    let mut returning = Returning {
        encoder: Encoder::new(constants, Purpose::Value),
        call,
        packed: Packed::OutOfMemory,
    };
    let (_, left) = landed(state, pack_value_here, &raw mut returning as usize);
    match (code::signal(left), returning.packed) {
        (Some(signal), _) => Outcome::Fault { signal },
        (None, Packed::Whole) => Outcome::Value,
        (None, Packed::Refused) => Outcome::Thrown,
        (None, Packed::OutOfMemory) => Outcome::OutOfMemory,
    }
}

struct Returning<'a> {
    encoder: Encoder<'a>,
    call: &'a Call,
    packed: Packed,
}

/// As [`pack_here`], for a result.
extern "C" fn pack_value_here(returning: usize, _: usize, _: usize) -> i64 {
    // SAFETY: `pack_value` passes the address of its `Returning`, which lives on.
    let Returning {
        encoder,
        call,
        packed,
    } = unsafe { &mut *(returning as *mut Returning<'_>) };
    // SAFETY: an object of this call; there is a landing for faults.
    *packed = unsafe { pack_result(encoder, call, call_output(call), call.memory) };
    0
}

struct Packing<'a> {
    encoder: Encoder<'a>,
    deferred: *const Deferred,
    exception: *mut Value,
}

/// Plain frame between the landing and the encoder, which reads objects that the code may have left broken.
extern "C" fn pack_here(packing: usize, _: usize, _: usize) -> i64 {
    // SAFETY: `pack` passes the address of its `Packing`, which lives on.
    let Packing {
        encoder,
        deferred,
        exception,
    } = unsafe { &mut *(packing as *mut Packing<'_>) };
    // SAFETY: null or an object of this call.
    unsafe { encoder.write(*exception, *deferred) };
    0
}

/// For shipped code: memory for the packed result, at a multiple of 64. Calling it again replaces it.
///
/// # Safety
/// - `call` is what the entry was given.
pub(crate) unsafe extern "C" fn bc_result(call: i64, bytes: u64) -> i64 {
    // SAFETY: the caller's promise.
    let call = unsafe { &*(call as *const Call) };
    let memory = match usize::try_from(bytes) {
        Ok(bytes) if bytes <= call.memory => call_output(call).reserve(bytes),
        _ => ptr::null_mut(),
    };
    let reserved = if memory.is_null() {
        Err(crate::heap::Exhausted)
    } else {
        Ok(memory)
    };
    // SAFETY: called from shipped code; nothing here needs dropping.
    let memory = unsafe { or_throw(reserved) };
    // Padding between packed values is nobody's to write: what was in memory before must not leave with it. It lies in the
    // head of a result; elements of arrays, behind it, are written by all of their bytes.
    // SAFETY: room for `bytes` was just made.
    unsafe { memory.write_bytes(0, (bytes as usize).min(CLEARED)) };
    memory as i64
}

/// How much of a result is cleared before it is written.
const CLEARED: usize = 4096;

/// For shipped code: the exception that the call ends with. It is packed when the entry returns 1.
///
/// # Safety
/// - `call` is what the entry was given; `exception` is an object.
pub(crate) unsafe extern "C" fn bc_throw(call: i64, exception: *mut Value) {
    // SAFETY: the caller's promise.
    let call = unsafe { &*(call as *const Call) };
    call.exception.set(exception);
    call.thrown
        .set(ThreadState::current().exceptions.place(exception));
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests;
