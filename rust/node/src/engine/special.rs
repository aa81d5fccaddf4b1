//! Code that running code has specialised: its own archive with some bytes fixed, which is an archive like any other, with its own code id.

use std::collections::HashMap;
use std::sync::Arc;

use bitcode_jit::Special;
use bitcode_transport::Fabric;
use bitcode_wire::archive::specialised;
use bitcode_wire::code::{CodeId, CodePrefix};
use parking_lot::Mutex;
use tracing::warn;

use super::Engine;
use super::cache::Entry;
use crate::loader::{Loader, Program};

/// Of how many specialised archives the names are remembered. Of more they are found again by hashing.
const MOST_REMEMBERED: usize = 1024;

/// An archive that was made here.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) prefix: CodePrefix,
    pub(super) archive: Arc<Vec<u8>>,
}

/// What has been specialised here, by the code that it was made of, and the bytes.
#[derive(Default)]
pub(super) struct Specials(Mutex<HashMap<Key, Made>>);

type Key = (CodePrefix, Box<[u8]>);

impl Specials {
    /// The archive of this code, if it was made here.
    pub(super) fn archive(&self, prefix: CodePrefix) -> Option<Arc<Vec<u8>>> {
        let made = self.0.lock();
        let it = made.values().find(|it| it.prefix == prefix)?;
        Some(Arc::clone(&it.archive))
    }
}

impl<F: Fabric, L: Loader> Engine<F, L> {
    /// The archive of `entry`'s code with these bytes fixed. `None` if there are none, or too many, or that code does not say that it may be specialised.
    pub(super) fn specialise(&self, entry: &Entry<L::Program>, fixed: &[u8]) -> Option<Made> {
        if fixed.is_empty() {
            return None; // Nothing can be folded.
        }
        let key = (entry.id.prefix(), fixed.into());
        if let Some(made) = self.specials.0.lock().get(&key) {
            return Some(made.clone());
        }
        let archive = specialised(entry.archive.as_ref()?, fixed);
        let archive = archive
            .map_err(|error| warn!(name = entry.name, %error, "not specialised"))
            .ok()?;
        let made = Made {
            prefix: CodeId::of(&archive).prefix(),
            archive: Arc::new(archive),
        };
        let mut all = self.specials.0.lock();
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        all.insert(key, made.clone());
        Some(made)
    }

    /// The same, compiled. `None` also if this node cannot compile it: there is the code itself, which does the same.
    pub(super) fn special_entry(
        &self,
        entry: &Entry<L::Program>,
        fixed: &[u8],
    ) -> Option<Arc<Entry<L::Program>>> {
        self.entry_of(&self.specialise(entry, fixed)?)
    }

    /// The code of an archive that was made here, compiled.
    pub(super) fn entry_of(&self, made: &Made) -> Option<Arc<Entry<L::Program>>> {
        if let Some(here) = self.cache.peek(made.prefix) {
            self.cache.touch(&here);
            return Some(here);
        }
        let compiled = self.make_alone(made.prefix, &made.archive);
        compiled
            .map_err(|error| warn!(%error, "specialised code is not compiled"))
            .ok()
    }

    /// What running code is given to call.
    pub(super) fn special(&self, entry: &Entry<L::Program>, fixed: &[u8]) -> Option<Special> {
        let special = self.special_entry(entry, fixed)?;
        Some(Special {
            entry: special.program.special_entry()?,
            owner: special,
        })
    }
}
