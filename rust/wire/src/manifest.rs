//! What an archive says about itself: entry, imports, dependencies and the Julia objects that its code refers to.
//!
//! Decoding checks the bytes and then the meaning ([`Manifest::check`]): every index names an object of the right kind,
//! every offset lies inside its object, no chain of supertypes runs in a circle. What can only be judged with Julia's
//! rules at hand (is this really the layout of `Core.Int64`?) is left to the room that builds the objects.

mod check;
mod object;

pub use check::{Inconsistent, ManifestProblem};
pub use object::{
    ArrayObject, DataObject, ElementFlags, Field, FieldKind, Object, Relocation, TypeFlags,
    TypeObject,
};

use crate::archive::ArchiveError;
use crate::codec::{DecodeError, EncodeError, Problem, Reader, Writer};

/// The longest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 16 << 20;
/// The most objects of one manifest.
pub const MAX_OBJECTS: usize = 65_536;
/// The most imports of one manifest, and the most symbols of one dependency.
pub const MAX_SYMBOLS: usize = 65_536;
/// The most dependencies of one manifest.
pub const MAX_DEPENDENCIES: usize = 1024;
/// The longest name (of a type, a symbol of the image, a library…), in bytes.
pub const MAX_NAME_BYTES: usize = 1 << 20;
/// The most dimensions of an array.
pub const MAX_DIMS: usize = 64;
/// Bytes of a reference (a pointer to a Julia object) in an object's memory.
pub const REFERENCE_BYTES: u32 = 8;

/// The external symbol by which an image refers to object `index`: its address is the object's address.
///
/// ```
/// assert_eq!(bitcode_wire::manifest::object_symbol(12), "bc.obj.12");
/// ```
pub fn object_symbol(index: u32) -> String {
    format!("bc.obj.{index}")
}

/// The object that an image means by this external symbol: the inverse of [`object_symbol`], for canonical spellings only.
///
/// ```
/// use bitcode_wire::manifest::object_index;
///
/// assert_eq!(object_index("bc.obj.12"), Some(12));
/// assert_eq!(object_index("bc.obj.012"), None);
/// assert_eq!(object_index("jl_throw"), None);
/// ```
pub fn object_index(symbol: &str) -> Option<u32> {
    let digits = symbol.strip_prefix("bc.obj.")?;
    let index: u32 = digits.parse().ok()?;
    (index.to_string() == digits).then_some(index)
}

/// A library that the code needs, with the symbols it takes from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency<'a> {
    /// The library's name as the node's loader knows it, e.g. `"libm.so.6"`.
    pub soname: &'a str,
    /// Symbols taken from it.
    pub symbols: Vec<&'a str>,
}

/// The first part of an archive. Text and bytes are borrowed from it.
///
/// ```
/// use bitcode_wire::manifest::{Manifest, Object};
///
/// let manifest = Manifest {
///     abi: "julia-1.5-64le",
///     entry: "bitcode_entry",
///     imports: vec!["jl_throw"],
///     objects: vec![Object::Symbol("x")],
///     ..Manifest::default()
/// };
/// let bytes = manifest.encode()?;
/// assert_eq!(Manifest::decode(&bytes)?, manifest);
/// # Ok::<(), bitcode_wire::archive::ArchiveError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// The object layout and calling rules that the code was made for, e.g. `"julia-1.5-64le"`.
    pub abi: &'a str,
    /// What made the archive, with its version; for people.
    pub producer: &'a str,
    /// The function that the image exports, `"bitcode_entry"`.
    pub entry: &'a str,
    /// What was shipped, e.g. `"f(::Int64)"`; for people.
    pub name: &'a str,
    /// The argument types; for people.
    pub arguments: &'a str,
    /// The result type; for people.
    pub result: &'a str,
    /// Every external symbol of the image that is neither an object's nor a dependency's.
    pub imports: Vec<&'a str>,
    /// Libraries, with the symbols taken from each.
    pub dependencies: Vec<Dependency<'a>>,
    /// The Julia objects; number `i` is the image's symbol `bc.obj.<i>`.
    pub objects: Vec<Object<'a>>,
}

impl<'a> Manifest<'a> {
    /// Reads a manifest and checks it.
    ///
    /// # Errors
    /// [`ArchiveError::Decode`] for bad bytes, [`ArchiveError::Manifest`] for good bytes that make no sense.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let mut reader = Reader::new("manifest", bytes);
        if bytes.len() > MAX_MANIFEST_BYTES {
            let problem = Problem::OverLimit {
                found: bytes.len() as u64,
                limit: MAX_MANIFEST_BYTES as u64,
            };
            return Err(reader.error("length", problem).into());
        }
        let manifest = Self::read(&mut reader)?;
        reader.finish()?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes, after the same checks that decoding makes.
    ///
    /// # Errors
    /// [`ArchiveError::Manifest`], [`ArchiveError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, ArchiveError> {
        self.check()?;
        let mut writer = Writer::new("manifest");
        self.write(&mut writer);
        let bytes = writer.finish()?;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(EncodeError {
                what: "manifest",
                field: "length",
                found: bytes.len() as u64,
                limit: MAX_MANIFEST_BYTES as u64,
            }
            .into());
        }
        Ok(bytes)
    }

    /// Reads the fields without checking what they mean.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let string = size_of::<u32>();
        Ok(Self {
            abi: reader.str("abi", MAX_NAME_BYTES)?,
            producer: reader.str("producer", MAX_NAME_BYTES)?,
            entry: reader.str("entry", MAX_NAME_BYTES)?,
            name: reader.str("name", MAX_NAME_BYTES)?,
            arguments: reader.str("arguments", MAX_NAME_BYTES)?,
            result: reader.str("result", MAX_NAME_BYTES)?,
            imports: reader.list("imports", string, MAX_SYMBOLS, |r| {
                r.str("imports", MAX_NAME_BYTES)
            })?,
            dependencies: reader.list("dependencies", 2 * string, MAX_DEPENDENCIES, |r| {
                Ok(Dependency {
                    soname: r.str("soname", MAX_NAME_BYTES)?,
                    symbols: r.list("symbols", string, MAX_SYMBOLS, |r| {
                        r.str("symbols", MAX_NAME_BYTES)
                    })?,
                })
            })?,
            objects: reader.list("objects", Object::MIN_BYTES, MAX_OBJECTS, Object::read)?,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.str("abi", self.abi, MAX_NAME_BYTES);
        writer.str("producer", self.producer, MAX_NAME_BYTES);
        writer.str("entry", self.entry, MAX_NAME_BYTES);
        writer.str("name", self.name, MAX_NAME_BYTES);
        writer.str("arguments", self.arguments, MAX_NAME_BYTES);
        writer.str("result", self.result, MAX_NAME_BYTES);
        writer.list("imports", &self.imports, MAX_SYMBOLS, |w, import| {
            w.str("imports", import, MAX_NAME_BYTES)
        });
        writer.list(
            "dependencies",
            &self.dependencies,
            MAX_DEPENDENCIES,
            |w, dependency| {
                w.str("soname", dependency.soname, MAX_NAME_BYTES);
                w.list("symbols", &dependency.symbols, MAX_SYMBOLS, |w, symbol| {
                    w.str("symbols", symbol, MAX_NAME_BYTES)
                });
            },
        );
        writer.list("objects", &self.objects, MAX_OBJECTS, |w, object| {
            object.write(w)
        });
    }
}
