//! Collections in calls: by entries that are written in Rust here, whose references are where those of shipped code are, on the
//! stack and in registers. Nearly every allocation collects.

use crate::array::jl_ptr_to_array_1d;
use crate::array::{
    Header, bc_array_over, jl_alloc_array_1d, jl_alloc_vec_any, jl_array_copy, jl_array_grow_beg,
    jl_array_grow_end, jl_array_ptr, jl_array_ptr_1d_push, jl_array_ptr_copy, jl_array_sizehint,
    jl_array_to_string, jl_arrayset, jl_reshape_array, jl_string_to_array,
};
use crate::builtin::{Builtins, id};
use crate::call::{Entry, Limits, Outcome, Output, bc_result, run};
use crate::constant::Constants;
use crate::defer::bc_defer;
use crate::exception::{jl_current_exception, jl_excstack_state};
use crate::function::{Args, jl_alloc_svec, jl_f_svec};
use crate::layout::{SVEC_DATA, Value, reference_at, set_reference_at, string_bytes};
use crate::library::bc_call_slot;
use crate::memory::{self, bc_alloc, jl_gc_collect};
use crate::string::from_bytes;
use crate::thread::ThreadState;
use crate::tuple::jl_f_tuple;
use crate::types::{TypeDescription, TypeRef, element, flag, intern};
use std::hint::black_box;

/// Runs `entry`, which returns 0 when all is well.
fn in_call(entry: Entry) {
    for collect_after in [Some(1), Some(1000), Some(100_000), None] {
        let limits = Limits {
            memory: 256 << 20,
            collect_after,
        };
        let constants = Constants::build(&[]).unwrap();
        let mut output = Output::new();
        // SAFETY: the entries below keep the rules.
        let outcome = unsafe {
            run(
                entry,
                &mut [],
                &constants,
                limits,
                &|_, _, _| (),
                &mut output,
            )
        };
        assert_eq!(outcome, Outcome::Value, "after {collect_after:?}");
        assert_eq!(output.bytes(), [], "after {collect_after:?}");
    }
}

/// Says what is wrong: the output is not empty then.
macro_rules! check {
    ($call:ident, $right:expr) => {
        if !$right {
            // SAFETY: called from an entry.
            unsafe { bc_result($call, u64::from(line!())) };
            return 0;
        }
    };
}

/// Something that is dropped at once, and takes the place of what was dropped before.
#[inline(never)]
fn litter(count: usize) {
    for i in 0..count {
        for bytes in [8, 24, 40, 100, 3000] {
            // SAFETY: called from an entry.
            let (data, _) = unsafe { memory::buffer(bytes) };
            // SAFETY: just made with that size.
            unsafe { data.write_bytes(0x55 ^ i as u8, bytes) };
        }
    }
}

fn text(i: usize) -> String {
    format!("text number {i}, {}", "x".repeat(i % 50))
}

/// # Safety
/// - called from an entry.
unsafe fn string(i: usize) -> *mut Value {
    let text = text(i);
    // SAFETY: the caller's promise: the limit is not reached.
    unsafe { from_bytes(text.as_bytes()) }
}

fn is_string(value: *mut Value, i: usize) -> bool {
    // SAFETY: an object of the tests'.
    let right_type = unsafe { crate::layout::type_of(value) } == Builtins::get().ty(id::STRING);
    // SAFETY: a string.
    right_type && unsafe { string_bytes(value) } == text(i).as_bytes()
}

unsafe extern "C" fn vectors_of_strings(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: called from an entry, here and below.
    let vector = unsafe { jl_alloc_vec_any(0) };
    for i in 0..3000 {
        // SAFETY: as above.
        let item = unsafe { string(i) };
        // SAFETY: as above.
        unsafe { jl_array_ptr_1d_push(vector, item) };
    }
    litter(100);
    // SAFETY: as above.
    let copy = unsafe { jl_array_copy(vector) };
    // SAFETY: as above.
    unsafe { jl_array_grow_beg(vector, 10) };
    // SAFETY: as above.
    unsafe { jl_array_sizehint(vector, 100_000) };
    litter(100);
    for i in 0..3000 {
        // SAFETY: a live vector with so many elements.
        let data = unsafe { jl_array_ptr(copy) }.cast::<*mut Value>();
        // SAFETY: as above.
        check!(call, is_string(unsafe { data.wrapping_add(i).read() }, i));
        // SAFETY: as above.
        let data = unsafe { jl_array_ptr(vector) }.cast::<*mut Value>();
        // SAFETY: as above.
        check!(
            call,
            // SAFETY: as above.
            is_string(unsafe { data.wrapping_add(i + 10).read() }, i)
        );
    }
    0
}

#[test]
fn vectors_keep_their_elements() {
    in_call(vectors_of_strings);
}

/// The data alone is known: the vector itself is not needed any more.
#[inline(never)]
unsafe fn only_data(count: usize) -> *mut *mut Value {
    // SAFETY: called from an entry.
    let vector = unsafe { jl_alloc_vec_any(count) };
    // SAFETY: just made.
    let data = unsafe { jl_array_ptr(vector) }.cast::<*mut Value>();
    for i in 0..count {
        // SAFETY: called from an entry.
        let item = unsafe { string(i) };
        // SAFETY: inside the data.
        unsafe { data.wrapping_add(i).write(item) };
    }
    data
}

unsafe extern "C" fn data_without_its_array(_: i64, _: i64, call: i64) -> i32 {
    for count in [3, 300, 3000, 6000] {
        // One behind the end, as a loop leaves it.
        // SAFETY: called from an entry.
        let mut behind = black_box(unsafe { only_data(count) }.wrapping_add(count));
        litter(300);
        for i in (0..count).rev() {
            behind = behind.wrapping_sub(1);
            // SAFETY: inside the data.
            check!(call, is_string(unsafe { behind.read() }, i));
        }
    }
    0
}

#[test]
fn data_keeps_its_elements() {
    in_call(data_without_its_array);
}

unsafe extern "C" fn tuples_and_vectors(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: called from an entry, here and below.
    let mut last = unsafe { string(0) };
    for i in 1..200 {
        // SAFETY: as above.
        let items = [last, unsafe { string(i) }];
        // SAFETY: two objects.
        let args = unsafe { Args::new(items.as_ptr().cast_mut()) };
        last = if i % 2 == 0 {
            // SAFETY: as above.
            unsafe { jl_f_tuple(std::ptr::null_mut(), args, 2) }
        } else {
            // SAFETY: as above.
            unsafe { jl_f_svec(std::ptr::null_mut(), args, 2) }
        };
    }
    litter(100);
    for i in (1..200).rev() {
        let start = if i % 2 == 0 { 0 } else { SVEC_DATA };
        // SAFETY: a pair.
        check!(call, is_string(unsafe { reference_at(last, start + 8) }, i));
        // SAFETY: a pair.
        last = unsafe { reference_at(last, start) };
    }
    check!(call, is_string(last, 0));
    0
}

#[test]
fn tuples_and_simple_vectors_keep_their_items() {
    in_call(tuples_and_vectors);
}

/// `struct { word; reference; word; reference }`
fn pair_type() -> TypeRef {
    intern(&TypeDescription {
        name: "Test.HeapPair",
        flags: flag::CONCRETE | flag::MUTABLE,
        size: 32,
        align: 8,
        pointers: &[8, 24],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    })
    .unwrap()
}

unsafe extern "C" fn structs(_: i64, _: i64, call: i64) -> i32 {
    let ty = pair_type();
    let state = ThreadState::current();
    let mut last = std::ptr::null_mut::<Value>();
    for i in 0..2000 {
        // SAFETY: called from an entry, here and below.
        let made = unsafe { bc_alloc(state, 32, ty.data_type()) };
        // Not filled yet when the next allocation collects: whatever was there before may not do harm.
        // SAFETY: as above.
        let item = unsafe { string(i) };
        // SAFETY: a struct of four words.
        unsafe { made.cast::<[usize; 4]>().write([usize::MAX, 0, i, 0]) };
        // SAFETY: as above.
        unsafe { set_reference_at(made, 8, item) };
        // SAFETY: as above.
        unsafe { set_reference_at(made, 24, last) };
        last = made;
    }
    litter(50);
    for i in (0..2000).rev() {
        // SAFETY: a struct of four words.
        check!(call, is_string(unsafe { reference_at(last, 8) }, i));
        // SAFETY: as above.
        last = unsafe { reference_at(last, 24) };
    }
    check!(call, last.is_null());
    0
}

#[test]
fn structs_keep_what_their_fields_refer_to() {
    in_call(structs);
}

/// A vector of `struct { word; reference }`, stored one after the other.
fn inline_type() -> TypeRef {
    let element = intern(&TypeDescription {
        name: "Test.HeapInline",
        flags: flag::CONCRETE,
        size: 16,
        align: 8,
        pointers: &[8],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    })
    .unwrap();
    let array = intern(&TypeDescription {
        name: "Core.Array{Test.HeapInline,1}",
        flags: flag::CONCRETE | flag::MUTABLE | flag::ARRAY,
        size: 0,
        align: 8,
        pointers: &[],
        element: 16,
        element_flags: element::INLINE_REFERENCES,
        ndims: 1,
        hash: 0,
    })
    .unwrap();
    array.link(crate::types::Links {
        element: Some(element),
        ..crate::types::Links::default()
    });
    array
}

unsafe extern "C" fn arrays_of_structs(_: i64, _: i64, call: i64) -> i32 {
    let ty = inline_type();
    // SAFETY: called from an entry, here and below.
    let array = unsafe { jl_alloc_array_1d(ty.data_type(), 0) };
    for i in 0..2500 {
        // SAFETY: as above.
        let item = unsafe { string(i) };
        // SAFETY: as above.
        unsafe { jl_array_grow_end(array, 1) };
        // SAFETY: a live array.
        let data = unsafe { jl_array_ptr(array) };
        // SAFETY: the element that was just added.
        unsafe {
            data.cast::<[usize; 2]>()
                .wrapping_add(i)
                .write([i, item as usize])
        };
    }
    litter(100);
    for i in 0..2500 {
        // SAFETY: a live array.
        let data = unsafe { jl_array_ptr(array) };
        // SAFETY: inside it.
        let [number, item] = unsafe { data.cast::<[usize; 2]>().wrapping_add(i).read() };
        check!(call, number == i && is_string(item as *mut Value, i));
    }
    0
}

#[test]
fn arrays_of_structs_keep_what_these_refer_to() {
    in_call(arrays_of_structs);
}

unsafe extern "C" fn shared_data(_: i64, _: i64, call: i64) -> i32 {
    let ty = Builtins::get().ty(id::VECTOR_ANY);
    for count in [4_usize, 3000, 9000] {
        let shape = [count];
        // SAFETY: called from an entry, here and below.
        let first = unsafe { jl_alloc_vec_any(count) };
        for i in 0..count {
            // SAFETY: as above.
            let item = unsafe { string(i) };
            // SAFETY: inside the data.
            unsafe {
                jl_array_ptr(first)
                    .cast::<*mut Value>()
                    .wrapping_add(i)
                    .write(item)
            };
        }
        // SAFETY: as above.
        let index = unsafe { bc_alloc(ThreadState::current(), 8, index_type().data_type()) };
        // SAFETY: made with that size.
        unsafe { index.cast::<[usize; 1]>().write(shape) };
        // SAFETY: as above.
        let second = unsafe { jl_reshape_array(ty, first, index) };
        litter(100);
        for i in 0..count {
            // SAFETY: a live array.
            let data = unsafe { jl_array_ptr(second) }.cast::<*mut Value>();
            // SAFETY: inside it.
            check!(call, is_string(unsafe { data.wrapping_add(i).read() }, i));
        }
    }
    // SAFETY: as above.
    let bytes = unsafe { jl_string_to_array(string(40)) };
    litter(100);
    // SAFETY: as above.
    unsafe { jl_array_grow_end(bytes, 5000) };
    litter(100);
    // SAFETY: a live array.
    let data = unsafe { jl_array_ptr(bytes) };
    for byte in 0..5000 {
        // SAFETY: inside it.
        unsafe { data.wrapping_add(text(40).len() + byte).write(7) };
    }
    // SAFETY: as above.
    let whole = unsafe { jl_array_to_string(bytes) };
    litter(100);
    // SAFETY: a string.
    let whole = unsafe { string_bytes(whole) };
    check!(call, whole.starts_with(text(40).as_bytes()));
    check!(call, whole[text(40).len()..] == [7; 5000]);
    0
}

fn index_type() -> TypeRef {
    intern(&TypeDescription {
        name: "Core.Tuple{Core.Int64}",
        flags: flag::CONCRETE | flag::TUPLE | flag::BITS,
        size: 8,
        align: 8,
        pointers: &[],
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    })
    .unwrap()
}

#[test]
fn arrays_keep_the_owner_of_their_data() {
    in_call(shared_data);
}

unsafe extern "C" fn roots_of_the_state(_: i64, _: i64, call: i64) -> i32 {
    let state = ThreadState::current();
    // SAFETY: called from an entry, here and below.
    let slot = unsafe { bc_call_slot(2) };
    // SAFETY: a slot of this thread's.
    unsafe { slot.write(string(1)) };
    // SAFETY: as above.
    state.exceptions.push(unsafe { string(2) });
    litter(300);
    // SAFETY: as above.
    unsafe { jl_gc_collect(1) };
    litter(300);
    // SAFETY: a slot of this thread's.
    check!(call, is_string(unsafe { slot.read() }, 1));
    check!(call, jl_excstack_state() == 1);
    check!(call, is_string(jl_current_exception(), 2));
    state.exceptions.truncate(0);
    0
}

#[test]
fn slots_and_exceptions_are_roots() {
    in_call(roots_of_the_state);
}

unsafe extern "C" fn many_deferred(_: i64, _: i64, call: i64) -> i32 {
    let function = Builtins::get().nothing();
    // SAFETY: called from an entry, here and below.
    let argument = [unsafe { string(77) }];
    // SAFETY: one argument.
    let kept = unsafe { bc_defer(function, argument.as_ptr(), 1) };
    let argument = black_box(std::ptr::null::<u8>());
    for i in 0..2000 {
        // SAFETY: as above.
        let arguments = [unsafe { string(i) }, function];
        // SAFETY: two arguments.
        unsafe { bc_defer(function, arguments.as_ptr(), 2) };
    }
    litter(100);
    // SAFETY: as above.
    unsafe { jl_gc_collect(1) };
    let (mut entries, mut right) = (0, false);
    let look = |object: usize, entry: *const crate::defer::Deferred| {
        entries += 1;
        if object == kept as usize {
            // SAFETY: an entry of this call.
            let mut references = unsafe { crate::defer::references(entry) };
            right = references.next() == Some(function)
                && references.next().is_some_and(|text| is_string(text, 77));
        }
    };
    // SAFETY: the call that is running.
    let running = unsafe { &*ThreadState::current().call.get() };
    // SAFETY: its list.
    unsafe { crate::defer::by_object(running.deferred.get(), look) };
    check!(call, right);
    // Some may still lie on the stack.
    check!(call, entries < 200 && argument.is_null());
    0
}

#[test]
fn what_the_origin_makes_goes_with_its_object() {
    in_call(many_deferred);
}

unsafe extern "C" fn copied_and_changed(_: i64, _: i64, call: i64) -> i32 {
    let state = ThreadState::current();
    // SAFETY: called from an entry, here and below.
    let (outer, inner) = unsafe { (jl_alloc_vec_any(0), jl_alloc_vec_any(0)) };
    // SAFETY: as above; live objects.
    unsafe {
        jl_array_ptr_1d_push(inner, string(5));
        for held in [outer, inner, inner] {
            jl_array_ptr_1d_push(outer, held.cast());
        }
    }
    // SAFETY: one argument.
    let copies = unsafe { crate::snapshot::copies(&outer.cast(), 1, |_| false) };
    // SAFETY: the first elements of live arrays.
    let word = |array: *mut Value, i: usize| unsafe {
        reference_at(jl_array_ptr(array.cast()).cast(), 8 * i)
    };
    // SAFETY: as above.
    unsafe { set_reference_at(jl_array_ptr(inner).cast(), 0, string(6)) };
    litter(300);
    // SAFETY: one copy.
    let copy = unsafe { copies.read() };
    check!(call, copy != outer.cast() && word(copy, 0) == copy);
    check!(
        call,
        word(copy, 1) == word(copy, 2) && word(copy, 1) != inner.cast()
    );
    check!(call, is_string(word(word(copy, 1), 0), 5));
    check!(call, is_string(word(inner.cast(), 0), 6));

    // SAFETY: as above.
    let large = unsafe { jl_alloc_array_1d(Builtins::get().ty(id::VECTOR_UINT8), 2 << 20) };
    // SAFETY: one argument.
    let none = unsafe { crate::snapshot::copies(&large.cast(), 1, |_| false) };
    check!(call, none.is_null());
    // SAFETY: one argument.
    let itself = unsafe { crate::snapshot::copies(&outer.cast(), 1, |_| true).read() };
    check!(
        call,
        itself == outer.cast() && state.handler.get().is_null()
    );
    0
}

#[test]
fn copies_of_what_a_text_is_made_from_are_whole() {
    in_call(copied_and_changed);
}

unsafe extern "C" fn large_and_small(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: called from an entry, here and below.
    let holder = unsafe { jl_alloc_svec(10_000) };
    let ty = Builtins::get().ty(id::VECTOR_UINT8);
    let mut taken = 0;
    for i in 0..300_usize {
        // SAFETY: as above.
        let bytes = unsafe { jl_alloc_array_1d(ty, 10_000 + 9_000 * (i % 40)) };
        // SAFETY: just made.
        let header = unsafe { Header::new(bytes) };
        // SAFETY: its data.
        unsafe { jl_array_ptr(bytes).write_bytes(i as u8, header.len()) };
        // SAFETY: inside the vector: earlier ones are dropped.
        unsafe { set_reference_at(holder, SVEC_DATA + 8 * (999 * (i % 10)), bytes.cast()) };
        taken += header.len();
    }
    check!(call, taken > 50 << 20);
    for i in 290..300_usize {
        // SAFETY: as above.
        let bytes = unsafe { reference_at(holder, SVEC_DATA + 8 * (999 * (i % 10))) };
        // SAFETY: a vector.
        let header = unsafe { Header::new(bytes.cast()) };
        // SAFETY: its data.
        let all = unsafe { std::slice::from_raw_parts(jl_array_ptr(bytes.cast()), header.len()) };
        check!(call, all.iter().all(|byte| *byte == i as u8));
    }
    let dims = [5_usize];
    // SAFETY: memory that outlives the array.
    let over = unsafe { bc_array_over(ty, dims.as_ptr().cast_mut().cast(), 1, dims.as_ptr()) };
    litter(10);
    // SAFETY: a live array.
    check!(call, unsafe { Header::new(over) }.len() == 5);
    0
}

#[test]
fn large_arrays_stay_and_go() {
    in_call(large_and_small);
}

/// An array over the data of one that nobody else refers to.
#[inline(never)]
unsafe fn only_wrapped(bytes: usize) -> *mut crate::layout::Array {
    let ty = Builtins::get().ty(id::VECTOR_UINT8);
    // SAFETY: called from an entry.
    let vector = unsafe { jl_alloc_array_1d(ty, bytes) };
    // SAFETY: just made.
    let data = unsafe { jl_array_ptr(vector) };
    // SAFETY: its data.
    unsafe { data.write_bytes(77, bytes) };
    // SAFETY: called from an entry.
    unsafe { jl_ptr_to_array_1d(ty, data.wrapping_add(16), bytes - 16, 0) }
}

unsafe extern "C" fn wrapped(_: i64, _: i64, call: i64) -> i32 {
    for bytes in [100, 10_000, 30_000, 100_000] {
        // SAFETY: called from an entry.
        let array = black_box(unsafe { only_wrapped(bytes) });
        litter(300);
        // SAFETY: a live array.
        let data = unsafe { jl_array_ptr(array) };
        // SAFETY: its data.
        let all = unsafe { std::slice::from_raw_parts(data, bytes - 16) };
        check!(call, all.iter().all(|byte| *byte == 77));
    }
    0
}

#[test]
fn an_array_over_memory_keeps_it() {
    in_call(wrapped);
}

/// A vector that looks like a constant of an archive, and something of the call.
unsafe fn constant_vector() -> (*mut crate::layout::Array, *mut Value) {
    // SAFETY: called from an entry, here and below.
    let vector = unsafe { jl_alloc_vec_any(3) };
    let tag = Builtins::get().ty(id::VECTOR_ANY) as usize | crate::layout::TAG_CONSTANT;
    // SAFETY: just made.
    unsafe { crate::layout::set_tag(vector.cast(), tag) };
    // SAFETY: as above.
    (vector, unsafe { string(1) })
}

unsafe extern "C" fn stores_into_a_constant(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: called from an entry, here and below.
    let (vector, item) = unsafe { constant_vector() };
    // What lasts may be stored.
    // SAFETY: inside the vector.
    unsafe { jl_arrayset(vector, Builtins::get().nothing(), 0) };
    // SAFETY: as above.
    unsafe { jl_arrayset(vector, item, 1) };
    0
}

unsafe extern "C" fn copies_into_a_constant(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: called from an entry, here and below.
    let (vector, item) = unsafe { constant_vector() };
    let items = [Builtins::get().nothing(), std::ptr::null_mut(), item];
    // SAFETY: a vector.
    let data = unsafe { jl_array_ptr(vector) }.cast();
    for count in [2, 3] {
        // SAFETY: so many items, and so much room.
        unsafe { jl_array_ptr_copy(vector, data, vector, items.as_ptr(), count) };
    }
    0
}

#[test]
fn the_runtime_stores_nothing_of_a_call_into_a_constant() {
    for entry in [stores_into_a_constant, copies_into_a_constant] {
        let constants = Constants::build(&[]).unwrap();
        let mut output = Output::new();
        let limits = Limits::default();
        // SAFETY: the entries keep the rules.
        let outcome = unsafe {
            run(
                entry as Entry,
                &mut [],
                &constants,
                limits,
                &|_, _, _| (),
                &mut output,
            )
        };
        assert_eq!(outcome, Outcome::Thrown);
        assert!(String::from_utf8_lossy(output.bytes()).contains("changed a constant"));
    }
}
