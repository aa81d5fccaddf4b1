//! Archives that depend on C libraries.

use crate::support::{Case, JIT};
use bitcode_jit::{AllowedLibraries, Jit, JitConfig, JitError, LibraryError};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::manifest::Dependency;

/// What utf8proc says of the letter in the payload.
const CATEGORY: &str = "
    declare i32 @utf8proc_category(i32)
    define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
      %place = inttoptr i64 %payload to ptr
      %letter = load i32, ptr %place
      %category = call i32 @utf8proc_category(i32 %letter)
      %wide = zext i32 %category to i64
      %room = call i64 @bc_result(i64 %call, i64 8)
      %out = inttoptr i64 %room to ptr
      store i64 %wide, ptr %out
      ret i32 0
    }";

fn depending(text: &'static str, soname: &'static str, symbol: &'static str) -> Case<'static> {
    let mut case = Case::new(text);
    case.dependencies = vec![Dependency {
        soname,
        symbols: vec![symbol],
    }];
    case
}

fn with_libraries(case: &Case<'_>, libraries: AllowedLibraries) -> JitError {
    let mut config = JitConfig::default();
    config.libraries = libraries;
    case.compile_with(&Jit::new(config).unwrap()).unwrap_err()
}

#[test]
fn code_calls_a_library_that_its_archive_names() {
    let case = depending(CATEGORY, "libutf8proc", "utf8proc_category");
    assert_eq!(case.word(&[u64::from(b'A')]), 1);
    assert_eq!(case.word(&[u64::from(b'a')]), 2);
    assert_eq!(case.word(&[u64::from(b'7')]), 9);
}

#[test]
fn what_no_library_is_named_for_is_not_found() {
    // Although another archive has opened the library by now.
    let named = depending(CATEGORY, "libutf8proc", "utf8proc_category");
    assert!(named.compile().is_ok());
    let error = Case::new(CATEGORY).compile().unwrap_err();
    assert_eq!(
        error,
        JitError::Unresolved {
            symbols: vec!["utf8proc_category".into()],
            reason: "the manifest does not name"
        }
    );
}

#[test]
fn a_library_that_the_configuration_does_not_allow() {
    let mut allowed = AllowedLibraries::default();
    allowed.deny("libutf8proc");
    let case = depending(CATEGORY, "libutf8proc", "utf8proc_category");
    let error = with_libraries(&case, allowed);
    assert_eq!(error.code(), ErrorCode::UNRESOLVED_SYMBOL);
    let text = error.to_string();
    assert!(
        text.contains("libutf8proc, which this node's configuration does not allow"),
        "{text}"
    );
    // By any of its names.
    for soname in [
        "libutf8proc.so.2",
        "/usr/lib/x86_64-linux-gnu/libutf8proc.so.2",
        "libc.so.6",
    ] {
        let error = depending(CATEGORY, soname, "utf8proc_category")
            .compile()
            .unwrap_err();
        assert!(
            matches!(error, JitError::Library(LibraryError::NotAllowed { .. })),
            "{error}"
        );
    }
}

#[test]
fn a_library_that_is_not_installed() {
    let mut allowed = AllowedLibraries::none();
    allowed.allow("libnothing-like-it.so.7");
    let case = depending(CATEGORY, "libnothing-like-it.so.7", "utf8proc_category");
    let error = with_libraries(&case, allowed);
    assert_eq!(error.code(), ErrorCode::UNRESOLVED_SYMBOL);
    assert!(error.to_string().contains("install it there"), "{error}");
}

#[test]
fn a_symbol_that_the_library_lacks() {
    let case = depending(
        "declare void @system()
         define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
           call void @system()
           ret i32 0
         }",
        "libutf8proc",
        "system",
    );
    let error = case.compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::UNRESOLVED_SYMBOL);
    let text = error.to_string();
    assert!(
        text.contains("takes `system` from the C library libutf8proc"),
        "{text}"
    );
    // The compiler goes on.
    assert!(JIT.target().arch().len() > 2);
}
