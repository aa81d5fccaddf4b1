//! An archive that runs.

use crate::orc::Linked;
use crate::sites::{Reader, Sites};
use bitcode_runtime::{
    Code, Constants, Entry, Host, Limits, Listener, Nowhere, Outcome, Output, Place,
};
use std::ops::Range;
use std::sync::Arc;

/// The most sites of one backtrace.
const MOST_SITES: usize = 512;
/// Sites of the code's first link are numbered from here, of the second from twice as much, and so on (docs/ABI.md).
const SITES_OF_A_LINK: u32 = 1 << 20;

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

/// Code and constants of one archive. Dropping it frees both, once nothing links to it any more: its owner keeps it while calls run.
pub struct Compiled {
    parts: Arc<Parts>,
    /// Where its code is, and all that it links to.
    text: Vec<Range<usize>>,
    timings: Timings,
    kept: bool,
    special: bool,
    limits: Limits,
}

/// What code that links to it shares.
struct Parts {
    // Code refers to constants, and to what it links to: it goes first.
    linked: Linked,
    constants: Constants,
    sites: Option<Sites>,
    links: Vec<Arc<Parts>>,
    bytes: usize,
}

impl Parts {
    fn text(&self) -> Option<Range<usize>> {
        Some(self.sites.as_ref()?.text(self.linked.entry()))
    }

    /// Adds where this code is, and what it links to.
    fn find_text(&self, found: &mut Vec<Range<usize>>) {
        if let Some(text) = self.text()
            && !found.contains(&text)
        {
            found.push(text);
            self.links.iter().for_each(|link| link.find_text(found));
        }
    }
}

impl Compiled {
    pub(crate) fn new(
        linked: Linked,
        constants: Constants,
        sites: Option<Sites>,
        links: &[&Self],
        object: usize,
        timings: Timings,
        limits: Limits,
    ) -> Self {
        let bytes = object + constants.bytes() + sites.as_ref().map_or(0, Sites::bytes);
        let parts = Parts {
            linked,
            constants,
            sites,
            links: links.iter().map(|link| Arc::clone(&link.parts)).collect(),
            bytes,
        };
        let mut text = Vec::new();
        parts.find_text(&mut text);
        Self {
            parts: Arc::new(parts),
            text,
            timings,
            kept: false,
            special: false,
            limits,
        }
    }

    /// The address of the function that others may link to, if it has one.
    pub(crate) fn exported(&self) -> Option<usize> {
        self.parts.linked.exported()
    }

    /// The address of its entry, for code of the same archive that is specialised otherwise; there for as long as this. `None` of code that is
    /// not specialised: an object cannot be.
    pub fn special_entry(&self) -> Option<usize> {
        self.special.then(|| self.parts.linked.entry())
    }

    /// Says that what the archive has fixed is in the code.
    pub(crate) fn specialised(self, special: bool) -> Self {
        Self { special, ..self }
    }

    /// Says that an earlier compiler made it.
    pub(crate) fn kept(self) -> Self {
        Self { kept: true, ..self }
    }

    /// Bytes of code and constants, about.
    pub fn code_bytes(&self) -> usize {
        self.parts.bytes
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
        let Parts {
            linked, constants, ..
        } = &*self.parts;
        // SAFETY: the address that the linker gave for the entry, whose type was checked; `self` keeps the code alive.
        let entry = unsafe { std::mem::transmute::<usize, Entry>(linked.entry()) };
        let code = Code {
            entry,
            text: &self.text,
            place,
            host,
        };
        // SAFETY: the code was compiled with these constants; that it keeps the rules is its sender's promise.
        let outcome = unsafe {
            bitcode_runtime::run(code, payload, constants, self.limits, listener, output)
        };
        match outcome {
            Outcome::Thrown if self.tell_where(output) => Outcome::Thrown,
            Outcome::Thrown => Outcome::OutOfMemory,
            other => other,
        }
    }

    /// Adds the backtrace of the last call on this thread to the exception that it left (docs/ABI.md).
    fn tell_where(&self, output: &mut Output) -> bool {
        let mut tables = self.tables();
        let mut sites = Vec::new();
        for address in bitcode_runtime::last_trace() {
            let holds = |table: &&mut Table<'_>| table.text.contains(&address.wrapping_sub(1));
            if let Some(table) = tables.iter_mut().find(holds) {
                let found = table.sites.at(address - table.text.start);
                sites.extend(found.iter().map(|site| table.base + site));
            }
        }
        sites.truncate(MOST_SITES);
        let count = sites.len() as u32;
        let words = sites.into_iter().chain([count]);
        output.append(&words.flat_map(u32::to_le_bytes).collect::<Vec<_>>())
    }

    /// The line tables of this code and of what it links to. What that links to in turn has no numbers here.
    fn tables(&self) -> Vec<Table<'_>> {
        let all = std::iter::once(&self.parts).chain(&self.parts.links);
        let tables = all.zip(0_u32..).filter_map(|(parts, place)| {
            Some(Table {
                base: place.checked_mul(SITES_OF_A_LINK)?,
                text: parts.text()?,
                sites: parts.sites.as_ref()?.reader(),
            })
        });
        tables.collect()
    }
}

/// A line table, while a backtrace is made.
struct Table<'a> {
    /// What is added to its sites' numbers.
    base: u32,
    text: Range<usize>,
    sites: Reader<'a>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("bytes", &self.parts.bytes)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}
