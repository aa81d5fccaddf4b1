//! What emitted code knows of the runtime beside its symbols: where things lie in the state of a thread.
//!
//! The compiler of a node puts these numbers into the code that it makes, and it is always of one build with the runtime.
//! Native images are made elsewhere: they carry the numbers in the name of a symbol, and a node takes only its own.

use bitcode_runtime::thread::{
    BUMP_MAX, EXCEPTIONS_OFFSET, HANDLER_BYTES, HANDLER_OFFSET, HANDLER_PREV, RUNS_OFFSET,
};

/// How the symbol's name begins.
pub(crate) const PREFIX: &str = "bc.layout.";

/// The numbers, by the names that `prelude_bodies.ll` has for them.
pub(crate) const NUMBERS: [(&str, usize); 5] = [
    ("@BUMP_MAX@", BUMP_MAX),
    ("@RUNS@", RUNS_OFFSET),
    ("@HANDLER@", HANDLER_OFFSET),
    ("@HANDLER_PREV@", HANDLER_PREV),
    ("@EXCEPTIONS@", EXCEPTIONS_OFFSET),
];

/// The symbol's name: this package's version, the numbers, and the size of a handler, which lies in the code's own frames.
pub(crate) fn name() -> String {
    let numbers: Vec<_> = NUMBERS
        .iter()
        .map(|(_, number)| *number)
        .chain([HANDLER_BYTES])
        .map(|number| number.to_string())
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    format!("{PREFIX}{version}-{}", numbers.join("-"))
}
