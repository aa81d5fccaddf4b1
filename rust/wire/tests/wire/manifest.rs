//! What a manifest's parts must not say about each other.

use super::sample;
use bitcode_wire::archive::{Archive, ArchiveError};
use bitcode_wire::codec::Problem;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::manifest::{
    ArrayObject, DataObject, Dependency, ElementFlags, Field, FieldKind, Inconsistent, MAX_DIMS,
    MAX_MANIFEST_BYTES, MAX_NAME_BYTES, MAX_OBJECTS, Manifest, ManifestProblem, Object, Relocation,
    TypeFlags, TypeObject, object_index, object_symbol,
};

/// A manifest of these objects after two good types: 0 is `Core.Int64`, 1 is `Core.Array{Core.Int64,1}`.
fn with(objects: Vec<Object<'static>>) -> Manifest<'static> {
    let array = TypeFlags::ARRAY.with(TypeFlags::CONCRETE);
    let mut all = vec![
        Object::Type(TypeObject {
            name: "Core.Int64",
            size: 8,
            align: 8,
            ..TypeObject::default()
        }),
        Object::Type(TypeObject {
            name: "A",
            flags: array,
            element: 8,
            ndims: 1,
            ..TypeObject::default()
        }),
    ];
    all.extend(objects);
    Manifest {
        entry: "bitcode_entry",
        objects: all,
        ..Manifest::default()
    }
}

/// The contradiction found; encoding must find the same one.
fn fault(manifest: &Manifest<'_>) -> Inconsistent {
    let found = manifest.check().unwrap_err();
    assert_eq!(
        manifest.encode(),
        Err(ArchiveError::Manifest(found.clone()))
    );
    let archive = Archive {
        manifest: manifest.clone(),
        images: vec![],
        ..Archive::default()
    };
    let limit = matches!(found.problem, ManifestProblem::OverLimit { .. });
    let code = if limit {
        ErrorCode::TOO_LARGE
    } else {
        ErrorCode::BAD_ARCHIVE
    };
    assert_eq!(archive.encode().unwrap_err().code(), code);
    found
}

/// The contradiction in object 2.
fn fault_of(object: Object<'static>) -> (&'static str, ManifestProblem) {
    let kind = object.kind_name();
    let found = fault(&with(vec![object]));
    assert_eq!(found.object, Some((2, kind)), "{found}");
    (found.field, found.problem)
}

fn data(ty: u32, bytes: &'static [u8], relocations: &[(u32, Option<u32>)]) -> Object<'static> {
    let relocations = relocations
        .iter()
        .map(|&(offset, target)| Relocation { offset, target })
        .collect();
    Object::Data(DataObject {
        ty,
        bytes,
        relocations,
    })
}

fn array(
    ty: u32,
    dims: &[u64],
    bytes: &'static [u8],
    references: &[Option<u32>],
) -> Object<'static> {
    Object::Array(ArrayObject {
        ty,
        dims: dims.to_vec(),
        bytes,
        references: references.to_vec(),
    })
}

#[test]
fn decoding_checks_the_meaning_too() {
    // A good INSTANCE whose type index, the last four bytes, is then changed.
    let mut bytes = with(vec![Object::Instance { ty: 0 }]).encode().unwrap();
    let at = bytes.len() - 4;
    bytes[at] = 3;
    let error = Manifest::decode(&bytes).unwrap_err();
    assert_eq!(error.code(), ErrorCode::BAD_ARCHIVE);
    assert_eq!(
        error.to_string(),
        "archive refused: manifest: object 2 (INSTANCE): `type`: object 3 does not exist, there are 3"
    );
}

#[test]
fn refuses_indices_out_of_range() {
    let missing = |index| ManifestProblem::NoSuchObject { index, count: 3 };
    for index in [3, 65_536, u32::MAX - 1, u32::MAX] {
        assert_eq!(
            fault_of(Object::Instance { ty: index }),
            ("type", missing(index))
        );
        assert_eq!(fault_of(data(index, &[], &[])), ("type", missing(index)));
        assert_eq!(
            fault_of(array(index, &[0], &[], &[])),
            ("type", missing(index))
        );
        assert_eq!(
            fault_of(Object::Slot(Some(index))),
            ("target", missing(index))
        );
        assert_eq!(
            fault_of(data(0, &[0; 8], &[(0, Some(index))])),
            ("relocations", missing(index))
        );
        let ty = TypeObject {
            parent: Some(index),
            ..TypeObject::default()
        };
        assert_eq!(fault_of(Object::Type(ty)), ("parent", missing(index)));
    }
    let references = TypeObject {
        flags: TypeFlags::ARRAY,
        element: 8,
        element_flags: ElementFlags::REFERENCES,
        ndims: 1,
        ..TypeObject::default()
    };
    let found = fault(&with(vec![
        Object::Type(references),
        array(2, &[2], &[], &[None, Some(9)]),
    ]));
    assert_eq!(
        (found.field, found.problem),
        (
            "references",
            ManifestProblem::NoSuchObject { index: 9, count: 4 }
        )
    );
}

#[test]
fn refuses_objects_of_the_wrong_kind() {
    let own_slot = fault_of(Object::Slot(Some(2)));
    assert!(matches!(
        own_slot,
        (
            "target",
            ManifestProblem::WrongKind {
                index: 2,
                found: "SLOT",
                ..
            }
        )
    ));
    let own_instance = fault_of(Object::Instance { ty: 2 });
    assert!(matches!(
        own_instance,
        (
            "type",
            ManifestProblem::WrongKind {
                found: "INSTANCE",
                ..
            }
        )
    ));
    let no_array_type = fault_of(array(0, &[1], &[0; 8], &[]));
    assert!(matches!(
        no_array_type,
        ("type", ManifestProblem::WrongKind { index: 0, .. })
    ));
    let slot = fault(&with(vec![
        data(0, &[0; 8], &[(0, Some(3))]),
        Object::Slot(None),
    ]));
    assert!(matches!(
        slot.problem,
        ManifestProblem::WrongKind {
            index: 3,
            found: "SLOT",
            ..
        }
    ));
    let child = TypeObject {
        parent: Some(3),
        ..TypeObject::default()
    };
    let parent = fault(&with(vec![Object::Type(child), Object::Symbol("x")]));
    assert!(matches!(
        parent.problem,
        ManifestProblem::WrongKind {
            index: 3,
            found: "SYMBOL",
            ..
        }
    ));
}

#[test]
fn refuses_supertypes_in_a_circle() {
    let child = |parent| {
        Object::Type(TypeObject {
            parent: Some(parent),
            ..TypeObject::default()
        })
    };
    assert_eq!(
        fault_of(child(2)),
        ("parent", ManifestProblem::ParentCircle)
    );
    let three = fault(&with(vec![child(3), child(4), child(2)]));
    assert_eq!(three.problem, ManifestProblem::ParentCircle);
    let tail_into_circle = fault(&with(vec![child(3), child(4), child(3)]));
    assert_eq!(tail_into_circle.problem, ManifestProblem::ParentCircle);
    // A tree with a shared parent, forward and backward, is no circle.
    with(vec![child(4), child(4), child(0), child(2), child(5)])
        .check()
        .unwrap();
}

#[test]
fn a_long_chain_of_supertypes_is_walked_once() {
    let count = MAX_OBJECTS as u32;
    let objects = (0..count)
        .map(|index| {
            Object::Type(TypeObject {
                parent: index.checked_sub(1),
                ..TypeObject::default()
            })
        })
        .collect();
    let mut chain = Manifest {
        entry: "e",
        objects,
        ..Manifest::default()
    };
    chain.check().unwrap();
    if let Some(Object::Type(first)) = chain.objects.first_mut() {
        first.parent = Some(count - 1);
    }
    assert_eq!(
        chain.check().unwrap_err().problem,
        ManifestProblem::ParentCircle
    );
}

#[test]
fn refuses_offsets_that_are_no_reference_slots() {
    let ty = |size, pointers: &[u32]| {
        Object::Type(TypeObject {
            size,
            pointers: pointers.to_vec(),
            ..TypeObject::default()
        })
    };
    for (size, pointers, bad) in [
        (16, vec![4], 4),
        (16, vec![16], 16),
        (15, vec![0, 8], 8),
        (24, vec![8, 0], 0),
        (24, vec![8, 8], 8),
        (8, vec![u32::MAX - 7], u32::MAX - 7),
    ] {
        let problem = ManifestProblem::BadOffset {
            offset: bad,
            size: size.into(),
        };
        assert_eq!(
            fault_of(ty(size, &pointers)),
            ("pointers", problem),
            "{size} {pointers:?}"
        );
    }
    with(vec![ty(24, &[0, 16])]).check().unwrap();
    let outside = ManifestProblem::BadOffset {
        offset: 8,
        size: 15,
    };
    assert_eq!(
        fault_of(data(0, &[0; 15], &[(0, None), (8, None)])),
        ("relocations", outside)
    );
}

#[test]
fn refuses_fields_that_do_not_fit_their_struct() {
    let ty = |field| {
        Object::Type(TypeObject {
            size: 16,
            pointers: vec![8],
            fields: vec![field],
            ..TypeObject::default()
        })
    };
    let field = |offset, size, kind| Field {
        offset,
        size,
        kind,
        ty: None,
    };
    with(vec![
        ty(field(0, 16, FieldKind::Inline)),
        ty(field(16, 0, FieldKind::Inline)),
        ty(field(8, 8, FieldKind::Reference)),
        ty(field(3, 5, FieldKind::Union)),
        ty(Field {
            ty: Some(0),
            ..field(0, 8, FieldKind::Inline)
        }),
    ])
    .check()
    .unwrap();
    for (offset, size, kind) in [
        (0, 17, FieldKind::Inline),
        (17, 0, FieldKind::Union),
        (u32::MAX, u32::MAX, FieldKind::Inline),
        (0, 8, FieldKind::Reference),
        (8, 4, FieldKind::Reference),
    ] {
        let problem = ManifestProblem::BadField {
            offset,
            size,
            whole: 16,
        };
        assert_eq!(
            fault_of(ty(field(offset, size, kind))),
            ("fields", problem),
            "{kind:?}"
        );
    }
    let missing = ty(Field {
        ty: Some(7),
        ..field(0, 8, FieldKind::Inline)
    });
    assert_eq!(
        fault_of(missing),
        (
            "fields",
            ManifestProblem::NoSuchObject { index: 7, count: 3 }
        )
    );
    let not_a_type = ty(Field {
        ty: Some(3),
        ..field(0, 8, FieldKind::Inline)
    });
    let found = fault(&with(vec![not_a_type, Object::Symbol("x")]));
    assert!(matches!(
        found.problem,
        ManifestProblem::WrongKind {
            index: 3,
            found: "SYMBOL",
            ..
        }
    ));
    let element = TypeObject {
        element_type: Some(9),
        ..TypeObject::default()
    };
    assert_eq!(fault_of(Object::Type(element)).0, "element_type");
}

#[test]
fn refuses_reference_slots_that_hold_an_address() {
    static SLOT: [u8; 24] = [
        0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let held = |offset| ("bytes", ManifestProblem::SlotNotZero(offset));
    assert_eq!(fault_of(data(0, &SLOT, &[(0, None), (8, None)])), held(8));
    assert_eq!(fault_of(data(0, &SLOT, &[(16, Some(0))])), held(16));
    with(vec![data(0, &SLOT, &[(0, Some(0))])]).check().unwrap();
    // Slots that only the type knows of.
    let ty = |pointers: &[u32]| {
        Object::Type(TypeObject {
            size: 24,
            pointers: pointers.to_vec(),
            ..TypeObject::default()
        })
    };
    with(vec![ty(&[0]), data(2, &SLOT, &[])]).check().unwrap();
    let found = fault(&with(vec![ty(&[0, 16]), data(2, &SLOT, &[])]));
    assert_eq!((found.field, found.problem), held(16));
}

#[test]
fn refuses_bad_alignment_and_bad_elements() {
    let align = |align| {
        Object::Type(TypeObject {
            align,
            ..TypeObject::default()
        })
    };
    assert_eq!(fault_of(align(3)), ("align", ManifestProblem::BadAlign(3)));
    with(vec![align(0), align(1), align(64)]).check().unwrap();
    let element_flags = ElementFlags::REFERENCES;
    let narrow = TypeObject {
        element: 4,
        element_flags,
        ..TypeObject::default()
    };
    assert!(matches!(
        fault_of(Object::Type(narrow)),
        (
            "element",
            ManifestProblem::Mismatch {
                found: 4,
                wanted: 8,
                ..
            }
        )
    ));
    let many = TypeObject {
        ndims: 65,
        ..TypeObject::default()
    };
    let over = ManifestProblem::OverLimit {
        found: 65,
        limit: MAX_DIMS,
    };
    assert_eq!(fault_of(Object::Type(many)), ("ndims", over));
}

#[test]
fn arrays_of_structs_say_what_each_of_their_slots_refers_to() {
    // A struct of a number and a reference, and arrays of such.
    let element = TypeObject {
        size: 16,
        align: 8,
        pointers: vec![8],
        ..TypeObject::default()
    };
    let of = |element_type, element, pointers: &[u32]| TypeObject {
        flags: TypeFlags::ARRAY,
        element,
        element_flags: ElementFlags::INLINE_REFERENCES,
        ndims: 1,
        element_type,
        pointers: pointers.to_vec(),
        ..TypeObject::default()
    };
    let check = |array_type: TypeObject<'static>, array: Object<'static>| {
        let objects = vec![
            Object::Type(element.clone()),
            Object::Type(array_type),
            array,
        ];
        with(objects).check().map_err(|found| found.problem)
    };
    static ZEROS: [u8; 32] = [0; 32];
    static ADDRESS: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let good = of(Some(2), 16, &[]);
    assert_eq!(
        check(good.clone(), array(3, &[2], &ZEROS, &[Some(0), None])),
        Ok(())
    );
    assert_eq!(check(good.clone(), array(3, &[0], &[], &[])), Ok(()));
    let one_slot_too_few = check(good.clone(), array(3, &[2], &ZEROS, &[None]));
    assert!(
        matches!(
            one_slot_too_few,
            Err(ManifestProblem::Mismatch {
                found: 1,
                wanted: 2,
                ..
            })
        ),
        "{one_slot_too_few:?}"
    );
    assert_eq!(
        check(good, array(3, &[1], &ADDRESS, &[None])),
        Err(ManifestProblem::SlotNotZero(8))
    );
    // Elements of which nobody says where their references are, or says so in vain.
    for unknown in [of(None, 16, &[]), of(Some(2), 8, &[]), of(Some(2), 12, &[])] {
        let bytes = &ZEROS[..unknown.element as usize];
        assert_eq!(
            check(unknown, array(3, &[1], bytes, &[None])),
            Err(ManifestProblem::InlineReferences)
        );
    }
}

#[test]
fn refuses_arrays_whose_bytes_do_not_fit_their_dimensions() {
    let mismatch = |object| match fault_of(object) {
        (field, ManifestProblem::Mismatch { found, wanted, .. }) => (field, found, wanted),
        (field, other) => panic!("{field}: {other}"),
    };
    assert_eq!(mismatch(array(1, &[2], &[0; 15], &[])), ("bytes", 15, 16));
    assert_eq!(mismatch(array(1, &[0], &[0], &[])), ("bytes", 1, 0));
    assert_eq!(
        mismatch(array(1, &[1 << 60], &[], &[])),
        ("bytes", 0, 1 << 63)
    );
    assert_eq!(
        mismatch(array(1, &[1], &[0; 8], &[None])),
        ("references", 1, 0)
    );
    assert_eq!(mismatch(array(1, &[1, 1], &[0; 8], &[])), ("dims", 2, 1));
    assert_eq!(
        fault_of(array(1, &[1 << 61], &[], &[])),
        ("dims", ManifestProblem::Overflow)
    );
    let flat = TypeObject {
        flags: TypeFlags::ARRAY,
        element: 1,
        ndims: 2,
        ..TypeObject::default()
    };
    let found = fault(&with(vec![
        Object::Type(flat),
        array(2, &[1 << 40, 1 << 40], &[], &[]),
    ]));
    assert_eq!(
        (found.field, found.problem),
        ("dims", ManifestProblem::Overflow)
    );
}

#[test]
fn refuses_symbols_that_no_linker_could_look_up() {
    let bad = |manifest: Manifest<'_>| {
        let found = fault(&manifest);
        assert_eq!(
            (found.object, &found.problem),
            (None, &ManifestProblem::BadSymbol)
        );
        found.field
    };
    assert_eq!(
        bad(Manifest {
            entry: "",
            ..with(vec![])
        }),
        "entry"
    );
    assert_eq!(
        bad(Manifest {
            entry: "a\0b",
            ..with(vec![])
        }),
        "entry"
    );
    assert_eq!(
        bad(Manifest {
            imports: vec!["jl_throw", ""],
            ..with(vec![])
        }),
        "imports"
    );
    let dependencies = vec![Dependency {
        soname: "",
        symbols: vec![],
    }];
    assert_eq!(
        bad(Manifest {
            dependencies,
            ..with(vec![])
        }),
        "soname"
    );
    let dependencies = vec![Dependency {
        soname: "libm.so.6",
        symbols: vec!["sin\0"],
    }];
    assert_eq!(
        bad(Manifest {
            dependencies,
            ..with(vec![])
        }),
        "symbols"
    );
}

#[test]
fn refuses_unknown_kinds_and_unknown_bits() {
    let good = Manifest {
        entry: "e",
        objects: vec![Object::Slot(None)],
        ..Manifest::default()
    }
    .encode()
    .unwrap();
    let kind_at = good.len() - 5;
    for kind in [0, 9, 255] {
        let mut bytes = good.clone();
        bytes[kind_at] = kind;
        let error = Manifest::decode(&bytes).unwrap_err().to_string();
        let wanted = format!(
            "archive refused: manifest object: `kind` at byte {kind_at}: unknown tag {kind}"
        );
        assert_eq!(error, wanted);
    }
    let ty = Manifest {
        entry: "e",
        objects: vec![Object::Type(TypeObject::default())],
        ..Manifest::default()
    };
    let good = ty.encode().unwrap();
    // kind, name length, then the flags.
    let flags_at = good.len() - TYPE_FIXED_BYTES + 5;
    let mut bytes = good;
    bytes[flags_at + 1] = 0x80;
    let Err(ArchiveError::Decode(error)) = Manifest::decode(&bytes) else {
        panic!("unknown flags were taken")
    };
    assert_eq!((error.what, error.field), ("TYPE object", "flags"));
    assert_eq!(
        (error.offset, error.problem),
        (flags_at, Problem::UnknownBits(0x8000))
    );
}

/// Bytes of a TYPE object with an empty name, no pointers and no fields.
const TYPE_FIXED_BYTES: usize = 1 + 4 + 4 + 4 + 2 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4;

#[test]
fn refuses_more_than_the_limits() {
    let objects = vec![Object::Slot(None); MAX_OBJECTS + 1];
    let many = Manifest {
        entry: "e",
        objects,
        ..Manifest::default()
    };
    assert!(matches!(
        many.check().unwrap_err().problem,
        ManifestProblem::OverLimit {
            found: 65_537,
            limit: 65_536
        }
    ));

    let long = "x".repeat(MAX_NAME_BYTES + 1);
    let named = Manifest {
        entry: "e",
        name: &long,
        ..Manifest::default()
    };
    assert!(matches!(named.encode(), Err(ArchiveError::Encode(_))));

    let huge = vec![0; MAX_MANIFEST_BYTES + 1];
    let Err(ArchiveError::Decode(error)) = Manifest::decode(&huge) else {
        panic!("a huge manifest was taken")
    };
    assert!(matches!(error.problem, Problem::OverLimit { .. }));
    let archive = Archive {
        manifest: Manifest {
            entry: "e",
            objects: vec![Object::String(&huge[1..])],
            ..Manifest::default()
        },
        images: vec![],
        ..Archive::default()
    };
    assert_eq!(archive.encode().unwrap_err().code(), ErrorCode::TOO_LARGE);
    assert_eq!(
        archive.manifest.encode().unwrap_err().code(),
        ErrorCode::TOO_LARGE,
        "a manifest alone has the same limit"
    );
}

#[test]
fn object_symbols_are_canonical() {
    for index in [0, 1, 65_535, u32::MAX] {
        assert_eq!(object_index(&object_symbol(index)), Some(index));
    }
    for symbol in [
        "bc.obj.",
        "bc.obj.-1",
        "bc.obj.+1",
        "bc.obj.01",
        "bc.obj.4294967296",
        "bc.obj.1 ",
        "obj.1",
        "",
    ] {
        assert_eq!(object_index(symbol), None, "{symbol}");
    }
}

#[test]
fn the_full_sample_holds_each_kind() {
    let manifest = sample::full_manifest();
    for kind in [
        "TYPE", "INSTANCE", "SYMBOL", "STRING", "DATA", "ARRAY", "SLOT", "OPAQUE",
    ] {
        assert!(
            manifest
                .objects
                .iter()
                .any(|object| object.kind_name() == kind),
            "{kind}"
        );
    }
    manifest.check().unwrap();
}
