//! The node: receives, links, keeps and runs shipped code.
//!
//! **What this room is for.** Two modules that meet only in messages, because they will be two processes one day. The
//! *supervisor* has the control plane: addresses, keys, handshakes, who is connected, when to stop. The *engine* has
//! the data plane: frames in, code compiled and kept, frames out.
//!
//! **What it may know.** The wire, the transport, the JIT's small interface.
//!
//! **What it must never know.** Julia, how LLVM or UCX are called, what is inside a payload.
#![forbid(unsafe_code)]

mod config;
mod counters;
mod desk;
mod engine;
mod jit;
mod key;
mod loader;
mod message;
mod pool;
mod run;
mod supervisor;

pub use bitcode_jit::{Access, Denied, Held, Host, Lent, Nowhere, Onward, Place};
pub use config::{Config, ConfigError, DEFAULT_LISTEN, LogFormat, Wishes};
pub use counters::{Counter, Counters};
pub use engine::{Engine, EngineSettings, Opened, Opening};
pub use jit::JitLoader;
pub use key::{Key, KeyError, MIN_KEY};
pub use loader::{Listener, LoadError, Loader, Program, Ran};
pub use message::{FromEngine, LinkTerms, ToEngine};
pub use pool::{Pool, PoolSettings};
pub use run::{About, StartError, default_libraries, run, run_with, versions};
pub use supervisor::{Happening, Supervisor};
