//! `bc_call`: one call, from its arguments to its result.

use std::ffi::{CString, c_char, c_void};
use std::sync::OnceLock;
use std::time::Duration;

use bitcode_client::{Call, CallOptions, CallState, ClientError, Outcome};
use bitcode_transport::Segment;
use serde_json::json;
use smallvec::SmallVec;

use crate::client::TheFabric;
use crate::error::c_string;
use crate::handle::{Handle, PANICKED, REFUSED, borrow, guarded, take};
use crate::status::number;
use crate::{BC_E_BUSY, BC_ERROR, BC_NO_RESULT, BC_OK, BC_SHOW, BC_VALUE, BcCode, BcSession};

/// A piece of memory that belongs to the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BcSegment {
    /// First byte; may be NULL if `len` is 0.
    pub base: *const c_void,
    /// Number of bytes.
    pub len: usize,
}

/// What a call may take. All of it goes down with what the call does, on whichever node.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BcLimits {
    /// Milliseconds until the call fails with BC_E_TIMEOUT; no node begins a part of it later. 0: none.
    pub deadline_ms: u32,
    /// How many hops from node to node it may make, on each path that it takes; at least 1. Of meaning for code that hops.
    pub hop_budget: u32,
    /// How many calls it may start on each node, 65,535 at most. Of meaning for code that starts calls.
    pub fan_out: u32,
}

impl BcLimits {
    /// These limits, and what else a call's flags say. `None` if they cannot be.
    fn options(self, flags: u32) -> Option<CallOptions> {
        let deadline = Duration::from_millis(u64::from(self.deadline_ms));
        let fan_out = u16::try_from(self.fan_out).ok()?;
        let options = flagged(flags).hop_budget(self.hop_budget).fan_out(fan_out);
        let options = options.deadline((self.deadline_ms > 0).then_some(deadline));
        (self.hop_budget > 0).then_some(options)
    }
}

fn flagged(flags: u32) -> CallOptions {
    CallOptions::default()
        .no_result(flags == BC_NO_RESULT)
        .show(flags == BC_SHOW)
}

/// A call that did not end inside `bc_call`, or ended with more than a small value.
pub struct BcPending {
    magic: u64,
    call: Result<Call<TheFabric>, ClientError>,
    message: OnceLock<CString>,
}

// SAFETY: `magic` is the u64 at that offset.
unsafe impl Handle for BcPending {
    const OFFSET: usize = std::mem::offset_of!(BcPending, magic);
    const MAGIC: u64 = u64::from_le_bytes(*b"bc_pendn");
}

impl BcPending {
    fn new(call: Result<Call<TheFabric>, ClientError>) -> Self {
        Self {
            magic: Self::MAGIC,
            call,
            message: OnceLock::new(),
        }
    }

    fn state(&self) -> i32 {
        match &self.call {
            Ok(call) => call.state() as i32,
            Err(_) => BC_ERROR,
        }
    }

    fn error(&self) -> Option<&ClientError> {
        match &self.call {
            Err(error) => Some(error),
            Ok(call) => match call.outcome() {
                Some(Outcome::Error(error)) => Some(error),
                _ => None,
            },
        }
    }
}

const _: () = assert!(CallState::Value as i32 == BC_VALUE);
const _: () = assert!(CallState::Pending as i32 == crate::BC_PENDING);
const _: () = assert!(CallState::Throw as i32 == crate::BC_THROW);
const _: () = assert!(CallState::Error as i32 == BC_ERROR);

/// Where the time of a call went, in nanoseconds. What the node reports is 0 unless the call made it compile.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct BcTimings {
    /// From the start of bc_call to the reply; 0 for a warm call, which reads no clock.
    pub total_ns: u64,
    /// On the node: from arrival to the start of compilation.
    pub queue_ns: u64,
    /// On the node: hash check and decoding of the archive.
    pub decode_ns: u64,
    /// On the node: parsing and verifying bitcode.
    pub parse_ns: u64,
    /// On the node: linking with the runtime and resolving symbols.
    pub link_ns: u64,
    /// On the node: optimisation.
    pub optimise_ns: u64,
    /// On the node: machine code.
    pub emit_ns: u64,
    /// On the node: the call itself.
    pub run_ns: u64,
    /// 1 if the call carried its archive.
    pub archive_sent: u32,
    /// How often the node asked for the code.
    pub need_code: u32,
}

/// The segments of a payload, without the heap if they are as few as usual.
type Payload = SmallVec<[Segment<'static>; 2]>;

/// The most segments of one payload.
const MAX_SEGMENTS: usize = 1 << 20;

/// Calls `code` on the session's node. The payload is the concatenation of `n` segments, whose memory must stay as it is until
/// the call's state is not BC_PENDING (the array `segs` itself may go at once).
///
/// For up to `spin_ns` the calling thread itself drives the transport and waits. Returns
///  - BC_VALUE: the result is in `result` (at most `cap` bytes), its length in `*result_len`, and `*pending` is NULL;
///  - BC_PENDING: not finished yet; `*pending` is an owned call;
///  - BC_VALUE with `*pending` not NULL: finished, but the result is larger than `cap`, or `result` is NULL, or there is output to take
///    before it (bc_output_notify); `*result_len` is the result's length, or 0;
///  - BC_THROW, BC_ERROR: finished that way; `*pending` is an owned call;
///  - BC_VALUE with `*pending` NULL and no bytes, if `flags` is BC_NO_RESULT, the payload short, and `result` not NULL: the payload was copied, and
///    nothing more will be heard of the call. Several such calls in a row may go in one frame;
///  - negative: it could not be sent; `*pending` is an owned call in state BC_ERROR that says why, or NULL for
///    BC_E_BAD_ARGUMENT.
///
/// `limits` may be NULL: no deadline, 1,000,000 hops, 10,000 calls started on each node. `flags` is 0, BC_NO_RESULT or BC_SHOW.
/// `result` may be NULL if `cap` is 0.
///
/// # Safety
/// `session` and `code` are handles that were not freed, of one client; `limits` is NULL or readable; `segs` holds `n` segments whose memory is readable until
/// the call is finished; `result` has room for `cap` bytes; `result_len` and `pending` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call(
    session: *mut BcSession,
    code: *mut BcCode,
    segs: *const BcSegment,
    n: usize,
    flags: u32,
    limits: *const BcLimits,
    spin_ns: u64,
    result: *mut u8,
    cap: usize,
    result_len: *mut usize,
    pending: *mut *mut BcPending,
) -> i32 {
    guarded(PANICKED, || {
        if result_len.is_null() || pending.is_null() || (result.is_null() && cap > 0) {
            return REFUSED;
        }
        // SAFETY: not null, and the caller vouches for it.
        unsafe { pending.write(std::ptr::null_mut()) };
        // SAFETY: as this function demands.
        let session = unsafe { borrow(session) };
        // SAFETY: as this function demands.
        let code = unsafe { borrow(code) };
        // SAFETY: as this function demands.
        let payload = unsafe { payload(segs, n) };
        let (Some(session), Some(code), Some(payload)) = (session, code, payload) else {
            return REFUSED;
        };
        if !matches!(flags, 0 | BC_NO_RESULT | BC_SHOW) {
            return REFUSED;
        }
        // SAFETY: as this function demands.
        let options = match unsafe { limits.as_ref() } {
            Some(limits) => limits.options(flags),
            None => Some(flagged(flags)),
        };
        let Some(options) = options else {
            return REFUSED;
        };
        let mut len = 0;
        let accept = |bytes: &[u8]| {
            len = bytes.len();
            // Whoever has no place for a result wants a handle, also of a result without bytes: it cannot know that there is none.
            let fits = len <= cap && !result.is_null();
            if fits && len > 0 {
                // SAFETY: `result` has room for `cap` bytes, and is nobody else's for now.
                unsafe { result.copy_from_nonoverlapping(bytes.as_ptr(), len) };
            }
            fits
        };
        let spin = Duration::from_nanos(spin_ns);
        let (session, code) = (&session.session, &code.code);
        let called = match flags == BC_NO_RESULT && !result.is_null() {
            true => session.post(code, &payload, &options),
            false => Ok(false),
        };
        let called = called.and_then(|posted| match posted {
            true => Ok(None),
            false => session.call_and_spin(code, &payload, &options, spin, accept),
        });
        // SAFETY: not null, and the caller vouches for it.
        unsafe { result_len.write(len) };
        let (status, call) = match called {
            Ok(None) => return BC_VALUE,
            Ok(Some(call)) => (call.state() as i32, Ok(call)),
            Err(error) => (number(&error), Err(error)),
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { pending.write(BcPending::new(call).into_raw()) };
        status
    })
}

/// The segments of a payload; `None` if they cannot be.
///
/// # Safety
/// `segs` is null or holds `n` segments, whose memory stays as it is until the call is finished.
unsafe fn payload(segs: *const BcSegment, n: usize) -> Option<Payload> {
    if n == 0 {
        return Some(Payload::new());
    }
    if segs.is_null() || !segs.is_aligned() || n > MAX_SEGMENTS {
        return None;
    }
    // SAFETY: not null, aligned, of a possible length, and the caller vouches for the rest.
    let segs = unsafe { std::slice::from_raw_parts(segs, n) };
    let segment = |seg: &BcSegment| {
        let possible = seg.len <= isize::MAX as usize && (!seg.base.is_null() || seg.len == 0);
        // SAFETY: the caller keeps the memory until the call is finished, and a call is not finished, and not freed,
        // before the transport has let go of its segments.
        possible.then(|| unsafe { Segment::lasting(seg.base.cast(), seg.len) })
    };
    // The usual case, without the machinery of an iterator.
    if let [only] = segs {
        let mut payload = Payload::new();
        payload.push(segment(only)?);
        return Some(payload);
    }
    segs.iter().map(segment).collect()
}

/// State of the call: BC_VALUE, BC_PENDING, BC_THROW or BC_ERROR; BC_E_BAD_ARGUMENT for NULL.
///
/// # Safety
/// `call` is NULL or a call that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_state(call: *const BcPending) -> i32 {
    // SAFETY: as this function demands.
    let call = unsafe { borrow(call) };
    guarded(PANICKED, || call.map_or(REFUSED, BcPending::state))
}

/// The result (BC_VALUE) or the exception's graph (BC_THROW); it lives as long as the call and starts at a 64-byte boundary.
/// BC_E_BAD_ARGUMENT in any other state.
///
/// # Safety
/// `call` is NULL or a call that was not freed; `ptr` and `len` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_result(
    call: *const BcPending,
    ptr: *mut *const u8,
    len: *mut usize,
) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let call = unsafe { borrow(call) };
        if ptr.is_null() || len.is_null() {
            return REFUSED;
        }
        let outcome = call.and_then(|call| call.call.as_ref().ok()?.outcome());
        let Some(Outcome::Value(bytes) | Outcome::Throw(bytes)) = outcome else {
            return REFUSED;
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { ptr.write(bytes.as_ptr()) };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { len.write(bytes.len()) };
        BC_OK
    })
}

/// Message of a call in state BC_ERROR, in UTF-8, living as long as the call; NULL in any other state. `*code` (unless
/// `code` is NULL) becomes negative (BC_E_…) for a failure on this side, positive for an error code of the node (docs/WIRE.md).
///
/// # Safety
/// `call` is NULL or a call that was not freed; `code` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_error(call: *const BcPending, code: *mut i32) -> *const c_char {
    guarded(std::ptr::null(), || {
        // SAFETY: as this function demands.
        let call = unsafe { borrow(call) };
        let Some((call, error)) = call.and_then(|call| Some((call, call.error()?))) else {
            return std::ptr::null();
        };
        if !code.is_null() {
            let number = match error {
                ClientError::Remote { code, .. } => i32::try_from(code.0).unwrap_or(i32::MAX),
                ours => number(ours),
            };
            // SAFETY: not null, and the caller vouches for it.
            unsafe { code.write(number) };
        }
        call.message
            .get_or_init(|| c_string(&error.to_string()))
            .as_ptr()
    })
}

/// A pointer of the caller's that its callback gets back.
struct Argument(*mut c_void);

// SAFETY: never looked at here; the caller vouches that the callback may be called with it from any thread.
unsafe impl Send for Argument {}

impl Argument {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// Has `callback(arg)` called exactly once when the call is finished, from any thread, at once if it already is. One callback per
/// call. It should only wake somebody: of this library it may use bc_call_state alone. After bc_call_free has returned BC_OK it
/// is not running and will not run.
///
/// # Safety
/// `call` is NULL or a call that was not freed; `callback` may be called with `arg` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_notify(
    call: *mut BcPending,
    callback: Option<unsafe extern "C" fn(arg: *mut c_void)>,
    arg: *mut c_void,
) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let (Some(call), Some(callback)) = (unsafe { borrow(call) }, callback) else {
            return REFUSED;
        };
        let arg = Argument(arg);
        // SAFETY: the caller vouches for the callback and its argument.
        let notify = move || unsafe { callback(arg.get()) };
        match &call.call {
            Ok(call) => match call.notify(Box::new(notify)) {
                Ok(()) => BC_OK,
                Err(error) => number(&error),
            },
            Err(_) => {
                notify();
                BC_OK
            }
        }
    })
}

/// Waits until the call is finished or `timeout_ns` have passed (UINT64_MAX: for ever): drives the transport for a moment, then
/// sleeps. Returns the state.
///
/// # Safety
/// `call` is NULL or a call that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_wait(call: *mut BcPending, timeout_ns: u64) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let Some(call) = (unsafe { borrow(call) }) else {
            return REFUSED;
        };
        let timeout = (timeout_ns != u64::MAX).then(|| Duration::from_nanos(timeout_ns));
        match &call.call {
            Ok(call) => call.wait(timeout) as i32,
            Err(_) => BC_ERROR,
        }
    })
}

/// How long nodes may take to say where a call went. One that does not answer is left out.
const TRAIL_PATIENCE: Duration = Duration::from_secs(1);

/// Where a call of code that hops went before it failed (BC_THROW, BC_ERROR), as a JSON object: `places`, the numbers of the nodes in
/// order, 0 for hops that nobody remembers; `silent`, those that were asked and did not answer; `addresses`, of nodes 1, 2, … The nodes are asked, which takes a second if one does not answer. Owned: free it with bc_string_free. NULL if the call has not failed, or cannot have hopped.
///
/// # Safety
/// `call` is NULL or a call that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_trail(call: *const BcPending) -> *mut c_char {
    guarded(std::ptr::null_mut(), || {
        // SAFETY: as this function demands.
        let call = unsafe { borrow(call) };
        let sought = call.and_then(|call| call.call.as_ref().ok()?.seek_trail());
        let Some(sought) = sought else {
            return std::ptr::null_mut();
        };
        let trail = sought.settle(TRAIL_PATIENCE);
        let json = json!({
            "places": trail.places.iter().map(|it| it.unwrap_or(0)).collect::<Vec<_>>(),
            "silent": trail.silent,
            "addresses": trail.addresses,
        });
        c_string(&json.to_string()).into_raw()
    })
}

/// Where the time of a finished call went. BC_E_BAD_ARGUMENT while it is pending.
///
/// # Safety
/// `call` is NULL or a call that was not freed; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_timings(call: *const BcPending, out: *mut BcTimings) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let call = unsafe { borrow(call) };
        let timings = call.and_then(|call| call.call.as_ref().ok()?.timings());
        let (Some(timings), false) = (timings, out.is_null()) else {
            return REFUSED;
        };
        let node = timings.node.unwrap_or_default();
        let ns = |us: u32| u64::from(us) * 1000;
        let told = BcTimings {
            total_ns: timings.total.map_or(0, |total| total.as_nanos() as u64),
            queue_ns: ns(node.queue),
            decode_ns: ns(node.decode),
            parse_ns: ns(node.parse),
            link_ns: ns(node.link),
            optimise_ns: ns(node.optimise),
            emit_ns: ns(node.emit),
            run_ns: ns(node.run),
            archive_sent: u32::from(timings.archive_sent),
            need_code: timings.need_code,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(told) };
        BC_OK
    })
}

/// Frees a call; NULL is ignored. A pending call is abandoned: its answer will be dropped. Returns BC_OK, or BC_E_BUSY, and then
/// nothing was freed, while the transport still reads the caller's memory.
///
/// # Safety
/// `call` is NULL or a call that was not freed; after BC_OK it must not be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_call_free(call: *mut BcPending) -> i32 {
    guarded(PANICKED, || {
        if call.is_null() {
            return BC_OK;
        }
        // SAFETY: as this function demands.
        let Some(mut owned) = (unsafe { take(call) }) else {
            return REFUSED;
        };
        if let Ok(live) = &mut owned.call
            && !live.try_free()
        {
            owned.magic = BcPending::MAGIC;
            let same = Box::into_raw(owned);
            debug_assert_eq!(same, call);
            return BC_E_BUSY;
        }
        BC_OK
    })
}
