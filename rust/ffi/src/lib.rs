//! libbitcode: the C ABI of the calling side, for Julia's `ccall` and for any other C caller.
//!
//! This room turns opaque handles, status codes and borrowed memory into calls of `bitcode-client`, and nothing else.
//! It may know the client and the wire's numbers; it must never know LLVM or libjulia, and nothing may unwind out of it.
//! The header `include/bitcode.h` is generated from these files and checked in.

mod call;
mod client;
mod code;
mod error;
mod handle;
mod output;
mod segment;
mod session;
mod status;

pub use call::*;
pub use client::*;
pub use code::*;
pub use error::*;
pub use output::*;
pub use segment::*;
pub use session::*;
pub use status::*;
