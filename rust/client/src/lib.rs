//! The calling side: sessions, calls, and what becomes of them.
//!
//! **What this room is for.** A [`Client`] has one fabric and any number of [`Session`]s, one per node. A session sends
//! [`Code`] with a payload and gets a [`Call`], which ends with a value, an exception or an error. The code travels
//! only when the node is not known to have it; a node that lacks it says NEED_CODE and the same call goes out again.
//!
//! **What it may know.** The wire and the transport. Any [`Fabric`](bitcode_transport::Fabric) will do, so that the tests run without UCX.
//!
//! **What it must never know.** Julia, LLVM, what is inside a payload.
//!
//! Read `session.rs` (how a call is made), `core.rs` (begin, end, fail), `deliver.rs` (what an answer does), `output.rs` (what code prints), `post.rs` (calls that nobody waits for),
//! `segment.rs` (memory of nodes), `directory.rs` (how nodes get to know each other), `trail.rs` (where a call went that failed), then
//! `slab.rs` and `slot.rs` (where a call lives). A warm call allocates nothing and takes no contended lock.
#![forbid(unsafe_code)]

mod call;
mod client;
mod code;
mod connect;
mod core;
mod deliver;
mod directory;
mod error;
mod foresight;
mod known;
mod output;
mod post;
mod segment;
mod session;
mod slab;
mod slot;
mod stats;
mod trail;

pub use call::{Call, Outcome};
pub use client::{Client, WayIn};
pub use code::Code;
pub use directory::Telling;
pub use error::ClientError;
pub use output::{Output, OutputNotify};
pub use segment::RemoteSegment;
pub use session::{CallOptions, Session, Terms};
pub use slot::{CallState, Notify, Timings};
pub use stats::SessionStats;
pub use trail::{Trail, TrailSought};
