//! Code that an earlier compiler left on disk.

use crate::sites::CODE;
use crate::support::{Case, call, call_and_trace};
use bitcode_jit::{Jit, JitConfig, JitError, LibraryError, Outcome, StoreConfig};
use bitcode_wire::manifest::{Dependency, Object};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

fn config(directory: &TempDir) -> JitConfig {
    let mut config = JitConfig::default();
    config.store = Some(StoreConfig {
        directory: directory.path().to_owned(),
        bytes: 1 << 20,
    });
    config
}

fn jit(directory: &TempDir) -> Jit {
    Jit::new(config(directory)).unwrap()
}

fn files(directory: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(directory.path()).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn the_next_compiler_only_links() {
    let directory = TempDir::new().unwrap();
    // The entry calls another function, and refers to an object and to the runtime.
    let case = || {
        Case::new(
            "@bc.obj.0 = external global i8
             declare void @jl_throw(ptr)
             define internal i64 @twice(i64 %x) noinline {
               %y = shl i64 %x, 1
               ret i64 %y
             }
             define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
               %place = inttoptr i64 %payload to ptr
               %x = load i64, ptr %place
               %wrong = icmp eq i64 %x, 0
               br i1 %wrong, label %throw, label %go
             throw:
               call void @jl_throw(ptr @bc.obj.0)
               unreachable
             go:
               %y = call i64 @twice(i64 %x)
               %room = call i64 @bc_result(i64 %call, i64 8)
               %out = inttoptr i64 %room to ptr
               store i64 %y, ptr %out
               ret i32 0
             }",
        )
        .objects([Object::String(b"an object")])
    };
    let first = case().compile_with(&jit(&directory)).unwrap();
    assert!(!first.was_kept());
    assert_eq!(files(&directory).len(), 1);
    let again = case().compile_with(&jit(&directory)).unwrap();
    assert!(again.was_kept());
    let timings = again.timings();
    assert_eq!((timings.optimise, timings.emit), (0, 0));
    for compiled in [&first, &again] {
        assert_eq!(
            call(compiled, &[21]),
            (Outcome::Value, 42_u64.to_le_bytes().to_vec())
        );
        assert_eq!(call(compiled, &[0]).0, Outcome::Thrown);
    }
    // Another processor has another object.
    let mut lesser = config(&directory);
    lesser.cpu = Some("generic".into());
    let lesser = Jit::new(lesser).unwrap();
    assert!(!case().compile_with(&lesser).unwrap().was_kept());
    assert!(case().compile_with(&lesser).unwrap().was_kept());
    assert_eq!(files(&directory).len(), 2);
}

#[test]
fn its_backtraces_are_the_same() {
    let directory = TempDir::new().unwrap();
    for kept in [false, true] {
        let compiled = Case::new(CODE).compile_with(&jit(&directory)).unwrap();
        assert_eq!(compiled.was_kept(), kept);
        let (outcome, _, sites) = call_and_trace(&compiled, &[2]);
        assert_eq!(outcome, Outcome::Thrown);
        assert_eq!(sites, [2, 3, 70000]);
    }
}

#[test]
fn a_damaged_object_is_compiled_anew() {
    let directory = TempDir::new().unwrap();
    let case = Case::new("define i32 @bitcode_entry(i64, i64, i64) {\nret i32 0\n}");
    case.compile_with(&jit(&directory)).unwrap();
    let path = files(&directory).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(!case.compile_with(&jit(&directory)).unwrap().was_kept());
    assert!(case.compile_with(&jit(&directory)).unwrap().was_kept());
}

#[test]
fn the_configuration_holds_for_kept_code_too() {
    let directory = TempDir::new().unwrap();
    let mut case = Case::new(
        "declare i32 @utf8proc_category(i32)
         define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
           %category = call i32 @utf8proc_category(i32 65)
           ret i32 %category
         }",
    );
    case.dependencies = vec![Dependency {
        soname: "libutf8proc",
        symbols: vec!["utf8proc_category"],
    }];
    case.compile_with(&jit(&directory)).unwrap();
    let mut strict = config(&directory);
    strict.libraries.deny("libutf8proc");
    let error = case.compile_with(&Jit::new(strict).unwrap()).unwrap_err();
    assert!(
        matches!(error, JitError::Library(LibraryError::NotAllowed { .. })),
        "{error}"
    );
}

#[test]
fn what_was_refused_is_not_kept() {
    let directory = TempDir::new().unwrap();
    let case = Case::new(
        "define i32 @bitcode_entry(i64, i64, i64) {
           store i8 1, ptr inttoptr (i64 94784932 to ptr)
           ret i32 0
         }",
    );
    for _ in 0..2 {
        let error = case.compile_with(&jit(&directory)).unwrap_err();
        assert!(matches!(error, JitError::Refused(_)), "{error}");
    }
    assert!(files(&directory).is_empty());
}
