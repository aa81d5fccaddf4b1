//! Payloads with graphs, read and written back by a call; and broken ones.

use super::*;
use crate::call::{Entry, Limits, Outcome, Output, run};
use crate::constant::{Description, FieldDescription};
use crate::types::{FieldKind, TypeDescription};

unsafe extern "C" fn echoes(payload: i64, length: i64, call: i64) -> i32 {
    // SAFETY: as the runtime calls an entry.
    let value = unsafe { bc_unpack(payload, length, call) };
    // SAFETY: as above.
    unsafe { bc_return(call, value) };
    0
}

fn description<'a>(
    name: &'a str,
    flags: u32,
    size: u32,
    pointers: &'a [u32],
) -> TypeDescription<'a> {
    TypeDescription {
        name,
        flags: flags | flag::CONCRETE,
        size,
        align: 8,
        pointers,
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    }
}

fn array_type(name: &str, element: u32, element_flags: u32) -> TypeDescription<'_> {
    TypeDescription {
        element,
        element_flags,
        ndims: 1,
        ..description(name, flag::ARRAY | flag::MUTABLE, 0, &[])
    }
}

fn described<'a>(
    ty: TypeDescription<'a>,
    element: Option<u32>,
    fields: &[(u32, u32, FieldKind, u32)],
) -> Description<'a> {
    Description::Type {
        ty,
        parent: None,
        element,
        fields: fields
            .iter()
            .map(|&(offset, size, kind, ty)| FieldDescription {
                offset,
                size,
                kind,
                ty: Some(ty),
            })
            .collect(),
    }
}

const STRING: u32 = 0;
const ANY: u32 = 1;
const PAIR: u32 = 2;
const STRINGS: u32 = 3;
const FLOATS: u32 = 4;
const PAIRS: u32 = 5;
const MAYBE: u32 = 6;
const UNIONS: u32 = 7;
const BIG: u32 = 8;
const FLOAT: u32 = 9;
const HOLDER: u32 = 10;
const OPTION: u32 = 11;

/// What the archive of these tests describes.
fn constants() -> Constants {
    use FieldKind::{Reference, Union};
    let plain = |name, size| description(name, flag::BITS | flag::PRIMITIVE, size, &[]);
    let mut any = description("Core.Any", flag::ABSTRACT, 0, &[]);
    any.flags = flag::ABSTRACT;
    let opaque = |name| Description::Opaque { name, id: 0 };
    Constants::build(&[
        described(description("Core.String", flag::MUTABLE, 0, &[]), None, &[]),
        described(any, None, &[]),
        // A string and anything.
        described(
            description("Test.Pair", flag::MUTABLE, 16, &[0, 8]),
            None,
            &[(0, 8, Reference, STRING), (8, 8, Reference, ANY)],
        ),
        described(
            array_type("Core.Array{Core.String,1}", 8, element::REFERENCES),
            Some(STRING),
            &[],
        ),
        described(
            array_type("Core.Array{Core.Float64,1}", 8, 0),
            Some(FLOAT),
            &[],
        ),
        described(
            array_type("Core.Array{Test.Inline,1}", 16, element::INLINE_REFERENCES),
            Some(HOLDER),
            &[],
        ),
        opaque("Core.Union{Core.Nothing,Core.Float64}"),
        described(
            array_type(
                "Core.Array{Core.Union{Core.Nothing,Core.Float64},1}",
                8,
                element::UNION,
            ),
            Some(MAYBE),
            &[],
        ),
        described(
            description("Base.GMP.BigInt", flag::MUTABLE, 16, &[]),
            None,
            &[],
        ),
        described(plain("Core.Float64", 8), None, &[]),
        // An inline string and a number.
        described(
            description("Test.Inline", 0, 16, &[0]),
            None,
            &[(0, 8, Reference, STRING)],
        ),
        // A union of a number and nothing.
        described(
            description("Test.Option", flag::BITS | flag::PADDING, 16, &[]),
            None,
            &[(0, 9, Union, MAYBE)],
        ),
    ])
    .unwrap()
}

/// A payload, piece by piece.
#[derive(Clone, Default)]
struct Graph(Vec<u8>);

impl Graph {
    fn u8(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn u32(mut self, word: u32) -> Self {
        self.0.extend(word.to_le_bytes());
        self
    }

    fn u64(mut self, word: u64) -> Self {
        self.0.extend(word.to_le_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn string(self, text: &str) -> Self {
        self.u8(tag::STRING)
            .u64(text.len() as u64)
            .raw(text.as_bytes())
    }

    /// A struct's beginning; its references follow.
    fn structure(self, ty: u32, bytes: &[u8], references: u32) -> Self {
        self.u8(tag::STRUCT)
            .u32(FIRST_OBJECT_TYPE + ty)
            .u32(bytes.len() as u32)
            .raw(bytes)
            .u32(references)
    }

    fn array(self, ty: u32, count: u64, form: u8) -> Self {
        self.u8(tag::ARRAY)
            .u32(FIRST_OBJECT_TYPE + ty)
            .u32(1)
            .u64(count)
            .u8(form)
    }

    /// The payload, with a tail.
    fn payload(self, tail: &[u8]) -> Vec<u8> {
        let end = 8 + self.0.len();
        let mut payload = (end as u64).to_le_bytes().to_vec();
        payload.extend(self.0);
        if !tail.is_empty() {
            payload.resize(round_up(end, CACHE_ALIGN), 0);
            payload.extend(tail);
        }
        payload
    }
}

fn ended(entry: Entry, payload: &[u8], constants: &Constants) -> (Outcome, Vec<u8>) {
    // As the node has it: aligned to 64.
    let mut memory = vec![0_u8; payload.len() + CACHE_ALIGN];
    let start = memory.as_ptr().align_offset(CACHE_ALIGN);
    let place = &mut memory[start..start + payload.len()];
    place.copy_from_slice(payload);
    let mut output = Output::new();
    // SAFETY: the entries of this file keep the rules.
    let outcome = unsafe {
        run(
            entry,
            place,
            constants,
            Limits::default(),
            &|_, _, _| (),
            &mut output,
        )
    };
    (outcome, output.bytes().to_vec())
}

/// It comes back as it was.
#[track_caller]
fn comes_back(payload: &[u8]) {
    assert_eq!(
        ended(echoes, payload, &constants()),
        (Outcome::Value, payload.to_vec())
    );
}

#[track_caller]
fn is_refused(payload: &[u8], because: &str) {
    match ended(echoes, payload, &constants()).0 {
        Outcome::BadPayload(what) => assert!(what.contains(because), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// A bit of everything.
fn rich() -> Vec<u8> {
    let tail: Vec<u8> = (0..8 * 600).map(|i| i as u8).collect();
    Graph::default()
        .structure(PAIR, &[0; 16], 2)
        .string("first")
        .structure(PAIR, &[0; 16], 2)
        .string("second")
        .u8(tag::SVEC)
        .u32(10)
        .u8(tag::BACKREF)
        .u32(0)
        .array(STRINGS, 3, form::REFERENCES)
        .string("a")
        .u8(tag::UNDEF)
        .string(&"long".repeat(30))
        .array(FLOATS, 2, form::BYTES)
        .u64(16)
        .raw(&[1; 16])
        .array(PAIRS, 1, form::INLINE)
        .u64(16)
        .raw(&[0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7])
        .string("inline")
        .array(UNIONS, 2, form::BYTES)
        .u64(18)
        .raw(&[0; 17])
        .u8(1)
        .u8(tag::SYMBOL)
        .u32(3)
        .raw(b"sym")
        .u8(tag::BIG_INT)
        .u32(FIRST_OBJECT_TYPE + BIG)
        .u32(-2_i32 as u32)
        .u64(5)
        .u64(6)
        .u8(tag::BUILTIN)
        .u8(0)
        .u8(tag::TYPE)
        .u32(FIRST_OBJECT_TYPE + FLOATS)
        .array(FLOATS, 600, form::TAIL)
        .u64(0)
        .payload(&tail)
}

#[test]
fn everything_comes_back() {
    comes_back(&rich());
    comes_back(&Graph::default().string("").payload(&[]));
    let long: Vec<u8> = (0..5000).map(|i| b'a' + (i % 26) as u8).collect();
    comes_back(
        &Graph::default()
            .u8(tag::LONG_STRING)
            .u64(5000)
            .u64(0)
            .payload(&long),
    );
}

#[test]
fn depth_is_not_on_the_stack() {
    let mut graph = Graph::default();
    for _ in 0..200_000 {
        graph = graph.structure(PAIR, &[0; 16], 2).u8(tag::UNDEF);
    }
    comes_back(&graph.u8(tag::UNDEF).payload(&[]));
}

#[test]
fn what_is_not_whole_is_refused() {
    let whole = rich();
    for length in 0..whole.len() - 1 {
        match ended(echoes, &whole[..length], &constants()).0 {
            Outcome::BadPayload(_) => {}
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let graph = Graph::default;
    let maybe = [0_u8; 16];
    is_refused(&[], "ends");
    is_refused(&u64::MAX.to_le_bytes(), "longer");
    is_refused(&graph().u8(tag::UNDEF).payload(&[]), "undefined");
    is_refused(&graph().u8(200).payload(&[]), "kind");
    is_refused(&graph().u8(tag::OPAQUE).u32(0).payload(&[]), "kind");
    is_refused(
        &graph().u8(tag::BACKREF).u32(0).payload(&[]),
        "not come yet",
    );
    is_refused(&graph().u8(tag::OBJECT).u32(999).payload(&[]), "none");
    is_refused(&graph().u8(tag::TYPE).u32(0).payload(&[]), "type");
    is_refused(&graph().u8(tag::BUILTIN).u8(3).payload(&[]), "none");
    is_refused(&graph().string("a").u8(0).payload(&[]), "follows");
    let symbol = |name: &[u8]| graph().u8(tag::SYMBOL).u32(name.len() as u32).raw(name);
    is_refused(&symbol(&[0xff]).payload(&[]), "symbol");
    is_refused(&symbol(b"a\0b").payload(&[]), "symbol");
    // Structs.
    is_refused(&graph().structure(STRING, &[], 0).payload(&[]), "type");
    is_refused(&graph().structure(STRINGS, &[], 0).payload(&[]), "type");
    is_refused(&graph().structure(BIG, &[0; 16], 0).payload(&[]), "type");
    is_refused(&graph().structure(PAIR, &[0; 8], 2).payload(&[]), "size");
    is_refused(
        &graph().structure(PAIR, &[0; 16], 1).payload(&[]),
        "references",
    );
    let wrong = graph().structure(PAIR, &[0; 16], 2).u8(tag::BUILTIN).u8(0);
    is_refused(&wrong.u8(tag::UNDEF).payload(&[]), "field's type");
    let mut selector = maybe;
    selector[8] = 2;
    is_refused(
        &graph().structure(OPTION, &selector, 0).payload(&[]),
        "member",
    );
    comes_back(&graph().structure(OPTION, &maybe, 0).payload(&[]));
    // Arrays.
    is_refused(&graph().array(PAIR, 0, form::BYTES).payload(&[]), "type");
    is_refused(
        &graph()
            .array(STRINGS, 1, form::BYTES)
            .u64(8)
            .raw(&[0; 8])
            .payload(&[]),
        "kind",
    );
    is_refused(
        &graph()
            .array(FLOATS, 1, form::REFERENCES)
            .u8(0)
            .payload(&[]),
        "kind",
    );
    is_refused(
        &graph().array(FLOATS, 1, form::LEFT_OUT).payload(&[]),
        "kind",
    );
    is_refused(
        &graph()
            .array(FLOATS, 2, form::BYTES)
            .u64(8)
            .raw(&[0; 8])
            .payload(&[]),
        "bytes",
    );
    is_refused(
        &graph()
            .array(FLOATS, 1 << 61, form::BYTES)
            .u64(0)
            .payload(&[]),
        "larger",
    );
    is_refused(
        &graph()
            .array(FLOATS, u64::MAX, form::BYTES)
            .u64(0)
            .payload(&[]),
        "larger",
    );
    is_refused(
        &graph()
            .array(STRINGS, 1 << 40, form::REFERENCES)
            .payload(&[]),
        "ends",
    );
    let mut dims = graph()
        .u8(tag::ARRAY)
        .u32(FIRST_OBJECT_TYPE + FLOATS)
        .u32(2);
    dims = dims.u64(1).u64(1).u8(form::BYTES).u64(8).raw(&[0; 8]);
    is_refused(&dims.payload(&[]), "dimensions");
    is_refused(
        &graph()
            .array(STRINGS, 1, form::REFERENCES)
            .u8(tag::BUILTIN)
            .u8(1)
            .payload(&[]),
        "field's type",
    );
    is_refused(
        &graph()
            .array(UNIONS, 1, form::BYTES)
            .u64(9)
            .raw(&[0; 8])
            .u8(2)
            .payload(&[]),
        "member",
    );
    // The tail.
    let piece = |start: u64| graph().array(FLOATS, 600, form::TAIL).u64(start);
    let tail = [0; 4800];
    is_refused(&piece(0).payload(&tail[1..]), "tail");
    is_refused(&piece(8).payload(&[0; 4808]), "tail");
    is_refused(&piece(u64::MAX).payload(&tail), "tail");
    let twice = graph()
        .u8(tag::SVEC)
        .u32(2)
        .array(FLOATS, 600, form::TAIL)
        .u64(0)
        .array(FLOATS, 600, form::TAIL)
        .u64(0);
    is_refused(&twice.payload(&tail), "tail");
    // Big numbers.
    let big = |size: i32| {
        graph()
            .u8(tag::BIG_INT)
            .u32(FIRST_OBJECT_TYPE + BIG)
            .u32(size as u32)
    };
    is_refused(&big(1).u64(0).payload(&[]), "zeros");
    is_refused(&big(i32::MIN).payload(&[]), "ends");
    is_refused(
        &graph()
            .u8(tag::BIG_INT)
            .u32(FIRST_OBJECT_TYPE + PAIR)
            .u32(0)
            .payload(&[]),
        "type",
    );
    is_refused(
        &graph()
            .u8(tag::BIG_FLOAT)
            .u32(FIRST_OBJECT_TYPE + BIG)
            .payload(&[]),
        "type",
    );
}

/// Whatever comes: an answer, and no fault.
#[test]
fn no_payload_does_harm() {
    let constants = constants();
    let good = rich();
    let graph = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut payload = good.clone();
        for _ in 0..=next(4) {
            let at = next(graph);
            payload[at] = match next(3) {
                0 => next(256) as u8,
                1 => payload[next(graph)],
                _ => payload[at].wrapping_add(1),
            };
        }
        let outcome = ended(echoes, &payload, &constants).0;
        assert!(
            matches!(
                outcome,
                Outcome::Value | Outcome::Thrown | Outcome::BadPayload(_)
            ),
            "{outcome:?} of {payload:?}"
        );
    }
}

unsafe extern "C" fn returns_an_unknown(_: i64, _: i64, call: i64) -> i32 {
    let ty = crate::types::intern(&description("Test.NobodyKnows", flag::MUTABLE, 8, &[])).unwrap();
    // SAFETY: called from an entry.
    let value = unsafe { crate::memory::object(8, ty.data_type()) };
    // SAFETY: as above.
    unsafe { bc_return(call, value) };
    // The type lives on: an object refers to it.
    std::mem::forget(ty);
    0
}

#[test]
fn a_result_is_whole_or_an_exception() {
    let (outcome, bytes) = ended(returns_an_unknown, &[], &constants());
    assert_eq!(outcome, Outcome::Thrown);
    assert_eq!(bytes[0], tag::STRUCT);
    assert!(String::from_utf8_lossy(&bytes).contains("Test.NobodyKnows"));
}
