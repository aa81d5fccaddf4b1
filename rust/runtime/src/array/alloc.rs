//! Making arrays: of given dimensions, over memory that is there, over another array's or a string's data.

use super::{Elements, Header, MAX};
use crate::builtin::{Builtins, id};
use crate::error::{argument_error, error};
use crate::layout::{
    ARRAY_ALIGNED, ARRAY_HASPTR, ARRAY_HOW_BLOCK, ARRAY_HOW_INLINE, ARRAY_HOW_OWNER,
    ARRAY_INLINE_BYTES, ARRAY_NDIMS_MASK, ARRAY_NDIMS_SHIFT, ARRAY_POOLED, ARRAY_PTRARRAY,
    ARRAY_SHARED, Array, CACHE_ALIGN, DataType, OBJECT_ALIGN, STRING_DATA, Value, round_up,
    type_of,
};
use crate::memory::{array_data, object};
use crate::types::TypeCell;

const POOLED_BYTES: usize = 2032 - size_of::<usize>();

/// The product of the dimensions.
///
/// # Safety
/// - called from shipped code: throws `ArgumentError`.
unsafe fn product(dims: &[usize]) -> usize {
    let mut count: u128 = 1;
    for &dim in dims {
        count *= dim as u128;
        if count > MAX || dim as u128 > MAX {
            // SAFETY: the caller's promise.
            unsafe { argument_error("invalid Array dimensions") }
        }
    }
    count as usize
}

/// Bytes of an array object without data, for so many dimensions and `extra` words behind them.
fn header_bytes(ndims: usize, extra: usize) -> usize {
    size_of::<Array>() + (ndims.saturating_sub(2) + extra) * size_of::<usize>()
}

/// Fills in everything but `data`; the flags without "how".
unsafe fn write_header(
    array: *mut Array,
    elements: Elements,
    dims: &[usize],
    length: usize,
    object_bytes: usize,
) -> Header {
    let mut flags = (dims.len() as u16) << ARRAY_NDIMS_SHIFT;
    flags |= if elements.references {
        ARRAY_PTRARRAY
    } else {
        0
    };
    flags |= if elements.has_references && !elements.references {
        ARRAY_HASPTR
    } else {
        0
    };
    flags |= if object_bytes <= POOLED_BYTES {
        ARRAY_POOLED
    } else {
        0
    };
    let head = Array {
        data: std::ptr::null_mut(),
        length,
        flags,
        elsize: elements.size as u16,
        offset: 0,
        nrows: dims.first().copied().unwrap_or(length),
        maxsize: if dims.len() < 2 { length } else { dims[1] },
    };
    // SAFETY: the caller allocated the object with room for a header.
    unsafe { array.write(head) };
    if dims.len() > 2 {
        let rest = array.wrapping_add(1).cast::<usize>();
        // SAFETY: the caller allocated the object with room for the dimensions.
        unsafe { rest.copy_from_nonoverlapping(dims[2..].as_ptr(), dims.len() - 2) };
    }
    // SAFETY: just made.
    unsafe { Header::new(array) }
}

/// A new array. Its elements are undefined, or null references.
///
/// # Safety
/// - called from shipped code: may throw; `ty` is an array type.
pub(crate) unsafe fn new_array(ty: *const DataType, dims: &[usize]) -> *mut Array {
    // SAFETY: the caller's promise.
    let elements = Elements::of(unsafe { TypeCell::of(ty) });
    // SAFETY: the caller's promise.
    let count = unsafe { product(dims) };
    let Some(bytes) = elements.bytes(count) else {
        // SAFETY: the caller's promise.
        unsafe { error("invalid Array size") }
    };
    if dims.len() > ARRAY_NDIMS_MASK as usize {
        // SAFETY: the caller's promise.
        unsafe { argument_error("invalid Array dimensions") }
    }
    // SAFETY: the caller's promise.
    let header = unsafe { allocate(ty, elements, dims, count, bytes) };
    let data = header.data();
    if elements.zeroed() {
        // SAFETY: the data has that many bytes.
        unsafe { data.write_bytes(0, bytes) };
    } else if elements.size == 1 {
        // SAFETY: bytes have a NUL behind them.
        unsafe { data.wrapping_add(bytes - 1).write(0) };
    }
    header.0
}

/// The object and its data, which is inside the object when it is small.
unsafe fn allocate(
    ty: *const DataType,
    elements: Elements,
    dims: &[usize],
    count: usize,
    bytes: usize,
) -> Header {
    let head = round_up(header_bytes(dims.len(), 0), CACHE_ALIGN);
    if bytes <= ARRAY_INLINE_BYTES {
        let total = round_up(head + bytes, OBJECT_ALIGN);
        // SAFETY: the caller's promise.
        let array = unsafe { object(total, ty) }.cast::<Array>();
        // SAFETY: made with that size.
        let header = unsafe { write_header(array, elements, dims, count, total) };
        header.set_data(array.cast::<u8>().wrapping_add(head));
        header.set_flags(header.flags() | ARRAY_HOW_INLINE | ARRAY_ALIGNED);
        return header;
    }
    // SAFETY: the caller's promise.
    let (data, block) =
        unsafe { array_data(bytes, elements.references || elements.has_references) };
    // SAFETY: the caller's promise.
    let array = unsafe { object(head, ty) }.cast::<Array>();
    // SAFETY: made with that size.
    let header = unsafe { write_header(array, elements, dims, count, head) };
    header.set_data(data);
    let how = if block {
        ARRAY_HOW_BLOCK
    } else {
        crate::layout::ARRAY_HOW_BUFFER
    };
    header.set_flags(header.flags() | how | ARRAY_ALIGNED);
    header
}

/// The dimensions in a tuple of `Int64`.
///
/// # Safety
/// - `dims` is such a tuple, and lives as long as the slice.
unsafe fn tuple_dims<'a>(dims: *const Value) -> &'a [usize] {
    // SAFETY: an object, says the caller.
    let ty = unsafe { type_of(dims) };
    // SAFETY: the type of a live object.
    let count = unsafe { TypeCell::of(ty) }.record().size as usize / size_of::<usize>();
    // SAFETY: the tuple is `count` words.
    unsafe { std::slice::from_raw_parts(dims.cast(), count) }
}

/// `Array{T,N}(undef, dims)`.
///
/// # Safety
/// - called from shipped code: may throw; `ty` is an array type, `dims` a tuple of `Int64`.
pub(crate) unsafe extern "C" fn jl_new_array(
    ty: *const DataType,
    dims: *const Value,
) -> *mut Array {
    // SAFETY: the caller's promise.
    let dims = unsafe { tuple_dims(dims) };
    // SAFETY: the caller's promise.
    unsafe { new_array(ty, dims) }
}

/// `Vector{T}(undef, rows)`.
///
/// # Safety
/// - called from shipped code: may throw; `ty` is an array type.
pub(crate) unsafe extern "C" fn jl_alloc_array_1d(ty: *const DataType, rows: usize) -> *mut Array {
    // SAFETY: the caller's promise.
    unsafe { new_array(ty, &[rows]) }
}

/// `Matrix{T}(undef, rows, columns)`.
///
/// # Safety
/// - as for [`jl_alloc_array_1d`].
pub(crate) unsafe extern "C" fn jl_alloc_array_2d(
    ty: *const DataType,
    rows: usize,
    columns: usize,
) -> *mut Array {
    // SAFETY: the caller's promise.
    unsafe { new_array(ty, &[rows, columns]) }
}

/// `Array{T,3}(undef, rows, columns, layers)`.
///
/// # Safety
/// - as for [`jl_alloc_array_1d`].
pub(crate) unsafe extern "C" fn jl_alloc_array_3d(
    ty: *const DataType,
    rows: usize,
    columns: usize,
    layers: usize,
) -> *mut Array {
    // SAFETY: the caller's promise.
    unsafe { new_array(ty, &[rows, columns, layers]) }
}

/// `Vector{Any}(undef, rows)`.
///
/// # Safety
/// - called from shipped code: may throw.
pub(crate) unsafe extern "C" fn jl_alloc_vec_any(rows: usize) -> *mut Array {
    // SAFETY: the caller's promise.
    unsafe { new_array(Builtins::get().ty(id::VECTOR_ANY), &[rows]) }
}

/// An array over memory that somebody else owns.
unsafe fn over(ty: *const DataType, data: *mut u8, dims: &[usize], flags: u16) -> *mut Array {
    // SAFETY: the caller's promise.
    let cell = unsafe { TypeCell::of(ty) };
    let elements = Elements::of(cell);
    if elements.union {
        // SAFETY: the caller's promise.
        unsafe { argument_error("unsafe_wrap: unspecified layout for union element type") }
    }
    let align = cell
        .links()
        .and_then(|links| links.element.as_ref())
        .map_or(1, |ty| ty.record().align as usize);
    let align = if elements.references {
        size_of::<usize>()
    } else {
        align.clamp(1, OBJECT_ALIGN)
    };
    if !(data as usize).is_multiple_of(align) {
        // SAFETY: the caller's promise.
        unsafe { misaligned(data, align) }
    }
    // SAFETY: the caller's promise.
    let count = unsafe { product(dims) };
    let total = round_up(header_bytes(dims.len(), 0), CACHE_ALIGN);
    // SAFETY: the caller's promise.
    let array = unsafe { object(total, ty) }.cast::<Array>();
    // SAFETY: made with that size.
    let header = unsafe { write_header(array, elements, dims, count, total) };
    header.set_data(data);
    header.set_flags(header.flags() | flags);
    array
}

/// The error that `unsafe_wrap` gives, with the pointer's digits.
unsafe fn misaligned(data: *mut u8, align: usize) -> ! {
    let ty = Builtins::get().ty(id::ARGUMENT_ERROR);
    let format = c"unsafe_wrap: pointer %p is not properly aligned to %u bytes";
    // SAFETY: the format asks for these two words.
    unsafe { crate::error::jl_exceptionf(ty, format.as_ptr(), data as usize, align, 0, 0) }
}

/// Whose data it is. Arguments lie in the call's payload, which is nobody else's: such an array may be resized as any
/// other (it then moves out), as the argument it stands for could be at the origin.
fn wrapped(data: *mut u8, own: i32) -> u16 {
    if own != 0 {
        ARRAY_HOW_BLOCK | ARRAY_SHARED
    } else if crate::call::is_payload(data) {
        ARRAY_HOW_INLINE
    } else {
        ARRAY_HOW_INLINE | ARRAY_SHARED
    }
}

/// `unsafe_wrap(Vector{T}, data, count; own)`.
///
/// # Safety
/// - called from shipped code: may throw; `data` holds that many elements for as long as the array is used.
pub(crate) unsafe extern "C" fn jl_ptr_to_array_1d(
    ty: *const DataType,
    data: *mut u8,
    count: usize,
    own: i32,
) -> *mut Array {
    // SAFETY: the caller's promise.
    unsafe { over(ty, data, &[count], wrapped(data, own)) }
}

/// `unsafe_wrap(Array{T,N}, data, dims; own)`.
///
/// # Safety
/// - as for [`jl_ptr_to_array_1d`]; `dims` is a tuple of `Int64`.
pub(crate) unsafe extern "C" fn jl_ptr_to_array(
    ty: *const DataType,
    data: *mut u8,
    dims: *const Value,
    own: i32,
) -> *mut Array {
    // SAFETY: the caller's promise.
    let dims = unsafe { tuple_dims(dims) };
    // SAFETY: the caller's promise.
    unsafe { over(ty, data, dims, wrapped(data, own)) }
}

/// An array over memory that nobody else uses: it may be resized (it then moves out).
///
/// # Safety
/// - as for [`jl_ptr_to_array_1d`]; `dims` points to `ndims` words.
pub(crate) unsafe extern "C" fn bc_array_over(
    ty: *const DataType,
    data: *mut u8,
    ndims: usize,
    dims: *const usize,
) -> *mut Array {
    // SAFETY: the caller's promise.
    let dims = unsafe { std::slice::from_raw_parts(dims, ndims) };
    // SAFETY: the caller's promise.
    unsafe { over(ty, data, dims, ARRAY_HOW_INLINE) }
}

/// `reshape(array, dims)`: another header over the same data. Also `reinterpret` and `codeunits` between bits types.
///
/// # Safety
/// - called from shipped code: may throw; `dims` is a tuple of `Int64` with the same product.
pub(crate) unsafe extern "C" fn jl_reshape_array(
    ty: *const DataType,
    data: *mut Array,
    dims: *const Value,
) -> *mut Array {
    // SAFETY: the caller's promise.
    let dims = unsafe { tuple_dims(dims) };
    // SAFETY: the caller's promise.
    let source = unsafe { Header::new(data) };
    // SAFETY: the caller's promise.
    let elements = Elements::of(unsafe { TypeCell::of(ty) });
    // SAFETY: the caller's promise.
    let count = unsafe { product(dims) };
    let total = round_up(header_bytes(dims.len(), 1), OBJECT_ALIGN);
    // SAFETY: the caller's promise.
    let array = unsafe { object(total, ty) }.cast::<Array>();
    // SAFETY: made with that size.
    let header = unsafe { write_header(array, elements, dims, count, total) };
    header.set_data(source.data());
    header.set_flags(
        header.flags()
            | ARRAY_HOW_OWNER
            | ARRAY_SHARED
            | (source.flags() & (ARRAY_ALIGNED | ARRAY_HASPTR)),
    );
    // SAFETY: made with room for the owner.
    unsafe { header.owner_slot().write(source.owner()) };
    source.set(ARRAY_SHARED, true);
    array
}

/// `unsafe_wrap(Vector{UInt8}, string)`.
///
/// # Safety
/// - called from shipped code: may throw; `string` is a string.
pub(crate) unsafe extern "C" fn jl_string_to_array(string: *mut Value) -> *mut Array {
    let ty = Builtins::get().ty(id::VECTOR_UINT8);
    // SAFETY: a string starts with its length.
    let length = unsafe { string.cast::<usize>().read() };
    let elements = Elements {
        size: 1,
        references: false,
        has_references: false,
        union: false,
    };
    let total = round_up(header_bytes(1, 1), OBJECT_ALIGN);
    // SAFETY: the caller's promise.
    let array = unsafe { object(total, ty) }.cast::<Array>();
    // SAFETY: made with that size.
    let header = unsafe { write_header(array, elements, &[length], length, total) };
    header.set_data(string.cast::<u8>().wrapping_add(STRING_DATA));
    header.set_flags(header.flags() | ARRAY_HOW_OWNER | ARRAY_SHARED);
    // SAFETY: made with room for the owner.
    unsafe { header.owner_slot().write(string) };
    array
}

/// A vector with a copy of C bytes.
///
/// # Safety
/// - called from shipped code: may throw; `bytes` points to `count` bytes.
pub(crate) unsafe extern "C" fn jl_pchar_to_array(bytes: *const u8, count: usize) -> *mut Array {
    // SAFETY: the caller's promise.
    let array = unsafe { new_array(Builtins::get().ty(id::VECTOR_UINT8), &[count]) };
    // SAFETY: just made.
    let data = unsafe { Header::new(array) }.data();
    // SAFETY: both have `count` bytes.
    unsafe { data.copy_from_nonoverlapping(bytes, count) };
    array
}

/// `copy(array)`.
///
/// # Safety
/// - called from shipped code: may throw; `array` is an array.
pub(crate) unsafe extern "C" fn jl_array_copy(array: *mut Array) -> *mut Array {
    // SAFETY: the caller's promise.
    let source = unsafe { Header::new(array) };
    // SAFETY: an array has a tag.
    let ty = unsafe { type_of(array.cast()) };
    // SAFETY: the dimensions follow one another from `nrows` on.
    let dims = unsafe { std::slice::from_raw_parts(source.dims(), source.ndims()) };
    // SAFETY: the caller's promise.
    let copy = unsafe { new_array(ty, dims) };
    // SAFETY: just made.
    let target = unsafe { Header::new(copy) };
    // SAFETY: both have that many elements.
    unsafe {
        target
            .data()
            .copy_from_nonoverlapping(source.data(), source.len() * source.size())
    };
    if source.elements().union {
        // SAFETY: both have a selector per element.
        unsafe {
            target
                .selectors()
                .copy_from_nonoverlapping(source.selectors(), source.len())
        };
    }
    copy
}
