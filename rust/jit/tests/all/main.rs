//! The room's tests: images written as text here, or captured by Julia (test/fixtures/jit), compiled and run.

mod calls;
mod exceptions;
mod faults;
mod freeing;
mod lowering;
mod objects;
mod refusals;
mod support;
mod wide;
