//! Images made into verified, linked, optimised machine code.
//!
//! What this room is for: [`Jit::compile`] takes an archive (already checked against its hash) and gives a [`Compiled`]
//! that can be called. In between: parse, refuse what must not travel (`refuse.rs`), verify, turn Julia's intrinsics into
//! code for this node (`lower.rs`), optimise for the processor we run on, emit, link (`orc.rs`) with the C libraries that it names
//! (`libraries.rs`). What has been compiled may be kept on disk (`store.rs`).
//!
//! What it may know: LLVM, which no other room sees; the archive's form; the runtime's table and object layouts. What it
//! must never know: frames, sessions, who asked.

mod choose;
mod compile;
mod compiled;
mod disassemble;
mod error;
mod fatal;
mod image;
mod libraries;
mod llvm;
mod lower;
mod object;
mod objects;
mod orc;
mod refuse;
mod sites;
mod store;
mod target;
mod translate;

pub use bitcode_runtime::{
    Access, Answer, Denied, Held, Host, Lent, Limits, Listener, Nowhere, Onward, Outcome, Output,
    Place, Special, attach as attach_thread,
};
pub use compile::{Jit, JitConfig};
pub use compiled::{Compiled, Timings};
pub use disassemble::disassemble;
pub use error::{JitError, Refusal};
pub use image::{image_text, native_code, verify};
pub use libraries::{Allowed as AllowedLibraries, LibraryError};
pub use llvm::version as llvm_version;
pub use store::StoreConfig;
pub use target::Target;

/// The ABIs whose archives this node runs.
pub fn abis() -> &'static [&'static str] {
    &bitcode_runtime::layout::ABIS
}
