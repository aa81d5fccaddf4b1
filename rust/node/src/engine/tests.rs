//! The protocol, both sides of it, on the in-memory fabric: no threads, no UCX, no LLVM. Time stands still unless a test
//! moves it.

mod calls;
mod code;
mod hops;
mod hostile;
mod links;
mod output;
mod overhead;
mod posts;
mod segments;
mod world;
