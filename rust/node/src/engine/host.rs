//! What code that runs here may ask of the node: its segments (`segments.rs`), and those of other nodes (`reach.rs`).

use std::sync::Arc;

use bitcode_jit::{Access, Denied, Held, Host, Lent};
use bitcode_transport::Fabric;

use super::Engine;
use super::hops::Directory;
use crate::loader::Loader;

/// The node as one call sees it.
pub(super) struct Surroundings<'e, F: Fabric, L: Loader> {
    pub(super) engine: &'e Engine<F, L>,
    /// The call's, if it has one: which nodes its numbers mean.
    pub(super) directory: Option<&'e Arc<Directory>>,
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
        let directory = self.directory.ok_or(Denied::Unreachable)?;
        self.engine.reach(directory, node, segment, offset, access)
    }
}
