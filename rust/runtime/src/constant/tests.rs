//! Objects built from descriptions.

use super::*;
use crate::layout::{reference_at, string_bytes, tag_of, type_of};
use std::sync::Arc;

fn ty<'a>(name: &'a str, flags: u32, size: u32, pointers: &'a [u32]) -> Description<'a> {
    let ty = TypeDescription {
        name,
        flags: flags | flag::CONCRETE,
        size,
        align: 8,
        pointers,
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    };
    Description::Type {
        ty,
        parent: None,
        element: None,
        fields: Vec::new(),
    }
}

#[test]
fn every_kind_is_built() {
    let constants = Constants::build(&[
        ty("Test.ConstPair", 0, 16, &[0, 8]),
        Description::Symbol("name"),
        Description::String(b"text"),
        Description::Data {
            ty: 0,
            bytes: &[0; 16],
            references: vec![(0, 1), (8, 2)],
        },
        Description::Slot(Some(3)),
        Description::Opaque {
            name: "some method",
            id: 0,
        },
        ty("Test.ConstSingle", flag::SINGLETON, 0, &[]),
        Description::Instance(6),
    ])
    .unwrap();
    assert_eq!(constants.len(), 8);
    let at = |index| constants.address(index).unwrap();
    // SAFETY: the constants are alive.
    unsafe {
        assert_eq!(type_of(at(3)).cast(), at(0));
        assert_eq!(reference_at(at(3), 0), at(1));
        assert_eq!(string_bytes(reference_at(at(3), 8)), b"text");
        assert_eq!(at(4).cast::<*mut Value>().read(), at(3));
        assert_eq!(type_of(at(7)).cast(), at(6));
        for index in [2, 3, 5, 7] {
            assert_eq!(tag_of(at(index)) & 3, TAG_CONSTANT, "object {index}");
            assert_eq!(at(index) as usize % 16, 0);
        }
    }
    assert_eq!(constants.index_of(at(3)), Some(3));
    assert_eq!(constants.name_of(at(5)), Some("some method"));
    assert_eq!(constants.address(8), None);
}

#[test]
fn types_are_shared_between_archives() {
    let build = || {
        Constants::build(&[
            ty("Test.ConstShared", 0, 24, &[]),
            Description::Symbol("shared"),
        ])
        .unwrap()
    };
    let (a, b) = (build(), build());
    assert_eq!(a.address(0), b.address(0));
    assert_eq!(a.address(1), b.address(1));
    drop(a);
    assert_eq!(b.address(1), Some(symbol::intern("shared").value()));
}

#[test]
fn links_point_at_types() {
    let field = FieldDescription {
        offset: 0,
        size: 8,
        kind: FieldKind::Reference,
        ty: Some(0),
    };
    let mut node = ty("Test.ConstNode", flag::MUTABLE, 8, &[0]);
    if let Description::Type { fields, parent, .. } = &mut node {
        fields.push(field);
        *parent = Some(1);
    }
    let mut root = ty("Test.ConstRoot", flag::ABSTRACT, 0, &[]);
    if let Description::Type { ty, .. } = &mut root {
        ty.flags &= !flag::CONCRETE;
    }
    let constants = Constants::build(&[node, root]).unwrap();
    // SAFETY: the constants are alive.
    let cell = unsafe { TypeCell::of(constants.address(0).unwrap().cast()) };
    let links = cell.links().unwrap();
    assert!(ptr::eq(&**links.fields[0].ty.as_ref().unwrap(), cell));
    assert!(types::is_subtype(
        cell,
        constants.address(1).unwrap().cast()
    ));
    assert_eq!(Arc::strong_count(links.parent.as_ref().unwrap()), 2);
}

#[test]
fn contradictions_are_refused() {
    let bad = |descriptions: &[Description<'_>]| Constants::build(descriptions).unwrap_err();
    let word = || ty("Test.ConstWord", 0, 8, &[]);
    let data = |bytes| Description::Data {
        ty: 0,
        bytes,
        references: Vec::new(),
    };
    assert_eq!(
        bad(&[word(), data(&[1, 2, 3])]),
        BuildError::BadBytes { object: 1 }
    );
    assert_eq!(
        bad(&[data(&[])]),
        BuildError::BadReference { object: 0, to: 0 }
    );
    assert_eq!(
        bad(&[Description::Slot(Some(9))]),
        BuildError::BadReference { object: 0, to: 9 }
    );
    assert_eq!(
        bad(&[word(), Description::Instance(0)]),
        BuildError::BadReference { object: 1, to: 0 }
    );
    for (offset, byte) in [(4, 0), (8, 0), (0, 1)] {
        let misplaced = Description::Data {
            ty: 0,
            bytes: &[byte; 8],
            references: vec![(offset, 0)],
        };
        assert_eq!(
            bad(&[word(), misplaced]),
            BuildError::BadBytes { object: 1 }
        );
    }
    assert!(matches!(
        bad(&[ty("Core.Float64", 0, 4, &[])]),
        BuildError::Layout(_)
    ));
    let array = |dims, bytes| Description::Array {
        ty: 0,
        dims,
        bytes,
        references: Vec::new(),
    };
    assert_eq!(
        bad(&[word(), array(&[1], &[0; 8])]),
        BuildError::BadBytes { object: 1 }
    );
}

fn vector(element: u32, element_flags: u32) -> Description<'static> {
    let mut vector = ty("Test.ConstVector", flag::ARRAY | flag::MUTABLE, 0, &[]);
    if let Description::Type { ty, .. } = &mut vector {
        ty.element = element;
        ty.element_flags = element_flags;
        ty.ndims = 1;
    }
    vector
}

#[test]
fn arrays_must_have_all_their_bytes() {
    let array = |dims, bytes| Description::Array {
        ty: 0,
        dims,
        bytes,
        references: Vec::new(),
    };
    let bad = |descriptions: &[Description<'_>]| Constants::build(descriptions).unwrap_err();
    assert_eq!(
        bad(&[vector(8, 0), array(&[2], &[0; 8])]),
        BuildError::BadBytes { object: 1 }
    );
    assert_eq!(
        bad(&[vector(8, 0), array(&[u64::MAX], &[])]),
        BuildError::BadBytes { object: 1 }
    );
    assert_eq!(
        bad(&[vector(8, element::REFERENCES), array(&[2], &[])]),
        BuildError::BadBytes { object: 1 }
    );
    assert_eq!(
        bad(&[vector(8, 0), array(&[1, 1], &[0; 8])]),
        BuildError::BadBytes { object: 1 }
    );
    let union = Constants::build(&[vector(8, element::UNION), array(&[2], &[1; 18])]).unwrap();
    let array = union.address(1).unwrap().cast::<Array>();
    // SAFETY: the constants are alive.
    let selectors = unsafe { crate::array::Header::new(array) }.selectors();
    // SAFETY: two selectors.
    assert_eq!(unsafe { std::slice::from_raw_parts(selectors, 2) }, [1, 1]);
}

#[test]
fn identities_are_the_runtimes() {
    let constants = Constants::build(&[
        Description::Type {
            ty: TypeDescription {
                name: "Core.Bool",
                flags: flag::BITS | flag::PRIMITIVE | flag::CONCRETE,
                size: 1,
                align: 1,
                pointers: &[],
                element: 0,
                element_flags: 0,
                ndims: 0,
                hash: 0,
            },
            parent: None,
            element: None,
            fields: Vec::new(),
        },
        Description::Data {
            ty: 0,
            bytes: &[1],
            references: Vec::new(),
        },
        ty("Core.SimpleVector", flag::MUTABLE, 0, &[]),
        Description::Data {
            ty: 2,
            bytes: &[0; 8],
            references: Vec::new(),
        },
        Description::Data {
            ty: 2,
            bytes: &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            references: vec![(8, 1)],
        },
    ])
    .unwrap();
    assert_eq!(constants.address(1), Some(Builtins::get().bool(true)));
    assert_eq!(constants.address(3), Some(Builtins::get().empty_svec()));
    // SAFETY: the constants are alive.
    let held = unsafe { reference_at(constants.address(4).unwrap(), 8) };
    assert_eq!(held, Builtins::get().bool(true));
}

/// What a big number is: a struct with a pointer to words.
#[test]
fn pointers_lead_to_memory_of_the_archive() {
    let constants = Constants::build(&[
        ty("Test.ConstBig", 0, 16, &[]),
        ty("Test.ConstWords{2}", flag::PRIMITIVE, 16, &[]),
        Description::Data {
            ty: 0,
            bytes: &[0; 16],
            references: vec![(8, 3)],
        },
        Description::Data {
            ty: 1,
            bytes: &[7; 16],
            references: Vec::new(),
        },
    ])
    .unwrap();
    // SAFETY: the constants are alive.
    let words = unsafe { reference_at(constants.address(2).unwrap(), 8) };
    assert_eq!(Some(words), constants.address(3));
    // SAFETY: as above.
    assert_eq!(
        // SAFETY: two words.
        unsafe { words.cast::<[u64; 2]>().read() },
        [0x0707_0707_0707_0707; 2]
    );
}
