//! What code that runs here may ask of the node: its segments (`segments.rs`), those of other nodes (`reach.rs`), and that
//! other calls be started (`hops.rs`).

use std::cell::RefCell;
use std::sync::Arc;

use bitcode_jit::{Access, Answer, Denied, Held, Host, Lent, Onward, Special};
use bitcode_transport::Fabric;
use bitcode_wire::error::ErrorCode;

use super::cache::Entry;
use super::hops::Refused;
use super::special::Made;
use super::{CallContext, Engine};
use crate::loader::Loader;

/// The node as one call sees it.
pub(super) struct Surroundings<'e, F: Fabric, L: Loader> {
    pub(super) engine: &'e Engine<F, L>,
    /// The code that runs.
    entry: &'e Arc<Entry<L::Program>>,
    /// The call. `None` for one that must not hop.
    call: Option<&'e CallContext>,
    /// Why the call was stopped, if it was.
    refused: RefCell<Option<Refused>>,
    /// The specialised code that the next call which leaves is to run.
    special: RefCell<Option<Made>>,
}

impl<'e, F: Fabric, L: Loader> Surroundings<'e, F, L> {
    pub(super) fn new(
        engine: &'e Engine<F, L>,
        entry: &'e Arc<Entry<L::Program>>,
        call: Option<&'e CallContext>,
    ) -> Self {
        Self {
            engine,
            entry,
            call,
            refused: RefCell::default(),
            special: RefCell::default(),
        }
    }

    /// Why the call was stopped, if it was, and the specialised code that it goes on as, if it does.
    pub(super) fn said(self) -> (Option<Refused>, Option<Made>) {
        (self.refused.into_inner(), self.special.into_inner())
    }
}

impl<F: Fabric, L: Loader> Host for Surroundings<'_, F, L> {
    fn segment(&self, number: u64, bytes: u64) -> Result<Lent, Denied> {
        self.engine.segments.lend(number, bytes)
    }

    fn exclude(&self, number: u64) -> Result<Held, Denied> {
        self.engine.segments.exclude(number)
    }

    fn access(
        &self,
        node: u32,
        segment: u64,
        offset: u64,
        access: Access<'_>,
    ) -> Result<u64, Denied> {
        let directory = self.call.and_then(CallContext::directory);
        let directory = directory.ok_or(Denied::Unreachable)?;
        self.engine.reach(directory, node, segment, offset, access)
    }

    fn spawn(&self, onward: Onward, payload: &[u8]) -> bool {
        let spawned = match self.call {
            Some(context) => {
                let special = self.special.take();
                self.engine
                    .spawn(context, self.entry, onward, special, payload)
            }
            None => Err(Refused {
                code: ErrorCode::UNREACHABLE,
                message: "code wants to start a call, but its caller has not said that it may"
                    .into(),
            }),
        };
        match spawned {
            Ok(()) => true,
            Err(refused) => {
                self.refused.replace(Some(refused));
                false
            }
        }
    }

    fn call(&self, onward: Onward, payload: &[u8]) -> Option<Answer> {
        let answered = match self.call {
            Some(context) => {
                let special = self.special.take();
                self.engine
                    .ask(context, self.entry, onward, special, payload)
            }
            None => Err(Refused {
                code: ErrorCode::UNREACHABLE,
                message: "code wants to call another node, but its caller has not said that it may"
                    .into(),
            }),
        };
        answered
            .map_err(|refused| self.refused.replace(Some(refused)))
            .ok()
    }

    fn special(&self, fixed: &[u8]) -> Option<Special> {
        self.engine.special(self.entry, fixed)
    }

    fn fix(&self, fixed: &[u8]) {
        self.special
            .replace(self.engine.specialise(self.entry, fixed));
    }
}
