//! The container: what it refuses, and with which error code.

use super::sample;
use bitcode_wire::archive::{
    Archive, ArchiveError, Image, ImageKind, MAX_FIXED_BYTES, MAX_IMAGES, MAX_TARGET_BYTES,
    specialised,
};
use bitcode_wire::code::CodeId;
use bitcode_wire::codec::{DecodeError, Problem};
use bitcode_wire::error::ErrorCode;

fn small() -> Vec<u8> {
    sample::small_archive().encode().unwrap().0
}

fn refused(bytes: &[u8]) -> (DecodeError, ErrorCode) {
    match Archive::decode(bytes).unwrap_err() {
        error @ ArchiveError::Decode(decode) => (decode, error.code()),
        other => panic!("{other} is no decode error"),
    }
}

/// Where the first image's kind byte stands: after the manifest and the image count.
fn image_at(bytes: &[u8]) -> usize {
    let manifest = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    12 + manifest + 4
}

#[test]
fn refuses_another_magic_version_or_flags() {
    let mut bytes = small();
    bytes[0] = b'X';
    assert_eq!(refused(&bytes).0.problem, Problem::WrongMagic);
    bytes[0] = b'B';
    bytes[4] = 2;
    let (error, code) = refused(&bytes);
    assert_eq!(
        (error.problem, error.offset),
        (Problem::WrongVersion { found: 2, ours: 1 }, 4)
    );
    assert_eq!(code, ErrorCode::UNSUPPORTED);
    assert_eq!(
        error.to_string(),
        "archive: `version` at byte 4: format version 2, this build reads version 1; update the older side"
    );
    bytes[4] = 1;
    bytes[7] = 0x80;
    assert_eq!(refused(&bytes).0.problem, Problem::UnknownBits(0x8000));
}

#[test]
fn refuses_an_unknown_image_kind() {
    let mut bytes = small();
    let at = image_at(&bytes);
    for kind in [0, 3, 255] {
        bytes[at] = kind;
        let (error, code) = refused(&bytes);
        assert_eq!(
            (error.what, error.offset, error.problem),
            ("image", at, Problem::UnknownTag(kind.into()))
        );
        assert_eq!(code, ErrorCode::BAD_ARCHIVE);
    }
}

#[test]
fn refuses_a_triple_that_is_not_utf8() {
    let mut bytes = small();
    let at = image_at(&bytes) + 1 + 4;
    bytes[at] = 0xFF;
    assert_eq!(refused(&bytes).0.problem, Problem::NotUtf8);
}

#[test]
fn refuses_too_many_images_and_too_long_targets() {
    let image = Image {
        kind: ImageKind::Bitcode,
        triple: "",
        cpu: "",
        features: "",
        code: b"",
    };
    let mut archive = sample::small_archive();
    archive.images = vec![image; MAX_IMAGES];
    assert!(Archive::decode(&archive.encode().unwrap().0).is_ok());

    let mut bytes = archive.encode().unwrap().0;
    let at = image_at(&bytes) - 4;
    bytes[at..at + 4].copy_from_slice(&(MAX_IMAGES as u32 + 1).to_le_bytes());
    let (error, code) = refused(&bytes);
    assert_eq!(
        error.problem,
        Problem::OverLimit {
            found: 65,
            limit: 64
        }
    );
    assert_eq!(code, ErrorCode::TOO_LARGE);

    archive.images.push(image);
    let error = archive.encode().unwrap_err();
    assert_eq!(
        error.to_string(),
        "archive cannot be written: archive: `images` has 65, the limit is 64"
    );
    assert_eq!(error.code(), ErrorCode::TOO_LARGE);

    let long = "x".repeat(MAX_TARGET_BYTES + 1);
    archive.images = vec![Image {
        features: &long,
        ..image
    }];
    assert!(matches!(archive.encode(), Err(ArchiveError::Encode(_))));
}

#[test]
fn the_manifest_may_neither_overrun_nor_underrun_its_length() {
    let bytes = small();
    let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    for (wrong, what) in [
        (len - 1, "manifest"),
        (len + 1, "manifest"),
        (0, "manifest"),
    ] {
        let mut bytes = bytes.clone();
        bytes[8..12].copy_from_slice(&wrong.to_le_bytes());
        assert_eq!(refused(&bytes).0.what, what, "length {wrong} for {len}");
    }
    let mut long = bytes;
    long[8..12]
        .copy_from_slice(&(bitcode_wire::manifest::MAX_MANIFEST_BYTES as u32 + 1).to_le_bytes());
    assert!(matches!(
        refused(&long).0.problem,
        Problem::OverLimit { .. }
    ));
}

#[test]
fn the_code_id_is_the_hash_of_the_bytes() {
    let (bytes, id) = sample::full_archive().encode().unwrap();
    assert_eq!(id, CodeId::of(&bytes));
    assert_ne!(id, sample::small_archive().encode().unwrap().1);
}

/// The figure that the issue asks for: the container itself must leave room for the code within 4 KB.
#[test]
fn the_container_of_a_small_function_is_small() {
    let (bytes, _) = sample::small_archive().encode().unwrap();
    let code = sample::small_archive().images[0].code.len();
    assert!(
        bytes.len() - code < 256,
        "{} bytes around the code",
        bytes.len() - code
    );
}

#[test]
fn an_archive_is_borrowed_not_copied() {
    let code = vec![0xAB; 1 << 20];
    let mut archive = sample::small_archive();
    archive.images[0].code = &code;
    let (bytes, _) = archive.encode().unwrap();
    let used = allocation_counter::measure(|| assert!(Archive::decode(&bytes).is_ok()));
    assert!(used.bytes_total < 4096, "{} bytes", used.bytes_total);
}

#[test]
fn specialised_archives_have_one_spelling_and_something_fixed() {
    let (plain, id) = sample::small_archive().encode().unwrap();
    let special = specialised(&plain, b"fixed").unwrap();
    let archive = Archive::decode(&special).unwrap();
    let expected = Archive {
        fixed: b"fixed",
        ..sample::small_archive()
    };
    assert_eq!(archive, expected);
    let (again, special_id) = archive.encode().unwrap();
    assert_eq!(again, special);
    assert_ne!(special_id, id);
    assert_eq!(
        specialised(&special, b"other").unwrap(),
        specialised(&plain, b"other").unwrap()
    );
    assert_eq!(specialised(&special, b"").unwrap(), plain);
    for end in 4..special.len() {
        assert!(Archive::decode(&special[..end]).is_err(), "{end}");
    }
    assert!(Archive::decode(&[&special[..], b"more"].concat()).is_err());
    // Nothing fixed, and one within another, would be second spellings.
    let at = 8 + 4;
    let empty = [&special[..8], &[0; 4], &special[at + 5..]].concat();
    let error = Archive::decode(&empty).unwrap_err();
    assert!(error.to_string().contains("something fixed"), "{error}");
    let length = (special.len() as u32).to_le_bytes();
    let twice = [&special[..at + 5], &length, &special[..]].concat();
    assert!(Archive::decode(&twice).is_err());
    assert!(specialised(&plain, &vec![1; MAX_FIXED_BYTES]).is_ok());
    let error = specialised(&plain, &vec![1; MAX_FIXED_BYTES + 1]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::TOO_LARGE);
    assert!(crate::bodies::archive(&special));
}
