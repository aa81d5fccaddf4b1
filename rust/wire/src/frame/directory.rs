//! The nodes of an origin, as it tells them to each other: what numbers mean in code that hops.
//!
//! A directory never changes: when nodes come or go, the origin makes another one, with another id (the `origin` field
//! of the header), and calls that are under way keep the numbers that they began with.

use crate::codec::{DecodeError, EncodeError, Problem, Reader, Writer};

/// The payload of a DIRECTORY frame.
///
/// ```
/// use bitcode_wire::frame::Directory;
///
/// let nodes = vec!["10.0.0.1:13337".to_owned(), "10.0.0.2:13337".to_owned()];
/// let directory = Directory { here: 2, nodes };
/// assert_eq!(Directory::decode(&directory.encode()?)?, directory);
/// assert_eq!(directory.address(1), Some("10.0.0.1:13337"));
/// assert_eq!(directory.address(0), None, "0 is the origin");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The receiver's own number, from 1.
    pub here: u32,
    /// Where nodes 1, 2, … take sessions (`host:port`), as the origin reaches them.
    pub nodes: Vec<String>,
}

impl Directory {
    /// The most nodes.
    pub const MAX_NODES: usize = 4096;
    /// The longest address, in bytes.
    pub const MAX_PLACE_BYTES: usize = 300;

    /// The address of a node, from 1.
    pub fn address(&self, node: u32) -> Option<&str> {
        let index = (node as usize).checked_sub(1)?;
        self.nodes.get(index).map(String::as_str)
    }

    /// The bytes.
    ///
    /// # Errors
    /// Too many nodes, or an address that is too long.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::new("DIRECTORY payload");
        writer.u32(self.here);
        writer.list("nodes", &self.nodes, Self::MAX_NODES, |w, node| {
            w.str("nodes", node, Self::MAX_PLACE_BYTES);
        });
        writer.finish()
    }

    /// Reads the payload of a DIRECTORY frame.
    ///
    /// # Errors
    /// Bytes that are short or overlong, a number over its limit, a receiver that is not among the nodes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("DIRECTORY payload", bytes);
        let outside = reader.error("here", Problem::Rule("must be the number of a node"));
        let here = reader.u32("here")?;
        let nodes = reader.list("nodes", size_of::<u32>(), Self::MAX_NODES, |r| {
            r.str("nodes", Self::MAX_PLACE_BYTES).map(str::to_owned)
        })?;
        reader.finish()?;
        let directory = Self { here, nodes };
        match directory.address(here) {
            Some(_) => Ok(directory),
            None => Err(outside),
        }
    }
}
