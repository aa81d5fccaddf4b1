//! Sizes of small objects: each has a class, and each page of the heap holds slots of one class.
//!
//! Up to [`SMALL`] bytes, tag included, there is a class for every multiple of 16, so that emitted code finds it by
//! arithmetic; above, a class is what a page divided by a whole number gives.

use crate::layout::{OBJECT_ALIGN, TAG_BYTES, round_up};

/// Bytes of a page.
pub(super) const PAGE: usize = 64 << 10;
/// Where the first slot of a page starts: with its tag, so that the object behind it is aligned.
pub(super) const FIRST_SLOT: usize = TAG_BYTES;
/// Slots up to this size have classes in steps of 16.
pub(super) const SMALL: usize = 512;

const STEPS: usize = SMALL / OBJECT_ALIGN;
/// Into how many slots the pages of the other classes are divided.
const DIVISORS: [usize; 22] = [
    112, 96, 80, 64, 56, 48, 40, 32, 28, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2,
];

/// How many classes there are.
pub(crate) const CLASSES: usize = STEPS + DIVISORS.len();
/// The largest slot.
pub(super) const LARGEST: usize = SLOT_BYTES[CLASSES - 1] as usize;
/// The most slots that a page can have.
pub(super) const MOST_SLOTS: usize = (PAGE - FIRST_SLOT) / OBJECT_ALIGN;

/// Bytes of a slot of each class.
pub(super) const SLOT_BYTES: [u32; CLASSES] = {
    let mut sizes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let bytes = if class < STEPS {
            OBJECT_ALIGN * (class + 1)
        } else {
            (PAGE - FIRST_SLOT) / DIVISORS[class - STEPS] / OBJECT_ALIGN * OBJECT_ALIGN
        };
        sizes[class] = bytes as u32;
        class += 1;
    }
    sizes
};

/// The class of each size, by the number of 16 bytes.
const CLASS_OF: [u8; LARGEST / OBJECT_ALIGN + 1] = {
    let mut classes = [0; LARGEST / OBJECT_ALIGN + 1];
    let (mut units, mut class) = (0, 0);
    while units < classes.len() {
        if units * OBJECT_ALIGN > SLOT_BYTES[class] as usize {
            class += 1;
        }
        classes[units] = class as u8;
        units += 1;
    }
    classes
};

/// The class for an object of `bytes`, if it is not too large for one.
#[inline]
pub(super) fn of(bytes: usize) -> Option<usize> {
    if bytes > LARGEST - TAG_BYTES {
        return None;
    }
    let total = round_up(bytes + TAG_BYTES, OBJECT_ALIGN);
    Some(CLASS_OF[total / OBJECT_ALIGN] as usize)
}

/// How many slots of a class a page has.
pub(super) const fn slots(class: usize) -> usize {
    (PAGE - FIRST_SLOT) / SLOT_BYTES[class] as usize
}

const _: () = {
    assert!(CLASSES <= 64);
    assert!(LARGEST < PAGE / 2);
    assert!(CLASSES < u8::MAX as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for bytes in 0..=LARGEST - TAG_BYTES {
            let class = of(bytes).unwrap();
            assert!(SLOT_BYTES[class] as usize >= bytes + TAG_BYTES);
            assert!(class == 0 || (SLOT_BYTES[class - 1] as usize) < bytes + TAG_BYTES);
        }
        assert!(of(LARGEST - TAG_BYTES + 1).is_none());
        assert!(of(usize::MAX).is_none());
    }

    #[test]
    fn slots_are_aligned_and_fit() {
        for class in 0..CLASSES {
            let bytes = SLOT_BYTES[class] as usize;
            assert_eq!(bytes % OBJECT_ALIGN, 0);
            assert!(class == 0 || bytes > SLOT_BYTES[class - 1] as usize);
            assert!((2..=MOST_SLOTS).contains(&slots(class)));
            // What emitted code relies on.
            if bytes <= SMALL {
                assert_eq!(class, bytes / OBJECT_ALIGN - 1);
            }
        }
    }
}
