//! Archives that Julia 1.5 captured (test/fixtures/jit, made by captured.jl there): bitcode of LLVM 9, Julia's own types and
//! exceptions. Old samples must stay readable.

use crate::support::{JIT, call};
use bitcode_jit::{Compiled, Outcome};
use bitcode_wire::archive::Archive;
use bitcode_wire::code::CodeId;

/// Built-in types, as graphs number them.
const BOUNDS_ERROR: u8 = 19;
const DOMAIN_ERROR: u8 = 29;

fn compile(archive: &[u8]) -> Compiled {
    JIT.compile(&CodeId::of(archive), &Archive::decode(archive).unwrap())
        .unwrap()
}

macro_rules! captured {
    ($name:literal) => {
        compile(include_bytes!(concat!(
            "../../../../test/fixtures/jit/",
            $name,
            ".bca"
        )))
    };
}

/// The result of a function of one integer, which is an integer.
fn value(compiled: &Compiled, argument: i64) -> i64 {
    let (outcome, bytes) = call(compiled, &[argument as u64]);
    assert_eq!(outcome, Outcome::Value, "of {argument}");
    i64::from_le_bytes(bytes.try_into().unwrap())
}

/// The graph of the exception that it throws.
fn thrown(compiled: &Compiled, argument: i64) -> Vec<u8> {
    let (outcome, bytes) = call(compiled, &[argument as u64]);
    assert_eq!(outcome, Outcome::Thrown, "of {argument}");
    bytes
}

#[test]
fn recursion() {
    let fib = captured!("fib");
    assert_eq!((0..15).map(|n| value(&fib, n)).max(), Some(377));
    assert_eq!(value(&fib, 25), 75_025);
}

#[test]
fn sorting_an_array() {
    let sorted = captured!("sorted");
    assert_eq!([-5, 2, 4, 100].map(|x| value(&sorted, x)), [1, 2, 3, 3]);
}

#[test]
fn a_bounds_error_with_its_array() {
    let third = captured!("third");
    assert_eq!(value(&third, 3), 30);
    let graph = thrown(&third, 4);
    // STRUCT BoundsError, two references: the ARRAY of 10, 20, 30 and the index as INTS.
    assert_eq!(graph[..5], [3, BOUNDS_ERROR, 0, 0, 0]);
    let data: Vec<u8> = [10_i64, 20, 30]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    assert!(graph.windows(24).any(|part| part == data));
    assert!(graph.ends_with(&[9, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn exceptions_caught_rethrown_and_deferred() {
    let guarded = captured!("guarded");
    let last = |bytes: &[u8]| i64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let (outcome, bytes) = call(&guarded, &[10]);
    assert_eq!((outcome, last(&bytes)), (Outcome::Value, 11));
    // Divides by zero: caught there.
    let (outcome, bytes) = call(&guarded, &[1]);
    assert_eq!((outcome, last(&bytes)), (Outcome::Value, -1));
    // The square root of a negative number: not caught; its text is made at the origin.
    let graph = thrown(&guarded, -1);
    assert_eq!(graph[..5], [3, DOMAIN_ERROR, 0, 0, 0]);
    assert!(graph.windows(5).any(|part| part == b"sqrt\x05"));
    assert!(graph.contains(&12));
}

#[test]
fn structs_with_wide_integers() {
    let wide = captured!("wide");
    for x in [-1000_i64, -1, 0, 1, 10, 123_456] {
        let sum = i128::from(x) + 3 * i128::from(x) + 1 + 2 + 5 + 7;
        assert_eq!(i128::from(value(&wide, x)), sum % 1000, "of {x}");
    }
}

#[test]
fn vectors_that_grow() {
    let growing = captured!("growing");
    assert_eq!([1, 3, 10, 1000].map(|x| value(&growing, x)), [2, 1, 4, 334]);
    assert_eq!(thrown(&growing, 0)[..2], [3, BOUNDS_ERROR]);
}
