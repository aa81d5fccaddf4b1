//! `bitcode-node` as a process, called over real transports.
#![expect(
    clippy::unwrap_used,
    reason = "a panic here is a failed test with its place"
)]

mod archives;
mod calls;
mod failures;
mod hostile_archives;
mod images;
mod linkage;
mod segments;
mod starting;
mod strangers;
mod support;
