//! Code that calls other code by its code id: the names that are used for it, and how archives travel together.
//!
//! An archive may *link* to others: a dependency on `bitcode:<code id>` stands for one more function that the node has, or is to be given. It goes
//! by the hash of the other's whole archive, so a link means those very bytes, and there are no circles.

use crate::archive::{ArchiveError, MAX_ARCHIVE_BYTES};
use crate::code::CodeId;
use crate::codec::{Problem, Reader, Writer};
use crate::manifest::{MAX_DEPENDENCIES, Manifest};

/// What an image exports, besides its entry, for others to link to.
pub const FUNCTION_SYMBOL: &str = "bitcode_function";
/// The first four bytes of every bundle.
pub const MAGIC: [u8; 4] = *b"BCBN";
/// The version of the bundle's layout.
pub const VERSION: u16 = 1;

const SONAME: &str = "bitcode:";

/// The name that a manifest's dependency on this code has in place of a C library's.
///
/// ```
/// use bitcode_wire::code::CodeId;
/// use bitcode_wire::link;
///
/// let id = CodeId::of(b"an archive");
/// assert_eq!(link::linked(&link::soname(&id)), Some(id));
/// assert_eq!(link::linked("libz.so.1"), None);
/// ```
pub fn soname(id: &CodeId) -> String {
    format!("{SONAME}{id}")
}

/// The one symbol of that dependency: the other archive's [`FUNCTION_SYMBOL`].
pub fn symbol(id: &CodeId) -> String {
    format!("{FUNCTION_SYMBOL}.{id}")
}

/// The code that a dependency of this name stands for: the inverse of [`soname`], for canonical spellings only.
pub fn linked(name: &str) -> Option<CodeId> {
    let id = name.strip_prefix(SONAME)?.parse().ok()?;
    (soname(&id) == name).then_some(id)
}

impl Manifest<'_> {
    /// The code that this code links to, in the manifest's order.
    pub fn links(&self) -> impl Iterator<Item = CodeId> {
        let names = self.dependencies.iter().map(|it| it.soname);
        names.filter_map(linked)
    }
}

/// An archive and, if the receiver lacks them, those that it links to: a frame's trailer. Nothing in it is decoded or hashed yet.
///
/// ```
/// use bitcode_wire::link::Bundle;
///
/// let bundle = Bundle { archive: b"BCAR one", linked: vec![b"BCAR another"] };
/// let bytes = bundle.encode()?;
/// assert_eq!(Bundle::decode(&bytes)?, bundle);
/// # Ok::<(), bitcode_wire::archive::ArchiveError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle<'a> {
    /// The archive that is meant.
    pub archive: &'a [u8],
    /// What it links to, and what that links to, each after all that it links to itself.
    pub linked: Vec<&'a [u8]>,
}

impl<'a> Bundle<'a> {
    /// Takes a trailer apart. One that is no bundle is an archive by itself.
    ///
    /// # Errors
    /// [`ArchiveError::Decode`].
    pub fn decode(trailer: &'a [u8]) -> Result<Self, ArchiveError> {
        if !trailer.starts_with(&MAGIC) {
            return Ok(Self {
                archive: trailer,
                linked: Vec::new(),
            });
        }
        let mut reader = Reader::new("bundle", trailer);
        reader.opening(MAGIC, VERSION)?;
        let archive = reader.bytes("archive", MAX_ARCHIVE_BYTES)?;
        let linked = reader.list("linked", size_of::<u32>(), MAX_DEPENDENCIES, |reader| {
            reader.bytes("archive", MAX_ARCHIVE_BYTES)
        })?;
        let empty = linked.is_empty().then(|| {
            reader.error(
                "linked",
                Problem::Rule("a bundle holds two archives at least"),
            )
        });
        reader.finish()?;
        match empty {
            Some(error) => Err(error.into()),
            None => Ok(Self { archive, linked }),
        }
    }

    /// The trailer.
    ///
    /// # Errors
    /// [`ArchiveError::Encode`] over a limit.
    pub fn encode(&self) -> Result<Vec<u8>, ArchiveError> {
        if self.linked.is_empty() {
            return Ok(self.archive.to_vec());
        }
        let mut writer = Writer::new("bundle");
        writer.raw(&MAGIC);
        writer.u16(VERSION);
        writer.u16(0);
        writer.bytes("archive", self.archive, MAX_ARCHIVE_BYTES);
        writer.list(
            "linked",
            &self.linked,
            MAX_DEPENDENCIES,
            |writer, archive| {
                writer.bytes("archive", archive, MAX_ARCHIVE_BYTES);
            },
        );
        Ok(writer.finish()?)
    }
}
