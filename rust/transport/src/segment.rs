//! Segments: what a frame's body is gathered from when it is sent.
//!
//! A body that leaves at once may be borrowed for the call only. A body that UCX reads later (a large one, read by
//! the receiver straight from this process's memory) must outlive the call, and the type says who vouches for that:
//! nobody needs to ([`Segment::borrowed`], the fabric copies), a reference count ([`Segment::shared`]), or the author
//! of an `unsafe` line ([`Segment::lasting`], memory that another language owns).

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

/// One piece of a frame's body, see the module's documentation.
#[derive(Clone)]
pub struct Segment<'a> {
    base: NonNull<u8>,
    len: usize,
    life: Life,
    borrow: PhantomData<&'a [u8]>,
}

/// How long a segment's bytes stay where they are.
#[derive(Clone)]
enum Life {
    /// Until `send` returns.
    Call,
    /// Until the send is reported complete; somebody promised.
    Lasting,
    /// As long as this owner exists.
    Shared(
        #[expect(dead_code, reason = "held for its reference count")] Arc<dyn Any + Send + Sync>,
    ),
}

// SAFETY: a segment is a shared view of bytes, like `&[u8]`, and its owner, if any, is Send + Sync.
unsafe impl Send for Segment<'_> {}
// SAFETY: as above; nothing is written through a segment.
unsafe impl Sync for Segment<'_> {}

impl<'a> Segment<'a> {
    /// Bytes that are valid for the duration of the call to `send` only. A fabric that cannot finish at once copies
    /// them, so use this for small pieces.
    pub fn borrowed(bytes: &'a [u8]) -> Self {
        Self::of(bytes, Life::Call)
    }

    fn of(bytes: &[u8], life: Life) -> Self {
        Self {
            base: NonNull::from(bytes).cast(),
            len: bytes.len(),
            life,
            borrow: PhantomData,
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the constructors saw to it that `len` bytes at `base` are readable for as long as `self` may be used.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bytes may still be read after `send` has returned.
    pub fn outlives_call(&self) -> bool {
        !matches!(self.life, Life::Call)
    }

    /// The same bytes without a limit to their life, if somebody vouches for them beyond the call.
    pub(crate) fn keep(&self) -> Option<Segment<'static>> {
        self.outlives_call().then(|| Segment {
            base: self.base,
            len: self.len,
            life: self.life.clone(),
            borrow: PhantomData,
        })
    }
}

impl Segment<'static> {
    /// Bytes that `owner` holds. A fabric that cannot finish at once keeps `owner` alive, and lets go of it *before*
    /// it reports the send as complete (so `Arc::try_unwrap` succeeds then).
    pub fn shared<T: AsRef<[u8]> + Send + Sync + 'static>(owner: Arc<T>) -> Self {
        // The view lives as long as the Arc beside it: while that Arc exists nobody gets `&mut T`, so the borrow that
        // `as_ref` made stays legitimate wherever the Arc itself is moved.
        let bytes: *const [u8] = (*owner).as_ref();
        // SAFETY: just made from a reference.
        let bytes: &[u8] = unsafe { &*bytes };
        Self {
            base: NonNull::from(bytes).cast(),
            len: bytes.len(),
            life: Life::Shared(owner),
            borrow: PhantomData,
        }
    }

    /// Bytes that the caller keeps in place by other means, for example because Julia roots the array.
    ///
    /// # Safety
    /// - `base` points to `len` readable bytes (it may be null or dangling if `len` is 0);
    /// - until the segment is dropped, and, for every send that it was given to and that answered
    ///   [`SendStatus::Pending`](crate::SendStatus::Pending), until that send's completion was reported (or the fabric
    ///   was dropped), the bytes stay readable and nobody writes to them.
    pub unsafe fn lasting(base: *const u8, len: usize) -> Self {
        Self {
            base: NonNull::new(base.cast_mut()).unwrap_or(NonNull::dangling()),
            len,
            life: Life::Lasting,
            borrow: PhantomData,
        }
    }
}

impl<'a> From<&'a [u8]> for Segment<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::borrowed(bytes)
    }
}

impl fmt::Debug for Segment<'_> {
    /// Shows the length and the lifetime, never the bytes: they are a user's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let life = match self.life {
            Life::Call => "borrowed",
            Life::Lasting => "lasting",
            Life::Shared(_) => "shared",
        };
        write!(f, "Segment({life}, {} bytes)", self.len)
    }
}

/// The length of a body made of `segments`, or `None` if the sum does not fit.
pub fn body_len(segments: &[Segment<'_>]) -> Option<usize> {
    segments
        .iter()
        .try_fold(0usize, |sum, segment| sum.checked_add(segment.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_shows_its_bytes_and_its_life() {
        let local = [1u8, 2, 3];
        let owner = Arc::new(vec![4u8, 5]);
        let lasting_bytes = [6u8; 4];
        let borrowed = Segment::borrowed(&local);
        let shared = Segment::shared(owner.clone());
        // SAFETY: `lasting_bytes` outlives the segment, which is given to no send.
        let lasting = unsafe { Segment::lasting(lasting_bytes.as_ptr(), lasting_bytes.len()) };
        assert_eq!(borrowed.as_bytes(), [1, 2, 3]);
        assert_eq!(shared.as_bytes(), [4, 5]);
        assert_eq!(lasting.as_bytes(), [6; 4]);
        assert!(!borrowed.outlives_call());
        assert!(shared.outlives_call() && lasting.outlives_call());
        assert_eq!(body_len(&[borrowed, shared.clone(), lasting]), Some(9));
        assert!(Arc::try_unwrap(owner).is_err());
        assert_eq!(format!("{shared:?}"), "Segment(shared, 2 bytes)");
    }

    #[test]
    fn no_bytes_at_null_are_no_bytes() {
        // SAFETY: no bytes, so any address will do.
        let nothing = unsafe { Segment::lasting(std::ptr::null(), 0) };
        assert!(nothing.is_empty());
        assert_eq!(nothing.as_bytes(), [0u8; 0]);
    }
}
