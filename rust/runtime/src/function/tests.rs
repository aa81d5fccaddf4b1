//! Built-in functions on boxed arguments.

use super::*;
use crate::array::jl_alloc_array_1d;
use crate::call::{Limits, Outcome, Output, run};
use crate::constant::{Constants, Description};
use crate::dispatch::jl_apply_generic;
use crate::graph::tag;
use crate::layout::set_reference_at;
use crate::string::from_bytes;
use crate::symbol;
use crate::thread::attach;
use crate::tuple::{bc_splat_tuple, jl_f_tuple, parameters};
use crate::types::{Field, Links, TypeCell, TypeDescription, intern};

fn int(value: i64) -> *mut Value {
    // SAFETY: on an attached thread.
    unsafe { jl_box_int64(value) }
}

fn value_of(boxed: *mut Value) -> i64 {
    // SAFETY: a box of an Int64.
    unsafe { boxed.cast::<i64>().read() }
}

type Function = unsafe extern "C" fn(*mut Value, Args, u32) -> *mut Value;

fn apply(f: Function, args: &[*mut Value]) -> *mut Value {
    // SAFETY: the tests pass live objects, as many as they say.
    unsafe { f(ptr::null_mut(), Args::new(args.as_ptr()), args.len() as u32) }
}

#[test]
fn questions_about_values() {
    attach();
    let builtins = Builtins::get();
    // SAFETY: on an attached thread.
    let text = unsafe { from_bytes(b"12345") };
    assert_eq!(apply(jl_f_is, &[int(1000), int(1000)]), builtins.bool(true));
    assert_eq!(apply(jl_f_typeof, &[text]), builtins.ty(id::STRING).cast());
    assert_eq!(value_of(apply(jl_f_sizeof, &[text])), 5);
    assert_eq!(
        value_of(apply(jl_f_sizeof, &[symbol::intern("abc").value()])),
        3
    );
    assert_eq!(
        value_of(apply(jl_f_sizeof, &[builtins.ty(id::INT128).cast()])),
        16
    );
    assert_eq!(value_of(apply(jl_f_sizeof, &[int(1)])), 8);
    assert_eq!(
        apply(jl_f_ifelse, &[builtins.bool(false), int(1), text]),
        text
    );
    assert_eq!(
        apply(jl_f_isa, &[text, builtins.ty(id::STRING).cast()]),
        builtins.bool(true)
    );
    assert_eq!(
        apply(jl_f_isa, &[text, builtins.ty(id::ANY).cast()]),
        builtins.bool(true)
    );
    assert_eq!(
        apply(jl_f_isa, &[text, builtins.ty(id::INT64).cast()]),
        builtins.bool(false)
    );
    assert_eq!(
        apply(jl_f_typeassert, &[text, builtins.ty(id::STRING).cast()]),
        text
    );
}

#[test]
fn tuples_are_made_and_taken_apart() {
    attach();
    let builtins = Builtins::get();
    assert_eq!(apply(jl_f_tuple, &[]), builtins.instance(id::EMPTY_TUPLE));
    let alone = apply(jl_f_tuple, &[builtins.nothing()]);
    assert_eq!(apply(jl_f_tuple, &[builtins.nothing()]), alone);
    // SAFETY: an object.
    assert_eq!(unsafe { TypeCell::of_value(alone) }.instance(), alone);
    let pair = apply(jl_f_tuple, &[int(5), int(-6)]);
    // SAFETY: a live object.
    assert_eq!(unsafe { type_of(pair) }, builtins.index_tuple(2));
    assert_eq!(value_of(apply(jl_f_getfield, &[pair, int(2)])), -6);
    // SAFETY: on an attached thread.
    let text = unsafe { from_bytes(b"x") };
    let mixed = apply(jl_f_tuple, &[builtins.uint8(7), text, int(9)]);
    // SAFETY: a live object.
    let record = unsafe { cell_of(mixed) }.record();
    assert_eq!(
        &*record.name,
        "Core.Tuple{Core.UInt8,Core.String,Core.Int64}"
    );
    assert_eq!((record.size, &*record.pointers), (24, &[8][..]));
    // SAFETY: a live object with that layout.
    let parts = unsafe {
        (
            mixed.cast::<u8>().read(),
            mixed.cast::<*mut Value>().add(1).read(),
            mixed.cast::<i64>().add(2).read(),
        )
    };
    assert_eq!(parts, (7, text, 9));
    assert_eq!(apply(jl_f_getfield, &[mixed, int(1)]), builtins.uint8(7));
    assert_eq!(apply(jl_f_getfield, &[mixed, int(2)]), text);
    assert_eq!(value_of(apply(jl_f_getfield, &[mixed, int(3)])), 9);
    assert_eq!(value_of(apply(jl_f_nfields, &[mixed])), 3);
}

#[test]
fn splatting_joins_collections() {
    attach();
    let builtins = Builtins::get();
    let indices = apply(jl_f_tuple, &[int(5), int(6)]);
    let vector = apply(jl_f_svec, &[int(7)]);
    // SAFETY: on an attached thread.
    let array = unsafe { jl_alloc_array_1d(builtins.ty(id::VECTOR_ANY), 1) }.cast::<Value>();
    apply(jl_f_arrayset, &[builtins.bool(true), array, int(8), int(1)]);
    let empty = builtins.instance(id::EMPTY_TUPLE);
    let all = apply(bc_splat_tuple, &[indices, empty, vector, array]);
    // SAFETY: a live object.
    assert_eq!(unsafe { type_of(all) }, builtins.index_tuple(4));
    let items: Vec<_> = (1..=4)
        .map(|i| value_of(apply(jl_f_getfield, &[all, int(i)])))
        .collect();
    assert_eq!(items, [5, 6, 7, 8]);
    assert_eq!(apply(bc_splat_tuple, &[]), empty);
    assert_eq!(
        parameters("Core.Tuple{Core.Int64,Core.Pair{Core.Int8,Core.Int8}}"),
        2
    );
}

#[test]
fn simple_vectors_hold_references() {
    attach();
    let vector = apply(jl_f_svec, &[int(1), int(2), int(3)]);
    assert_eq!(value_of(apply(jl_f_nfields, &[vector])), 3);
    assert_eq!(value_of(apply(jl_f_getfield, &[vector, int(3)])), 3);
    assert_eq!(value_of(apply(jl_f_sizeof, &[vector])), 32);
    assert_eq!(apply(jl_f_svec, &[]), Builtins::get().empty_svec());
}

#[test]
fn fields_are_read_by_their_description() {
    attach();
    let description = TypeDescription {
        name: "Test.Fielded",
        flags: flag::CONCRETE | flag::PADDING,
        size: 16,
        align: 8,
        pointers: &[8],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    };
    let ty = intern(&description).unwrap();
    let small = Field {
        offset: 0,
        size: 1,
        kind: FieldKind::Inline,
        ty: Some(Builtins::get().cell(id::BOOL).clone()),
        name: None,
    };
    let text = Field {
        offset: 8,
        size: 8,
        kind: FieldKind::Reference,
        ty: None,
        name: None,
    };
    ty.link(Links {
        fields: vec![small, text],
        ..Links::default()
    });
    // SAFETY: on an attached thread; the object has 16 bytes.
    let (value, text) = unsafe {
        let value = object(16, ty.data_type());
        let text = from_bytes(b"field");
        value.cast::<u8>().write(1);
        set_reference_at(value, 8, text);
        (value, text)
    };
    assert_eq!(
        apply(jl_f_getfield, &[value, int(1)]),
        Builtins::get().bool(true)
    );
    assert_eq!(apply(jl_f_getfield, &[value, int(2)]), text);
    assert_eq!(value_of(apply(jl_f_nfields, &[value])), 2);
}

#[test]
fn arrays_are_indexed() {
    attach();
    let builtins = Builtins::get();
    // SAFETY: on an attached thread.
    let array = unsafe { jl_alloc_array_1d(builtins.ty(id::VECTOR_ANY), 3) }.cast::<Value>();
    let check = builtins.bool(true);
    assert_eq!(apply(jl_f_arrayset, &[check, array, int(8), int(2)]), array);
    assert_eq!(value_of(apply(jl_f_arrayref, &[check, array, int(2)])), 8);
    assert_eq!(value_of(apply(jl_f_arraysize, &[array, int(1)])), 3);
    assert_eq!(value_of(apply(jl_f_arraysize, &[array, int(2)])), 1);
}

/// Runs code that throws, and returns the graph's bytes.
fn thrown(entry: crate::call::Entry, constants: &Constants) -> Vec<u8> {
    let mut output = Output::new();
    // SAFETY: the entries below only throw.
    let outcome = unsafe {
        run(
            entry,
            &mut [],
            constants,
            Limits::default(),
            &|_, _, _| (),
            &mut output,
        )
    };
    assert_eq!(outcome, Outcome::Thrown);
    output.bytes().to_vec()
}

unsafe extern "C" fn asserts(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: called from an entry, with two objects.
    unsafe { jl_typeassert(int(1), Builtins::get().ty(id::STRING).cast()) };
    0
}

unsafe extern "C" fn out_of_range(_: i64, _: i64, _: i64) -> i32 {
    apply(jl_f_getfield, &[apply(jl_f_tuple, &[int(1)]), int(2)]);
    0
}

unsafe extern "C" fn dispatches(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: the runtime passes the call, whose constants hold one object.
    let callee = unsafe { (*(*(call as *const crate::call::Call)).constants).address(0) };
    // SAFETY: called from an entry.
    unsafe { jl_apply_generic(callee.unwrap_or(ptr::null_mut()), Args::new(ptr::null()), 0) };
    0
}

#[test]
fn what_fails_throws_what_julia_throws() {
    let constants = Constants::build(&[Description::Opaque {
        name: "print_to_string",
        id: 0,
    }])
    .unwrap();
    let bytes = thrown(asserts, &constants);
    assert_eq!(bytes[..5], [tag::STRUCT, id::TYPE_ERROR as u8, 0, 0, 0]);
    assert!(bytes.windows(10).any(|part| part == b"typeassert"));
    let bytes = thrown(out_of_range, &constants);
    assert_eq!(bytes[..5], [tag::STRUCT, id::BOUNDS_ERROR as u8, 0, 0, 0]);
    let bytes = thrown(dispatches, &constants);
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("the call of print_to_string was not resolved"),
        "{text}"
    );
}
