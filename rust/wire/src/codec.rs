//! The one reader and the one writer of every format in this room.
//!
//! It is apart because bounds are only trustworthy when they are checked in one place. All numbers are little endian
//! and unaligned; `str` is a `u32` length and UTF-8, `bytes` a `u32` length and raw bytes, a list a `u32` count and its
//! items. Nothing is allocated for a length or a count before it was compared with the bytes that are left.

use std::fmt;

/// Why bytes were refused: which type, which field of it, where, and what was wrong.
///
/// `Display` is a sentence fit for a log or for the peer; it quotes no payload bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The type that was being decoded, in the words of `docs/WIRE.md`, e.g. `"manifest"`.
    pub what: &'static str,
    /// The field of it.
    pub field: &'static str,
    /// Byte offset of that field from the start of the outermost buffer.
    pub offset: usize,
    /// What was wrong.
    pub problem: Problem,
}

/// What was wrong with a field (see [`DecodeError`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The field needs `wanted` bytes and only `left` are there.
    Short {
        /// Bytes that the field needs.
        wanted: u64,
        /// Bytes that are there.
        left: usize,
    },
    /// The value is complete and this many bytes follow it.
    Trailing(usize),
    /// A tag that this version does not know.
    UnknownTag(u64),
    /// Bits that this version does not know are set.
    UnknownBits(u64),
    /// A length or a count is above the limit.
    OverLimit {
        /// What the bytes say.
        found: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// Text is not UTF-8.
    NotUtf8,
    /// The magic number is another one: these bytes are something else.
    WrongMagic,
    /// The format's version is not one that this build reads.
    WrongVersion {
        /// The version in the bytes.
        found: u64,
        /// The version that this build reads.
        ours: u64,
    },
    /// The value breaks a rule of the format, given as a sentence.
    Rule(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: `{}` at byte {}: {}",
            self.what, self.field, self.offset, self.problem
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { wanted, left } => write!(f, "needs {wanted} bytes, {left} are left"),
            Self::Trailing(extra) => {
                write!(f, "{extra} bytes follow where the value should have ended")
            }
            Self::UnknownTag(tag) => write!(f, "unknown tag {tag}"),
            Self::UnknownBits(bits) => write!(f, "unknown bits {bits:#x} are set"),
            Self::OverLimit { found, limit } => write!(f, "{found} is over the limit of {limit}"),
            Self::NotUtf8 => f.write_str("text is not UTF-8"),
            Self::WrongMagic => f.write_str("wrong magic number"),
            Self::WrongVersion { found, ours } => {
                write!(
                    f,
                    "format version {found}, this build reads version {ours}; update the older side"
                )
            }
            Self::Rule(rule) => f.write_str(rule),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A bounded cursor over bytes that came from somewhere else.
///
/// Every `take` is checked, nested lengths get a reader of their own ([`Reader::nested`]) that cannot see past them,
/// and [`Reader::finish`] refuses bytes that nobody read.
///
/// ```
/// use bitcode_wire::codec::{Problem, Reader};
///
/// let mut reader = Reader::new("point", &[3, 0, 0, 0, b'a', b'b', b'c', 9]);
/// assert_eq!(reader.str("name", 16)?, "abc");
/// assert_eq!(reader.u8("colour")?, 9);
/// assert_eq!(reader.u16("weight").unwrap_err().problem, Problem::Short { wanted: 2, left: 0 });
/// reader.finish()?;
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
    /// Offset of `rest` from the start of the outermost buffer.
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader over all of `bytes`, which hold one value of the type called `what` (as errors will name it).
    pub const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            what,
            rest: bytes,
            offset: 0,
        }
    }

    /// The bytes not read yet.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Offset of the next byte from the start of the outermost buffer.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Names the type that errors mention from here on: a value inside the outer one, not length-prefixed.
    pub const fn within(&mut self, what: &'static str) {
        self.what = what;
    }

    /// The error that `field`, which starts at the next byte, deserves.
    pub const fn error(&self, field: &'static str, problem: Problem) -> DecodeError {
        DecodeError {
            what: self.what,
            field,
            offset: self.offset,
            problem,
        }
    }

    /// How a file begins: four bytes that say what it is, the version of its layout, 16 bits without a meaning yet.
    ///
    /// # Errors
    /// [`Problem::WrongMagic`], [`Problem::WrongVersion`], [`Problem::UnknownBits`], [`Problem::Short`].
    pub fn opening(&mut self, magic: [u8; 4], version: u16) -> Result<(), DecodeError> {
        let start = self.offset;
        if self.array::<4>("magic")? != magic {
            return Err(self.error_at("magic", start, Problem::WrongMagic));
        }
        let start = self.offset;
        let found = self.u16("version")?;
        if found != version {
            let problem = Problem::WrongVersion {
                found: found.into(),
                ours: version.into(),
            };
            return Err(self.error_at("version", start, problem));
        }
        let start = self.offset;
        match self.u16("flags")? {
            0 => Ok(()),
            bits => Err(self.error_at("flags", start, Problem::UnknownBits(bits.into()))),
        }
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    /// [`Problem::Short`] when fewer are left.
    pub fn take(&mut self, field: &'static str, n: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                self.offset += n;
                Ok(head)
            }
            None => Err(self.error(
                field,
                Problem::Short {
                    wanted: n as u64,
                    left: self.rest.len(),
                },
            )),
        }
    }

    /// Exactly `N` bytes, by value.
    ///
    /// # Errors
    /// [`Problem::Short`].
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                self.offset += N;
                Ok(*head)
            }
            None => Err(self.error(
                field,
                Problem::Short {
                    wanted: N as u64,
                    left: self.rest.len(),
                },
            )),
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Problem::Short`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_le_bytes)
    }

    /// A 16-bit number.
    ///
    /// # Errors
    /// [`Problem::Short`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// [`Problem::Short`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// [`Problem::Short`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A `u32` length of at most `limit`, and that many bytes.
    ///
    /// # Errors
    /// [`Problem::OverLimit`], [`Problem::Short`].
    pub fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let start = self.offset;
        let len = self.u32(field)?;
        self.over_limit(field, start, len, limit)?;
        self.take(field, len as usize)
    }

    /// A `u32` length of at most `limit` bytes, and that much UTF-8 text.
    ///
    /// # Errors
    /// [`Problem::OverLimit`], [`Problem::Short`], [`Problem::NotUtf8`].
    pub fn str(&mut self, field: &'static str, limit: usize) -> Result<&'a str, DecodeError> {
        let start = self.offset;
        let bytes = self.bytes(field, limit)?;
        std::str::from_utf8(bytes).map_err(|_| self.error_at(field, start, Problem::NotUtf8))
    }

    /// A reader of its own, called `what`, over a `u32` length of at most `limit` and that many bytes.
    ///
    /// # Errors
    /// [`Problem::OverLimit`], [`Problem::Short`].
    pub fn nested(&mut self, what: &'static str, limit: usize) -> Result<Self, DecodeError> {
        let offset = self.offset + size_of::<u32>();
        let rest = self.bytes(what, limit)?;
        Ok(Self { what, rest, offset })
    }

    /// The `u32` count of a list whose items take at least `item_bytes` (> 0) bytes each.
    ///
    /// A count that the bytes left cannot hold is refused here, so that the caller may allocate for what it gets.
    ///
    /// # Errors
    /// [`Problem::OverLimit`], [`Problem::Short`].
    pub fn count(
        &mut self,
        field: &'static str,
        item_bytes: usize,
        limit: usize,
    ) -> Result<usize, DecodeError> {
        let start = self.offset;
        let count = self.u32(field)?;
        self.over_limit(field, start, count, limit)?;
        let wanted = u64::from(count) * item_bytes as u64;
        if wanted > self.rest.len() as u64 {
            return Err(self.error_at(
                field,
                start,
                Problem::Short {
                    wanted,
                    left: self.rest.len(),
                },
            ));
        }
        Ok(count as usize)
    }

    /// A list: its count as in [`Reader::count`], then each item by `item`.
    ///
    /// # Errors
    /// Those of [`Reader::count`] and of `item`.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        item_bytes: usize,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(field, item_bytes, limit)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The end of the value.
    ///
    /// # Errors
    /// [`Problem::Trailing`] when bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(self.error("end", Problem::Trailing(extra))),
        }
    }

    const fn error_at(&self, field: &'static str, offset: usize, problem: Problem) -> DecodeError {
        DecodeError {
            what: self.what,
            field,
            offset,
            problem,
        }
    }

    fn over_limit(
        &self,
        field: &'static str,
        start: usize,
        found: u32,
        limit: usize,
    ) -> Result<(), DecodeError> {
        if found as usize > limit {
            let problem = Problem::OverLimit {
                found: found.into(),
                limit: limit as u64,
            };
            return Err(self.error_at(field, start, problem));
        }
        Ok(())
    }
}

/// A value too large for its format; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: `{field}` has {found}, the limit is {limit}")]
pub struct EncodeError {
    /// The type that was being encoded.
    pub what: &'static str,
    /// The field of it.
    pub field: &'static str,
    /// Its length in bytes, or its count.
    pub found: u64,
    /// The largest length or count allowed.
    pub limit: u64,
}

/// Builds the bytes that a [`Reader`] reads.
///
/// Numbers cannot fail; a length over its limit is remembered and [`Writer::finish`] returns the first of them, so
/// that encoders stay straight lines.
///
/// ```
/// use bitcode_wire::codec::Writer;
///
/// let mut writer = Writer::new("point");
/// writer.str("name", "abc", 16);
/// writer.u8(9);
/// assert_eq!(writer.finish()?, [3, 0, 0, 0, b'a', b'b', b'c', 9]);
/// # Ok::<(), bitcode_wire::codec::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    what: &'static str,
    out: Vec<u8>,
    failed: Option<EncodeError>,
}

impl Writer {
    /// A writer of one value of the type called `what`.
    pub const fn new(what: &'static str) -> Self {
        Self {
            what,
            out: Vec::new(),
            failed: None,
        }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Raw bytes, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.raw(&value.to_le_bytes());
    }

    /// A 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    /// A 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// A 64-bit number.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// A `u32` length and the bytes; more than `limit` of them fail at [`Writer::finish`].
    pub fn bytes(&mut self, field: &'static str, bytes: &[u8], limit: usize) {
        let len = self.length(field, bytes.len(), limit);
        if let Some(len) = len {
            self.u32(len);
            self.raw(bytes);
        }
    }

    /// A `u32` length and UTF-8 text; more than `limit` bytes of it fail at [`Writer::finish`].
    pub fn str(&mut self, field: &'static str, text: &str, limit: usize) {
        self.bytes(field, text.as_bytes(), limit);
    }

    /// A `u32` count and the items; more than `limit` of them fail at [`Writer::finish`].
    pub fn list<T>(
        &mut self,
        field: &'static str,
        items: &[T],
        limit: usize,
        mut item: impl FnMut(&mut Self, &T),
    ) {
        let count = self.length(field, items.len(), limit);
        if let Some(count) = count {
            self.u32(count);
            items.iter().for_each(|it| item(self, it));
        }
    }

    /// A `u32` length and what `write` writes; more than `limit` bytes of it fail at [`Writer::finish`].
    pub fn nested(&mut self, what: &'static str, limit: usize, write: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.what, what);
        let start = self.out.len();
        self.u32(0);
        write(self);
        let len = self.out.len() - start - size_of::<u32>();
        self.what = outer;
        let len = self.length(what, len, limit);
        if let Some((place, len)) = self.out.get_mut(start..start + size_of::<u32>()).zip(len) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// The first length that was over its limit.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn length(&mut self, field: &'static str, found: usize, limit: usize) -> Option<u32> {
        let limit = limit.min(u32::MAX as usize);
        if found > limit {
            let error = EncodeError {
                what: self.what,
                field,
                found: found as u64,
                limit: limit as u64,
            };
            self.failed.get_or_insert(error);
            return None;
        }
        u32::try_from(found).ok()
    }
}
