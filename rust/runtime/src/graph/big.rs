//! Big numbers in graphs. Their digits lie behind plain pointers, in memory that the library of the number's type manages
//! (GMP) or that a string of the number's own provides (MPFR), so they are written as numbers, not as memory.

use super::read::{Read, Reader, check};
use super::{Encoder, tag};
use crate::layout::{STRING_DATA, Value, string_bytes};
use crate::memory::{buffer, object};
use crate::string::from_bytes;
use crate::types::{Record, TypeCell};

pub(super) const BIG_INT: &str = "Base.GMP.BigInt";
pub(super) const BIG_FLOAT: &str = "Base.MPFR.BigFloat";

/// Julia's `BigInt`: GMP's `__mpz_struct`.
#[derive(Clone, Copy)]
#[repr(C)]
struct BigInt {
    alloc: i32,
    /// How many limbs, negative for a negative number.
    size: i32,
    limbs: *mut u64,
}

/// Julia's `BigFloat`: MPFR's `__mpfr_struct`, and the string that holds the mantissa.
#[derive(Clone, Copy)]
#[repr(C)]
struct BigFloat {
    precision: i64,
    sign: i32,
    exponent: i64,
    limbs: *mut u8,
    memory: *mut Value,
}

/// Whether it is one of them.
pub(crate) fn is_big(record: &Record) -> bool {
    kind(record).is_some()
}

/// Which kind of big number a type is, if any: its tag. Asked for structs of these two sizes only.
pub(super) fn kind(record: &Record) -> Option<u8> {
    match (record.size as usize, &*record.name) {
        (16, BIG_INT) => Some(tag::BIG_INT),
        (40, BIG_FLOAT) => Some(tag::BIG_FLOAT),
        _ => None,
    }
}

impl Encoder<'_> {
    /// # Safety
    /// - `value` is a big number of this kind, whose type has this number.
    pub(super) unsafe fn big(&mut self, value: *mut Value, kind: u8, ty: u32) {
        self.out.push(kind);
        self.u32(ty);
        if kind == tag::BIG_INT {
            // SAFETY: the caller's promise.
            let BigInt { size, limbs, .. } = unsafe { value.cast::<BigInt>().read() };
            self.u32(size as u32);
            let count = if limbs.is_null() {
                0
            } else {
                size.unsigned_abs() as usize
            };
            // SAFETY: GMP keeps as many limbs as `size` says.
            let bytes = unsafe { std::slice::from_raw_parts(limbs.cast::<u8>(), 8 * count) };
            return self.out.extend(bytes);
        }
        // SAFETY: the caller's promise.
        let number = unsafe { value.cast::<BigFloat>().read() };
        self.u64(number.precision as u64);
        self.u32(number.sign as u32);
        self.u64(number.exponent as u64);
        let bytes = if number.memory.is_null() {
            &[][..]
        } else {
            // SAFETY: the field is declared to be a string.
            unsafe { string_bytes(number.memory) }
        };
        self.u64(bytes.len() as u64);
        self.out.extend(bytes);
    }
}

impl Reader {
    /// # Safety
    /// - as for [`Reader::read`].
    pub(super) unsafe fn big_int(&mut self) -> Read<*mut Value> {
        let cell = self.named(BIG_INT, size_of::<BigInt>())?;
        let size = self.u32()? as i32;
        let count = size.unsigned_abs();
        let bytes = self.take(8 * u64::from(count))?;
        let sound = bytes.as_chunks::<8>().0.last() != Some(&[0; 8]);
        check(sound, "a big number begins with zeros")?;
        // SAFETY: the caller's promise; nothing is collected while a graph is read.
        let (limbs, _) = unsafe { buffer(bytes.len().max(8)) };
        // SAFETY: room for them was just made.
        unsafe { limbs.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // SAFETY: the caller's promise.
        let made = unsafe { object(size_of::<BigInt>(), cell.data_type()) };
        let number = BigInt {
            alloc: count.max(1) as i32,
            size,
            limbs: limbs.cast(),
        };
        // SAFETY: made with that size.
        unsafe { made.cast::<BigInt>().write(number) };
        Ok(self.keep(made))
    }

    /// # Safety
    /// - as for [`Reader::read`].
    pub(super) unsafe fn big_float(&mut self) -> Read<*mut Value> {
        let cell = self.named(BIG_FLOAT, size_of::<BigFloat>())?;
        let precision = self.u64()? as i64;
        let sign = self.u32()? as i32;
        let exponent = self.u64()? as i64;
        let length = self.u64()?;
        let bytes = self.take(length)?;
        let sound = (1..=i64::MAX / 8).contains(&precision)
            && bytes.len() as i64 == (precision + 63) / 64 * 8
            && (sign == 1 || sign == -1);
        check(sound, "a big number has not as many digits as it says")?;
        // SAFETY: the caller's promise; nothing is collected while a graph is read.
        let memory = unsafe { from_bytes(bytes) };
        // SAFETY: as above.
        let made = unsafe { object(size_of::<BigFloat>(), cell.data_type()) };
        let number = BigFloat {
            precision,
            sign,
            exponent,
            limbs: memory.cast::<u8>().wrapping_add(STRING_DATA),
            memory,
        };
        // SAFETY: made with that size.
        unsafe { made.cast::<BigFloat>().write(number) };
        Ok(self.keep(made))
    }

    /// The type of this name, which the graph must name now.
    fn named<'a>(&mut self, name: &str, size: usize) -> Read<&'a TypeCell> {
        let cell = self.type_cell()?;
        let record = cell.record();
        let is_it = &*record.name == name && record.size as usize == size;
        check(is_it, "a big number is of a type that is none")?;
        Ok(cell)
    }
}
