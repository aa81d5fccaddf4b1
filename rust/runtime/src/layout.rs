//! How Julia lays its objects out in memory: what compiled Julia code reads and writes without asking anybody.
//!
//! One file per range of Julia versions. The rest of the room names the layout in use through this module, so that a
//! sibling (another Julia version) is one more file and one more line here.

mod julia15;

pub use julia15::*;

/// A Julia object, seen only through pointers.
///
/// The word before the object is its tag: the address of its type, with marks in the low four bits.
#[repr(C)]
pub struct Value {
    _opaque: [u8; 0],
}

/// Rounds `n` up to a multiple of `align`, a power of two.
pub const fn round_up(n: usize, align: usize) -> usize {
    (n + align - 1) & !(align - 1)
}

/// The type of an object.
///
/// # Safety
/// - `value` points to a Julia object, with its tag before it.
#[inline]
pub unsafe fn type_of(value: *const Value) -> *mut DataType {
    let tag = value.cast::<usize>().wrapping_sub(1);
    // SAFETY: the caller passes an object, and every object has a tag word before it.
    let word = unsafe { tag.read() };
    (word & TAG_MASK) as *mut DataType
}

/// The tag word of an object.
///
/// # Safety
/// - as for [`type_of`].
#[inline]
pub unsafe fn tag_of(value: *const Value) -> usize {
    let tag = value.cast::<usize>().wrapping_sub(1);
    // SAFETY: the caller passes an object, and every object has a tag word before it.
    unsafe { tag.read() }
}

/// Writes the tag word of an object.
///
/// # Safety
/// - the eight bytes before `value` are writable and belong to the object.
#[inline]
pub unsafe fn set_tag(value: *mut Value, word: usize) {
    let tag = value.cast::<usize>().wrapping_sub(1);
    // SAFETY: the caller owns the word before the object.
    unsafe { tag.write(word) }
}

/// The bytes of a Julia string, without the NUL that follows them.
///
/// # Safety
/// - `string` points to a Julia `String` that outlives `'a` and is not changed meanwhile.
pub unsafe fn string_bytes<'a>(string: *const Value) -> &'a [u8] {
    // SAFETY: a string starts with its length.
    let length = unsafe { string.cast::<usize>().read() };
    let data = string.cast::<u8>().wrapping_add(STRING_DATA);
    // SAFETY: `length` bytes follow the length word.
    unsafe { std::slice::from_raw_parts(data, length) }
}

/// The bytes of a Julia symbol's name.
///
/// # Safety
/// - `symbol` points to a Julia `Symbol` that outlives `'a`.
pub unsafe fn symbol_bytes<'a>(symbol: *const Value) -> &'a [u8] {
    let name = symbol.cast::<std::ffi::c_char>().wrapping_add(SYMBOL_NAME);
    // SAFETY: a symbol's name ends with NUL.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    name.to_bytes()
}

/// Reads the reference at byte `offset` of an object.
///
/// # Safety
/// - the object has a reference slot there.
#[inline]
pub unsafe fn reference_at(object: *const Value, offset: usize) -> *mut Value {
    let slot = object
        .cast::<u8>()
        .wrapping_add(offset)
        .cast::<*mut Value>();
    // SAFETY: the caller says that there is a slot.
    unsafe { slot.read() }
}

/// Writes the reference at byte `offset` of an object.
///
/// # Safety
/// - the object has a reference slot there, and the caller may change the object.
#[inline]
pub unsafe fn set_reference_at(object: *mut Value, offset: usize, reference: *mut Value) {
    let slot = object
        .cast::<u8>()
        .wrapping_add(offset)
        .cast::<*mut Value>();
    // SAFETY: the caller says that there is a slot.
    unsafe { slot.write(reference) }
}
