//! Arrays against a model: a `Vec` that goes through the same operations.

use super::*;
use crate::builtin::{Builtins, id};
use crate::layout::{
    ARRAY_HOW_BLOCK, ARRAY_HOW_BUFFER, ARRAY_HOW_INLINE, DataType, STRING_DATA, string_bytes,
};
use crate::string::{from_bytes, jl_alloc_string};
use crate::thread::attach;
use crate::types::{TypeDescription, TypeRef, flag, intern};

fn array_type(name: &str, element: u32, element_flags: u32, ndims: u32) -> TypeRef {
    let flags = flag::ARRAY | flag::MUTABLE | flag::CONCRETE;
    intern(&TypeDescription {
        name,
        flags,
        size: 0,
        align: 8,
        pointers: &[],
        element,
        element_flags,
        ndims,
        hash: 0,
    })
    .unwrap()
}

fn header(array: *mut Array) -> Header {
    // SAFETY: every test passes live arrays.
    unsafe { Header::new(array) }
}

fn words(array: *mut Array) -> Vec<u64> {
    let header = header(array);
    // SAFETY: a live vector of words.
    unsafe { std::slice::from_raw_parts(header.data().cast::<u64>(), header.len()) }.to_vec()
}

fn set(array: *mut Array, index: usize, value: u64) {
    // SAFETY: inside a live vector of words.
    unsafe { header(array).data().cast::<u64>().add(index).write(value) };
}

/// A small generator of our own: the tests must not depend on anything that changes.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = crate::hash::int64hash(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15));
        (self.0 % limit.max(1) as u64) as usize
    }
}

#[test]
fn a_new_array_has_julias_header() {
    attach();
    let ty = array_type("Core.Array{Core.Int64,3}", 8, 0, 3);
    // SAFETY: on an attached thread, with memory enough.
    let array = unsafe { jl_alloc_array_3d(ty.data_type(), 2, 3, 4) };
    let header = header(array);
    assert_eq!((header.len(), header.ndims(), header.size()), (24, 3, 8));
    assert_eq!(
        (0..4).map(|i| header.dim(i)).collect::<Vec<_>>(),
        [2, 3, 4, 1]
    );
    assert_eq!(header.how(), ARRAY_HOW_INLINE);
    assert_eq!(header.data() as usize % 16, 0);
    // SAFETY: as above.
    let large = unsafe {
        Header::new(jl_alloc_array_1d(
            Builtins::get().ty(id::VECTOR_UINT8),
            100_000,
        ))
    };
    assert_eq!(large.how(), ARRAY_HOW_BLOCK);
    assert_eq!(large.data() as usize % 64, 0);
}

/// Pushes, pops, inserts and deletes at random places, at random moments; the model does the same.
fn random_walk(seed: u64, steps: usize) {
    let ty = array_type("Core.Array{Core.UInt64,1}", 8, 0, 1);
    let mut random = Random(seed);
    let mut model: Vec<u64> = Vec::new();
    // SAFETY: on an attached thread, with memory enough; every index is inside.
    unsafe {
        let array = jl_alloc_array_1d(ty.data_type(), 0);
        for step in 0..steps as u64 {
            let count = 1 + random.below(4) * random.below(8);
            let (n, fresh): (usize, Vec<u64>) = (
                model.len(),
                (0..count as u64).map(|i| step * 100 + i).collect(),
            );
            match random.below(8) {
                0 | 1 => {
                    jl_array_grow_end(array, count);
                    fresh
                        .iter()
                        .enumerate()
                        .for_each(|(i, x)| set(array, n + i, *x));
                    model.extend(&fresh);
                }
                2 => {
                    jl_array_grow_beg(array, count);
                    fresh
                        .iter()
                        .enumerate()
                        .for_each(|(i, x)| set(array, i, *x));
                    model.splice(0..0, fresh);
                }
                3 => {
                    let at = random.below(n + 1);
                    jl_array_grow_at(array, at as isize, count);
                    fresh
                        .iter()
                        .enumerate()
                        .for_each(|(i, x)| set(array, at + i, *x));
                    model.splice(at..at, fresh);
                }
                4 if n >= count => {
                    jl_array_del_end(array, count);
                    model.truncate(n - count);
                }
                5 if n >= count => {
                    jl_array_del_beg(array, count);
                    model.drain(..count);
                }
                6 if n >= count => {
                    let at = random.below(n - count + 1);
                    jl_array_del_at(array, at as isize, count);
                    model.drain(at..at + count);
                }
                _ => jl_array_sizehint(array, random.below(2 * n + 10)),
            }
            assert_eq!(words(array), model, "seed {seed}, step {step}");
            let header = header(array);
            assert_eq!(header.nrows(), header.len());
            assert!(
                header.offset() as usize + header.len() <= header.maxsize(),
                "seed {seed}, step {step}"
            );
        }
    }
}

#[test]
fn vectors_grow_and_shrink_like_a_model() {
    attach();
    for seed in 0..40 {
        random_walk(seed, 400);
    }
}

#[test]
fn large_vectors_move_to_blocks_and_give_them_back() {
    attach();
    let ty = array_type("Core.Array{Core.UInt64,1}", 8, 0, 1);
    // SAFETY: on an attached thread, with memory enough.
    unsafe {
        let array = jl_alloc_array_1d(ty.data_type(), 0);
        let used = crate::thread::ThreadState::current().heap.used();
        for i in 0..200_000 {
            jl_array_grow_end(array, 1);
            set(array, i, i as u64);
        }
        assert_eq!(header(array).how(), ARRAY_HOW_BLOCK);
        assert!(words(array).into_iter().eq(0..200_000));
        // 1.6 MB of data, in a block of at most twice that: the earlier blocks are gone.
        let grown = crate::thread::ThreadState::current().heap.used() - used;
        assert!(grown < 5 << 20, "{grown}");
        jl_array_del_end(array, 199_000);
        jl_array_sizehint(array, 1000);
        assert_eq!(header(array).maxsize(), 1000);
        assert_eq!(header(array).how(), ARRAY_HOW_BUFFER);
        assert!(words(array).into_iter().eq(0..1000));
    }
}

#[test]
fn new_references_are_null() {
    attach();
    let any = Builtins::get().ty(id::VECTOR_ANY);
    // SAFETY: on an attached thread; the indices are inside.
    unsafe {
        let array = jl_alloc_array_1d(any, 3);
        assert_eq!(jl_array_isassigned(array, 1), 0);
        jl_arrayset(array, Builtins::get().nothing(), 1);
        assert_eq!(jl_array_isassigned(array, 1), 1);
        jl_array_grow_at(array, 1, 2);
        assert_eq!(
            (0..5)
                .map(|i| jl_array_isassigned(array, i))
                .collect::<Vec<_>>(),
            [0, 0, 0, 1, 0]
        );
        assert_eq!(jl_arrayref(array, 3), Builtins::get().nothing());
        jl_array_ptr_1d_push(array, Builtins::get().bool(true));
        assert_eq!(jl_arrayref(array, 5), Builtins::get().bool(true));
        jl_arrayunset(array, 5);
        assert_eq!(jl_array_isassigned(array, 5), 0);
    }
}

#[test]
fn selectors_follow_their_elements() {
    attach();
    let ty = array_type("Core.Array{Test.Union,1}", 8, element::UNION, 1);
    // SAFETY: on an attached thread; everything stays inside the vector.
    unsafe {
        let array = jl_alloc_array_1d(ty.data_type(), 0);
        let mut model: Vec<(u64, u8)> = Vec::new();
        let mut random = Random(5);
        for step in 0..500_u64 {
            let n = model.len();
            let at = random.below(n + 1);
            if random.below(3) > 0 || n == 0 {
                jl_array_grow_at(array, at as isize, 1);
                set(array, at, step);
                assert_eq!(header(array).selectors().add(at).read(), 0);
                header(array).selectors().add(at).write((step % 3) as u8);
                model.insert(at, (step, (step % 3) as u8));
            } else {
                jl_array_del_at(array, at.min(n - 1) as isize, 1);
                model.remove(at.min(n - 1));
            }
            let selectors = std::slice::from_raw_parts(header(array).selectors(), model.len());
            let found: Vec<_> = words(array)
                .into_iter()
                .zip(selectors.iter().copied())
                .collect();
            assert_eq!(found, model, "step {step}");
        }
        let copy = jl_array_copy(array);
        assert_eq!(words(copy), words(array));
        let selectors = std::slice::from_raw_parts(header(copy).selectors(), model.len());
        assert!(
            selectors
                .iter()
                .eq(model.iter().map(|(_, selector)| selector))
        );
    }
}

#[test]
fn bytes_end_with_nul() {
    attach();
    let ty = Builtins::get().ty(id::VECTOR_UINT8);
    // SAFETY: on an attached thread; bytes have a NUL behind them.
    unsafe {
        let array = jl_alloc_array_1d(ty, 0);
        for i in 0..100_u8 {
            jl_array_grow_end(array, 1);
            header(array).data().add(usize::from(i)).write(b'a');
            assert_eq!(header(array).data().add(usize::from(i) + 1).read(), 0);
        }
        jl_array_del_end(array, 50);
        assert_eq!(header(array).data().add(50).read(), 0);
        assert_eq!(jl_array_cconvert_cstring(array), array);
    }
}

#[test]
fn strings_are_written_through_vectors() {
    attach();
    // SAFETY: on an attached thread; everything stays inside.
    unsafe {
        // What `sprint` does: a string's memory as a vector, filled, then the string back.
        let array = jl_string_to_array(jl_alloc_string(4));
        header(array)
            .data()
            .copy_from_nonoverlapping(b"abcd".as_ptr(), 4);
        jl_array_grow_end(array, 3);
        header(array)
            .data()
            .add(4)
            .copy_from_nonoverlapping(b"efg".as_ptr(), 3);
        let text = jl_array_to_string(array);
        assert_eq!(string_bytes(text), b"abcdefg");
        assert_eq!(header(array).len(), 0);
        // Not copied: the string is where the data was.
        assert_eq!(text.cast::<u8>().add(STRING_DATA + 7).read(), 0);
        // Using the vector again does not touch the string.
        jl_array_grow_end(array, 2);
        header(array)
            .data()
            .copy_from_nonoverlapping(b"xy".as_ptr(), 2);
        assert_eq!(string_bytes(text), b"abcdefg");
        assert_eq!(string_bytes(jl_array_to_string(array)), b"xy");
        let plain = jl_pchar_to_array(b"plain".as_ptr(), 5);
        assert_eq!(string_bytes(jl_array_to_string(plain)), b"plain");
    }
}

#[test]
fn reshaped_arrays_share_until_one_is_resized() {
    attach();
    let matrix = array_type("Core.Array{Core.UInt64,2}", 8, 0, 2);
    let vector = array_type("Core.Array{Core.UInt64,1}", 8, 0, 1);
    let builtins = Builtins::get();
    // SAFETY: on an attached thread; the tuple has two words.
    unsafe {
        let array = jl_alloc_array_1d(vector.data_type(), 6);
        (0..6).for_each(|i| set(array, i, i as u64));
        let dims = crate::memory::object(16, builtins.index_tuple(2));
        dims.cast::<[usize; 2]>().write([2, 3]);
        let reshaped = jl_reshape_array(matrix.data_type(), array, dims);
        assert_eq!((header(reshaped).dim(0), header(reshaped).dim(1)), (2, 3));
        assert_eq!(jl_array_data_owner(reshaped), array.cast());
        set(reshaped, 5, 50);
        assert_eq!(words(array)[5], 50);
        let flat = crate::memory::object(8, builtins.index_tuple(1));
        flat.cast::<usize>().write(6);
        let again = jl_reshape_array(vector.data_type(), reshaped, flat);
        assert_eq!(jl_array_data_owner(again), array.cast());
        jl_array_grow_end(again, 1);
        set(again, 0, 99);
        assert_eq!(words(array)[0], 0);
        assert_eq!(words(again)[..6], [99, 1, 2, 3, 4, 50]);
    }
}

#[test]
fn memory_of_others_is_used_in_place_and_left_when_it_grows() {
    attach();
    let ty: *mut DataType = array_type("Core.Array{Core.UInt64,1}", 8, 0, 1).data_type();
    let mut memory = [1_u64, 2, 3];
    // SAFETY: on an attached thread; the memory outlives the array.
    unsafe {
        let data = memory.as_mut_ptr().cast::<u8>();
        let array = bc_array_over(ty, data, 1, &3);
        set(array, 0, 10);
        assert_eq!(memory[0], 10);
        jl_array_grow_end(array, 2);
        set(array, 3, 40);
        set(array, 0, 20);
        assert_eq!(words(array)[..4], [20, 2, 3, 40]);
        assert_eq!(memory, [10, 2, 3]);
    }
}

#[test]
fn copies_are_apart() {
    attach();
    // SAFETY: on an attached thread.
    unsafe {
        let text = from_bytes(b"0123456789");
        let array = jl_array_copy(jl_string_to_array(text));
        header(array).data().write(b'x');
        assert_eq!(string_bytes(text), b"0123456789");
        assert_eq!(header(array).len(), 10);
    }
}
