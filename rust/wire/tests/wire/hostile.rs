//! What every decoder owes: any cut, any extra byte, any changed byte is an error or a value, never a panic and never
//! a large allocation; and bytes that decode are the only spelling of their value.

use super::sample;
use crate::bodies;
use bitcode_wire::archive::Archive;
use bitcode_wire::error::ErrorPayload;
use bitcode_wire::frame::{Directory, Payloads, StageTimings, Step, Steps};
use bitcode_wire::handshake::{Answer, Hello, Preamble};
use bitcode_wire::library::Library;
use bitcode_wire::manifest::Manifest;

/// A decoder that only says whether it took the bytes.
type Takes = fn(&[u8]) -> bool;

/// Each type's name, a good sample, its decoder and its fuzz body.
fn subjects() -> Vec<(&'static str, Vec<u8>, Takes, Takes)> {
    let encoded = |archive: Archive<'_>| archive.encode().unwrap().0;
    vec![
        (
            "frame",
            frame(),
            |b| bitcode_wire::frame::Header::decode(b).is_ok(),
            bodies::frame_header,
        ),
        (
            "small archive",
            encoded(sample::small_archive()),
            |b| Archive::decode(b).is_ok(),
            bodies::archive,
        ),
        (
            "full archive",
            encoded(sample::full_archive()),
            |b| Archive::decode(b).is_ok(),
            bodies::archive,
        ),
        (
            "library",
            library(),
            |b| Library::decode(b).is_ok(),
            bodies::library,
        ),
        (
            "manifest",
            sample::full_manifest().encode().unwrap(),
            |b| Manifest::decode(b).is_ok(),
            bodies::manifest,
        ),
        (
            "error",
            sample::error().encode(),
            |b| ErrorPayload::decode(b).is_ok(),
            bodies::error_payload,
        ),
        (
            "directory",
            sample::directory().encode().unwrap(),
            |b| Directory::decode(b).is_ok(),
            bodies::directory,
        ),
        (
            "trail",
            Steps::encode(&[
                Step {
                    hops_left: 9,
                    to: 2,
                },
                Step {
                    hops_left: 7,
                    to: 3,
                },
            ])
            .unwrap(),
            |b| Steps::decode(b).is_ok(),
            bodies::trail,
        ),
        (
            "preamble",
            Preamble::ours(true).encode().to_vec(),
            |b| Preamble::decode(b).is_ok(),
            bodies::handshake,
        ),
        (
            "hello",
            sample::hello().encode().unwrap(),
            |b| Hello::decode(b).is_ok(),
            bodies::handshake,
        ),
        (
            "welcome",
            sample::welcome().encode().unwrap(),
            |b| Answer::decode(b).is_ok(),
            bodies::handshake,
        ),
        (
            "refused",
            sample::refused().encode().unwrap(),
            |b| Answer::decode(b).is_ok(),
            bodies::handshake,
        ),
        (
            "timings",
            sample::timings().encode().to_vec(),
            |b| StageTimings::decode(b).is_ok(),
            bodies::timings,
        ),
        (
            "payloads",
            sample::payloads(),
            |b| Payloads::places(b).is_ok(),
            bodies::payloads,
        ),
    ]
}

fn library() -> Vec<u8> {
    let (small, full) = sample::archive_bytes();
    sample::library(&small, &full).encode().unwrap()
}

fn frame() -> Vec<u8> {
    sample::cold_call()
        .encode(&sample::keys().to_node, sample::COLD_BODY)
        .to_vec()
}

#[test]
fn samples_are_good() {
    for (name, bytes, takes, _) in subjects() {
        assert!(takes(&bytes), "{name}");
    }
}

#[test]
fn rejects_truncated_at_every_byte() {
    for (name, bytes, takes, _) in subjects() {
        for end in 0..bytes.len() {
            assert!(
                !takes(&bytes[..end]),
                "{name} cut to {end} of {} bytes was taken",
                bytes.len()
            );
        }
    }
}

#[test]
fn rejects_overlong() {
    for (name, mut bytes, takes, _) in subjects() {
        bytes.push(0);
        assert!(!takes(&bytes), "{name} with a byte too many was taken");
        bytes.extend([0xFF; 64]);
        assert!(!takes(&bytes), "{name} with 65 bytes too many was taken");
    }
}

#[test]
fn every_changed_byte_is_an_error_or_the_only_spelling() {
    for (_, bytes, _, body) in subjects() {
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                changed[at] = value;
                body(&changed);
            }
            changed[at] = bytes[at];
        }
    }
}

/// Counts and lengths far beyond the bytes that are there cost next to nothing, wherever they stand.
#[test]
fn huge_counts_allocate_next_to_nothing() {
    for (name, bytes, takes, _) in subjects() {
        for at in 0..bytes.len().saturating_sub(3) {
            for huge in [u32::MAX, i32::MAX as u32, 0x0100_0000, 65_536, 65_535, 4096] {
                let mut bomb = bytes.clone();
                bomb[at..at + 4].copy_from_slice(&huge.to_le_bytes());
                let used = allocation_counter::measure(|| {
                    takes(&bomb);
                });
                assert!(
                    used.bytes_max < 64 << 10,
                    "{name} with {huge:#x} at byte {at} took {} bytes",
                    used.bytes_max
                );
            }
        }
    }
}

/// A body full of the smallest items stays within a small multiple of its own size.
#[test]
fn small_items_do_not_multiply() {
    let mut bytes = Manifest {
        entry: "e",
        ..Manifest::default()
    }
    .encode()
    .unwrap();
    let objects = bitcode_wire::manifest::MAX_OBJECTS as u32;
    let count_at = bytes.len() - 4;
    bytes[count_at..].copy_from_slice(&objects.to_le_bytes());
    // SLOT objects that are null: five bytes each.
    for _ in 0..objects {
        bytes.extend([7, 0, 0, 0, 0]);
    }
    let used = allocation_counter::measure(|| assert!(Manifest::decode(&bytes).is_ok()));
    assert!(
        used.bytes_max < 16 << 20,
        "{} bytes for {} objects",
        used.bytes_max,
        objects
    );
}
