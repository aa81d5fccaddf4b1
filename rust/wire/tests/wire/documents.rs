//! The byte tables in `docs/WIRE.md` and `docs/ARCHIVE.md` are those of the code.

use super::sample;
use bitcode_wire::archive::{self, Archive, Image, ImageKind};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{
    Directory, Flags, HEADER_LEN, Kind, LAYOUT, OUTPUT_WINDOW, OutputPayload, SegmentGrant,
    SegmentRequest, StageTimings, Steps,
};
use bitcode_wire::handshake::{self, Answer, Hello, Preamble, Refusal};
use bitcode_wire::library::{self, Frame, Function, Library, Notes};
use bitcode_wire::manifest::{
    self, ArrayObject, DataObject, Dependency, ElementFlags, Field, Manifest, Object, Relocation,
    TypeFlags, TypeObject,
};

fn document(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the first table under a heading, cells without blanks and back-ticks.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let inner = line.trim().trim_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    };
    let rows: Vec<_> = document
        .lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != heading || !line.starts_with('#'))
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect();
    assert!(!rows.is_empty(), "no table under {heading}");
    rows
}

/// The first two cells of each row: a number and a name.
fn numbered(document: &str, heading: &str) -> Vec<(u32, String)> {
    table(document, heading)
        .into_iter()
        .map(|row| (row[0].parse().unwrap(), row[1].clone()))
        .collect()
}

/// Offset, size and name of each row with a fixed size.
fn fixed(document: &str, heading: &str) -> Vec<(usize, usize, String)> {
    let row = |row: Vec<String>| Some((row[0].parse().ok()?, row[1].parse().ok()?, row[2].clone()));
    table(document, heading)
        .into_iter()
        .filter_map(row)
        .collect()
}

/// The bytes that a table of fields and forms takes when all its lists and texts are empty.
fn least(document: &str, heading: &str) -> usize {
    let form = |row: &Vec<String>| match row[1].split(' ').next().unwrap() {
        "u8" => 1,
        "u16" => 2,
        "u32" | "str" | "bytes" | "list" => 4,
        "u64" => 8,
        other => panic!("{heading}: unknown form {other}"),
    };
    table(document, heading).iter().map(form).sum()
}

/// `NeedCode` is written NEED_CODE.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}

fn names<const N: usize>(flags: [(u32, &str); N]) -> Vec<(u32, String)> {
    flags.map(|(bit, name)| (bit, name.to_owned())).to_vec()
}

#[test]
fn header() {
    let layout: Vec<_> = LAYOUT
        .map(|field| (field.offset, field.size, field.name.to_owned()))
        .to_vec();
    assert_eq!(fixed(&document("WIRE.md"), "Header"), layout);
}

#[test]
fn kinds_flags_and_codes() {
    let wire = document("WIRE.md");
    let kinds = Kind::ALL.map(|kind| (kind as u32, screaming(&format!("{kind:?}"))));
    assert_eq!(numbered(&wire, "Kinds"), kinds);
    let codes: Vec<_> = ErrorCode::KNOWN
        .iter()
        .map(|code| (code.0, code.to_string()))
        .collect();
    assert_eq!(numbered(&wire, "Error codes"), codes);
    let flags = [
        (Flags::HAS_ARCHIVE, "HAS_ARCHIVE"),
        (Flags::NO_REPLY, "NO_REPLY"),
        (Flags::TIMED, "TIMED"),
        (Flags::SHOW, "SHOW"),
        (Flags::MANY, "MANY"),
        (Flags::ASKED, "ASKED"),
    ];
    let flags = flags.map(|(flag, name)| (u32::from(flag.0), name));
    assert_eq!(
        flags.iter().map(|flag| flag.0).sum::<u32>(),
        u32::from(Flags::ALL.0)
    );
    assert_eq!(numbered(&wire, "Flags"), names(flags));
}

#[test]
fn fixed_messages() {
    let wire = document("WIRE.md");
    for (heading, len) in [
        ("Preamble", handshake::PREAMBLE_LEN),
        ("Stage timings", StageTimings::LEN),
        ("OUTPUT payload", OutputPayload::HEAD),
        ("SEGMENT payload", SegmentRequest::LEN),
    ] {
        let mut next = 0;
        for (offset, size, name) in fixed(&wire, heading) {
            assert_eq!(offset, next, "{heading} {name}");
            next += size;
        }
        assert_eq!(next, len, "{heading}");
    }
    assert_eq!(fixed(&wire, "ERROR payload").len(), 2);
    let empty = ErrorPayload {
        code: ErrorCode::FAULT,
        message: "",
    }
    .encode();
    assert_eq!(
        empty.len(),
        fixed(&wire, "ERROR payload")
            .iter()
            .map(|row| row.1)
            .sum::<usize>()
    );
    assert_eq!(Preamble::ours(true).encode()[8], 1, "the key flag is bit 1");
}

#[test]
fn handshake_messages() {
    let wire = document("WIRE.md");
    let hello = Hello::default().encode().unwrap();
    assert_eq!((least(&wire, "Hello"), hello[0]), (hello.len(), 1));
    let welcome = Answer::Welcome(Box::default()).encode().unwrap();
    assert_eq!((least(&wire, "Welcome"), welcome[0]), (welcome.len(), 2));
    let refusal = Refusal {
        code: ErrorCode::INTERNAL,
        message: String::new(),
    };
    let refusal = Answer::Refused(refusal).encode().unwrap();
    let directory = Directory {
        here: 0,
        nodes: Vec::new(),
    };
    assert_eq!(
        least(&wire, "DIRECTORY payload"),
        directory.encode().unwrap().len()
    );
    assert_eq!((least(&wire, "Refusal"), refusal[0]), (refusal.len(), 3));
}

#[test]
fn limits() {
    let constants = [
        ("MAX_MESSAGE_BYTES", handshake::MAX_MESSAGE_BYTES),
        ("MAX_TEXT_BYTES", handshake::MAX_TEXT_BYTES),
        ("MAX_ADDRESS_BYTES", handshake::MAX_ADDRESS_BYTES),
        ("MAX_ABIS", handshake::MAX_ABIS),
        ("MAX_MESSAGE", ErrorPayload::MAX_MESSAGE),
        ("MAX_TEXT", OutputPayload::MAX_TEXT),
        ("MAX_KEY", SegmentGrant::MAX_KEY),
        ("OUTPUT_WINDOW", OUTPUT_WINDOW as usize),
        ("MAX_NODES", Directory::MAX_NODES),
        ("MAX_PLACE_BYTES", Directory::MAX_PLACE_BYTES),
        ("MAX_STEPS", Steps::MAX),
        ("MAX_ARCHIVE_BYTES", archive::MAX_ARCHIVE_BYTES),
        ("MAX_IMAGES", archive::MAX_IMAGES),
        ("MAX_FIXED_BYTES", archive::MAX_FIXED_BYTES),
        ("MAX_TARGET_BYTES", archive::MAX_TARGET_BYTES),
        ("MAX_MANIFEST_BYTES", manifest::MAX_MANIFEST_BYTES),
        ("MAX_OBJECTS", manifest::MAX_OBJECTS),
        ("MAX_SYMBOLS", manifest::MAX_SYMBOLS),
        ("MAX_DEPENDENCIES", manifest::MAX_DEPENDENCIES),
        ("MAX_NAME_BYTES", manifest::MAX_NAME_BYTES),
        ("MAX_DIMS", manifest::MAX_DIMS),
        ("MAX_FUNCTIONS", library::MAX_FUNCTIONS),
        ("MAX_NOTES_BYTES", library::MAX_NOTES_BYTES),
        ("MAX_SITES", library::MAX_SITES),
        ("MAX_FRAMES", library::MAX_FRAMES),
    ];
    let mut written = table(&document("WIRE.md"), "Limits");
    written.extend(table(&document("ARCHIVE.md"), "Limits"));
    let written: Vec<_> = written
        .iter()
        .map(|row| (row[0].as_str(), row[1].replace(',', "").parse().unwrap()))
        .collect();
    assert_eq!(written, constants);
}

/// The worked example is the golden file, and its key is the golden key.
#[test]
fn worked_example() {
    let wire = document("WIRE.md");
    let hex = |line: &str| -> Vec<u8> {
        let digits = line.split_whitespace().filter(|word| word.len() == 2);
        digits
            .map(|digits| u8::from_str_radix(digits, 16).unwrap())
            .collect()
    };
    let mut lines = wire
        .lines()
        .skip_while(|line| !line.starts_with("    key     "));
    let key = hex(lines.next().unwrap());
    let header: Vec<u8> = lines.take(4).flat_map(hex).collect();
    let key = bitcode_wire::frame::SessionKey::new(key.try_into().unwrap());
    assert_eq!(key, sample::keys().to_origin);
    assert_eq!(header, sample::value().encode(&key, sample::VALUE_BODY));
    assert_eq!(header.len(), HEADER_LEN);
}

#[test]
fn container_and_images() {
    let page = document("ARCHIVE.md");
    let head = fixed(&page, "Container");
    assert_eq!(
        head.iter().map(|row| row.1).collect::<Vec<_>>(),
        [4, 2, 2, 4]
    );
    let empty = |images| Archive {
        manifest: Manifest {
            entry: "e",
            ..Manifest::default()
        },
        images,
        ..Archive::default()
    };
    let (bytes, _) = empty(vec![]).encode().unwrap();
    let manifest = least(&page, "Manifest") + "e".len();
    assert_eq!(bytes[8..12], (manifest as u32).to_le_bytes());
    assert_eq!(bytes.len(), 12 + manifest + 4);
    let kinds = [
        (ImageKind::Bitcode, "BITCODE"),
        (ImageKind::Object, "OBJECT"),
    ];
    assert_eq!(
        numbered(&page, "Image kinds"),
        names(kinds.map(|(kind, name)| (kind as u32, name)))
    );
    for (kind, _) in kinds {
        let image = Image {
            kind,
            triple: "",
            cpu: "",
            features: "",
            code: b"",
        };
        let (with, _) = empty(vec![image]).encode().unwrap();
        assert_eq!(with[bytes.len()], kind as u8);
        assert_eq!(with.len() - bytes.len(), least(&page, "Image"));
    }
}

#[test]
fn libraries_of_functions() {
    let page = document("ARCHIVE.md");
    let head: usize = fixed(&page, "Library").iter().map(|row| row.1).sum();
    let length = |functions| Library { functions }.encode().unwrap().len();
    assert_eq!(length(vec![]), head);
    let (archive, _) = sample::archive_bytes();
    let with = |notes| length(vec![Function::new(&archive, notes).unwrap()]);
    let bare = head + archive.len() + least(&page, "Function");
    assert_eq!(with(None), bare);
    let notes = Notes::default();
    let noted = bare + least(&page, "Notes");
    assert_eq!(with(Some(notes.clone())), noted);
    let frame = Frame {
        name: "",
        file: "",
        line: 1,
    };
    let sites = vec![vec![frame]];
    let count_of_frames = size_of::<u32>();
    assert_eq!(
        with(Some(Notes { sites, ..notes })),
        noted + count_of_frames + least(&page, "Frame")
    );
}

/// Bytes that `object`, appended to a manifest with a type for it, adds.
fn added(object: Object<'_>) -> Vec<u8> {
    let array = TypeObject {
        flags: TypeFlags::ARRAY,
        ..TypeObject::default()
    };
    let mut manifest = Manifest {
        entry: "e",
        objects: vec![Object::Type(array)],
        ..Manifest::default()
    };
    let before = manifest.encode().unwrap().len();
    manifest.objects.push(object);
    manifest.encode().unwrap()[before..].to_vec()
}

#[test]
fn objects() {
    let page = document("ARCHIVE.md");
    let kinds = numbered(&page, "Object kinds");
    let smallest = [
        Object::Type(TypeObject::default()),
        Object::Instance { ty: 0 },
        Object::Symbol(""),
        Object::String(b""),
        Object::Data(DataObject::default()),
        // No dimensions: one element, of no bytes.
        Object::Array(ArrayObject::default()),
        Object::Slot(None),
        Object::Opaque { name: "", id: 0 },
    ];
    assert_eq!(kinds.len(), smallest.len());
    for (object, (number, name)) in smallest.into_iter().zip(kinds) {
        assert_eq!(object.kind_name(), name);
        let bytes = added(object);
        assert_eq!(
            (u32::from(bytes[0]), bytes.len()),
            (number, least(&page, &name)),
            "{name}"
        );
    }
}

#[test]
fn parts_of_objects() {
    let page = document("ARCHIVE.md");
    let plain = added(Object::Type(TypeObject::default())).len();
    let field = TypeObject {
        fields: vec![Field::default()],
        ..TypeObject::default()
    };
    assert_eq!(
        added(Object::Type(field)).len() - plain,
        least(&page, "Field")
    );
    let slot = [0; 8];
    let relocations = vec![Relocation {
        offset: 0,
        target: None,
    }];
    let with = added(Object::Data(DataObject {
        ty: 0,
        bytes: &slot,
        relocations,
    }))
    .len();
    let without = added(Object::Data(DataObject {
        ty: 0,
        bytes: &slot,
        relocations: vec![],
    }))
    .len();
    assert_eq!(with - without, least(&page, "Relocation"));
    let dependencies = vec![Dependency {
        soname: "l",
        symbols: vec![],
    }];
    let with = Manifest {
        entry: "e",
        dependencies,
        ..Manifest::default()
    }
    .encode()
    .unwrap()
    .len();
    let without = Manifest {
        entry: "e",
        ..Manifest::default()
    }
    .encode()
    .unwrap()
    .len();
    assert_eq!(with - without, least(&page, "Dependency") + "l".len());
}

#[test]
fn type_and_element_flags() {
    let page = document("ARCHIVE.md");
    let types = [
        (TypeFlags::MUTABLE.0, "MUTABLE"),
        (TypeFlags::ISBITS.0, "ISBITS"),
        (TypeFlags::SINGLETON.0, "SINGLETON"),
        (TypeFlags::ABSTRACT.0, "ABSTRACT"),
        (TypeFlags::ARRAY.0, "ARRAY"),
        (TypeFlags::PRIMITIVE.0, "PRIMITIVE"),
        (TypeFlags::TUPLE.0, "TUPLE"),
        (TypeFlags::CONCRETE.0, "CONCRETE"),
        (TypeFlags::HAS_PADDING.0, "HAS_PADDING"),
        (TypeFlags::ZERO_INIT.0, "ZERO_INIT"),
    ];
    assert_eq!(
        types.iter().map(|flag| flag.0).sum::<u32>(),
        TypeFlags::ALL.0
    );
    assert_eq!(numbered(&page, "Type flags"), names(types));
    let elements = [
        (ElementFlags::REFERENCES.0, "REFERENCES"),
        (ElementFlags::UNION.0, "UNION"),
        (ElementFlags::INLINE_REFERENCES.0, "INLINE_REFERENCES"),
    ];
    assert_eq!(
        elements.iter().map(|flag| flag.0).sum::<u32>(),
        ElementFlags::ALL.0
    );
    assert_eq!(numbered(&page, "Element flags"), names(elements));
}
