//! Libraries: what they hold, how a function is found, what is refused.

use super::sample;
use bitcode_wire::archive::ArchiveError;
use bitcode_wire::code::CodeId;
use bitcode_wire::codec::Problem;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::library::{Function, Library, MAX_FUNCTIONS, Notes};

#[test]
fn a_function_is_found_by_its_name_and_keeps_its_code_id() {
    let (small, full) = sample::archive_bytes();
    let file = sample::library(&small, &full).encode().unwrap();
    let library = Library::decode(&file).unwrap();
    let found: Vec<_> = library.named("f").collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id(), CodeId::of(&small));
    assert_eq!(library.named("f(::Int64)").count(), 1);
    for nothing in ["", "g", "f(", "f(::Int32)", "(::Int64)"] {
        assert_eq!(library.named(nothing).count(), 0, "{nothing}");
    }
}

#[test]
fn an_archive_by_itself_is_a_library_of_one_function_without_notes() {
    let (small, _) = sample::archive_bytes();
    let library = Library::decode(&small).unwrap();
    assert_eq!(library.functions, [Function::new(&small, None).unwrap()]);
}

#[test]
fn notes_name_objects_that_are_there() {
    let (small, _) = sample::archive_bytes();
    let notes = Notes {
        deferrable: vec![0],
        ..Notes::default()
    };
    let error = Function::new(&small, Some(notes)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::BAD_ARCHIVE);
    assert!(error.to_string().contains("object"), "{error}");
}

#[test]
fn what_is_no_library_is_refused() {
    let (small, full) = sample::archive_bytes();
    let file = sample::library(&small, &full).encode().unwrap();
    let problem = |bytes: &[u8]| match Library::decode(bytes).unwrap_err() {
        ArchiveError::Decode(error) => error.problem,
        other => panic!("{other} is no decode error"),
    };
    assert_eq!(problem(b"ELF!\x01\0\0\0"), Problem::WrongMagic);
    let mut newer = file.clone();
    newer[4] = 2;
    assert_eq!(problem(&newer), Problem::WrongVersion { found: 2, ours: 1 });
    let mut many = file.clone();
    many[8..12].copy_from_slice(&(MAX_FUNCTIONS as u32 + 1).to_le_bytes());
    assert_eq!(
        problem(&many),
        Problem::OverLimit {
            found: 4097,
            limit: 4096
        }
    );
    // What is wrong with an archive in it is wrong with the library.
    let mut inner = file;
    inner[16] = b'X';
    assert_eq!(problem(&inner), Problem::WrongMagic);
}
