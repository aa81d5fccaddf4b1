//! The room's tests: images written as text here, or captured by Julia (test/fixtures/jit), compiled and run.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's helper is a failed test"
)]

mod calls;
mod captured;
mod exceptions;
mod faults;
mod images;
mod libraries;
mod lowering;
mod objects;
mod refusals;
mod shown;
mod sites;
mod stored;
mod support;
mod wide;
