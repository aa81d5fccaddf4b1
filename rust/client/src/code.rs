//! Codes: archives that can be called.

use std::sync::Arc;

use bitcode_transport::Segment;
use bitcode_wire::archive::Archive;
use bitcode_wire::code::{CodeId, CodePrefix};
use bitcode_wire::link::Bundle;

use crate::ClientError;

/// What code imports that deals with other nodes.
const HOPPING: [&str; 11] = [
    "bc_ask",
    "bc_ask_graph",
    "bc_forward",
    "bc_forward_graph",
    "bc_get",
    "bc_here",
    "bc_nodes",
    "bc_put",
    "bc_spawn",
    "bc_spawn_graph",
    "bc_update",
];

/// What code imports that starts calls.
const STARTING: [&str; 2] = ["bc_spawn", "bc_spawn_graph"];

/// How much of a call's code goes along with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carry {
    /// The node is thought to have it.
    Nothing,
    Archive,
    /// The archive and all that it links to.
    Bundle,
}

/// An archive with its code id, ready to be called on any session of the client that made it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Code(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: CodeId,
    prefix: CodePrefix,
    /// Number within the client, for the sessions' sets of known codes.
    number: u32,
    len: u32,
    /// It may go on to other nodes.
    hops: bool,
    /// It may start other calls.
    spawns: bool,
    archive: Segment<'static>,
    /// The code that it links to, and what that links to, each after all that it links to itself.
    linked: Vec<Code>,
}

impl Code {
    /// Checks the archive's form and computes its id. `links` is the code that it links to.
    pub(crate) fn new(archive: Vec<u8>, number: u32, links: &[Self]) -> Result<Self, ClientError> {
        let decoded = Archive::decode(&archive)
            .map_err(|error| ClientError::BadArgument(format!("not an archive: {error}")))?;
        let imports = |some: &[&str]| decoded.manifest.imports.iter().any(|it| some.contains(it));
        let (hops, spawns) = (imports(&HOPPING), imports(&STARTING));
        let len = u32::try_from(archive.len())
            .map_err(|_| ClientError::TooLarge(format!("an archive of {} bytes", archive.len())))?;
        let id = CodeId::of(&archive);
        let mut linked: Vec<Self> = Vec::new();
        for wanted in decoded.manifest.links() {
            let code = links.iter().find(|code| code.id() == wanted);
            let code = code.ok_or_else(|| ClientError::BadArgument(lacks(&wanted)))?;
            for code in code.0.linked.iter().chain([code]) {
                if !linked.iter().any(|it| it.id() == code.id()) {
                    linked.push(code.clone());
                }
            }
        }
        Ok(Self(Arc::new(Inner {
            id,
            prefix: id.prefix(),
            number,
            len,
            hops,
            spawns,
            archive: Segment::shared(Arc::new(archive)),
            linked,
        })))
    }

    /// The code id.
    pub fn id(&self) -> CodeId {
        self.0.id
    }

    /// Bytes of the archive.
    pub fn archive_len(&self) -> u32 {
        self.0.len
    }

    /// Whether it wants to know the nodes, or goes on to them.
    pub(crate) fn hops(&self) -> bool {
        self.0.hops
    }

    /// Whether it may start other calls.
    pub(crate) fn spawns(&self) -> bool {
        self.0.spawns
    }

    /// Whether both are handles of the very same code.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn prefix(&self) -> CodePrefix {
        self.0.prefix
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number
    }

    /// What is left to send when the node lacks code, though it was sent an archive's `sent` bytes (0 for none).
    pub(crate) fn next_carry(&self, sent: u32) -> Option<Carry> {
        match sent {
            0 => Some(Carry::Archive),
            sent if sent == self.0.len && !self.0.linked.is_empty() => Some(Carry::Bundle),
            _ => None,
        }
    }

    /// What goes along with a call.
    pub(crate) fn carried(&self, carry: Carry) -> Result<Option<Segment<'static>>, ClientError> {
        match carry {
            Carry::Nothing => Ok(None),
            Carry::Archive => Ok(Some(self.0.archive.clone())),
            Carry::Bundle => self.bundle().map(Some),
        }
    }

    fn bundle(&self) -> Result<Segment<'static>, ClientError> {
        let bundle = Bundle {
            archive: self.0.archive.as_bytes(),
            linked: self
                .0
                .linked
                .iter()
                .map(|it| it.0.archive.as_bytes())
                .collect(),
        };
        let bytes = bundle.encode();
        let bytes = bytes.map_err(|error| ClientError::TooLarge(error.to_string()))?;
        Ok(Segment::shared(Arc::new(bytes)))
    }
}

fn lacks(id: &CodeId) -> String {
    format!("the archive links to the code {id}, which has to be given with it")
}
