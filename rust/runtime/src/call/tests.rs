//! Calls of entries that are written in Rust here: values, exceptions, faults, memory.

use super::*;
use crate::builtin::{Builtins, id};
use crate::constant::Constants;
use crate::error::{argument_error, jl_bounds_error_ints};
use crate::exception::throw_instance;
use crate::graph::tag;
use crate::memory;
use crate::print::{bc_print, bc_write};
use std::sync::atomic::{AtomicU64, Ordering};

fn constants() -> Constants {
    Constants::build(&[]).unwrap()
}

fn call(entry: Entry, payload: &mut [u8], output: &mut Output) -> Outcome {
    // SAFETY: the entries below keep the rules.
    unsafe {
        run(
            entry,
            payload,
            &constants(),
            Limits::default(),
            &|_, _, _| (),
            output,
        )
    }
}

unsafe extern "C" fn doubles(payload: i64, length: i64, call: i64) -> i32 {
    // SAFETY: the runtime passes so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(payload as *mut u8, length as usize) };
    // SAFETY: called from an entry.
    let result = unsafe { bc_result(call, bytes.len() as u64) } as *mut u8;
    for (i, byte) in bytes.iter().enumerate() {
        // SAFETY: inside the result.
        unsafe { result.add(i).write(2 * byte) };
    }
    0
}

#[test]
fn values_come_back_aligned() {
    let mut output = Output::new();
    let mut payload = [1, 2, 3];
    assert_eq!(call(doubles, &mut payload, &mut output), Outcome::Value);
    assert_eq!(output.bytes(), [2, 4, 6]);
    assert_eq!(output.bytes().as_ptr() as usize % 64, 0);
    assert_eq!(call(doubles, &mut [], &mut output), Outcome::Value);
    assert_eq!(output.bytes(), []);
    let mut large = vec![7; 100_000];
    assert_eq!(call(doubles, &mut large, &mut output), Outcome::Value);
    assert_eq!(output.bytes(), vec![14; 100_000]);
    assert!(output.capacity() >= 100_000);
    output.shrink_above(4096);
    assert_eq!(output.capacity(), 0);
}

unsafe extern "C" fn writes_nothing(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: called from an entry.
    unsafe { bc_result(call, 24) };
    0
}

#[test]
fn results_do_not_show_what_was_there_before() {
    let mut output = Output::new();
    assert_eq!(call(doubles, &mut [0x7f; 100], &mut output), Outcome::Value);
    assert_eq!(call(writes_nothing, &mut [], &mut output), Outcome::Value);
    assert_eq!(output.bytes(), [0; 24]);
}

unsafe extern "C" fn argument_is_bad(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: called from an entry.
    unsafe { argument_error("no such thing") }
}

unsafe extern "C" fn out_of_bounds(_: i64, _: i64, call: i64) -> i32 {
    let thing = Builtins::get().nothing();
    // SAFETY: called from an entry, with a value to be replaced by the exception.
    unsafe { bc_result(call, 1000) };
    // SAFETY: as above; three indices.
    unsafe { jl_bounds_error_ints(thing, [1_i64, 2, 3].as_ptr(), 3) }
}

#[test]
fn uncaught_exceptions_arrive_as_graphs() {
    let mut output = Output::new();
    assert_eq!(call(argument_is_bad, &mut [], &mut output), Outcome::Thrown);
    let bytes = output.bytes();
    assert_eq!(bytes[0], tag::STRUCT);
    assert_eq!(bytes[1..5], u32::from(id::ARGUMENT_ERROR).to_le_bytes());
    assert!(bytes.ends_with(b"no such thing"));
    assert_eq!(call(out_of_bounds, &mut [], &mut output), Outcome::Thrown);
    let tail = [
        vec![tag::BUILTIN, 0, tag::INTS, 3, 0, 0, 0],
        words(&[1, 2, 3]),
    ]
    .concat();
    assert!(output.bytes().ends_with(&tail), "{:?}", output.bytes());
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

unsafe extern "C" fn hands_over(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: called from an entry, with an object.
    unsafe { bc_throw(call, Builtins::get().instance(id::DIVIDE_ERROR)) };
    1
}

#[test]
fn exceptions_can_be_handed_over() {
    let mut output = Output::new();
    assert_eq!(call(hands_over, &mut [], &mut output), Outcome::Thrown);
    assert_eq!(
        output.bytes()[..5],
        [tag::STRUCT, id::DIVIDE_ERROR as u8, 0, 0, 0]
    );
}

unsafe extern "C" fn reads_nowhere(_: i64, _: i64, _: i64) -> i32 {
    let nowhere = std::hint::black_box(16_usize) as *const i32;
    // SAFETY: none: that is the test.
    unsafe { nowhere.read_volatile() }
}

unsafe extern "C" fn throws_rubbish(_: i64, _: i64, call: i64) -> i32 {
    // SAFETY: none: no object lies there.
    unsafe { bc_throw(call, 4096 as *mut Value) };
    1
}

#[test]
fn faults_end_the_call_and_nothing_else() {
    let mut output = Output::new();
    for _ in 0..10 {
        assert_eq!(
            call(reads_nowhere, &mut [], &mut output),
            Outcome::Fault {
                signal: libc::SIGSEGV
            }
        );
        assert_eq!(
            call(throws_rubbish, &mut [], &mut output),
            Outcome::Fault {
                signal: libc::SIGSEGV
            }
        );
        assert_eq!(call(doubles, &mut [1], &mut output), Outcome::Value);
    }
}

extern "C" fn descends(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        0
    } else {
        descends(depth + 1) + room[(depth % 64) as usize]
    }
}

unsafe extern "C" fn never_stops(_: i64, _: i64, _: i64) -> i32 {
    descends(0) as i32
}

#[test]
fn runaway_recursion_is_an_exception() {
    let mut output = Output::new();
    for _ in 0..3 {
        assert_eq!(call(never_stops, &mut [], &mut output), Outcome::Thrown);
        assert_eq!(output.bytes()[1], id::STACK_OVERFLOW_ERROR as u8);
    }
}

unsafe extern "C" fn takes_memory(payload: i64, _: i64, _: i64) -> i32 {
    // SAFETY: the test passes a word.
    let each = unsafe { (payload as *const u64).read_unaligned() };
    for _ in 0..1000 {
        // SAFETY: called from an entry.
        let memory = unsafe { memory::malloc(each as usize) };
        if memory.is_null() {
            // SAFETY: called from an entry.
            unsafe { throw_instance(id::OUT_OF_MEMORY_ERROR) }
        }
        // SAFETY: just taken.
        unsafe { memory.cast::<u8>().write(1) };
    }
    0
}

#[test]
fn what_a_call_forgets_is_freed() {
    let mut output = Output::new();
    let mut each = 10_000_u64.to_le_bytes();
    for _ in 0..50 {
        assert_eq!(call(takes_memory, &mut each, &mut output), Outcome::Value);
    }
    // One chunk at most: the blocks are gone.
    assert!(ThreadState::current().heap.used() <= 4 << 20);
}

#[test]
fn a_call_has_its_limit_of_memory() {
    let mut output = Output::new();
    let mut each = 100_000_u64.to_le_bytes();
    let limits = Limits {
        memory: 10 << 20,
        collect_after: None,
    };
    // SAFETY: the entry keeps the rules.
    let outcome = unsafe {
        run(
            takes_memory as Entry,
            &mut each,
            &constants(),
            limits,
            &|_, _, _| (),
            &mut output,
        )
    };
    assert_eq!(outcome, Outcome::Thrown);
    assert_eq!(output.bytes()[1], id::OUT_OF_MEMORY_ERROR as u8);
    assert_eq!(call(takes_memory, &mut each, &mut output), Outcome::Value);
}

unsafe extern "C" fn frees_and_reallocates(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: the family is used as C's is.
    unsafe {
        let a = memory::calloc(100, 8).cast::<u64>();
        if (0..100).any(|i| a.add(i).read() != 0) {
            return 7;
        }
        a.write(5);
        let b = memory::realloc(a.cast(), 100_000).cast::<u64>();
        if b.read() != 5 {
            return 8;
        }
        memory::free(b.cast());
        memory::free(ptr::null_mut());
        // Freed twice: an error, not a disaster.
        memory::free(b.cast());
    }
    0
}

#[test]
fn the_malloc_family_works_and_notices_mistakes() {
    let mut output = Output::new();
    assert_eq!(
        call(frees_and_reallocates, &mut [], &mut output),
        Outcome::Thrown
    );
    assert!(String::from_utf8_lossy(output.bytes()).contains("did not come from malloc"));
}

unsafe extern "C" fn counts(payload: i64, _: i64, _: i64) -> i32 {
    // SAFETY: the test passes the address of a counter.
    let counter = unsafe { &*(payload as *const *const AtomicU64).read_unaligned() };
    counter.fetch_add(1, Ordering::Relaxed);
    0
}

#[test]
fn many_threads_call_at_once() {
    let counter = AtomicU64::new(0);
    let address = (&raw const counter as usize).to_le_bytes();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut output = Output::new();
                for _ in 0..1000 {
                    assert_eq!(
                        call(counts, &mut address.clone(), &mut output),
                        Outcome::Value
                    );
                }
            });
        }
    });
    assert_eq!(counter.load(Ordering::Relaxed), 8000);
}

unsafe extern "C" fn prints(payload: i64, length: i64, _: i64) -> i32 {
    // SAFETY: the payload is what the runtime passed; what follows it is never read but on purpose.
    unsafe {
        bc_write(1, payload as *const u8, length as u64);
        bc_print(2, crate::string::from_bytes(b"warned\n"));
        // Ends with a fault.
        bc_write(1, 64 as *const u8, 1);
    }
    0
}

#[test]
fn what_a_call_prints_is_heard_even_if_it_dies() {
    let heard = RefCell::new(Vec::new());
    let listener = |stream: u8, text: &[u8], open: bool| {
        heard.borrow_mut().push((stream, text.to_vec(), open));
    };
    let mut output = Output::new();
    // SAFETY: the entry keeps the rules, but for the fault, which is survived.
    let outcome = unsafe {
        run(
            prints as Entry,
            &mut b"one\ntwo".to_vec(),
            &constants(),
            Limits::default(),
            &listener,
            &mut output,
        )
    };
    assert_eq!(outcome, Outcome::Fault { signal: 11 });
    let expected = [
        (1, b"one\n".to_vec(), false),
        (2, b"warned\n".to_vec(), false),
        (1, b"two".to_vec(), false),
    ];
    assert_eq!(heard.take(), expected);
}

unsafe extern "C" fn prints_to_nowhere(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: a byte of our own.
    unsafe { bc_write(3, b"x".as_ptr(), 1) };
    0
}

#[test]
fn there_are_two_streams() {
    let mut output = Output::new();
    let outcome = call(prints_to_nowhere, &mut [], &mut output);
    assert_eq!(outcome, Outcome::Thrown);
    assert!(String::from_utf8_lossy(output.bytes()).contains("the streams are 1"));
}

#[test]
fn what_is_appended_follows_what_was_there() {
    let mut output = Output::new();
    assert!(output.append(b"ab"));
    assert!(output.append(b""));
    assert!(output.append(&[b'c'; 10_000]));
    assert_eq!(output.bytes()[..3], *b"abc");
    assert_eq!(output.bytes().len(), 10_002);
    assert!(output.append(b"d"));
    assert_eq!(output.bytes().last(), Some(&b'd'));
    assert_eq!(output.bytes().as_ptr() as usize % 64, 0);
}

unsafe extern "C" fn goes_on(_: i64, _: i64, _: i64) -> i32 {
    // SAFETY: called from an entry.
    let room = unsafe { crate::hop::bc_forward_room(3) } as *mut u8;
    for at in 0..3 {
        // SAFETY: inside the room.
        unsafe { room.add(at).write(crate::hop::bc_here() as u8) };
    }
    // SAFETY: called from an entry; nothing here needs dropping.
    unsafe {
        crate::hop::bc_forward(
            crate::hop::bc_nodes(),
            crate::hop::bc_entry() + i64::from(u16::MAX) - 1,
        )
    }
}

#[test]
fn a_call_that_is_forwarded_leaves_the_next_ones_payload() {
    let place = Place {
        here: 7,
        nodes: 9,
        entry: 1,
    };
    let code = Code {
        place,
        ..Code::from(goes_on as Entry)
    };
    let mut output = Output::new();
    for _ in 0..3 {
        // SAFETY: the entry above keeps the rules.
        let outcome = unsafe {
            run(
                code.clone(),
                &mut [1],
                &constants(),
                Limits::default(),
                &|_, _, _| (),
                &mut output,
            )
        };
        let onward = Onward {
            node: 9,
            entry: u16::MAX,
        };
        assert_eq!(outcome, Outcome::Forward(onward));
        assert_eq!(output.bytes(), [7, 7, 7]);
    }
    assert_eq!(crate::hop::bc_here(), 0, "no call runs any more");
}
