//! Object descriptors: how a node builds each Julia object that an image refers to.

use super::{MAX_DIMS, MAX_MANIFEST_BYTES, MAX_NAME_BYTES};
use crate::codec::{DecodeError, Problem, Reader, Writer};

/// Bits of [`TypeObject::flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TypeFlags(pub u32);

impl TypeFlags {
    /// Its instances can be changed, so each has an identity of its own.
    pub const MUTABLE: Self = Self(1);
    /// Plain data: immutable, without references.
    pub const ISBITS: Self = Self(2);
    /// Has one instance of size 0 (`nothing`, a function without captured variables).
    pub const SINGLETON: Self = Self(4);
    /// Has no instances of its own.
    pub const ABSTRACT: Self = Self(8);
    /// An `Array{T,N}`.
    pub const ARRAY: Self = Self(16);
    /// Declared with `primitive type`.
    pub const PRIMITIVE: Self = Self(32);
    /// A `Tuple`.
    pub const TUPLE: Self = Self(64);
    /// Objects can have exactly this type.
    pub const CONCRETE: Self = Self(128);
    /// Its layout has bytes that belong to no field, which `===` must not look at.
    pub const HAS_PADDING: Self = Self(256);
    /// New instances must start as zeros.
    pub const ZERO_INIT: Self = Self(512);
    /// All bits that this version knows.
    pub const ALL: Self = Self(1023);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Bits of [`TypeObject::element_flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ElementFlags(pub u32);

impl ElementFlags {
    /// Elements are references to objects.
    pub const REFERENCES: Self = Self(1);
    /// Elements are unions of bits types: one selector byte for each follows the elements.
    pub const UNION: Self = Self(2);
    /// Elements are structs that hold references inline; they must start as zeros.
    pub const INLINE_REFERENCES: Self = Self(4);
    /// All bits that this version knows.
    pub const ALL: Self = Self(7);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A Julia type and the layout of its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeObject<'a> {
    /// The canonical, fully qualified name, e.g. `"Core.Array{Core.Float64,1}"`.
    pub name: &'a str,
    /// What kind of type it is.
    pub flags: TypeFlags,
    /// Bytes of an instance.
    pub size: u32,
    /// Alignment of an instance in bytes: 0 or a power of two.
    pub align: u16,
    /// Byte offsets of the reference fields of an instance.
    pub pointers: Vec<u32>,
    /// Arrays: bytes of an element.
    pub element: u32,
    /// Arrays: what the elements are.
    pub element_flags: ElementFlags,
    /// Arrays: the number of dimensions.
    pub ndims: u32,
    /// The supertype's object; `None` when it is `Any` or unknown.
    pub parent: Option<u32>,
    /// `DataType.hash`, which `objectid` and `hash` of its instances depend on; 0 when unknown.
    pub hash: u32,
    /// Arrays: the element type's object; `None` when unknown.
    pub element_type: Option<u32>,
    /// The fields of an instance, in order; empty for primitive, abstract and array types, and when nobody needs them.
    pub fields: Vec<Field>,
}

/// How a field is kept in its struct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FieldKind {
    /// The value itself.
    #[default]
    Inline = 0,
    /// A reference to an object; its offset is one of [`TypeObject::pointers`].
    Reference = 1,
    /// The value of a union of bits types, with a selector byte as the field's last.
    Union = 2,
}

/// One field of a struct or tuple.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Where it starts in the struct, in bytes.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
    /// How it is kept.
    pub kind: FieldKind,
    /// Its declared type's object; `None` when unknown.
    pub ty: Option<u32>,
}

/// A reference slot of a [`DataObject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Where the slot lies in the object, in bytes.
    pub offset: u32,
    /// The object it refers to; `None` leaves the slot null.
    pub target: Option<u32>,
}

/// An object given by its memory: a boxed bits value, struct, tuple or simple vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataObject<'a> {
    /// Its type's object.
    pub ty: u32,
    /// Its memory in Julia's layout; reference slots are zero.
    pub bytes: &'a [u8],
    /// What the reference slots refer to.
    pub relocations: Vec<Relocation>,
}

/// A constant array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrayObject<'a> {
    /// Its type's object, which has [`TypeFlags::ARRAY`].
    pub ty: u32,
    /// Its size along each dimension, in elements.
    pub dims: Vec<u64>,
    /// Elements that are bits, in column-major order; for unions the selector bytes follow. Reference slots of structs hold zeros.
    pub bytes: &'a [u8],
    /// Elements that are references, or the reference slots of each element in turn: the object that each refers to, `None` for an undefined one.
    pub references: Vec<Option<u32>>,
}

/// One Julia object that an image refers to. Indices count the manifest's objects from 0 and may point forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// A type. Nodes intern types by name and layout.
    Type(TypeObject<'a>),
    /// The one instance of a zero-size type: `nothing`, a function… Interned.
    Instance {
        /// Its type's object.
        ty: u32,
    },
    /// A `Symbol`. Interned.
    Symbol(&'a str),
    /// A `String`; any bytes.
    String(&'a [u8]),
    /// An object given by its memory.
    Data(DataObject<'a>),
    /// An array.
    Array(ArrayObject<'a>),
    /// The slot of a global binding: the symbol's address holds a pointer to the object, or null.
    Slot(Option<u32>),
    /// Identity and a name, nothing else: a method, a module, a `UnionAll`…
    Opaque {
        /// A name for people.
        name: &'a str,
        /// Its `objectid` at the origin, if code may count on it (that of a type, which goes into the hash of an array);
        /// 0 if not.
        id: u64,
    },
}

impl<'a> Object<'a> {
    /// The fewest bytes that a descriptor takes: a kind and one `u32`.
    pub(super) const MIN_BYTES: usize = 5;

    const TYPE: u8 = 1;
    const INSTANCE: u8 = 2;
    const SYMBOL: u8 = 3;
    const STRING: u8 = 4;
    const DATA: u8 = 5;
    const ARRAY: u8 = 6;
    const SLOT: u8 = 7;
    const OPAQUE: u8 = 8;

    /// The kind's name, as in `docs/ARCHIVE.md`.
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::Type(_) => "TYPE",
            Self::Instance { .. } => "INSTANCE",
            Self::Symbol(_) => "SYMBOL",
            Self::String(_) => "STRING",
            Self::Data(_) => "DATA",
            Self::Array(_) => "ARRAY",
            Self::Slot(_) => "SLOT",
            Self::Opaque { .. } => "OPAQUE",
        }
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.within("manifest object");
        let unknown = reader.error("kind", Problem::Rule("no object"));
        let kind = reader.u8("kind")?;
        let object = match kind {
            Self::TYPE => {
                reader.within("TYPE object");
                Self::Type(TypeObject::read(reader)?)
            }
            Self::INSTANCE => {
                reader.within("INSTANCE object");
                Self::Instance {
                    ty: reader.u32("type")?,
                }
            }
            Self::SYMBOL => {
                reader.within("SYMBOL object");
                Self::Symbol(reader.str("name", MAX_NAME_BYTES)?)
            }
            Self::STRING => {
                reader.within("STRING object");
                Self::String(reader.bytes("bytes", MAX_MANIFEST_BYTES)?)
            }
            Self::DATA => {
                reader.within("DATA object");
                Self::Data(DataObject::read(reader)?)
            }
            Self::ARRAY => {
                reader.within("ARRAY object");
                Self::Array(ArrayObject::read(reader)?)
            }
            Self::SLOT => {
                reader.within("SLOT object");
                Self::Slot(optional(reader.u32("target")?))
            }
            Self::OPAQUE => {
                reader.within("OPAQUE object");
                Self::Opaque {
                    name: reader.str("name", MAX_NAME_BYTES)?,
                    id: reader.u64("id")?,
                }
            }
            tag => {
                return Err(DecodeError {
                    problem: Problem::UnknownTag(tag.into()),
                    ..unknown
                });
            }
        };
        reader.within("manifest");
        Ok(object)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Type(ty) => {
                writer.u8(Self::TYPE);
                ty.write(writer);
            }
            Self::Instance { ty } => {
                writer.u8(Self::INSTANCE);
                writer.u32(*ty);
            }
            Self::Symbol(name) => {
                writer.u8(Self::SYMBOL);
                writer.str("name", name, MAX_NAME_BYTES);
            }
            Self::String(bytes) => {
                writer.u8(Self::STRING);
                writer.bytes("bytes", bytes, MAX_MANIFEST_BYTES);
            }
            Self::Data(data) => {
                writer.u8(Self::DATA);
                data.write(writer);
            }
            Self::Array(array) => {
                writer.u8(Self::ARRAY);
                array.write(writer);
            }
            Self::Slot(target) => {
                writer.u8(Self::SLOT);
                writer.u32(plus_one(*target));
            }
            Self::Opaque { name, id } => {
                writer.u8(Self::OPAQUE);
                writer.str("name", name, MAX_NAME_BYTES);
                writer.u64(*id);
            }
        }
    }
}

impl<'a> TypeObject<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let name = reader.str("name", MAX_NAME_BYTES)?;
        let flags = TypeFlags(bits(reader, "flags", TypeFlags::ALL.0)?);
        let size = reader.u32("size")?;
        let align = reader.u16("align")?;
        let pointers = reader.list("pointers", size_of::<u32>(), MAX_MANIFEST_BYTES, |r| {
            r.u32("pointers")
        })?;
        let element = reader.u32("element")?;
        let element_flags = ElementFlags(bits(reader, "element_flags", ElementFlags::ALL.0)?);
        let ndims = reader.u32("ndims")?;
        let parent = optional(reader.u32("parent")?);
        let hash = reader.u32("hash")?;
        let element_type = optional(reader.u32("element_type")?);
        let fields = reader.list("fields", Field::BYTES, MAX_MANIFEST_BYTES, Field::read)?;
        Ok(Self {
            name,
            flags,
            size,
            align,
            pointers,
            element,
            element_flags,
            ndims,
            parent,
            hash,
            element_type,
            fields,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.str("name", self.name, MAX_NAME_BYTES);
        writer.u32(self.flags.0);
        writer.u32(self.size);
        writer.u16(self.align);
        writer.list(
            "pointers",
            &self.pointers,
            MAX_MANIFEST_BYTES,
            |w, offset| w.u32(*offset),
        );
        writer.u32(self.element);
        writer.u32(self.element_flags.0);
        writer.u32(self.ndims);
        writer.u32(plus_one(self.parent));
        writer.u32(self.hash);
        writer.u32(plus_one(self.element_type));
        writer.list("fields", &self.fields, MAX_MANIFEST_BYTES, |w, field| {
            field.write(w)
        });
    }
}

impl Field {
    /// Offset, size, kind, type.
    const BYTES: usize = 13;

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.u32("field offset")?;
        let size = reader.u32("field size")?;
        let unknown = reader.error("field kind", Problem::Rule("no kind"));
        let kind = match reader.u8("field kind")? {
            0 => FieldKind::Inline,
            1 => FieldKind::Reference,
            2 => FieldKind::Union,
            tag => {
                return Err(DecodeError {
                    problem: Problem::UnknownTag(tag.into()),
                    ..unknown
                });
            }
        };
        Ok(Self {
            offset,
            size,
            kind,
            ty: optional(reader.u32("field type")?),
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.offset);
        writer.u32(self.size);
        writer.u8(self.kind as u8);
        writer.u32(plus_one(self.ty));
    }
}

impl<'a> DataObject<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            ty: reader.u32("type")?,
            bytes: reader.bytes("bytes", MAX_MANIFEST_BYTES)?,
            relocations: reader.list(
                "relocations",
                2 * size_of::<u32>(),
                MAX_MANIFEST_BYTES,
                |r| {
                    Ok(Relocation {
                        offset: r.u32("relocation offset")?,
                        target: optional(r.u32("relocation target")?),
                    })
                },
            )?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.ty);
        writer.bytes("bytes", self.bytes, MAX_MANIFEST_BYTES);
        writer.list(
            "relocations",
            &self.relocations,
            MAX_MANIFEST_BYTES,
            |w, relocation| {
                w.u32(relocation.offset);
                w.u32(plus_one(relocation.target));
            },
        );
    }
}

impl<'a> ArrayObject<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            ty: reader.u32("type")?,
            dims: reader.list("dims", size_of::<u64>(), MAX_DIMS, |r| r.u64("dims"))?,
            bytes: reader.bytes("bytes", MAX_MANIFEST_BYTES)?,
            references: reader.list("references", size_of::<u32>(), MAX_MANIFEST_BYTES, |r| {
                r.u32("references").map(optional)
            })?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.ty);
        writer.list("dims", &self.dims, MAX_DIMS, |w, dim| w.u64(*dim));
        writer.bytes("bytes", self.bytes, MAX_MANIFEST_BYTES);
        writer.list(
            "references",
            &self.references,
            MAX_MANIFEST_BYTES,
            |w, target| w.u32(plus_one(*target)),
        );
    }
}

/// A `u32` of flags, none of them unknown.
fn bits(reader: &mut Reader<'_>, field: &'static str, known: u32) -> Result<u32, DecodeError> {
    let here = reader.error(field, Problem::Rule("no flags"));
    let bits = reader.u32(field)?;
    match bits & !known {
        0 => Ok(bits),
        unknown => Err(DecodeError {
            problem: Problem::UnknownBits(unknown.into()),
            ..here
        }),
    }
}

/// On the wire an optional index is the index plus one, 0 for none.
const fn optional(index_plus_one: u32) -> Option<u32> {
    index_plus_one.checked_sub(1)
}

/// The inverse of [`optional`]. The largest index would wrap to none; [`Manifest::check`](super::Manifest::check)
/// refuses it before anything is written, since no manifest has that many objects.
const fn plus_one(index: Option<u32>) -> u32 {
    match index {
        Some(index) => index.wrapping_add(1),
        None => 0,
    }
}
