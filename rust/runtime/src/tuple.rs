//! Tuples whose types are only known at run time: made from values, or from the elements of collections.

use crate::array::{Header, jl_arrayref};
use crate::builtin::{Builtins, id};
use crate::function::{Args, cell_of, jl_get_nth_field_checked};
use crate::layout::{DataType, Value, set_reference_at};
use crate::memory::{check_stack, object};
use crate::thread::ThreadState;
use crate::types::{self, TypeCell, TypeDescription, TypeRef, flag};
use std::ptr;

/// `tuple(x...)`.
///
/// # Safety
/// - called from shipped code, with `count` objects.
pub(crate) unsafe extern "C" fn jl_f_tuple(_f: *mut Value, args: Args, count: u32) -> *mut Value {
    let builtins = Builtins::get();
    if count == 0 {
        return builtins.instance(id::EMPTY_TUPLE);
    }
    // SAFETY: as here: naming the type locks and allocates.
    unsafe { check_stack(ThreadState::current()) };
    // SAFETY: `count` objects.
    let values = unsafe { std::slice::from_raw_parts(args.0, count as usize) };
    // SAFETY: as above.
    let shape = unsafe { tuple_type(values) };
    if shape.size == 0 {
        // Code compares with the one instance that there is.
        // SAFETY: a type that was just named.
        return unsafe { TypeCell::of(shape.ty) }.instance();
    }
    // SAFETY: as here.
    let made = unsafe { object(shape.size, shape.ty) };
    // SAFETY: made with that size.
    unsafe { made.cast::<u8>().write_bytes(0, shape.size) };
    let mut at = 0;
    for i in 0..count as usize {
        let value = args.at(i);
        // SAFETY: an object.
        let place = unsafe { place(cell_of(value), at) };
        if place.inline {
            let to = made.cast::<u8>().wrapping_add(place.offset);
            // SAFETY: the field has the value's size.
            unsafe { to.copy_from_nonoverlapping(value.cast(), place.size) };
        } else {
            // SAFETY: the field is a reference.
            unsafe { set_reference_at(made, place.offset, value) };
        }
        at = place.offset + place.size;
    }
    made
}

/// For shipped code: the tuple of all elements of tuples, simple vectors and arrays, as `tuple(xs..., ys...)` makes it.
///
/// # Safety
/// - called from shipped code, with `count` objects.
pub(crate) unsafe extern "C" fn bc_splat_tuple(
    _f: *mut Value,
    args: Args,
    count: u32,
) -> *mut Value {
    let lengths = (0..count as usize).map(|i| collection_length(args.at(i)));
    let total: usize = lengths.sum();
    // SAFETY: as here.
    let room = unsafe { crate::memory::words(total) }.cast::<*mut Value>();
    let mut filled = 0;
    for i in 0..count as usize {
        let collection = args.at(i);
        for index in 0..collection_length(collection) {
            // SAFETY: as here: inside the collection.
            let item = unsafe { collection_item(collection, index) };
            // SAFETY: the buffer has room for all of them.
            unsafe { room.wrapping_add(filled).write(item) };
            filled += 1;
        }
    }
    // SAFETY: so many were written.
    let all = unsafe { Args::new(room) };
    // SAFETY: as here.
    unsafe { jl_f_tuple(ptr::null_mut(), all, filled as u32) }
}

/// How many elements there are in a tuple, simple vector or array, or fields in a struct.
fn collection_length(collection: *mut Value) -> usize {
    // SAFETY: an object, say the callers.
    let cell = unsafe { cell_of(collection) };
    if cell.record().builtin == id::SIMPLE_VECTOR {
        // SAFETY: a simple vector starts with its length.
        return unsafe { collection.cast::<usize>().read() };
    }
    if cell.is(flag::ARRAY) {
        // SAFETY: an array.
        return unsafe { Header::new(collection.cast()) }.len();
    }
    field_count(cell)
}

/// How many fields a type has, as far as anybody said.
pub(crate) fn field_count(cell: &TypeCell) -> usize {
    match cell.links().map_or(0, |links| links.fields.len()) {
        0 => Builtins::get()
            .index_tuple_length(cell.data_type())
            .unwrap_or_else(|| parameters(&cell.record().name)),
        known => known,
    }
}

/// How many parameters a tuple type's name has; 0 for other types.
pub(crate) fn parameters(name: &str) -> usize {
    parameter_names(name).len()
}

/// The names of a tuple type's parameters.
fn parameter_names(name: &str) -> Vec<&str> {
    let inner = name
        .strip_prefix("Core.Tuple{")
        .and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner.filter(|inner| !inner.is_empty()) else {
        return Vec::new();
    };
    let mut depth = 0_usize;
    inner
        .split(|character| {
            match character {
                '{' | '(' => depth += 1,
                '}' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ',' && depth == 0
        })
        .collect()
}

/// The types of a tuple's parts, by their names: `None` if it is no tuple, or if one of them is not the type that was meant. Nothing in
/// here throws.
pub(crate) fn part_types(tuple: &TypeCell) -> Option<Vec<TypeRef>> {
    if !tuple.is(flag::TUPLE) && tuple.record().builtin != id::EMPTY_TUPLE {
        return None;
    }
    let names = parameter_names(&tuple.record().name);
    let types: Vec<_> = names.into_iter().map_while(types::find).collect();
    let end = types.iter().fold(0, |at, ty| {
        let place = place(ty, at);
        place.offset + place.size
    });
    let align = tuple.record().align.max(1) as usize;
    let whole = types.len() == field_count(tuple);
    (whole && crate::layout::round_up(end, align) == tuple.record().size as usize).then_some(types)
}

/// A field of a tuple.
pub(crate) struct TupleField {
    /// Where it starts.
    pub(crate) offset: usize,
    /// The type of its bytes; null for a reference.
    pub(crate) inline: *const DataType,
}

/// Field `index` of a tuple whose fields nobody described, by the names of its parameters. Nothing in here throws.
#[inline(never)]
pub(crate) fn tuple_field(cell: &TypeCell, index: usize) -> Option<TupleField> {
    let mut found = None;
    let mut at = 0;
    for (i, name) in parameter_names(&cell.record().name).into_iter().enumerate() {
        let ty = types::find(name)?;
        let place = place(&ty, at);
        at = place.offset + place.size;
        if i == index {
            let inline = if place.inline {
                ty.data_type().cast_const()
            } else {
                ptr::null()
            };
            found = Some(TupleField {
                offset: place.offset,
                inline,
            });
            crate::call::keep(ThreadState::current(), ty);
        }
    }
    // What was guessed must be what the type says.
    let align = cell.record().align.max(1) as usize;
    (crate::layout::round_up(at, align) == cell.record().size as usize).then_some(found)?
}

/// Element `index` of a collection, boxed.
unsafe fn collection_item(collection: *mut Value, index: usize) -> *mut Value {
    // SAFETY: an object, says the caller.
    if unsafe { cell_of(collection) }.is(flag::ARRAY) {
        // SAFETY: inside the array.
        return unsafe { jl_arrayref(collection.cast(), index) };
    }
    // SAFETY: called from shipped code.
    unsafe { jl_get_nth_field_checked(collection, index) }
}

/// How a field of a tuple is stored.
struct Place {
    offset: usize,
    size: usize,
    align: usize,
    inline: bool,
}

fn place(cell: &TypeCell, after: usize) -> Place {
    let record = cell.record();
    // Immutable bits are inline; what holds references stays a reference here, which only matters to code that was
    // compiled for the type, and such code makes its tuples itself.
    let inline = cell.is(flag::BITS);
    let (size, align) = if inline {
        (record.size as usize, record.align.max(1) as usize)
    } else {
        (8, 8)
    };
    Place {
        offset: crate::layout::round_up(after, align),
        size,
        align,
        inline,
    }
}

struct Shape {
    ty: *const DataType,
    size: usize,
}

/// The type of a tuple of these values. Nothing in here throws: it holds the type's name.
#[inline(never)]
unsafe fn tuple_type(values: &[*mut Value]) -> Shape {
    let mut name = String::from("Core.Tuple{");
    let mut pointers = Vec::new();
    let (mut at, mut align, mut bits, mut padding) = (0, 1, true, false);
    for (i, &value) in values.iter().enumerate() {
        // SAFETY: an object, says the caller.
        let cell = unsafe { cell_of(value) };
        let place = place(cell, at);
        padding |= place.offset != at || !place.inline || cell.is(flag::PADDING);
        bits &= place.inline;
        align = align.max(place.align);
        if !place.inline {
            pointers.push(place.offset as u32);
        }
        at = place.offset + place.size;
        name.push_str(if i > 0 { "," } else { "" });
        name.push_str(&cell.record().name);
    }
    name.push('}');
    let size = crate::layout::round_up(at, align);
    padding |= size != at;
    let mut flags = flag::TUPLE | flag::CONCRETE;
    flags |= if bits { flag::BITS } else { 0 };
    flags |= if padding { flag::PADDING } else { 0 };
    flags |= if size == 0 { flag::SINGLETON } else { 0 };
    let description = TypeDescription {
        name: &name,
        flags,
        size: size as u32,
        align: align as u16,
        pointers: &pointers,
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    };
    match types::intern(&description) {
        Ok(ty) => {
            let address = ty.data_type();
            crate::call::keep(ThreadState::current(), ty);
            Shape { ty: address, size }
        }
        // No built-in type but `Tuple{}` is a tuple.
        Err(_) => Shape {
            ty: Builtins::get().ty(id::EMPTY_TUPLE),
            size: 0,
        },
    }
}
