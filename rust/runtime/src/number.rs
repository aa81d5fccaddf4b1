//! Reading floating-point numbers from text: Julia's `jl_try_substrtod` and its like.
//!
//! The number must fill the part of the text that it is looked for in, but for white space behind it. A number that is too
//! large or too small to be told from none at all (an overflow, an underflow to zero) is refused.

use crate::memory::check_stack;
use crate::thread::ThreadState;
use std::ffi::{c_char, c_int};

/// Julia's `jl_nullable_float64_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MaybeFloat64 {
    has_value: u8,
    value: f64,
}

/// Julia's `jl_nullable_float32_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MaybeFloat32 {
    has_value: u8,
    value: f32,
}

/// Texts up to this length are copied to the stack where they have to be copied.
const SHORT: usize = 256;

/// A number at the start of a text that ends with a NUL: the value, how many bytes it takes, and whether C finds it out of
/// range.
trait Read: Copy {
    unsafe fn read(text: *const c_char) -> (Self, usize, bool);
    /// Is it zero or infinite?
    fn is_extreme(self) -> bool;
}

macro_rules! read_with {
    ($type:ty, $function:ident) => {
        impl Read for $type {
            unsafe fn read(text: *const c_char) -> (Self, usize, bool) {
                let mut end = std::ptr::null_mut();
                // SAFETY: the address of this thread's own variable.
                let errno = unsafe { libc::__errno_location() };
                // SAFETY: as above.
                unsafe { errno.write(0) };
                // The process never sets a locale, so this reads numbers as C and Julia write them.
                // SAFETY: a C string.
                let value = unsafe { libc::$function(text, &raw mut end) };
                // SAFETY: as above.
                let out_of_range = unsafe { errno.read() } == libc::ERANGE;
                (value, end as usize - text as usize, out_of_range)
            }

            fn is_extreme(self) -> bool {
                self == 0.0 || self.is_infinite()
            }
        }
    };
}

read_with!(f64, strtod);
read_with!(f32, strtof);

/// White space in C's locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

/// The number that fills `length` bytes from `text` on, and whether there is one.
///
/// # Safety
/// - a C string at `text`, at least `length` bytes long.
unsafe fn try_read<T: Read>(text: *const u8, length: usize) -> (bool, T) {
    // SAFETY: inside the string, or its NUL.
    let next = unsafe { text.wrapping_add(length).read() };
    // SAFETY: `length` bytes of the string.
    let bytes = unsafe { std::slice::from_raw_parts(text, length) };
    let (value, used, out_of_range) = if next == 0 || is_space(next) || next == b',' {
        // SAFETY: the caller's string.
        unsafe { T::read(text.cast()) }
    } else {
        // What follows could be taken for a part of the number.
        let mut short = [0; SHORT];
        let long;
        let copy = if let Some(room) = short.get_mut(..length + 1) {
            room[..length].copy_from_slice(bytes);
            room.as_ptr()
        } else {
            long = [bytes, &[0]].concat();
            long.as_ptr()
        };
        // SAFETY: a copy that ends with a NUL.
        unsafe { T::read(copy.cast()) }
    };
    let rest = bytes.get(used..).unwrap_or_default();
    let refused = (out_of_range && value.is_extreme()) || used == 0;
    (!refused && rest.iter().copied().all(is_space), value)
}

/// Julia's `jl_try_substrtod`.
///
/// # Safety
/// - called from shipped code with a C string at `text`, at least `offset + length` bytes long.
pub(crate) unsafe extern "C" fn jl_try_substrtod(
    text: *const u8,
    offset: usize,
    length: usize,
) -> MaybeFloat64 {
    // SAFETY: called from shipped code; nothing here needs dropping.
    unsafe { check_stack(ThreadState::current()) };
    // SAFETY: the caller's promise.
    let (found, value) = unsafe { try_read(text.wrapping_add(offset), length) };
    MaybeFloat64 {
        has_value: found.into(),
        value,
    }
}

/// Julia's `jl_try_substrtof`.
///
/// # Safety
/// - as for [`jl_try_substrtod`].
pub(crate) unsafe extern "C" fn jl_try_substrtof(
    text: *const u8,
    offset: usize,
    length: usize,
) -> MaybeFloat32 {
    // SAFETY: called from shipped code; nothing here needs dropping.
    unsafe { check_stack(ThreadState::current()) };
    // SAFETY: the caller's promise.
    let (found, value) = unsafe { try_read(text.wrapping_add(offset), length) };
    MaybeFloat32 {
        has_value: found.into(),
        value,
    }
}

/// Julia's `jl_substrtod`: 0 if there is a number, which is written.
///
/// # Safety
/// - as for [`jl_try_substrtod`]; `out` is a place for a number.
pub(crate) unsafe extern "C" fn jl_substrtod(
    text: *const u8,
    offset: usize,
    length: usize,
    out: *mut f64,
) -> c_int {
    // SAFETY: the caller's promise.
    let MaybeFloat64 { has_value, value } = unsafe { jl_try_substrtod(text, offset, length) };
    if has_value == 0 {
        return 1;
    }
    // SAFETY: the caller's place.
    unsafe { out.write(value) };
    0
}

/// Julia's `jl_substrtof`: 0 if there is a number, which is written.
///
/// # Safety
/// - as for [`jl_substrtod`].
pub(crate) unsafe extern "C" fn jl_substrtof(
    text: *const u8,
    offset: c_int,
    length: usize,
    out: *mut f32,
) -> c_int {
    // SAFETY: the caller's promise.
    let found = unsafe { jl_try_substrtof(text, offset as usize, length) };
    if found.has_value == 0 {
        return 1;
    }
    // SAFETY: the caller's place.
    unsafe { out.write(found.value) };
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, offset: usize, length: usize) -> Option<f64> {
        let text = std::ffi::CString::new(text).unwrap();
        // SAFETY: inside the string.
        let found = unsafe { jl_try_substrtod(text.as_ptr().cast(), offset, length) };
        (found.has_value == 1).then_some(found.value)
    }

    fn whole(text: &str) -> Option<f64> {
        part(text, 0, text.len())
    }

    #[test]
    fn numbers_fill_the_text() {
        assert_eq!(whole("1.5"), Some(1.5));
        assert_eq!(whole("  -2e3 \t\n"), Some(-2000.0));
        assert_eq!(whole("0x1.8p1"), Some(3.0));
        assert_eq!(whole("Inf"), Some(f64::INFINITY));
        assert!(whole("nan").unwrap().is_nan());
        for text in ["", " ", "x", "1.5x", "1 2", "1,5", "1e400", "1e-400", "--1"] {
            assert_eq!(whole(text), None, "{text}");
        }
        // Subnormal numbers are numbers, although C finds them out of range.
        assert_eq!(whole("4e-320"), Some(4e-320));
    }

    #[test]
    fn what_follows_is_none_of_it() {
        assert_eq!(part("12345", 1, 3), Some(234.0));
        assert_eq!(part("1e5e", 0, 3), Some(1e5));
        assert_eq!(part("1.5,2.5", 0, 3), Some(1.5));
        assert_eq!(part("1.5,2.5", 4, 3), Some(2.5));
        assert_eq!(part("1 x", 0, 2), Some(1.0));
        let long = format!("{}5x", "0".repeat(1000));
        assert_eq!(part(&long, 0, 1001), Some(5.0));
    }

    #[test]
    fn single_precision_and_places() {
        let text = c"0.1";
        // SAFETY: a C string.
        let found = unsafe { jl_try_substrtof(text.as_ptr().cast(), 0, 3) };
        assert_eq!((found.has_value, found.value), (1, 0.1_f32));
        let mut wide = 0.0;
        // SAFETY: a C string, and a place.
        let status = unsafe { jl_substrtod(text.as_ptr().cast(), 0, 3, &raw mut wide) };
        assert_eq!((status, wide), (0, 0.1));
        let mut narrow = 7.0;
        // SAFETY: as above.
        let status = unsafe { jl_substrtof(text.as_ptr().cast(), 1, 1, &raw mut narrow) };
        assert_eq!((status, narrow), (1, 7.0));
    }
}
