//! The objects of a manifest, as code sees them.

use crate::support::Case;
use bitcode_jit::JitError;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::manifest::{
    ArrayObject, DataObject, ElementFlags, Object, Relocation, TypeFlags, TypeObject,
};

fn ty<'a>(name: &'a str, flags: TypeFlags, size: u32) -> TypeObject<'a> {
    TypeObject {
        name,
        flags: flags.with(TypeFlags::CONCRETE),
        size,
        align: 8,
        ..TypeObject::default()
    }
}

/// Code that loads word `word` of object `object`, then follows so many references.
fn load(object: u32, word: u64) -> String {
    format!(
        r#"
@bc.obj.{object} = external global i8
define i32 @bitcode_entry(i64, i64, i64 %call) {{
  %at = getelementptr i64, ptr @bc.obj.{object}, i64 {word}
  %x = load volatile i64, ptr %at
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %x, ptr %to
  ret i32 0
}}"#
    )
}

/// Code that compares the addresses of two objects.
fn same(a: u32, b: u32) -> String {
    format!(
        r#"
@bc.obj.{a} = external global i8
@bc.obj.{b} = external global i8
define i32 @bitcode_entry(i64, i64, i64 %call) {{
  %x = ptrtoint ptr @bc.obj.{a} to i64
  %slot = alloca i64
  store volatile i64 %x, ptr %slot
  %y = load volatile i64, ptr %slot
  %z = ptrtoint ptr @bc.obj.{b} to i64
  %d = sub i64 %y, %z
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %d, ptr %to
  ret i32 0
}}"#
    )
}

#[test]
fn strings_and_boxes_have_their_bytes() {
    let objects = || {
        [
            Object::Type(ty(
                "Core.Int64",
                TypeFlags::ISBITS.with(TypeFlags::PRIMITIVE),
                8,
            )),
            Object::String(b"hello, world"),
            Object::Data(DataObject {
                ty: 0,
                bytes: &[77, 0, 0, 0, 0, 0, 0, 0],
                relocations: Vec::new(),
            }),
        ]
    };
    assert_eq!(Case::new(&load(1, 0)).objects(objects()).word(&[]), 12);
    assert_eq!(
        Case::new(&load(1, 1))
            .objects(objects())
            .word(&[])
            .to_le_bytes(),
        *b"hello, w"
    );
    assert_eq!(Case::new(&load(2, 0)).objects(objects()).word(&[]), 77);
}

#[test]
fn arrays_have_julias_header() {
    let vector = TypeObject {
        element: 8,
        ndims: 2,
        ..ty(
            "Core.Array{Core.Int64,2}",
            TypeFlags::ARRAY.with(TypeFlags::MUTABLE),
            0,
        )
    };
    let bytes: Vec<u8> = (1..=6_u64).flat_map(u64::to_le_bytes).collect();
    let objects = [
        Object::Type(vector),
        Object::Array(ArrayObject {
            ty: 0,
            dims: vec![2, 3],
            bytes: &bytes,
            references: Vec::new(),
        }),
    ];
    let word = |word| Case::new(&load(1, word)).objects(objects.clone()).word(&[]);
    assert_eq!((word(1), word(3), word(4)), (6, 2, 3));
    // Two dimensions, elements of 8 bytes, data that is shared.
    assert_eq!(word(2) & 0xffff_ffff, 8 << 16 | 2 << 2 | 1 << 14);
}

#[test]
fn references_between_objects_may_point_forward() {
    let node = TypeObject {
        pointers: vec![0, 8],
        ..ty("Test.Node", TypeFlags::MUTABLE, 16)
    };
    let slot = |offset, target| Relocation { offset, target };
    let objects = [
        Object::Slot(Some(1)),
        Object::Data(DataObject {
            ty: 3,
            bytes: &[0; 16],
            relocations: vec![slot(0, Some(2)), slot(8, Some(1))],
        }),
        Object::Data(DataObject {
            ty: 3,
            bytes: &[0; 16],
            relocations: vec![slot(0, None)],
        }),
        Object::Type(node),
    ];
    let code = r#"
@bc.obj.0 = external global ptr
@bc.obj.1 = external global i8
@bc.obj.2 = external global i8
define i32 @bitcode_entry(i64, i64, i64 %call) {
  %first = load volatile ptr, ptr @bc.obj.0
  %second = load volatile ptr, ptr %first
  %self.at = getelementptr ptr, ptr %first, i64 1
  %self = load volatile ptr, ptr %self.at
  %nothing = load volatile ptr, ptr %second
  %a = icmp eq ptr %first, @bc.obj.1
  %b = icmp eq ptr %second, @bc.obj.2
  %c = icmp eq ptr %self, @bc.obj.1
  %d = icmp eq ptr %nothing, null
  %ab = and i1 %a, %b
  %cd = and i1 %c, %d
  %all = and i1 %ab, %cd
  %x = zext i1 %all to i64
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %x, ptr %to
  ret i32 0
}"#;
    assert_eq!(Case::new(code).objects(objects).word(&[]), 1);
}

#[test]
fn what_the_runtime_has_is_what_archives_name() {
    let boolean = Object::Type(TypeObject {
        align: 1,
        ..ty("Core.Bool", TypeFlags::ISBITS.with(TypeFlags::PRIMITIVE), 1)
    });
    let nothing = Object::Type(TypeObject {
        align: 1,
        ..ty(
            "Core.Nothing",
            TypeFlags::SINGLETON.with(TypeFlags::ISBITS),
            0,
        )
    });
    let data = |byte: &'static [u8]| {
        Object::Data(DataObject {
            ty: 0,
            bytes: byte,
            relocations: Vec::new(),
        })
    };
    let objects = [
        boolean,
        nothing,
        data(&[1]),
        data(&[1]),
        Object::Instance { ty: 1 },
        Object::Data(DataObject {
            ty: 1,
            bytes: &[],
            relocations: Vec::new(),
        }),
        Object::Symbol("x"),
        Object::Symbol("x"),
    ];
    for (a, b) in [(2, 3), (4, 5), (6, 7)] {
        assert_eq!(
            Case::new(&same(a, b)).objects(objects.clone()).word(&[]),
            0,
            "objects {a} and {b}"
        );
    }
    assert_ne!(Case::new(&same(0, 1)).objects(objects).word(&[]), 0);
}

#[test]
fn objects_that_contradict_themselves() {
    let int = || {
        Object::Type(TypeObject {
            align: 4,
            ..ty("Core.Int64", TypeFlags::ISBITS, 4)
        })
    };
    let entry = "define i32 @bitcode_entry(i64, i64, i64) { ret i32 0 }";
    let error = Case::new(entry).objects([int()]).compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::BAD_ABI);
    assert!(error.to_string().contains("Core.Int64"), "{error}");
    let short = Object::Data(DataObject {
        ty: 0,
        bytes: &[1, 2],
        relocations: Vec::new(),
    });
    let word = Object::Type(ty("Test.Word", TypeFlags::ISBITS, 8));
    let error = Case::new(entry)
        .objects([word, short])
        .compile()
        .unwrap_err();
    assert!(matches!(error, JitError::Objects(_)), "{error}");
    let abstract_type = Object::Type(TypeObject {
        name: "Test.Some",
        flags: TypeFlags::ABSTRACT,
        ..TypeObject::default()
    });
    let error = Case::new(entry)
        .objects([abstract_type, Object::Instance { ty: 0 }])
        .compile()
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::BAD_ARCHIVE);
}

#[test]
fn arrays_of_references() {
    let any = TypeObject {
        element: 8,
        element_flags: ElementFlags::REFERENCES,
        ndims: 1,
        ..ty(
            "Core.Array{Core.Any,1}",
            TypeFlags::ARRAY.with(TypeFlags::MUTABLE),
            0,
        )
    };
    let objects = [
        Object::Type(any),
        Object::Array(ArrayObject {
            ty: 0,
            dims: vec![2],
            bytes: &[],
            references: vec![Some(2), None],
        }),
        Object::Symbol("s"),
    ];
    assert_eq!(Case::new(&load(1, 1)).objects(objects).word(&[]), 2);
}
