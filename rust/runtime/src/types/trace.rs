//! Where the objects of a type refer to others: what a collector needs to know.

use super::{TypeDescription, flag};
use crate::builtin::id;

/// How to find the references in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// There are none.
    Nothing,
    /// At the offsets that its type names.
    Fields,
    /// An array's, by its header.
    Array,
    /// A simple vector's.
    Vector,
    /// Any word may be one.
    Words,
}

/// Structs that keep memory of the call by plain pointers: their words are looked at one by one.
const BY_POINTER: [&str; 1] = ["Base.GMP.BigInt"];

impl Trace {
    pub(super) fn of(description: &TypeDescription<'_>, builtin: u16) -> Self {
        if description.flags & flag::ARRAY != 0 {
            Self::Array
        } else if builtin == id::SIMPLE_VECTOR {
            Self::Vector
        } else if BY_POINTER.contains(&description.name) {
            Self::Words
        } else if description.pointers.is_empty() {
            Self::Nothing
        } else {
            Self::Fields
        }
    }
}
