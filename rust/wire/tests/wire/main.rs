//! Everything in `bitcode-wire`, through its public functions: one binary, a module for each theme.
#![expect(
    clippy::unwrap_used,
    reason = "a panic in a test is a failed test with its place"
)]

mod archive;
mod codec;
mod documents;
mod error;
mod frame;
mod golden;
mod handshake;
mod hostile;
mod library;
mod link;
mod manifest;
mod roundtrip;
mod sample;

// The fuzz targets' own bodies, run here on samples that were changed byte by byte.
#[path = "../../../fuzz/bodies.rs"]
mod bodies;
