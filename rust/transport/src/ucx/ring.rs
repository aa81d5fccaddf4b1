//! Frames that have arrived and wait for the sink: written in UCX's callbacks, read by `poll`.

use crate::body::Body;
use crate::fabric::{HEADER_LEN, HeaderBytes};

/// A ring of slots that are written in place and used again.
pub(crate) struct Ring {
    slots: Vec<Slot>,
    head: usize,
    len: usize,
}

struct Slot {
    header: HeaderBytes,
    body: Body,
}

impl Slot {
    fn empty() -> Self {
        Self {
            header: [0; HEADER_LEN],
            body: Body::default(),
        }
    }
}

impl Ring {
    /// An empty ring. One round of progress brings a few frames at most.
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..16).map(|_| Slot::empty()).collect(),
            head: 0,
            len: 0,
        }
    }

    /// Number of frames.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a frame whose body `fill` puts into an empty one.
    #[inline]
    pub(crate) fn push(&mut self, header: &HeaderBytes, fill: impl FnOnce(&mut Body)) {
        if self.len == 0 {
            // The usual case, always in the same slot: its cache lines are warm.
            self.head = 0;
        } else if self.len == self.slots.len() {
            self.grow();
        }
        // The number of slots is a power of two.
        let tail = (self.head + self.len) & (self.slots.len() - 1);
        let slot = &mut self.slots[tail];
        slot.header = *header;
        fill(&mut slot.body);
        self.len += 1;
    }

    /// Takes the oldest frame: returns its header and puts its body into `body`, an empty one.
    #[inline]
    pub(crate) fn pop(&mut self, body: &mut Body) -> Option<HeaderBytes> {
        if self.len == 0 {
            return None;
        }
        let mask = self.slots.len() - 1;
        let slot = &mut self.slots[self.head];
        slot.body.move_to(body);
        self.head = (self.head + 1) & mask;
        self.len -= 1;
        Some(slot.header)
    }

    #[cold]
    fn grow(&mut self) {
        self.slots.rotate_left(self.head);
        self.head = 0;
        self.slots.resize_with(self.slots.len() * 2, Slot::empty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn frames_come_out_in_order_while_the_ring_grows() {
        let mut ring = Ring::new();
        let mut model = VecDeque::new();
        let mut next = 0u8;
        // Bursts of different lengths, so that the head is everywhere when the ring grows.
        for burst in [1, 15, 3, 40, 2, 100, 7] {
            for _ in 0..burst {
                ring.push(&[next; HEADER_LEN], |body| body.fill_inline(&[next; 3]));
                model.push_back(next);
                next = next.wrapping_add(1);
            }
            for _ in 0..burst / 2 + 1 {
                check(&mut ring, model.pop_front());
            }
        }
        while ring.len() > 0 {
            check(&mut ring, model.pop_front());
        }
        assert!(ring.pop(&mut Body::default()).is_none() && model.is_empty());
    }

    fn check(ring: &mut Ring, expected: Option<u8>) {
        let mut body = Body::default();
        let header = ring.pop(&mut body).unwrap();
        let byte = expected.unwrap();
        assert_eq!(header, [byte; HEADER_LEN]);
        assert_eq!(body.bytes(), [byte; 3]);
    }
}
