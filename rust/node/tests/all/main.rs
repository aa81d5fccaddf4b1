//! `bitcode-node` as a process, called over real transports.

mod archives;
mod calls;
mod failures;
mod linkage;
mod starting;
mod strangers;
mod support;
