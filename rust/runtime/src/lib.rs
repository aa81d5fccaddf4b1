//! Julia semantics without Julia, as a table of symbols.
//!
//! What this room is for: giving compiled Julia code, on a node that has no Julia, everything it calls and everything it
//! reads: objects in Julia's layout ([`layout`], [`types`], [`constant`]), memory for the length of a call, arrays and
//! strings, boxes, `===`, exceptions, and a landing for faults ([`call`]).
//!
//! What it may know: Julia's memory layouts and the meaning of its runtime's functions. What it must never know: LLVM,
//! archives, the network. `rust/jit` turns an archive's descriptions into [`constant::Description`]s and its names into
//! addresses of [`symbols`].
//!
//! The rule that shapes the code: a throw is a jump. It runs no destructor, so a function that may throw holds nothing
//! that needs dropping while it calls one that does; such functions are marked with it in their "Safety" section.

#[cfg(test)]
mod abi_page;
mod array;
mod boxes;
pub mod builtin;
pub mod call;
mod checksum;
pub mod constant;
mod defer;
mod dispatch;
mod egal;
mod error;
mod exception;
mod fault;
mod function;
pub mod graph;
pub mod hash;
mod heap;
mod hop;
mod host;
pub mod layout;
pub mod library;
pub mod machine;
mod math;
mod memory;
mod number;
mod pages;
mod print;
mod snapshot;
mod special;
mod string;
pub mod symbol;
mod system;
mod table;
pub mod thread;
mod trace;
mod tuple;
pub mod types;

pub use call::{Code, Entry, Limits, Outcome, Output, run};
pub use constant::Constants;
pub use hop::{Onward, Place};
pub use host::{Access, Answer, Denied, Held, Host, Lent, Nowhere, Special};
pub use math::is_openlibm;
pub use print::Listener;
pub use table::{lookup, symbols};
pub use thread::attach;
pub use trace::last_trace;
