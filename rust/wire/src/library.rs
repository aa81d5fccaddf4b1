//! A file of shipped functions: archives, each with what its origin alone knows of it.
//!
//! Apart from [`archive`](crate::archive), because a node never sees any of this: a library lies on a disk, and whoever calls one of
//! its functions sends that function's archive. The notes are what turns a node's answer into Julia's words again.

use crate::archive::{Archive, ArchiveError, MAX_ARCHIVE_BYTES};
use crate::code::CodeId;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::manifest::{MAX_NAME_BYTES, MAX_OBJECTS};

/// The first four bytes of every library.
pub const MAGIC: [u8; 4] = *b"BCLB";
/// The version of the library's layout.
pub const VERSION: u16 = 1;
/// The most functions of one library.
pub const MAX_FUNCTIONS: usize = 4096;
/// The longest notes on one function, in bytes.
pub const MAX_NOTES_BYTES: usize = 16 << 20;
/// The most sites of one function.
pub const MAX_SITES: usize = 1 << 20;
/// The most frames of one site.
pub const MAX_FRAMES: usize = 4096;

/// The fewest bytes that a function takes: two lengths.
const MIN_FUNCTION_BYTES: usize = 8;
/// The fewest bytes that a frame takes: two lengths and a line.
const MIN_FRAME_BYTES: usize = 12;

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The function's name.
    pub name: &'a str,
    /// The file, as the origin saw it.
    pub file: &'a str,
    /// The line, counted from 1.
    pub line: u32,
}

/// What the origin of an archive knows of it, and no node needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes<'a> {
    /// The canonical name of the tuple type of the arguments.
    pub arguments: &'a str,
    /// The canonical name of the `NamedTuple` type of the keyword arguments.
    pub keywords: &'a str,
    /// The canonical name of the type of the result.
    pub result: &'a str,
    /// The objects, by index, that the origin may call for the text of an exception.
    pub deferrable: Vec<u32>,
    /// The places in the source that the sites of the image stand for (site 1 first), innermost frame first.
    pub sites: Vec<Vec<Frame<'a>>>,
}

/// One function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// The archive, as it is sent: what the code id is the hash of.
    pub bytes: &'a [u8],
    /// The same, decoded.
    pub archive: Archive<'a>,
    /// `None` if they were stripped.
    pub notes: Option<Notes<'a>>,
}

impl<'a> Function<'a> {
    /// The function of an archive.
    ///
    /// # Errors
    /// As for [`Archive::decode`]; [`ArchiveError::Decode`] if the notes name an object that the archive has not.
    pub fn new(bytes: &'a [u8], notes: Option<Notes<'a>>) -> Result<Self, ArchiveError> {
        let archive = Archive::decode(bytes)?;
        let objects = archive.manifest.objects.len();
        let known = |index: &u32| (*index as usize) < objects;
        if !notes.iter().all(|notes| notes.deferrable.iter().all(known)) {
            let problem = Problem::Rule("it names an object that the archive has not");
            return Err(Reader::new("notes", &[])
                .error("deferrable", problem)
                .into());
        }
        Ok(Self {
            bytes,
            archive,
            notes,
        })
    }

    /// The code id.
    pub fn id(&self) -> CodeId {
        CodeId::of(self.bytes)
    }

    /// Whether `name` means this function: what was shipped, such as `f(::Int64)`, or its name alone, `f`.
    pub fn is_named(&self, name: &str) -> bool {
        let whole = self.archive.manifest.name;
        whole == name || whole.split('(').next() == Some(name)
    }
}

/// Shipped functions, borrowed from the bytes of a file.
///
/// ```
/// use bitcode_wire::archive::Archive;
/// use bitcode_wire::library::{Function, Library};
/// use bitcode_wire::manifest::Manifest;
///
/// let manifest = Manifest { entry: "bitcode_entry", name: "f(::Int64)", ..Manifest::default() };
/// let (bytes, _) = Archive { manifest, ..Archive::default() }.encode()?;
/// let library = Library { functions: vec![Function::new(&bytes, None)?] };
/// let file = library.encode()?;
/// assert_eq!(Library::decode(&file)?, library);
/// assert_eq!(library.named("f").count(), 1);
/// # Ok::<(), bitcode_wire::archive::ArchiveError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Library<'a> {
    /// The functions, in the order in which they were saved.
    pub functions: Vec<Function<'a>>,
}

impl<'a> Library<'a> {
    /// Reads a library with all its archives, or one archive by itself.
    ///
    /// # Errors
    /// [`ArchiveError::Decode`], [`ArchiveError::Manifest`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        if bytes.starts_with(&crate::archive::MAGIC) {
            let function = Function::new(bytes, None)?;
            return Ok(Self {
                functions: vec![function],
            });
        }
        let mut reader = Reader::new("library", bytes);
        reader.opening(MAGIC, VERSION)?;
        let parts = reader.list("functions", MIN_FUNCTION_BYTES, MAX_FUNCTIONS, |reader| {
            let archive = reader.bytes("archive", MAX_ARCHIVE_BYTES)?;
            let mut nested = reader.nested("notes", MAX_NOTES_BYTES)?;
            let notes = if nested.left() == 0 {
                None
            } else {
                Some(Notes::read(&mut nested)?)
            };
            nested.finish()?;
            Ok((archive, notes))
        })?;
        reader.finish()?;
        let functions = parts
            .into_iter()
            .map(|(archive, notes)| Function::new(archive, notes));
        Ok(Self {
            functions: functions.collect::<Result<_, _>>()?,
        })
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`ArchiveError::Encode`] if something is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, ArchiveError> {
        let mut writer = Writer::new("library");
        writer.raw(&MAGIC);
        writer.u16(VERSION);
        writer.u16(0);
        writer.list(
            "functions",
            &self.functions,
            MAX_FUNCTIONS,
            |w, function| {
                w.bytes("archive", function.bytes, MAX_ARCHIVE_BYTES);
                w.nested("notes", MAX_NOTES_BYTES, |w| {
                    if let Some(notes) = &function.notes {
                        notes.write(w);
                    }
                });
            },
        );
        Ok(writer.finish()?)
    }

    /// The functions that `name` means: see [`Function::is_named`].
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Function<'a>> {
        self.functions
            .iter()
            .filter(move |function| function.is_named(name))
    }
}

impl<'a> Notes<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            arguments: reader.str("arguments", MAX_NAME_BYTES)?,
            keywords: reader.str("keywords", MAX_NAME_BYTES)?,
            result: reader.str("result", MAX_NAME_BYTES)?,
            deferrable: reader.list("deferrable", size_of::<u32>(), MAX_OBJECTS, |r| {
                r.u32("deferrable")
            })?,
            sites: reader.list("sites", size_of::<u32>(), MAX_SITES, |r| {
                r.list("frames", MIN_FRAME_BYTES, MAX_FRAMES, |r| {
                    Ok(Frame {
                        name: r.str("name", MAX_NAME_BYTES)?,
                        file: r.str("file", MAX_NAME_BYTES)?,
                        line: r.u32("line")?,
                    })
                })
            })?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.str("arguments", self.arguments, MAX_NAME_BYTES);
        writer.str("keywords", self.keywords, MAX_NAME_BYTES);
        writer.str("result", self.result, MAX_NAME_BYTES);
        writer.list("deferrable", &self.deferrable, MAX_OBJECTS, |w, index| {
            w.u32(*index);
        });
        writer.list("sites", &self.sites, MAX_SITES, |w, site| {
            w.list("frames", site, MAX_FRAMES, |w, frame| {
                w.str("name", frame.name, MAX_NAME_BYTES);
                w.str("file", frame.file, MAX_NAME_BYTES);
                w.u32(frame.line);
            });
        });
    }
}
