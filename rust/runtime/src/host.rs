//! What shipped code asks of the node that it runs on: memory that nodes lend (segments), its own node's and others'.
//!
//! Segments are no business of this room's: whoever runs a call says, as a [`Host`], who answers. Here the answers are
//! given the form in which shipped code takes them.

use crate::call::Call;
use crate::hop::Onward;
use crate::memory::check_stack;
use crate::thread::ThreadState;
use smallvec::SmallVec;
use std::any::Any;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// The node that a call runs on, as the call sees it. Its methods are called on the thread that runs the call.
pub trait Host {
    /// Memory of this node's segment `number`, which has to have so many bytes or more.
    ///
    /// # Errors
    /// There is no such segment, or it has fewer bytes.
    fn segment(&self, number: u64, bytes: u64) -> Result<Lent, Denied>;

    /// Has this node's segment `number` to itself, among all who ask so, until what is returned is dropped. May block.
    ///
    /// # Errors
    /// There is no such segment, or somebody else has it for too long.
    fn exclude(&self, number: u64) -> Result<Held, Denied>;

    /// Reads or changes bytes of a segment of another node, and returns the word that was there before, if a word is what is
    /// changed. May block until the other node has answered.
    ///
    /// # Errors
    /// Nothing was read or changed; of [`Denied::Late`] nobody can tell.
    fn access(
        &self,
        node: u32,
        segment: u64,
        offset: u64,
        access: Access<'_>,
    ) -> Result<u64, Denied>;

    /// Starts another call of the running code, on any node, with this payload. `false` if that cannot be, upon which the call
    /// that asks for it is ended with [`Outcome::Stopped`](crate::Outcome::Stopped).
    fn spawn(&self, onward: Onward, payload: &[u8]) -> bool;

    /// Makes another call of the running code, on another node, with this payload, and waits for what comes of it. `None` if nothing
    /// will, upon which the call that asks for it is ended with [`Outcome::Stopped`](crate::Outcome::Stopped).
    fn call(&self, onward: Onward, payload: &[u8]) -> Option<Answer>;

    /// The running code, specialised for these bytes. `None` if that cannot be: for most, because they do not compile.
    fn special(&self, _fixed: &[u8]) -> Option<Special> {
        None
    }

    /// The next call that is started, made, or gone on as, is of the running code specialised for these bytes.
    fn fix(&self, _fixed: &[u8]) {}
}

/// Specialised code.
#[derive(Clone)]
pub struct Special {
    /// The address of its entry.
    pub entry: usize,
    /// Keeps it where it is.
    pub owner: Held,
}

/// What has come of a call that code made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The packed result.
    Value(Vec<u8>),
    /// The exception's graph, and its backtrace.
    Thrown(Vec<u8>),
}

/// What is kept for its sake only.
pub type Held = Arc<dyn Any + Send + Sync>;

/// Memory of a segment.
#[derive(Clone)]
pub struct Lent {
    /// The first byte, aligned to 64.
    pub base: NonNull<u8>,
    /// Keeps the memory where it is.
    pub owner: Held,
}

/// What is done to bytes of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// They are fetched.
    Read(&'a mut [u8]),
    /// They are replaced.
    Write(&'a [u8]),
    /// To the word of 8 bytes this is added, modulo 2⁶⁴.
    Add(u64),
    /// The word is replaced.
    Swap(u64),
    /// The word is replaced by `new` if it is `expected`.
    CompareSwap {
        /// What it has to be.
        expected: u64,
        /// What it is afterwards.
        new: u64,
    },
}

/// Why an access did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Denied {
    /// The segment is not there any more, or never was.
    Gone = 1,
    /// The bytes are not inside the segment, or a word is not at a multiple of 8.
    OutOfRange = 2,
    /// There is no node of this number, or it cannot be reached.
    Unreachable = 3,
    /// The other node did not answer in time.
    Late = 4,
}

/// The host of calls that run nowhere in particular: it has no segments, and knows no other nodes.
pub struct Nowhere;

impl Host for Nowhere {
    fn segment(&self, _: u64, _: u64) -> Result<Lent, Denied> {
        Err(Denied::Gone)
    }

    fn exclude(&self, _: u64) -> Result<Held, Denied> {
        Err(Denied::Gone)
    }

    fn access(&self, _: u32, _: u64, _: u64, _: Access<'_>) -> Result<u64, Denied> {
        Err(Denied::Unreachable)
    }

    fn spawn(&self, _: Onward, _: &[u8]) -> bool {
        false
    }

    fn call(&self, _: Onward, _: &[u8]) -> Option<Answer> {
        None
    }
}

/// A call's host, and the segments that the call has asked for: it keeps them until it ends.
pub(crate) struct Hosted {
    host: *const dyn Host,
    /// Without memory of its own for the one segment that most calls ask for.
    borrowed: RefCell<SmallVec<[Borrowed; 1]>>,
    /// Segments that the call has to itself.
    excluded: RefCell<Vec<(u64, Held)>>,
}

struct Borrowed {
    number: u64,
    bytes: u64,
    lent: Lent,
}

impl Hosted {
    /// # Safety
    /// - `host` outlives what is made here.
    pub(crate) unsafe fn new(host: &dyn Host) -> Self {
        // SAFETY: only the lifetime is forgotten, and the caller sees to that.
        let host = unsafe { std::mem::transmute::<&dyn Host, &'static dyn Host>(host) };
        Self {
            host,
            borrowed: RefCell::default(),
            excluded: RefCell::default(),
        }
    }

    pub(crate) fn host(&self) -> &dyn Host {
        // SAFETY: it outlives us, as `new` demands.
        unsafe { &*self.host }
    }

    fn segment(&self, number: u64, bytes: u64) -> Result<NonNull<u8>, Denied> {
        let is_it = |it: &&Borrowed| it.number == number && it.bytes >= bytes;
        if let Some(known) = self.borrowed.borrow().iter().find(is_it) {
            return Ok(known.lent.base);
        }
        let lent = self.host().segment(number, bytes)?;
        let base = lent.base;
        self.borrowed.borrow_mut().push(Borrowed {
            number,
            bytes,
            lent,
        });
        Ok(base)
    }

    fn exclude(&self, number: u64) -> Result<(), Denied> {
        if self.excluded.borrow().iter().any(|it| it.0 == number) {
            return Ok(());
        }
        let held = self.host().exclude(number)?;
        self.excluded.borrow_mut().push((number, held));
        Ok(())
    }
}

/// For shipped code: the address of a segment of this node with so many bytes or more; 0 if there is none. It is there
/// until the call ends.
///
/// # Safety
/// - called from shipped code: may throw `StackOverflowError`.
pub(crate) unsafe extern "C" fn bc_segment(number: u64, bytes: u64) -> i64 {
    // SAFETY: the caller's promise.
    let call = unsafe { running() };
    let found = call.and_then(|call| call.hosted.segment(number, bytes).ok());
    found.map_or(0, |base| base.as_ptr() as i64)
}

/// For shipped code: has a segment of this node to itself until the call ends, among all calls that ask so. 0, or the number
/// of a [`Denied`].
///
/// # Safety
/// - called from shipped code: may throw `StackOverflowError`.
pub(crate) unsafe extern "C" fn bc_exclude(number: u64) -> i64 {
    // SAFETY: the caller's promise.
    let call = unsafe { running() }.ok_or(Denied::Gone);
    status(call.and_then(|call| call.hosted.exclude(number).map(|()| 0)))
}

/// The call that this thread is running.
///
/// # Safety
/// - called from shipped code: throws `StackOverflowError` if there is too little stack for what the host does.
unsafe fn running() -> Option<&'static Call> {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { check_stack(state) };
    // SAFETY: null or the call that this thread is running, which goes on for as long as its code asks for something.
    unsafe { state.call.get().as_ref() }
}

/// # Safety
/// - as for [`running`].
unsafe fn access(node: i64, segment: u64, offset: u64, access: Access<'_>) -> Result<u64, Denied> {
    // SAFETY: the caller's promise.
    let call = unsafe { running() }.ok_or(Denied::Unreachable)?;
    let node = u32::try_from(node).map_err(|_| Denied::Unreachable)?;
    if node != call.place.here {
        return call.hosted.host().access(node, segment, offset, access);
    }
    let bytes = access.bytes() as u64;
    let end = offset.checked_add(bytes).ok_or(Denied::OutOfRange)?;
    let base = call.hosted.segment(segment, end)?;
    // SAFETY: the segment has bytes up to `end`, and is there until the call ends.
    unsafe { access.carry_out(base.as_ptr().wrapping_add(offset as usize)) }
}

impl Access<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::Read(to) => to.len(),
            Self::Write(from) => from.len(),
            _ => size_of::<u64>(),
        }
    }

    /// Does it to memory of this process, which others may be using.
    ///
    /// # Safety
    /// - so many bytes are there.
    unsafe fn carry_out(self, place: *mut u8) -> Result<u64, Denied> {
        let word = match self {
            Self::Read(to) => {
                // SAFETY: the caller's promise.
                unsafe { place.copy_to(to.as_mut_ptr(), to.len()) };
                return Ok(0);
            }
            Self::Write(from) => {
                // SAFETY: the caller's promise.
                unsafe { place.copy_from(from.as_ptr(), from.len()) };
                return Ok(0);
            }
            _ if !place.cast::<u64>().is_aligned() => return Err(Denied::OutOfRange),
            // SAFETY: an aligned word; others change it through UCX, whose operations on it are the processor's own.
            _ => unsafe { AtomicU64::from_ptr(place.cast()) },
        };
        Ok(match self {
            Self::Add(operand) => word.fetch_add(operand, SeqCst),
            Self::Swap(new) => word.swap(new, SeqCst),
            Self::CompareSwap { expected, new } => word
                .compare_exchange(expected, new, SeqCst, SeqCst)
                .unwrap_or_else(|other| other),
            Self::Read(_) | Self::Write(_) => 0,
        })
    }
}

fn status(done: Result<u64, Denied>) -> i64 {
    done.map_or_else(|denied| denied as i64, |_| 0)
}

/// For shipped code: fetches bytes of a segment of any node. 0, or the number of a [`Denied`].
///
/// # Safety
/// - called from shipped code: may throw `StackOverflowError`; `to` points to room for so many bytes.
pub(crate) unsafe extern "C" fn bc_get(
    node: i64,
    segment: u64,
    offset: u64,
    to: *mut u8,
    bytes: u64,
) -> i64 {
    // SAFETY: the caller's promise.
    let to = unsafe { std::slice::from_raw_parts_mut(to, bytes as usize) };
    // SAFETY: the caller's promise.
    status(unsafe { access(node, segment, offset, Access::Read(to)) })
}

/// For shipped code: replaces bytes of a segment of any node; they are there when this returns. 0, or the number of a
/// [`Denied`].
///
/// # Safety
/// - called from shipped code: may throw `StackOverflowError`; `from` points to so many bytes.
pub(crate) unsafe extern "C" fn bc_put(
    node: i64,
    segment: u64,
    offset: u64,
    from: *const u8,
    bytes: u64,
) -> i64 {
    // SAFETY: the caller's promise.
    let from = unsafe { std::slice::from_raw_parts(from, bytes as usize) };
    // SAFETY: the caller's promise.
    status(unsafe { access(node, segment, offset, Access::Write(from)) })
}

/// For shipped code: changes a word of a segment of any node at once for everybody: `how` is 0 to add `operand`, 1 to put it
/// there, 2 to put it there if the word is `expected`. The word that was there goes to `before`. 0, or the number of a
/// [`Denied`].
///
/// # Safety
/// - called from shipped code: may throw `StackOverflowError`; `before` points to room for a word.
pub(crate) unsafe extern "C" fn bc_update(
    node: i64,
    segment: u64,
    offset: u64,
    how: i64,
    operand: u64,
    expected: u64,
    before: *mut u64,
) -> i64 {
    let update = match how {
        0 => Access::Add(operand),
        1 => Access::Swap(operand),
        _ => Access::CompareSwap {
            expected,
            new: operand,
        },
    };
    // SAFETY: the caller's promise.
    let done = unsafe { access(node, segment, offset, update) };
    if let Ok(word) = done {
        // SAFETY: the caller's promise.
        unsafe { before.write_unaligned(word) };
    }
    status(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Has a segment of 64 bytes with the number 5.
    struct Small {
        memory: NonNull<u8>,
        owner: Arc<()>,
        asked: Cell<usize>,
    }

    impl Host for Small {
        fn segment(&self, number: u64, bytes: u64) -> Result<Lent, Denied> {
            self.asked.set(self.asked.get() + 1);
            match (number, bytes) {
                (5, ..=64) => Ok(Lent {
                    base: self.memory,
                    owner: self.owner.clone(),
                }),
                (5, _) => Err(Denied::OutOfRange),
                _ => Err(Denied::Gone),
            }
        }

        fn exclude(&self, number: u64) -> Result<Held, Denied> {
            match number {
                5 => Ok(self.owner.clone()),
                _ => Err(Denied::Late),
            }
        }

        fn access(&self, _: u32, _: u64, _: u64, _: Access<'_>) -> Result<u64, Denied> {
            Err(Denied::Unreachable)
        }

        fn spawn(&self, _: Onward, _: &[u8]) -> bool {
            false
        }

        fn call(&self, _: Onward, _: &[u8]) -> Option<Answer> {
            None
        }
    }

    #[test]
    fn a_segment_is_asked_for_once_and_kept() {
        let mut memory = [0_u64; 8];
        let small = Small {
            memory: NonNull::from(&mut memory).cast(),
            owner: Arc::new(()),
            asked: Cell::new(0),
        };
        // SAFETY: the host outlives it.
        let hosted = unsafe { Hosted::new(&small) };
        assert_eq!(hosted.segment(5, 8), Ok(small.memory));
        assert_eq!(hosted.segment(5, 8), Ok(small.memory));
        assert_eq!(small.asked.get(), 1);
        let more = hosted.segment(5, 64);
        assert_eq!(more, Ok(small.memory), "more of it is another question");
        assert_eq!(hosted.segment(5, 65), Err(Denied::OutOfRange));
        assert_eq!(hosted.segment(6, 1), Err(Denied::Gone));
        assert_eq!(Arc::strong_count(&small.owner), 3);
        assert_eq!((hosted.exclude(5), hosted.exclude(5)), (Ok(()), Ok(())));
        assert_eq!(hosted.exclude(6), Err(Denied::Late));
        assert_eq!(Arc::strong_count(&small.owner), 4, "once is enough");
        drop(hosted);
        assert_eq!(Arc::strong_count(&small.owner), 1);
    }

    #[test]
    fn memory_here_is_read_and_changed_as_words() {
        let mut words = [1_u64, 2];
        let place = words.as_mut_ptr();
        let carry_out = |access: Access<'_>, offset: usize| {
            // SAFETY: a local with 16 bytes.
            unsafe { access.carry_out(place.cast::<u8>().wrapping_add(offset)) }
        };
        let exchange = |expected, new| Access::CompareSwap { expected, new };
        assert_eq!(carry_out(Access::Add(u64::MAX), 8), Ok(2));
        assert_eq!(carry_out(Access::Swap(7), 8), Ok(1));
        assert_eq!(carry_out(exchange(8, 9), 8), Ok(7));
        assert_eq!(carry_out(exchange(7, 9), 8), Ok(7));
        assert_eq!(carry_out(Access::Add(1), 4), Err(Denied::OutOfRange));
        assert_eq!(carry_out(Access::Write(&[5]), 0), Ok(0));
        let mut bytes = [0; 9];
        assert_eq!(carry_out(Access::Read(&mut bytes), 0), Ok(0));
        assert_eq!(bytes, [5, 0, 0, 0, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn where_no_call_runs_there_is_nothing() {
        let mut word = 7_u64;
        let place = &raw mut word;
        // SAFETY: enough stack is left, so nothing is thrown.
        assert_eq!(unsafe { bc_segment(5, 8) }, 0);
        // SAFETY: a local; as above.
        let got = unsafe { bc_get(1, 5, 0, place.cast(), 8) };
        assert_eq!(got, Denied::Unreachable as i64);
        // SAFETY: a local; as above.
        let updated = unsafe { bc_update(-1, 5, 0, 0, 1, 0, place) };
        assert_eq!(updated, Denied::Unreachable as i64);
        assert_eq!(word, 7);
        assert!(Nowhere.segment(1, 0).is_err());
    }
}
