//! The bytes of BitCode.jl: frames, archives, manifests, handshake messages and the one codec under them.
//!
//! **What this room is for.** Everything that crosses a process boundary has its layout here, in one place, and is
//! turned from bytes into Rust values and back by the same bounded [`codec`]. `docs/WIRE.md` and `docs/ARCHIVE.md`
//! are the normative tables; a test compares them with the constants here.
//!
//! **What it may know.** Byte layouts, limits, hashes and message tags. It depends on no other room.
//!
//! **What it must never know.** Sockets, UCX, threads, clocks, files, LLVM, Julia's memory. Nothing here performs I/O,
//! reads the time, logs, or prints a payload. There is no `unsafe`.
//!
//! | module | what it lays out |
//! |---|---|
//! | [`frame`] | the 64-byte header of every message on the data plane, and its tag |
//! | [`error`] | codes and payload of an ERROR frame |
//! | [`archive`] | the container of one shipped function |
//! | [`library`] | a file of shipped functions, with what their origin knows of them |
//! | [`link`] | code that calls other code by its code id |
//! | [`manifest`] | what an archive says about itself: entry, imports, Julia objects |
//! | [`code`] | code ids: the BLAKE3 hash of an archive |
//! | [`handshake`] | preamble, hello and welcome of the control channel |
//! | [`codec`] | the bounded reader and writer that all of the above use |
//!
//! Every decoder treats its input as hostile: each length is checked against the bytes that are really there before
//! anything is allocated, bytes left over are an error, and an error names the type, the field and the offset.
#![forbid(unsafe_code)]

pub mod archive;
pub mod code;
pub mod codec;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod library;
pub mod link;
pub mod manifest;
