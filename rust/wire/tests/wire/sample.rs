//! One value of each type, with every field set: what the golden files hold and what hostile inputs are made from.

use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::code::CodeId;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{
    Directory, Flags, Header, Kind, OutputPayload, Payloads, SessionKeys, StageTimings, Stream,
};
use bitcode_wire::handshake::{Answer, Hello, Preamble, PreambleFlags, Refusal, Role, Welcome};
use bitcode_wire::library::{Frame, Function, Library, Notes};
use bitcode_wire::manifest::{
    ArrayObject, DataObject, Dependency, ElementFlags, Field, FieldKind, Manifest, Object,
    Relocation, TypeFlags, TypeObject,
};

/// The secret that the golden frames' keys come from.
pub(crate) const SECRET: &[u8] = b"BitCode.jl golden frames";

/// The keys of the golden frames.
pub(crate) fn keys() -> SessionKeys {
    SessionKeys::derive(SECRET)
}

/// A CALL with an archive and every field set.
pub(crate) fn cold_call() -> Header {
    Header {
        kind: Kind::Call,
        flags: Flags::HAS_ARCHIVE.with(Flags::NO_REPLY),
        fan_out: 0x0102,
        session: 0x0304_0506,
        origin: 0x0708_090A,
        call: 0x0B0C_0D0E_0F10_1112,
        code: CodeId::of(b"golden").prefix(),
        archive_len: 0x13,
        deadline_ms: 0x1415_1617,
        hop_budget: 0x1819_1A1B,
        epoch: 0x1C1D,
        entry: 0,
    }
}

/// Bytes of the body that [`cold_call`] announces.
pub(crate) const COLD_BODY: usize = 0x113;

/// Bytes of the body of [`timed_error`].
pub(crate) const TIMED_BODY: usize = 0x41 + StageTimings::LEN;

/// The reply of a call that was compiled and then refused, with the stages' times.
pub(crate) fn timed_error() -> Header {
    let archive_len = StageTimings::LEN as u32;
    Header {
        flags: Flags::TIMED,
        session: 7,
        origin: 7,
        call: 2,
        archive_len,
        ..Header::new(Kind::Error)
    }
}

/// A HOP with every field set but the archive's length.
pub(crate) fn hop() -> Header {
    Header {
        kind: Kind::Hop,
        flags: Flags::NO_REPLY,
        archive_len: 0,
        entry: 0x1E1F,
        ..cold_call()
    }
}

/// A directory of three nodes.
pub(crate) fn directory() -> Directory {
    Directory {
        here: 2,
        nodes: ["127.0.0.1:1", "[::1]:65535", "node.example:13337"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// A piece of output with every field set.
/// Four calls: with a few bytes, without any, with two lines of them, with one byte.
pub(crate) fn payloads() -> Vec<u8> {
    let mut payloads = Payloads::default();
    for payload in [&b"bytes"[..], b"", &[7; 128], b"x"] {
        payloads.push([payload]);
    }
    payloads.take()
}

pub(crate) fn output() -> OutputPayload<'static> {
    OutputPayload {
        position: 0x1234_5678_9ABC,
        stream: Stream::Error,
        open: true,
        text: b"a line\nand half of the n",
    }
}

/// Timings with every stage set.
pub(crate) fn timings() -> StageTimings {
    StageTimings {
        queue: 1,
        decode: 2,
        parse: 3,
        link: 4,
        optimise: 0x0506_0708,
        emit: 9,
        run: u32::MAX,
    }
}

/// The VALUE of a warm call.
pub(crate) fn value() -> Header {
    Header {
        session: 7,
        origin: 7,
        call: 1,
        epoch: 1,
        ..Header::new(Kind::Value)
    }
}

/// Bytes of the body of [`value`].
pub(crate) const VALUE_BODY: usize = 8;

/// The smallest archive that a capture makes.
pub(crate) fn small_archive() -> Archive<'static> {
    Archive {
        manifest: Manifest {
            abi: "julia-1.5-64le",
            producer: "BitCode.jl 0.1.0",
            entry: "bitcode_entry",
            name: "f(::Int64)",
            arguments: "Tuple{Int64}",
            result: "Int64",
            ..Manifest::default()
        },
        images: vec![bitcode(b"BC\xC0\xDE")],
        ..Archive::default()
    }
}

/// An archive with each kind of object, two images and a dependency.
pub(crate) fn full_archive() -> Archive<'static> {
    Archive {
        manifest: full_manifest(),
        images: vec![
            bitcode(b"BC\xC0\xDE\x35\x14\x00\x00"),
            Image {
                kind: ImageKind::Object,
                triple: "aarch64-unknown-linux-gnu",
                cpu: "cortex-a72",
                features: "+neon,+crc",
                code: b"\x7FELF",
            },
        ],
        ..Archive::default()
    }
}

fn bitcode(code: &'static [u8]) -> Image<'static> {
    Image {
        kind: ImageKind::Bitcode,
        triple: "x86_64-linux-gnu",
        cpu: "",
        features: "",
        code,
    }
}

/// A manifest with each kind of object and references forward and backward.
pub(crate) fn full_manifest() -> Manifest<'static> {
    let concrete_bits = TypeFlags::ISBITS.with(TypeFlags::CONCRETE);
    let array = TypeFlags::ARRAY
        .with(TypeFlags::MUTABLE)
        .with(TypeFlags::CONCRETE);
    let objects = vec![
        // 0: refers forward to its supertype.
        Object::Type(TypeObject {
            name: "Core.Int64",
            flags: concrete_bits.with(TypeFlags::PRIMITIVE),
            size: 8,
            align: 8,
            parent: Some(1),
            hash: 0xF00D_CAFE,
            ..TypeObject::default()
        }),
        // 1
        Object::Type(TypeObject {
            name: "Core.Signed",
            flags: TypeFlags::ABSTRACT,
            ..TypeObject::default()
        }),
        // 2
        Object::Type(TypeObject {
            name: "Core.Array{Core.Int64,2}",
            flags: array,
            size: 8,
            align: 8,
            element: 8,
            ndims: 2,
            parent: Some(13),
            element_type: Some(0),
            ..TypeObject::default()
        }),
        // 3
        Object::Type(TypeObject {
            name: "Core.Array{Core.Any,1}",
            flags: array,
            size: 8,
            align: 8,
            element: 8,
            element_flags: ElementFlags::REFERENCES,
            ndims: 1,
            ..TypeObject::default()
        }),
        // 4
        Object::Type(TypeObject {
            name: "Core.Array{Union{Core.Nothing,Core.Int32},1}",
            flags: array,
            size: 8,
            align: 8,
            element: 4,
            element_flags: ElementFlags::UNION,
            ndims: 1,
            ..TypeObject::default()
        }),
        // 5
        Object::Type(TypeObject {
            name: "Core.Nothing",
            flags: concrete_bits.with(TypeFlags::SINGLETON),
            ..TypeObject::default()
        }),
        // 6
        Object::Type(TypeObject {
            name: "Main.Pair2",
            flags: TypeFlags::MUTABLE
                .with(TypeFlags::CONCRETE)
                .with(TypeFlags::HAS_PADDING),
            size: 24,
            align: 8,
            pointers: vec![0, 16],
            fields: vec![
                Field {
                    offset: 0,
                    size: 8,
                    kind: FieldKind::Reference,
                    ty: Some(2),
                },
                Field {
                    offset: 8,
                    size: 5,
                    kind: FieldKind::Union,
                    ty: Some(13),
                },
                Field {
                    offset: 13,
                    size: 1,
                    kind: FieldKind::Inline,
                    ty: None,
                },
                Field {
                    offset: 16,
                    size: 8,
                    kind: FieldKind::Reference,
                    ty: None,
                },
            ],
            ..TypeObject::default()
        }),
        // 7
        Object::Instance { ty: 5 },
        // 8
        Object::Symbol("größer"),
        // 9: any bytes, not only UTF-8.
        Object::String(b"caf\xC3\xA9 \xFF\x00"),
        // 10: one slot set, one left null.
        Object::Data(DataObject {
            ty: 6,
            bytes: &[
                0, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            relocations: vec![
                Relocation {
                    offset: 0,
                    target: Some(11),
                },
                Relocation {
                    offset: 16,
                    target: None,
                },
            ],
        }),
        // 11
        Object::Array(ArrayObject {
            ty: 2,
            dims: vec![1, 2],
            bytes: &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
            references: vec![],
        }),
        // 12
        Object::Slot(Some(10)),
        // 13
        Object::Opaque {
            name: "Core.DenseArray",
            id: 77,
        },
        // 14
        Object::Array(ArrayObject {
            ty: 3,
            dims: vec![2],
            bytes: &[],
            references: vec![Some(8), None],
        }),
        // 15: two elements of four bytes, then a selector for each.
        Object::Array(ArrayObject {
            ty: 4,
            dims: vec![2],
            bytes: &[5, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            references: vec![],
        }),
        // 16: an unbound global.
        Object::Slot(None),
    ];
    Manifest {
        abi: "julia-1.5-64le",
        producer: "BitCode.jl 0.1.0 (Julia 1.5.3)",
        entry: "bitcode_entry",
        name: "norm(::Array{Float64,1})",
        arguments: "Tuple{Array{Float64,1}}",
        result: "Float64",
        imports: vec!["jl_throw", "bc_result", "sqrt"],
        dependencies: vec![
            Dependency {
                soname: "libm.so.6",
                symbols: vec!["hypot", "cbrt"],
            },
            Dependency {
                soname: "libempty.so",
                symbols: vec![],
            },
        ],
        objects,
    }
}

/// An ERROR payload.
pub(crate) fn error() -> ErrorPayload<'static> {
    ErrorPayload {
        code: ErrorCode::UNRESOLVED_SYMBOL,
        message: "symbol `jl_größe` is not offered by this node",
    }
}

/// A preamble as another version may send it: other versions, unknown flag bits.
pub(crate) fn future_preamble() -> Preamble {
    Preamble {
        min_version: 1,
        max_version: 0x0203,
        flags: PreambleFlags(0x81),
    }
}

/// A hello with every field set.
pub(crate) fn hello() -> Hello {
    Hello {
        version: "0.1.0".into(),
        role: Role::Origin,
        pid: 4242,
        hostname: "origin.example".into(),
        arch: "x86_64".into(),
        worker_address: (0..40).collect(),
        transport: "auto".into(),
        epoch: 3,
    }
}

/// A welcome with every field set.
pub(crate) fn welcome() -> Answer {
    Answer::Welcome(Box::new(Welcome {
        version: "0.1.0".into(),
        session: 17,
        origin: 18,
        pid: 4343,
        hostname: "node.example".into(),
        arch: "aarch64".into(),
        cpu: "cortex-a72".into(),
        features: "+neon,+crc".into(),
        llvm: "19.1.7".into(),
        abis: vec!["julia-1.5-64le".into(), "julia-1.10-64le".into()],
        worker_address: (100..150).collect(),
        transport: "posix,sysv,self".into(),
        max_frame: 1 << 33,
        epoch: 3,
    }))
}

/// A refusal.
pub(crate) fn refused() -> Answer {
    Answer::Refused(Refusal {
        code: ErrorCode::SHUTTING_DOWN,
        message: "the node is stopping; try another".into(),
    })
}

/// The bytes of both archives.
pub(crate) fn archive_bytes() -> (Vec<u8>, Vec<u8>) {
    let bytes = |archive: Archive<'_>| archive.encode().unwrap().0;
    (bytes(small_archive()), bytes(full_archive()))
}

/// A library of two functions: one with notes, one without.
pub(crate) fn library<'a>(small: &'a [u8], full: &'a [u8]) -> Library<'a> {
    let frame = |name, line| Frame {
        name,
        file: "größe.jl",
        line,
    };
    let notes = Notes {
        arguments: "Core.Tuple{Core.Int64}",
        keywords: "Core.NamedTuple{(),Core.Tuple{}}",
        result: "Core.Float64",
        deferrable: vec![2],
        sites: vec![vec![frame("inner", 3), frame("outer", 70_000)], vec![]],
    };
    Library {
        functions: vec![
            Function::new(full, Some(notes)).unwrap(),
            Function::new(small, None).unwrap(),
        ],
    }
}
