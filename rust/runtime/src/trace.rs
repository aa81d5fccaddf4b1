//! Backtraces: which calls of shipped code lead to a throw.
//!
//! Shipped code keeps frame pointers, so its frames are a list. Our own functions, which lie between a throw and the code that
//! called them, do not; but they have tables for the system's unwinder, which finds the innermost frame of shipped code
//! through them. What is kept are return addresses; `rust/jit` knows what they mean.

use crate::machine::FRAME_POINTER;
use crate::thread::ThreadState;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::{MaybeUninit, offset_of};
use std::ops::Range;

/// The most frames of a backtrace, from the innermost on.
pub(crate) const FRAMES: usize = 64;

/// Return addresses, innermost first.
pub(crate) struct Trace {
    length: Cell<usize>,
    addresses: [Cell<MaybeUninit<usize>>; FRAMES],
}

impl Trace {
    /// Makes an empty trace of raw memory.
    ///
    /// # Safety
    /// - memory for a trace. What its addresses are does not matter.
    pub(crate) unsafe fn make(place: *mut Self) {
        let length = place.wrapping_byte_add(offset_of!(Self, length));
        // SAFETY: the caller's promise.
        unsafe { length.cast::<Cell<usize>>().write(Cell::new(0)) };
    }

    fn clear(&self) {
        self.length.set(0);
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = usize> {
        let known = &self.addresses[..self.length.get()];
        // SAFETY: `push` has been there.
        known
            .iter()
            .map(|place| unsafe { place.get().assume_init() })
    }

    fn push(&self, address: usize) -> bool {
        let length = self.length.get();
        if let Some(place) = self.addresses.get(length) {
            place.set(MaybeUninit::new(address));
            self.length.set(length + 1);
        }
        length + 1 < FRAMES
    }

    /// Records the frames from here on outwards.
    pub(crate) fn record(&self, state: &ThreadState) {
        self.clear();
        let text = text(state);
        if text.is_empty() {
            return;
        }
        let mut innermost = Innermost {
            text: &text,
            address: 0,
            frame: 0,
        };
        // SAFETY: the callback takes what it is given, which outlives the call.
        unsafe { _Unwind_Backtrace(look, (&raw mut innermost).cast()) };
        if innermost.address != 0 {
            self.walk(state, &text, innermost.address, innermost.frame);
        }
    }

    /// Records the frames from an interrupted instruction on outwards. For signal handlers.
    pub(crate) fn record_fault(&self, state: &ThreadState, address: usize, frame: usize) {
        self.clear();
        let text = text(state);
        if text.contains(address) {
            // As if it were a call: what is looked up is the instruction before a return address.
            self.walk(state, &text, address + 1, frame);
        }
    }

    /// Follows frame pointers as long as they make sense.
    fn walk(&self, state: &ThreadState, text: &Text, address: usize, frame: usize) {
        let stack = state.stack.lowest..state.landing.get() as usize;
        let (mut address, mut frame) = (address, frame);
        while text.contains(address - 1) && self.push(address) {
            let inside = stack.contains(&frame) && frame.is_multiple_of(align_of::<usize>());
            if !inside {
                return;
            }
            let record = frame as *const usize;
            // SAFETY: on this thread's stack, between a frame that runs and one that waits for it.
            let outer = unsafe { record.read() };
            // SAFETY: as above.
            address = unsafe { record.wrapping_add(1).read() };
            if outer <= frame {
                // The outermost, or nonsense: its caller still counts.
                if text.contains(address.wrapping_sub(1)) {
                    self.push(address);
                }
                return;
            }
            frame = outer;
        }
    }
}

/// Where the code of the call that runs is, and what it links to.
struct Text<'a>(&'a [Range<usize>]);

impl Text<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, address: usize) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}

fn text(state: &ThreadState) -> Text<'_> {
    // SAFETY: null or the call that this thread is running.
    let call = unsafe { state.call.get().as_ref() };
    // SAFETY: whoever runs the call lends it for as long.
    Text(call.map_or(&[], |call| unsafe { &*call.text }))
}

/// What the unwinder is to find.
struct Innermost<'a> {
    text: &'a Text<'a>,
    address: usize,
    frame: usize,
}

/// What the unwinder tells: opaque.
type UnwindContext = *mut c_void;
/// Go on.
const NO_REASON: c_int = 0;
/// Stop.
const END_OF_STACK: c_int = 5;

unsafe extern "C" {
    fn _Unwind_Backtrace(
        look: extern "C" fn(UnwindContext, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: UnwindContext) -> usize;
    fn _Unwind_GetGR(context: UnwindContext, register: c_int) -> usize;
}

/// A frame: is it shipped code's?
extern "C" fn look(context: UnwindContext, innermost: *mut c_void) -> c_int {
    // SAFETY: `record` passes the address of its own.
    let innermost = unsafe { &mut *innermost.cast::<Innermost<'_>>() };
    // SAFETY: the unwinder's context.
    let address = unsafe { _Unwind_GetIP(context) };
    if !innermost.text.contains(address.wrapping_sub(1)) {
        return NO_REASON;
    }
    innermost.address = address;
    // SAFETY: as above; the register is one that functions preserve, so every frame knows it.
    innermost.frame = unsafe { _Unwind_GetGR(context, FRAME_POINTER) };
    END_OF_STACK
}

/// The return addresses of the exception that the last call on this thread ended with, innermost first; none if that is
/// not known.
pub fn last_trace() -> Vec<usize> {
    let state = ThreadState::current();
    let thrown = state.thrown.get();
    let trace = thrown
        .checked_sub(1)
        .and_then(|index| state.exceptions.trace(index));
    trace.map_or_else(Vec::new, |trace| trace.addresses().collect())
}
