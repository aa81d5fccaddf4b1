//! The room's tests: images written as text here, or captured by Julia (test/fixtures/jit), compiled and run.

mod calls;
mod support;
