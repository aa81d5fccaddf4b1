//! Values that cross as graphs: what shipped code calls to get its arguments and to hand over its result.

use super::{Encoder, Reader, tag};
use crate::builtin::{Builtins, id};
use crate::call::{Call, Output};
use crate::layout::{CACHE_ALIGN, DataType, Value, round_up};
use crate::thread::ThreadState;

/// For shipped code: the object that the payload describes, of which code may change everything. A payload that is malformed ends the
/// call.
///
/// # Safety
/// - called from shipped code, once, with what the entry was given.
pub(crate) unsafe extern "C" fn bc_unpack(payload: i64, bytes: i64, call: i64) -> *mut Value {
    // SAFETY: the caller's promise.
    let call = unsafe { &*(call as *const Call) };
    // SAFETY: the payload is the call's.
    let reader = unsafe { Reader::new(payload as *mut u8, bytes as usize, call.constants) };
    // SAFETY: the reader is the call's own, and only used here.
    let reader = unsafe { &mut *call.reading(reader) };
    call.holding.set(true);
    // SAFETY: the caller's promise.
    let read = unsafe { reader.read() };
    call.holding.set(false);
    call.finish_reading();
    match read {
        Ok(root) => root,
        Err(malformed) => {
            call.malformed.set(Some(malformed.0));
            // SAFETY: nothing here needs dropping any more.
            unsafe { crate::call::leave_malformed(ThreadState::current()) }
        }
    }
}

/// For shipped code: the next hash table of exactly this type among what the payload held, `nothing` after the last. The tables are
/// alive as long as nobody has changed what was unpacked.
///
/// # Safety
/// - called from shipped code, with what the entry was given, after [`bc_unpack`].
pub(crate) unsafe extern "C" fn bc_table(call: i64, ty: *const DataType) -> *mut Value {
    // SAFETY: the caller's promise.
    let call = unsafe { &*(call as *const Call) };
    // SAFETY: as above.
    let next = unsafe { call.next_table(ty) };
    next.unwrap_or_else(|| Builtins::get().nothing())
}

/// For shipped code: the value that the call ends with. It is packed when the entry returns 0.
///
/// # Safety
/// - `call` is what the entry was given; `value` is an object.
pub(crate) unsafe extern "C" fn bc_return(call: i64, value: *mut Value) {
    // SAFETY: the caller's promise.
    let call = unsafe { &*(call as *const Call) };
    call.result.set(value);
}

/// What packing a result came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packed {
    /// It is in the output.
    Whole,
    /// It holds something that cannot be sent; the exception that says so is in the output.
    Refused,
    /// There was no memory.
    OutOfMemory,
}

/// Writes a result: where its graph ends, the graph, and the tail.
///
/// # Safety
/// - as for [`Encoder::write`]; what is written may be broken: the caller has a landing for faults, and owns the encoder.
pub(crate) unsafe fn pack_result(
    encoder: &mut Encoder<'_>,
    call: &Call,
    output: &Output,
    limit: usize,
) -> Packed {
    // SAFETY: the caller's promise.
    unsafe { encoder.write(call.result.get(), call.deferred.get()) };
    if let Some(what) = encoder.refused() {
        let said = if output.set(&refusal(what)) {
            Packed::Refused
        } else {
            Packed::OutOfMemory
        };
        return said;
    }
    let end = 8 + encoder.bytes().len();
    let tail = round_up(end, CACHE_ALIGN);
    let total = if encoder.tail().is_empty() {
        end
    } else {
        tail + encoder.tail_bytes
    };
    let memory = if total <= limit {
        output.reserve(total)
    } else {
        std::ptr::null_mut()
    };
    if memory.is_null() {
        return Packed::OutOfMemory;
    }
    // SAFETY: room for `total` bytes was just made, here and below.
    unsafe { memory.cast::<u64>().write_unaligned((end as u64).to_le()) };
    // SAFETY: as above.
    unsafe { put(memory, 8, encoder.bytes().as_ptr(), encoder.bytes().len()) };
    let mut at = end;
    for &(start, from, length) in encoder.tail() {
        // SAFETY: as above.
        unsafe { memory.wrapping_add(at).write_bytes(0, tail + start - at) };
        // SAFETY: as above; `length` bytes of an object of the call.
        unsafe { put(memory, tail + start, from, length) };
        at = tail + start + length;
    }
    Packed::Whole
}

unsafe fn put(memory: *mut u8, at: usize, from: *const u8, length: usize) {
    let to = memory.wrapping_add(at);
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(from, length) };
}

/// The graph of an `ArgumentError` that says what of a result cannot be sent.
fn refusal(what: &str) -> Vec<u8> {
    let message = format!("the result holds what cannot be sent back: {what}");
    let mut graph = vec![tag::STRUCT];
    graph.extend(u32::from(id::ARGUMENT_ERROR).to_le_bytes());
    graph.extend(8_u32.to_le_bytes());
    graph.extend([0; 8]);
    graph.extend(1_u32.to_le_bytes());
    graph.push(tag::STRING);
    graph.extend((message.len() as u64).to_le_bytes());
    graph.extend(message.as_bytes());
    graph
}
