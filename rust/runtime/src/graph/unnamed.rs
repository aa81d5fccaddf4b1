//! Objects of types that the archive has no number for: tuples that the runtime made from values. Their types are told by those of their parts.

use super::{Encoder, tag};
use crate::builtin::id;
use crate::layout::{DataType, Value};
use crate::tuple::part_types;
use crate::types::{Record, TypeCell, flag};

/// In the place of a typeref: a tuple type, told by its parts.
pub(crate) const TUPLE_TYPE: u32 = 0xffff;

/// Tuple types within tuple types go no deeper.
const DEPTH: usize = 32;

impl Encoder<'_> {
    /// Indices, another tuple, or a name.
    ///
    /// # Safety
    /// - `value` is an object of the type `ty`, which is alive.
    pub(super) unsafe fn unnamed(&mut self, value: *mut Value, ty: *const DataType) {
        // SAFETY: a type object, says the caller.
        let cell = unsafe { TypeCell::of(ty) };
        let record = cell.record();
        let count = if record.builtin == id::EMPTY_TUPLE {
            Some(0)
        } else {
            self.builtins.index_tuple_length(ty)
        };
        if let Some(count) = count {
            self.out.push(tag::INTS);
            self.u32(count as u32);
            // SAFETY: a tuple of so many words.
            let words = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), 8 * count) };
            return self.out.extend(words);
        }
        let mut parts = Vec::new();
        if !self.tuple_parts(cell, &mut parts, 0) {
            return self.opaque(&record.name);
        }
        self.count_object(value, record);
        self.out.push(tag::TUPLE);
        self.out.extend(parts);
        // SAFETY: an object of that type.
        unsafe { self.contents(value, record) };
    }

    /// Writes how many parts a tuple type has, and the type of each. False if there is one that cannot be told.
    fn tuple_parts(&mut self, tuple: &TypeCell, out: &mut Vec<u8>, depth: usize) -> bool {
        if depth > DEPTH {
            return false;
        }
        let Some(types) = part_types(tuple) else {
            return false;
        };
        out.extend((types.len() as u32).to_le_bytes());
        types.iter().all(|ty| {
            // Julia keeps an immutable object with references inline in a tuple, the runtime does not.
            if !ty.is(flag::BITS | flag::MUTABLE) {
                return false;
            }
            if let Some(number) = self.type_reference(ty.data_type(), ty.record()) {
                out.extend(number.to_le_bytes());
                return true;
            }
            out.extend(TUPLE_TYPE.to_le_bytes());
            self.tuple_parts(ty, out, depth + 1)
        })
    }

    /// Gives an object its number.
    pub(super) fn count_object(&mut self, value: *mut Value, record: &Record) {
        if record.flags & flag::BITS == 0 {
            self.number(value);
        } else {
            // No identity: it is written again where it is met again.
            self.numbered += 1;
        }
    }
}
