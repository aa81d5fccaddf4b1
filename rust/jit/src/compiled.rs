//! An archive that runs.

use crate::orc::Linked;
use crate::sites::Sites;
use bitcode_runtime::{
    Code, Constants, Entry, Host, Limits, Listener, Nowhere, Outcome, Output, Place,
};

/// How long each step of a compilation took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Reading the bitcode, or the kept object, and checking it.
    pub parse: u32,
    /// Lowering and LLVM's pipeline; 0 for a kept object.
    pub optimise: u32,
    /// Machine code; 0 for a kept object.
    pub emit: u32,
    /// Linking, and building the constants.
    pub link: u32,
}

/// Code and constants of one archive. Dropping it frees both: its owner keeps it while calls run.
pub struct Compiled {
    // Code refers to constants: it goes first.
    linked: Linked,
    constants: Constants,
    sites: Option<Sites>,
    bytes: usize,
    timings: Timings,
    kept: bool,
    limits: Limits,
}

impl Compiled {
    pub(crate) fn new(
        linked: Linked,
        constants: Constants,
        sites: Option<Sites>,
        object: usize,
        timings: Timings,
        limits: Limits,
    ) -> Self {
        let bytes = object + constants.bytes() + sites.as_ref().map_or(0, Sites::bytes);
        Self {
            linked,
            constants,
            sites,
            bytes,
            timings,
            kept: false,
            limits,
        }
    }

    /// Says that an earlier compiler made it.
    pub(crate) fn kept(self) -> Self {
        Self { kept: true, ..self }
    }

    /// Bytes of code and constants, about.
    pub fn code_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it was not compiled now, but found on disk.
    pub fn was_kept(&self) -> bool {
        self.kept
    }

    /// How long the compilation took.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// Runs the code on this thread, nowhere in particular; see [`Compiled::call_at`].
    pub fn call(
        &self,
        payload: &mut [u8],
        listener: &Listener<'_>,
        output: &mut Output,
    ) -> Outcome {
        self.call_at(Place::default(), &Nowhere, payload, listener, output)
    }

    /// Runs the code on this thread. It may write into its payload; what it prints goes to `listener`, `place` is what
    /// it is told of where it runs, and `host` answers for the node.
    ///
    /// Safe to call only in the sense in which a node is safe: shipped code is native code. It is kept from what it
    /// should not need (see `refuse.rs`) and survived when it faults, not confined.
    pub fn call_at(
        &self,
        place: Place,
        host: &dyn Host,
        payload: &mut [u8],
        listener: &Listener<'_>,
        output: &mut Output,
    ) -> Outcome {
        // SAFETY: the address that the linker gave for the entry, whose type was checked; `self` keeps the code alive.
        let entry = unsafe { std::mem::transmute::<usize, Entry>(self.linked.entry()) };
        let text = match &self.sites {
            Some(sites) => sites.text(self.linked.entry()),
            None => 0..0,
        };
        let code = Code {
            entry,
            text,
            place,
            host,
        };
        // SAFETY: the code was compiled with these constants; that it keeps the rules is its sender's promise.
        let outcome = unsafe {
            bitcode_runtime::run(
                code,
                payload,
                &self.constants,
                self.limits,
                listener,
                output,
            )
        };
        match outcome {
            Outcome::Thrown if self.tell_where(output) => Outcome::Thrown,
            Outcome::Thrown => Outcome::OutOfMemory,
            other => other,
        }
    }

    /// Adds the backtrace of the last call on this thread to the exception that it left (docs/ABI.md).
    fn tell_where(&self, output: &mut Output) -> bool {
        let mut backtrace = match &self.sites {
            Some(sites) => sites.backtrace(self.linked.entry(), &bitcode_runtime::last_trace()),
            None => Vec::new(),
        };
        let count = (backtrace.len() / size_of::<u32>()) as u32;
        backtrace.extend_from_slice(&count.to_le_bytes());
        output.append(&backtrace)
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("bytes", &self.bytes)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}
