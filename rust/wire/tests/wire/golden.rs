//! Golden bytes: what version 1 looked like on the day it was fixed must stay readable, and must still be what is
//! written. The files are in `test/fixtures/wire/`; `BITCODE_BLESS=1 cargo test -p bitcode-wire` writes missing ones and
//! never replaces one: a changed format is a new version with new files.

use super::sample;
use bitcode_wire::archive::Archive;
use bitcode_wire::error::ErrorPayload;
use bitcode_wire::frame::{Directory, Header, OutputPayload, StageTimings};
use bitcode_wire::handshake::{Answer, Hello, Preamble};
use bitcode_wire::library::Library;
use bitcode_wire::manifest::Manifest;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../test/fixtures/wire")
        .join(name)
}

/// The file's bytes, which must be what this build writes.
fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = path(name);
    if std::env::var_os("BITCODE_BLESS").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("fixtures can be written");
        std::fs::write(&path, written).expect("fixtures can be written");
    }
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(file, written, "{name} is not what this build writes");
    file
}

#[test]
fn frames() {
    let keys = sample::keys();
    let bytes = golden(
        "frame-call-v1.bin",
        &sample::cold_call().encode(&keys.to_node, sample::COLD_BODY),
    );
    let header = Header::decode(&bytes).unwrap();
    assert_eq!(header, sample::cold_call());
    header
        .verify(&bytes.try_into().unwrap(), &keys.to_node, sample::COLD_BODY)
        .unwrap();

    let bytes = golden(
        "frame-value-v1.bin",
        &sample::value().encode(&keys.to_origin, sample::VALUE_BODY),
    );
    let header = Header::decode(&bytes).unwrap();
    assert_eq!(header, sample::value());
    header
        .verify(
            &bytes.try_into().unwrap(),
            &keys.to_origin,
            sample::VALUE_BODY,
        )
        .unwrap();
}

#[test]
fn hops() {
    let keys = sample::keys();
    let bytes = golden("frame-hop-v1.bin", &sample::hop().encode(&keys.to_node, 8));
    assert_eq!(Header::decode(&bytes), Ok(sample::hop()));
    let bytes = golden("directory-v1.bin", &sample::directory().encode().unwrap());
    assert_eq!(Directory::decode(&bytes), Ok(sample::directory()));
}

#[test]
fn output() {
    let bytes = golden("output-v1.bin", &sample::output().encode());
    assert_eq!(OutputPayload::decode(&bytes).unwrap(), sample::output());
}

#[test]
fn timed_replies() {
    let keys = sample::keys();
    let written = sample::timed_error().encode(&keys.to_origin, sample::TIMED_BODY);
    let bytes = golden("frame-timed-v1.bin", &written);
    assert_eq!(Header::decode(&bytes).unwrap(), sample::timed_error());
    let bytes = golden("timings-v1.bin", &sample::timings().encode());
    assert_eq!(StageTimings::decode(&bytes).unwrap(), sample::timings());
}

#[test]
fn archives() {
    let (written, id) = sample::small_archive().encode().unwrap();
    let bytes = golden("archive-small-v1.bin", &written);
    assert_eq!(Archive::decode(&bytes).unwrap(), sample::small_archive());
    assert_eq!(id.to_string(), SMALL_ID);

    let (written, id) = sample::full_archive().encode().unwrap();
    let bytes = golden("archive-full-v1.bin", &written);
    assert_eq!(Archive::decode(&bytes).unwrap(), sample::full_archive());
    assert_eq!(id.to_string(), FULL_ID);

    let bytes = golden(
        "manifest-full-v1.bin",
        &sample::full_manifest().encode().unwrap(),
    );
    assert_eq!(Manifest::decode(&bytes).unwrap(), sample::full_manifest());
}

#[test]
fn libraries() {
    let (small, full) = sample::archive_bytes();
    let written = sample::library(&small, &full).encode().unwrap();
    let bytes = golden("library-v1.bin", &written);
    assert_eq!(
        Library::decode(&bytes).unwrap(),
        sample::library(&small, &full)
    );
}

/// Code ids of the two archives, as `b3sum` prints them.
const SMALL_ID: &str = "58e8264e8189517da5fb3232907e5f69fdcaa04dc92a5bcae79ec5a459a325ba";
const FULL_ID: &str = "fd55b888217b291ce845769cf10c2716a2f2c382e3cdc4b9bf555a2761b64b39";

#[test]
fn error_payload() {
    let bytes = golden("error-v1.bin", &sample::error().encode());
    assert_eq!(ErrorPayload::decode(&bytes).unwrap(), sample::error());
}

#[test]
fn handshake() {
    let bytes = golden("preamble-v1.bin", &Preamble::ours(true).encode());
    assert_eq!(Preamble::decode(&bytes).unwrap(), Preamble::ours(true));
    let bytes = golden("hello-v1.bin", &sample::hello().encode().unwrap());
    assert_eq!(Hello::decode(&bytes).unwrap(), sample::hello());
    let bytes = golden("welcome-v1.bin", &sample::welcome().encode().unwrap());
    assert_eq!(Answer::decode(&bytes).unwrap(), sample::welcome());
    let bytes = golden("refused-v1.bin", &sample::refused().encode().unwrap());
    assert_eq!(Answer::decode(&bytes).unwrap(), sample::refused());
}
