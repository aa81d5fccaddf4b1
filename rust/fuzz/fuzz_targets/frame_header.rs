//! Fuzz target; see `bodies::frame_header`.
#![no_main]

#[expect(dead_code, reason = "each target uses one of the bodies")]
#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bodies::frame_header(data);
});
