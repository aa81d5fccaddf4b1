//! Codes: archives that can be called.

use std::sync::Arc;

use bitcode_transport::Segment;
use bitcode_wire::archive::Archive;
use bitcode_wire::code::{CodeId, CodePrefix};

use crate::ClientError;

/// What code imports that deals with other nodes.
const HOPPING: [&str; 7] = [
    "bc_forward",
    "bc_forward_graph",
    "bc_get",
    "bc_here",
    "bc_nodes",
    "bc_put",
    "bc_update",
];

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
    archive: Segment<'static>,
}

impl Code {
    /// Checks the archive's form and computes its id.
    pub(crate) fn new(archive: Vec<u8>, number: u32) -> Result<Self, ClientError> {
        let decoded = Archive::decode(&archive)
            .map_err(|error| ClientError::BadArgument(format!("not an archive: {error}")))?;
        let hops = decoded
            .manifest
            .imports
            .iter()
            .any(|it| HOPPING.contains(it));
        let len = u32::try_from(archive.len())
            .map_err(|_| ClientError::TooLarge(format!("an archive of {} bytes", archive.len())))?;
        let id = CodeId::of(&archive);
        Ok(Self(Arc::new(Inner {
            id,
            prefix: id.prefix(),
            number,
            len,
            hops,
            archive: Segment::shared(Arc::new(archive)),
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

    pub(crate) fn archive(&self) -> Segment<'static> {
        self.0.archive.clone()
    }
}
