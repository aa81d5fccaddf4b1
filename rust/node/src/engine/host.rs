//! What code that runs here may ask of the node: its segments (`segments.rs`), those of other nodes (`reach.rs`), and that
//! other calls be started (`hops.rs`).

use std::cell::RefCell;
use std::sync::Arc;

use bitcode_jit::{Access, Answer, Denied, Held, Host, Lent, Onward};
use bitcode_transport::Fabric;
use bitcode_wire::error::ErrorCode;

use super::cache::Entry;
use super::hops::Refused;
use super::{CallContext, Engine};
use crate::loader::Loader;

/// The node as one call sees it.
pub(super) struct Surroundings<'e, F: Fabric, L: Loader> {
    pub(super) engine: &'e Engine<F, L>,
    /// The call and its code. `None` for one that must not hop.
    pub(super) call: Option<(&'e CallContext, &'e Arc<Entry<L::Program>>)>,
    /// Why the call was stopped, if it was.
    pub(super) refused: RefCell<Option<Refused>>,
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
        let directory = self.call.and_then(|(context, _)| context.directory());
        let directory = directory.ok_or(Denied::Unreachable)?;
        self.engine.reach(directory, node, segment, offset, access)
    }

    fn spawn(&self, onward: Onward, payload: &[u8]) -> bool {
        let spawned = match self.call {
            Some((context, entry)) => self.engine.spawn(context, entry, onward, payload),
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
            Some((context, entry)) => self.engine.ask(context, entry, onward, payload),
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
}
