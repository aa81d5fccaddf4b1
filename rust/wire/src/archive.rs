//! Archives: the container of one shipped function, a manifest and one or more images.
//!
//! An archive is decoded only after its hash was checked against the code id it is kept under; it borrows everything
//! from the bytes, which hold the code already.

use crate::code::CodeId;
use crate::codec::{DecodeError, EncodeError, Problem, Reader, Writer};
use crate::error::ErrorCode;
use crate::manifest::{Inconsistent, MAX_MANIFEST_BYTES, Manifest, ManifestProblem};

/// The first four bytes of every archive.
pub const MAGIC: [u8; 4] = *b"BCAR";
/// The version of the archive's layout.
pub const VERSION: u16 = 1;
/// The longest archive, in bytes.
pub const MAX_ARCHIVE_BYTES: usize = 256 << 20;
/// The most images of one archive.
pub const MAX_IMAGES: usize = 64;
/// The longest triple, CPU name or feature list, in bytes.
pub const MAX_TARGET_BYTES: usize = 64 << 10;

/// The first four bytes of an archive that is specialised.
pub const SPECIAL_MAGIC: [u8; 4] = *b"BCSP";
/// The most bytes that specialised code has fixed.
pub const MAX_FIXED_BYTES: usize = 64 << 10;

/// The fewest bytes that an image takes: a kind and four lengths.
const MIN_IMAGE_BYTES: usize = 17;

/// What an image's code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ImageKind {
    /// LLVM bitcode.
    Bitcode = 1,
    /// A native object file.
    Object = 2,
}

/// The code for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// What the code is.
    pub kind: ImageKind,
    /// The target triple it was made for, e.g. `"x86_64-linux-gnu"`.
    pub triple: &'a str,
    /// The CPU it needs; empty for bitcode that suits any.
    pub cpu: &'a str,
    /// The CPU features it needs, as LLVM writes them; empty for none.
    pub features: &'a str,
    /// The code.
    pub code: &'a [u8],
}

/// Why an archive was refused, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Bad bytes: the sender's fault.
    #[error("archive refused: {0}")]
    Decode(#[from] DecodeError),
    /// Good bytes whose manifest contradicts itself: the sender's fault.
    #[error("archive refused: {0}")]
    Manifest(#[from] Inconsistent),
    /// The value is too large for the format: the caller's fault.
    #[error("archive cannot be written: {0}")]
    Encode(#[from] EncodeError),
}

impl ArchiveError {
    /// The code that an ERROR frame carries for this.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Decode(DecodeError {
                problem: Problem::WrongVersion { .. },
                ..
            }) => ErrorCode::UNSUPPORTED,
            Self::Decode(DecodeError {
                problem: Problem::OverLimit { .. },
                ..
            })
            | Self::Manifest(Inconsistent {
                problem: ManifestProblem::OverLimit { .. },
                ..
            })
            | Self::Encode(_) => ErrorCode::TOO_LARGE,
            Self::Decode(_) | Self::Manifest(_) => ErrorCode::BAD_ARCHIVE,
        }
    }
}

/// One shipped function, borrowed from the archive's bytes.
///
/// ```
/// use bitcode_wire::archive::{Archive, Image, ImageKind};
/// use bitcode_wire::manifest::Manifest;
///
/// let code = [b'B', b'C', 0xC0, 0xDE];
/// let archive = Archive {
///     manifest: Manifest { abi: "julia-1.5-64le", entry: "bitcode_entry", ..Manifest::default() },
///     images: vec![Image { kind: ImageKind::Bitcode, triple: "x86_64-linux-gnu", cpu: "", features: "", code: &code }],
///     ..Archive::default()
/// };
/// let (bytes, id) = archive.encode()?;
/// assert_eq!(Archive::decode(&bytes)?, archive);
/// assert_eq!(bitcode_wire::code::CodeId::of(&bytes), id);
/// # Ok::<(), bitcode_wire::archive::ArchiveError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive<'a> {
    /// What the archive says about itself.
    pub manifest: Manifest<'a>,
    /// The code, for one target each; the order is the sender's preference.
    pub images: Vec<Image<'a>>,
    /// What the code is specialised for: bytes that it reads as constants. Empty for ordinary code.
    pub fixed: &'a [u8],
}

/// The same code, specialised for these bytes: an archive of its own, with its own code id. What `archive` was specialised for is forgotten.
///
/// ```
/// use bitcode_wire::archive::{Archive, specialised};
/// use bitcode_wire::manifest::Manifest;
///
/// let manifest = Manifest { abi: "julia-1.5-64le", entry: "bitcode_entry", ..Manifest::default() };
/// let (plain, _) = Archive { manifest, ..Archive::default() }.encode()?;
/// let special = specialised(&plain, &[1, 2, 3])?;
/// assert_eq!(Archive::decode(&special)?.fixed, [1, 2, 3]);
/// assert_eq!(specialised(&special, &[4])?, specialised(&plain, &[4])?);
/// # Ok::<(), bitcode_wire::archive::ArchiveError>(())
/// ```
///
/// # Errors
/// [`ArchiveError::Encode`] over a limit; [`ArchiveError::Decode`] if `archive` is none.
pub fn specialised(archive: &[u8], fixed: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let (_, plain) = split(archive)?;
    Ok(wrap(plain, fixed)?)
}

fn wrap(plain: &[u8], fixed: &[u8]) -> Result<Vec<u8>, EncodeError> {
    if fixed.is_empty() {
        return Ok(plain.to_vec());
    }
    let mut writer = Writer::new("specialised archive");
    writer.raw(&SPECIAL_MAGIC);
    writer.u16(VERSION);
    writer.u16(0);
    writer.bytes("fixed", fixed, MAX_FIXED_BYTES);
    writer.bytes("archive", plain, MAX_ARCHIVE_BYTES);
    writer.finish()
}

/// What an archive is specialised for, and the archive without that.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    if !bytes.starts_with(&SPECIAL_MAGIC) {
        return Ok((&[], bytes));
    }
    let mut reader = Reader::new("specialised archive", bytes);
    reader.opening(SPECIAL_MAGIC, VERSION)?;
    let nothing = reader.error(
        "fixed",
        Problem::Rule("specialised code has something fixed"),
    );
    let fixed = reader.bytes("fixed", MAX_FIXED_BYTES)?;
    let plain = reader.bytes("archive", MAX_ARCHIVE_BYTES)?;
    reader.finish()?;
    if fixed.is_empty() {
        return Err(nothing);
    }
    Ok((fixed, plain))
}

impl<'a> Archive<'a> {
    /// Reads an archive and checks its manifest.
    ///
    /// # Errors
    /// [`ArchiveError::Decode`], [`ArchiveError::Manifest`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let (fixed, bytes) = split(bytes)?;
        let mut reader = Reader::new("archive", bytes);
        if bytes.len() > MAX_ARCHIVE_BYTES {
            let problem = Problem::OverLimit {
                found: bytes.len() as u64,
                limit: MAX_ARCHIVE_BYTES as u64,
            };
            return Err(reader.error("length", problem).into());
        }
        reader.opening(MAGIC, VERSION)?;
        let mut nested = reader.nested("manifest", MAX_MANIFEST_BYTES)?;
        let manifest = Manifest::read(&mut nested)?;
        nested.finish()?;
        let images = reader.list("images", MIN_IMAGE_BYTES, MAX_IMAGES, Image::read)?;
        reader.finish()?;
        manifest.check()?;
        Ok(Self {
            manifest,
            images,
            fixed,
        })
    }

    /// The bytes and their code id, after the same checks that decoding makes.
    ///
    /// # Errors
    /// [`ArchiveError::Manifest`], [`ArchiveError::Encode`].
    pub fn encode(&self) -> Result<(Vec<u8>, CodeId), ArchiveError> {
        self.manifest.check()?;
        let mut writer = Writer::new("archive");
        writer.raw(&MAGIC);
        writer.u16(VERSION);
        writer.u16(0);
        writer.nested("manifest", MAX_MANIFEST_BYTES, |w| self.manifest.write(w));
        writer.list("images", &self.images, MAX_IMAGES, |w, image| {
            image.write(w)
        });
        let bytes = writer.finish()?;
        if bytes.len() > MAX_ARCHIVE_BYTES {
            let found = bytes.len() as u64;
            return Err(EncodeError {
                what: "archive",
                field: "length",
                found,
                limit: MAX_ARCHIVE_BYTES as u64,
            }
            .into());
        }
        let bytes = wrap(&bytes, self.fixed)?;
        let id = CodeId::of(&bytes);
        Ok((bytes, id))
    }
}

impl<'a> Image<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.within("image");
        let start = reader.error("kind", Problem::WrongMagic);
        let kind = match reader.u8("kind")? {
            1 => ImageKind::Bitcode,
            2 => ImageKind::Object,
            tag => {
                return Err(DecodeError {
                    problem: Problem::UnknownTag(tag.into()),
                    ..start
                });
            }
        };
        let image = Self {
            kind,
            triple: reader.str("triple", MAX_TARGET_BYTES)?,
            cpu: reader.str("cpu", MAX_TARGET_BYTES)?,
            features: reader.str("features", MAX_TARGET_BYTES)?,
            code: reader.bytes("code", MAX_ARCHIVE_BYTES)?,
        };
        reader.within("archive");
        Ok(image)
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.kind as u8);
        writer.str("triple", self.triple, MAX_TARGET_BYTES);
        writer.str("cpu", self.cpu, MAX_TARGET_BYTES);
        writer.str("features", self.features, MAX_TARGET_BYTES);
        writer.bytes("code", self.code, MAX_ARCHIVE_BYTES);
    }
}
