//! Boxed numbers: small ones from a cache, the others from the arena.

use crate::builtin::{Builtins, id};
use crate::layout::{DataType, Value};
use crate::memory::object;
use crate::types::{TypeCell, flag};

/// A box around a value of `size_of::<T>()` bytes.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`.
#[inline]
unsafe fn boxed<T>(number: u16, value: T) -> *mut Value {
    // SAFETY: the caller's promise.
    let made = unsafe { object(size_of::<T>(), Builtins::get().ty(number)) };
    // SAFETY: made with room for it.
    unsafe { made.cast::<T>().write_unaligned(value) };
    made
}

macro_rules! cached_boxes {
    ($($name:ident: $type:ty, $id:ident;)*) => {$(
        #[doc = concat!("A box around a `", stringify!($type), "`.")]
        ///
        /// # Safety
        /// - called from shipped code: throws `OutOfMemoryError`.
        pub(crate) unsafe extern "C" fn $name(value: $type) -> *mut Value {
            if let Some(cached) = Builtins::get().small(id::$id, value as i64) {
                return cached;
            }
            // SAFETY: the caller's promise.
            unsafe { boxed(id::$id, value) }
        }
    )*};
}

cached_boxes! {
    jl_box_int16: i16, INT16;
    jl_box_int32: i32, INT32;
    jl_box_int64: i64, INT64;
    jl_box_uint16: u16, UINT16;
    jl_box_uint32: u32, UINT32;
    jl_box_uint64: u64, UINT64;
}

macro_rules! fresh_boxes {
    ($($name:ident: $type:ty, $id:ident;)*) => {$(
        #[doc = concat!("A box around a `", stringify!($type), "`.")]
        ///
        /// # Safety
        /// - called from shipped code: throws `OutOfMemoryError`.
        pub(crate) unsafe extern "C" fn $name(value: $type) -> *mut Value {
            // SAFETY: the caller's promise.
            unsafe { boxed(id::$id, value) }
        }
    )*};
}

fresh_boxes! {
    jl_box_float32: f32, FLOAT32;
    jl_box_float64: f64, FLOAT64;
    jl_box_char: u32, CHAR;
}

/// A box around an `Int8`.
pub(crate) extern "C" fn jl_box_int8(value: i8) -> *mut Value {
    Builtins::get().int8(value)
}

/// A box around a `UInt8`.
pub(crate) extern "C" fn jl_box_uint8(value: u8) -> *mut Value {
    Builtins::get().uint8(value)
}

/// `true` or `false`.
pub(crate) extern "C" fn jl_box_bool(value: u8) -> *mut Value {
    Builtins::get().bool(value & 1 != 0)
}

/// A box of type `ty` around the bytes at `data`.
///
/// # Safety
/// - called from shipped code; `ty` is a type made by this room, `data` a value of it.
pub(crate) unsafe extern "C" fn jl_new_bits(ty: *const DataType, data: *const u8) -> *mut Value {
    // SAFETY: the caller's promise.
    let cell = unsafe { TypeCell::of(ty) };
    let record = cell.record();
    if cell.is(flag::SINGLETON) {
        return cell.instance();
    }
    let builtins = Builtins::get();
    match record.builtin {
        // SAFETY: a value of one byte.
        id::BOOL => builtins.bool(unsafe { data.read() } & 1 != 0),
        // SAFETY: a value of one byte.
        id::INT8 => builtins.int8(unsafe { data.cast::<i8>().read() }),
        // SAFETY: a value of one byte.
        id::UINT8 => builtins.uint8(unsafe { data.read() }),
        _ => {
            let size = record.size as usize;
            // SAFETY: the caller's promise.
            let made = unsafe { object(size, ty) };
            // SAFETY: made with room for the value.
            unsafe { made.cast::<u8>().copy_from_nonoverlapping(data, size) };
            made
        }
    }
}

macro_rules! unboxes {
    ($($name:ident: $type:ty;)*) => {$(
        #[doc = concat!("The `", stringify!($type), "` in a box.")]
        ///
        /// # Safety
        /// - `value` is a box of that size.
        pub(crate) unsafe extern "C" fn $name(value: *const Value) -> $type {
            // SAFETY: the caller's promise.
            unsafe { value.cast::<$type>().read() }
        }
    )*};
}

unboxes! {
    jl_unbox_bool: i8;
    jl_unbox_int8: i8;
    jl_unbox_uint8: u8;
    jl_unbox_int16: i16;
    jl_unbox_uint16: u16;
    jl_unbox_int32: i32;
    jl_unbox_uint32: u32;
    jl_unbox_int64: i64;
    jl_unbox_uint64: u64;
    jl_unbox_float32: f32;
    jl_unbox_float64: f64;
    jl_unbox_voidpointer: *mut u8;
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;
    use crate::layout::type_of;
    use crate::thread::attach;

    #[test]
    fn small_boxes_are_shared_and_large_ones_are_not() {
        attach();
        // SAFETY: on an attached thread, with memory enough.
        unsafe {
            assert_eq!(jl_box_int64(5), jl_box_int64(5));
            assert_ne!(jl_box_int64(5000), jl_box_int64(5000));
            assert_eq!(jl_unbox_int64(jl_box_int64(-5_000_000_000)), -5_000_000_000);
            assert_eq!(jl_unbox_int32(jl_box_int32(-7)), -7);
            assert_eq!(jl_unbox_uint16(jl_box_uint16(65535)), 65535);
            assert_eq!(jl_unbox_uint64(jl_box_uint64(u64::MAX)), u64::MAX);
            assert!(jl_unbox_float64(jl_box_float64(-0.0)).is_sign_negative());
            assert_eq!(jl_unbox_float32(jl_box_float32(1.5)), 1.5);
            assert_eq!(
                type_of(jl_box_char(0x6100_0000)),
                Builtins::get().ty(id::CHAR)
            );
        }
        assert_eq!(jl_box_bool(1), Builtins::get().bool(true));
        assert_eq!(jl_box_bool(0xfe), Builtins::get().bool(false));
    }

    #[test]
    fn new_bits_keeps_identities() {
        attach();
        let builtins = Builtins::get();
        let word = 300_i64;
        // SAFETY: the data are values of the types named.
        unsafe {
            assert_eq!(
                jl_new_bits(builtins.ty(id::BOOL), [1].as_ptr()),
                builtins.bool(true)
            );
            assert_eq!(
                jl_new_bits(builtins.ty(id::NOTHING), std::ptr::null()),
                builtins.nothing()
            );
            assert_eq!(
                jl_new_bits(builtins.ty(id::UINT8), [200].as_ptr()),
                builtins.uint8(200)
            );
            let boxed = jl_new_bits(builtins.ty(id::INT64), (&raw const word).cast());
            assert_eq!(jl_unbox_int64(boxed), 300);
        }
    }
}
