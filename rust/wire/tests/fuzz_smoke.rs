//! The fuzz targets' bodies on a stable toolchain: a fixed number of inputs from a fixed seed, golden files changed in the
//! ways that fuzzers change them. `rust/fuzz` looks further; this keeps its bodies alive and finds what is easy to find.

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use bitcode_wire::frame::{Payloads, SegmentGrant, SegmentRequest, Step, Steps};
use bitcode_wire::link::Bundle;

/// Inputs for each body: together a few seconds in a debug build.
const INPUTS: usize = 300_000;
/// Values that lengths and counts break on.
const EDGES: [u32; 10] = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    u32::MAX,
];

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../test/fixtures/wire/{name}-v1.bin",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One change of the kind that fuzzers make.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(random.next() as u8);
    }
    let at = random.below(bytes.len());
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.next() as u8),
        4 => drop(bytes.remove(at)),
        5 => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let end = bytes.len().min(at + edge.len());
            bytes[at..end].copy_from_slice(&edge[..end - at]);
        }
        6 => {
            let end = bytes.len().min(at + random.below(40));
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        _ => {
            let end = bytes.len().min(at + random.below(40));
            bytes.drain(at..end);
        }
    }
}

/// Feeds `body` the seeds, then mutants of them; each seed must decode, and some mutants must, or the test tests nothing.
fn smoke(seed: u64, seeds: &[Vec<u8>], body: fn(&[u8]) -> bool) {
    for bytes in seeds {
        assert!(body(bytes), "a golden file must decode");
    }
    let mut random = Random(seed);
    let mut decoded = 0;
    for _ in 0..INPUTS {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut input);
        }
        decoded += usize::from(body(&input));
    }
    assert!(
        decoded > INPUTS / 200 && decoded < INPUTS,
        "{decoded} of {INPUTS} inputs decoded"
    );
}

#[test]
fn frame_header() {
    smoke(
        1,
        &[
            fixture("frame-call"),
            fixture("frame-value"),
            fixture("frame-hop"),
        ],
        bodies::frame_header,
    );
}

#[test]
fn archive() {
    smoke(
        2,
        &[fixture("archive-small"), fixture("archive-full")],
        bodies::archive,
    );
}

#[test]
fn library() {
    smoke(
        9,
        &[fixture("library"), fixture("archive-small")],
        bodies::library,
    );
}

#[test]
fn bundle() {
    let small = fixture("archive-small");
    let linked = vec![&small[..], &small[..]];
    let bundle = Bundle {
        archive: &small,
        linked,
    };
    smoke(10, &[bundle.encode().unwrap()], bodies::bundle);
}

#[test]
fn manifest() {
    smoke(3, &[fixture("manifest-full")], bodies::manifest);
}

#[test]
fn handshake() {
    let seeds = [
        fixture("preamble"),
        fixture("hello"),
        fixture("welcome"),
        fixture("refused"),
    ];
    smoke(4, &seeds, bodies::handshake);
}

#[test]
fn error_payload() {
    smoke(5, &[fixture("error")], bodies::error_payload);
}

#[test]
fn output() {
    smoke(6, &[fixture("output")], bodies::output);
}

#[test]
fn segment() {
    let alloc = SegmentRequest::Alloc { bytes: 4096 }.encode().to_vec();
    let grant = SegmentGrant {
        segment: 1,
        len: 4096,
        key: b"an address, a length and a key",
    };
    smoke(7, &[alloc, grant.encode().unwrap()], bodies::segment);
}

#[test]
fn payloads() {
    let mut payloads = Payloads::default();
    for payload in [&b"bytes"[..], b"", &[7; 128]] {
        payloads.push([payload]);
    }
    smoke(10, &[payloads.take()], bodies::payloads);
}

#[test]
fn directory() {
    smoke(8, &[fixture("directory")], bodies::directory);
}

#[test]
fn trail() {
    let steps = [(9, 2), (7, 3)].map(|(hops_left, to)| Step { hops_left, to });
    let samples = [Steps::encode(&steps).unwrap(), vec![1; 8]];
    smoke(14, &samples, bodies::trail);
}

#[test]
fn timings() {
    smoke(9, &[fixture("timings")], bodies::timings);
}

/// The fuzz crate is outside the workspace, where nothing else would tell that one was forgotten.
#[test]
fn every_body_has_a_target() {
    let fuzz = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");
    let read = |name: &str| std::fs::read_to_string(format!("{fuzz}/{name}")).unwrap();
    let manifest = read("Cargo.toml");
    let bodies = read("bodies.rs");
    let names: Vec<_> = bodies
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) fn ")?.split_once('('))
        .map(|(name, _)| name)
        .collect();
    assert!(names.contains(&"timings"), "{names:?}");
    for name in &names {
        let target = read(&format!("fuzz_targets/{name}.rs"));
        assert!(target.contains(&format!("bodies::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), names.len());
}
