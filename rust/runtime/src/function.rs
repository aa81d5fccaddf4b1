//! Julia's built-in functions in the form that code calls when it does not know its arguments' types: `(F, args, nargs)`.
//!
//! What can be answered from a type's description is; what would need Julia's dispatch or type algebra ends in an error
//! that says so. Never in a guess.

use crate::array::{Header, jl_arrayref, jl_arrayset};
use crate::boxes::{jl_box_int64, jl_new_bits};
use crate::builtin::{Builtins, id};
use crate::egal;
use crate::error::{argument_error, error, jl_bounds_error_int, jl_bounds_error_v, wrong_type};
use crate::exception::{jl_throw, throw_instance};
use crate::layout::{DataType, SVEC_DATA, Value, string_bytes, symbol_bytes, type_of};
use crate::memory::object;
use crate::tuple::{TupleField, field_count, tuple_field};
use crate::types::{self, FieldKind, TypeCell, flag};
use std::ptr;

/// The arguments of a built-in function: so many references, one after the other.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Args(pub(crate) *const *mut Value);

impl Args {
    /// # Safety
    /// - `first` points to as many references as the function that gets them will read.
    pub(crate) unsafe fn new(first: *const *mut Value) -> Self {
        Self(first)
    }

    /// Argument `i`, which the function has counted.
    pub(crate) fn at(self, i: usize) -> *mut Value {
        // SAFETY: whoever made this value promised that the argument is there.
        unsafe { self.0.wrapping_add(i).read() }
    }

    /// Without the first `count`.
    fn from(self, count: usize) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

/// Refuses a wrong number of arguments, with Julia's words.
unsafe fn check_count(name: &str, count: u32, least: u32, most: u32) {
    if (least..=most).contains(&count) {
        return;
    }
    let (few, number) = if count < least {
        ("few", least)
    } else {
        ("many", most)
    };
    // Leaks the text of an error that no compiled code raises.
    let message = format!("{name}: too {few} arguments (expected {number})");
    // SAFETY: called from shipped code.
    unsafe { argument_error(Box::leak(message.into_boxed_str())) }
}

/// The cell of an object's type.
pub(crate) unsafe fn cell_of<'a>(value: *const Value) -> &'a TypeCell {
    // SAFETY: an object, says the caller.
    unsafe { TypeCell::of_value(value) }
}

unsafe fn is_builtin(value: *const Value, number: u16) -> bool {
    // SAFETY: an object, says the caller.
    ptr::eq(unsafe { type_of(value) }, Builtins::get().ty(number))
}

/// `a === b`.
///
/// # Safety
/// - called from shipped code, with `count` objects; so for every function here.
pub(crate) unsafe extern "C" fn jl_f_is(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("===", count, 2, 2) };
    // SAFETY: two objects.
    unsafe { egal::is(args.at(0), args.at(1)) }
}

/// `typeof(x)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_typeof(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("typeof", count, 1, 1) };
    // SAFETY: one object.
    unsafe { type_of(args.at(0)) }.cast()
}

/// `sizeof(x)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_sizeof(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("sizeof", count, 1, 1) };
    let value = args.at(0);
    // SAFETY: an object.
    let cell = unsafe { cell_of(value) };
    let bytes = match cell.record().builtin {
        // SAFETY: a type object.
        id::DATA_TYPE => unsafe { TypeCell::of(value.cast()) }.record().size as usize,
        // SAFETY: a string.
        id::STRING => unsafe { string_bytes(value) }.len(),
        // SAFETY: a symbol.
        id::SYMBOL => unsafe { symbol_bytes(value) }.len(),
        // SAFETY: a simple vector starts with its length.
        id::SIMPLE_VECTOR => 8 * (1 + unsafe { value.cast::<usize>().read() }),
        _ if cell.is(flag::ARRAY) => {
            // SAFETY: an array.
            let header = unsafe { Header::new(value.cast()) };
            header.len() * header.element_bytes()
        }
        _ => cell.record().size as usize,
    };
    // SAFETY: as here.
    unsafe { jl_box_int64(bytes as i64) }
}

/// `throw(x)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_throw(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("throw", count, 1, 1) };
    // SAFETY: one object.
    unsafe { jl_throw(args.at(0)) }
}

/// `ifelse(c, x, y)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_ifelse(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("ifelse", count, 3, 3) };
    let (condition, yes, no) = (args.at(0), args.at(1), args.at(2));
    let builtins = Builtins::get();
    if condition == builtins.bool(true) {
        yes
    } else if condition == builtins.bool(false) {
        no
    } else {
        let expected = builtins.ty(id::BOOL).cast();
        // SAFETY: as here.
        unsafe { wrong_type("ifelse", expected, condition) }
    }
}

/// Is a value of this type? None when only Julia could tell.
unsafe fn isa(value: *const Value, ty: *const Value) -> Option<bool> {
    // SAFETY: both are objects.
    unsafe { is_builtin(ty, id::DATA_TYPE) }.then(|| {
        let ty = ty.cast::<DataType>();
        // SAFETY: an object.
        types::is_subtype(unsafe { cell_of(value) }, ty)
    })
}

const NO_TYPE_ALGEBRA: &str = "a node can compare types only by their names and supertypes: this test needs Julia's type \
                               algebra (a union or a type with free parameters)";

/// `isa(x, T)`.
///
/// # Safety
/// - called from shipped code, with two objects.
pub(crate) unsafe extern "C" fn jl_isa(value: *const Value, ty: *const Value) -> i32 {
    // SAFETY: two objects.
    match unsafe { isa(value, ty) } {
        Some(answer) => i32::from(answer),
        // SAFETY: as here.
        None => unsafe { error(NO_TYPE_ALGEBRA) },
    }
}

/// Are both plain types?
unsafe fn are_types(a: *const Value, b: *const Value) -> bool {
    // SAFETY: an object, says the caller.
    let first = unsafe { is_builtin(a, id::DATA_TYPE) };
    // SAFETY: an object, says the caller.
    first && unsafe { is_builtin(b, id::DATA_TYPE) }
}

/// `A <: B`.
///
/// # Safety
/// - called from shipped code, with two objects.
pub(crate) unsafe extern "C" fn jl_subtype(a: *const Value, b: *const Value) -> i32 {
    if ptr::eq(a, b) {
        return 1;
    }
    // SAFETY: two objects.
    if unsafe { are_types(a, b) } {
        // SAFETY: a type object.
        let ty = unsafe { TypeCell::of(a.cast()) };
        return i32::from(types::is_subtype(ty, b.cast()));
    }
    // SAFETY: as here.
    unsafe { error(NO_TYPE_ALGEBRA) }
}

/// `A == B` for types.
///
/// # Safety
/// - called from shipped code, with two objects.
pub(crate) unsafe extern "C" fn jl_types_equal(a: *const Value, b: *const Value) -> i32 {
    // SAFETY: two objects.
    let both = unsafe { are_types(a, b) };
    if both || ptr::eq(a, b) {
        return i32::from(ptr::eq(a, b));
    }
    // SAFETY: as here.
    unsafe { error(NO_TYPE_ALGEBRA) }
}

/// `x::T`.
///
/// # Safety
/// - called from shipped code, with two objects.
pub(crate) unsafe extern "C" fn jl_typeassert(value: *mut Value, ty: *mut Value) {
    // SAFETY: as here.
    if unsafe { jl_isa(value, ty) } == 0 {
        // SAFETY: as here.
        unsafe { wrong_type("typeassert", ty, value) }
    }
}

/// `isa(x, T)`, boxed.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_isa(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("isa", count, 2, 2) };
    // SAFETY: two objects.
    Builtins::get().bool(unsafe { jl_isa(args.at(0), args.at(1)) } != 0)
}

/// `A <: B`, boxed.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_issubtype(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("<:", count, 2, 2) };
    // SAFETY: two objects.
    Builtins::get().bool(unsafe { jl_subtype(args.at(0), args.at(1)) } != 0)
}

/// `x::T`, boxed.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_typeassert(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("typeassert", count, 2, 2) };
    // SAFETY: two objects.
    unsafe { jl_typeassert(args.at(0), args.at(1)) };
    args.at(0)
}

/// `Core.svec(x...)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_svec(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    if count == 0 {
        return Builtins::get().empty_svec();
    }
    // SAFETY: as here.
    let made = unsafe { jl_alloc_svec(count as usize) };
    let items = made
        .cast::<u8>()
        .wrapping_add(SVEC_DATA)
        .cast::<*mut Value>();
    // SAFETY: made with room for them.
    unsafe { items.copy_from_nonoverlapping(args.0, count as usize) };
    made
}

/// A simple vector of nulls.
///
/// # Safety
/// - called from shipped code: throws `OutOfMemoryError`.
pub(crate) unsafe extern "C" fn jl_alloc_svec(count: usize) -> *mut Value {
    if count == 0 {
        return Builtins::get().empty_svec();
    }
    let bytes = count.saturating_mul(8).saturating_add(SVEC_DATA);
    // SAFETY: as here.
    let made = unsafe { object(bytes, Builtins::get().ty(id::SIMPLE_VECTOR)) };
    // SAFETY: made with that size.
    unsafe { made.cast::<u8>().write_bytes(0, bytes) };
    // SAFETY: as above.
    unsafe { made.cast::<usize>().write(count) };
    made
}

/// Reads field `index` (from 0), boxed.
///
/// # Safety
/// - called from shipped code, with an object.
pub(crate) unsafe extern "C" fn jl_get_nth_field_checked(
    value: *mut Value,
    index: usize,
) -> *mut Value {
    // SAFETY: an object.
    let cell = unsafe { cell_of(value) };
    if cell.record().builtin == id::SIMPLE_VECTOR {
        // SAFETY: a simple vector starts with its length.
        if index >= unsafe { value.cast::<usize>().read() } {
            // SAFETY: as here.
            unsafe { jl_bounds_error_int(value, index as i64 + 1) }
        }
        // SAFETY: inside the vector.
        return unsafe { reference(value, SVEC_DATA + 8 * index) };
    }
    let Some(links) = cell.links().filter(|links| !links.fields.is_empty()) else {
        // SAFETY: as here.
        return unsafe { field_of_unknown(value, cell, index) };
    };
    let Some(field) = links.fields.get(index) else {
        // SAFETY: as here.
        unsafe { jl_bounds_error_int(value, index as i64 + 1) }
    };
    let at = value.cast::<u8>().wrapping_add(field.offset as usize);
    match (field.kind, &field.ty) {
        // SAFETY: a reference field.
        (FieldKind::Reference, _) => unsafe { reference(value, field.offset as usize) },
        // SAFETY: a field of that type.
        (FieldKind::Inline, Some(ty)) => unsafe { jl_new_bits(ty.data_type(), at) },
        // SAFETY: as here.
        _ => unsafe { error("the node does not know the type of this field") },
    }
}

/// Fields of types that nobody described: those whose fields are all references, or all integers of an index.
unsafe fn field_of_unknown(value: *mut Value, cell: &TypeCell, index: usize) -> *mut Value {
    let record = cell.record();
    if let Some(count) = Builtins::get().index_tuple_length(cell.data_type()) {
        if index >= count {
            // SAFETY: called from shipped code.
            unsafe { jl_bounds_error_int(value, index as i64 + 1) }
        }
        // SAFETY: a tuple of `count` words.
        let item = unsafe { value.cast::<i64>().wrapping_add(index).read() };
        // SAFETY: called from shipped code.
        return unsafe { jl_box_int64(item) };
    }
    // Not tuples, whose parts may take no bytes.
    if record.size as usize == 8 * record.pointers.len() && !cell.is(flag::TUPLE) {
        match record.pointers.get(index) {
            // SAFETY: a reference slot.
            Some(&at) => return unsafe { reference(value, at as usize) },
            // SAFETY: called from shipped code.
            None => unsafe { jl_bounds_error_int(value, index as i64 + 1) },
        }
    }
    match tuple_field(cell, index) {
        Some(TupleField { offset, inline }) if inline.is_null() => {
            // SAFETY: a reference slot.
            unsafe { reference(value, offset) }
        }
        Some(TupleField { offset, inline }) => {
            let at = value.cast::<u8>().wrapping_add(offset);
            // SAFETY: a field of that type.
            unsafe { jl_new_bits(inline, at) }
        }
        None if crate::tuple::parameters(&record.name) > 0 && index >= field_count(cell) => {
            // SAFETY: called from shipped code.
            unsafe { jl_bounds_error_int(value, index as i64 + 1) }
        }
        // SAFETY: called from shipped code.
        None => unsafe { error("the node does not know the fields of this type") },
    }
}

/// What the slot at byte `at` refers to; `UndefRefError` if nothing.
unsafe fn reference(object: *mut Value, at: usize) -> *mut Value {
    // SAFETY: a reference slot, says the caller.
    let value = unsafe { crate::layout::reference_at(object, at) };
    if value.is_null() {
        // SAFETY: called from shipped code.
        unsafe { throw_instance(id::UNDEF_REF_ERROR) }
    }
    value
}

/// `getfield(x, i)`; by name only where the compiler resolved it.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_getfield(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("getfield", count, 2, 3) };
    let (value, field) = (args.at(0), args.at(1));
    // SAFETY: an object.
    if unsafe { is_builtin(field, id::INT64) } {
        // SAFETY: a box of an Int64.
        let index = unsafe { field.cast::<i64>().read() };
        if index < 1 {
            // SAFETY: as here.
            unsafe { jl_bounds_error_int(value, index) }
        }
        // SAFETY: as here.
        return unsafe { jl_get_nth_field_checked(value, index as usize - 1) };
    }
    // SAFETY: as here.
    unsafe {
        error(
            "a node knows fields by their numbers only: this access by name was not resolved by the compiler",
        )
    }
}

/// `nfields(x)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_nfields(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("nfields", count, 1, 1) };
    let value = args.at(0);
    // SAFETY: an object.
    let cell = unsafe { cell_of(value) };
    let known = field_count(cell);
    let count = if cell.record().builtin == id::SIMPLE_VECTOR {
        // SAFETY: a simple vector starts with its length.
        unsafe { value.cast::<usize>().read() }
    } else {
        known
    };
    // SAFETY: as here.
    unsafe { jl_box_int64(count as i64) }
}

/// An index from 0, from boxed indices from 1 on.
unsafe fn linear_index(array: *mut Value, args: Args, count: usize) -> usize {
    // SAFETY: an array, says the caller.
    let header = unsafe { Header::new(array.cast()) };
    let (mut index, mut stride) = (0_usize, 1_usize);
    for i in 0..count {
        let at = args.at(i);
        // SAFETY: an object.
        if !unsafe { is_builtin(at, id::INT64) } {
            let expected = Builtins::get().ty(id::INT64).cast();
            // SAFETY: called from shipped code.
            unsafe { wrong_type("arrayref", expected, at) }
        }
        // SAFETY: a box of an Int64.
        let at = unsafe { at.cast::<usize>().read() }.wrapping_sub(1);
        let last = i + 1 == count;
        if !last && at >= header.dim(i) {
            // SAFETY: called from shipped code.
            unsafe { jl_bounds_error_v(array, args.0, count) }
        }
        index = index.wrapping_add(at.wrapping_mul(stride));
        stride = stride.wrapping_mul(header.dim(i));
    }
    if index >= header.len() {
        // SAFETY: called from shipped code.
        unsafe { jl_bounds_error_v(array, args.0, count) }
    }
    index
}

/// `Core.arrayref(boundscheck, a, i...)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_arrayref(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("arrayref", count, 3, u32::MAX) };
    let array = args.at(1);
    // SAFETY: at least three objects, the second an array.
    let index = unsafe { linear_index(array, args.from(2), count as usize - 2) };
    // SAFETY: inside the array.
    unsafe { jl_arrayref(array.cast(), index) }
}

/// `Core.arrayset(boundscheck, a, x, i...)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_arrayset(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("arrayset", count, 4, u32::MAX) };
    let array = args.at(1);
    // SAFETY: at least four objects, the second an array.
    let index = unsafe { linear_index(array, args.from(3), count as usize - 3) };
    // SAFETY: inside the array.
    unsafe { jl_arrayset(array.cast(), args.at(2), index) };
    array
}

/// `Core.arraysize(a, i)`.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_arraysize(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { check_count("arraysize", count, 2, 2) };
    // SAFETY: an array.
    let header = unsafe { Header::new(args.at(0).cast()) };
    // SAFETY: a box of an Int64.
    let dim = unsafe { args.at(1).cast::<i64>().read() };
    if dim < 1 {
        // SAFETY: as here.
        unsafe { error("arraysize: dimension out of range") }
    }
    // SAFETY: as here.
    unsafe { jl_box_int64(header.dim(dim as usize - 1) as i64) }
}

/// Every other built-in function that only Julia can do.
///
/// # Safety
/// - see [`jl_f_is`].
pub(crate) unsafe extern "C" fn jl_f_unsupported(
    _f: *mut Value,
    _args: Args,
    _count: u32,
) -> *mut Value {
    // SAFETY: as here.
    unsafe { error("shipped code called a built-in function of Julia's that a node does not have") }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests;
