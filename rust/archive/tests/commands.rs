//! The command from outside: each of its words on a file made here, and what it says of files that are none.
#![expect(
    clippy::unwrap_used,
    reason = "a panic in a test is a failed test with its place"
)]

#[path = "../../node/tests/all/archives.rs"]
#[expect(dead_code, reason = "most of its functions are for the node's tests")]
mod archives;

use bitcode_wire::archive::{Archive, ImageKind};
use bitcode_wire::library::{Frame, Function, Library, Notes};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a library of two functions, `add(::Int64)` and `echo`.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let add = archives::archive("add(::Int64)", archives::ADD_ONE);
        let echo = archives::archive("echo", archives::ECHO);
        let site = Frame {
            name: "add",
            file: "secret/place.jl",
            line: 3,
        };
        let notes = Notes {
            arguments: "Core.Tuple{Core.Int64}",
            result: "Core.Int64",
            sites: vec![vec![site]],
            ..Notes::default()
        };
        let functions = vec![
            Function::new(&add, Some(notes)).unwrap(),
            Function::new(&echo, None).unwrap(),
        ];
        let bytes = Library { functions }.encode().unwrap();
        std::fs::write(desk.path("lib"), bytes).unwrap();
        std::fs::write(desk.path("add"), &add).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bitcode-archive"))
            .args(words)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// What it says when it does its work.
    fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it cannot.
    fn refuses(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn kinds(bytes: &[u8]) -> Vec<Vec<ImageKind>> {
    let library = Library::decode(bytes).unwrap();
    let functions = library.functions.iter();
    functions
        .map(|it| it.archive.images.iter().map(|image| image.kind).collect())
        .collect()
}

#[test]
fn a_library_is_listed_and_inspected() {
    let desk = Desk::new();
    let list = desk.says(&["list", "lib"]);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    let library = desk.bytes("lib");
    let library = Library::decode(&library).unwrap();
    let id = library.functions[0].id().to_string();
    assert!(lines[0].starts_with(&id) && lines[0].contains("add(::Int64)  bitcode for "));
    let all = desk.says(&["inspect", "lib", "add"]);
    for part in [
        &id,
        "julia-1.5-64le",
        "by hand",
        "bc_result",
        "1 sites, called with Core.Tuple{Core.Int64}",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("echo"), "{all}");
    assert!(
        desk.says(&["inspect", "lib"])
            .contains("notes         none")
    );
    let error = desk.refuses(&["inspect", "lib", "nothing"], 1);
    assert!(error.contains("no function `nothing`"), "{error}");
}

#[test]
fn code_is_made_checked_shown_and_taken_away() {
    let desk = Desk::new();
    desk.says(&["compile", "lib", "--target", "native", "--output", "fat"]);
    assert_eq!(
        kinds(&desk.bytes("fat")),
        vec![vec![ImageKind::Bitcode, ImageKind::Object]; 2]
    );
    // Once more changes nothing.
    desk.says(&["compile", "fat", "--target", "native", "-o", "again"]);
    assert_eq!(desk.bytes("fat"), desk.bytes("again"));
    let good = desk.says(&["verify", "fat"]);
    assert_eq!(good.matches(": good\n").count(), 4, "{good}");
    let text = desk.says(&["disassemble", "fat", "add", "--image", "1"]);
    assert!(text.contains("define i32 @bitcode_entry"), "{text}");
    let text = desk.says(&["disassemble", "fat", "add", "--image", "2"]);
    assert!(
        text.contains("bitcode_entry:") && text.contains("ret"),
        "{text}"
    );
    let error = desk.refuses(&["disassemble", "fat", "--image", "3"], 1);
    assert!(error.contains("no such image"), "{error}");
    desk.says(&["strip", "fat", "--bitcode", "-o", "native"]);
    assert_eq!(
        kinds(&desk.bytes("native")),
        vec![vec![ImageKind::Object]; 2]
    );
}

#[test]
fn stripping_takes_the_notes() {
    let desk = Desk::new();
    let has = |name: &str| {
        let bytes = desk.bytes(name);
        bytes.windows(12).any(|window| window == b"secret/place")
    };
    assert!(has("lib"));
    desk.says(&["strip", "lib", "-o", "bare"]);
    assert!(!has("bare"));
    // The code is the same.
    let (before, after) = (desk.bytes("lib"), desk.bytes("bare"));
    let ids = |bytes| Library::decode(bytes).unwrap().functions[0].id();
    assert_eq!(ids(&before), ids(&after));
    let other = if cfg!(target_arch = "x86_64") {
        "aarch64"
    } else {
        "x86_64"
    };
    let error = desk.refuses(&["strip", "lib", "--only", other, "-o", "none"], 1);
    assert!(error.contains("no image left"), "{error}");
    assert!(!desk.path("none").exists());
}

#[test]
fn merging_joins_what_is_the_same_code_and_only_that() {
    let desk = Desk::new();
    desk.says(&["compile", "add", "--target", "native", "-o", "fat"]);
    // The same name and types, other code: what a function is after it was defined anew.
    let other = archives::archive("add(::Int64)", archives::COUNT);
    std::fs::write(desk.path("other"), other).unwrap();
    desk.says(&["merge", "lib", "fat", "lib", "other", "-o", "all"]);
    let bytes = desk.bytes("all");
    let library = Library::decode(&bytes).unwrap();
    let names: Vec<_> = library
        .functions
        .iter()
        .map(|it| (it.archive.manifest.name, it.archive.images.len()))
        .collect();
    assert_eq!(
        names,
        [("add(::Int64)", 2), ("echo", 1), ("add(::Int64)", 1)]
    );
    assert!(library.functions[0].notes.is_some());
}

#[test]
fn what_is_wrong_is_said() {
    let desk = Desk::new();
    let bytes = desk.bytes("add");
    let mut archive = Archive::decode(&bytes).unwrap();
    let cut = &archive.images[0].code[..40];
    archive.images[0].code = cut;
    std::fs::write(desk.path("cut"), archive.encode().unwrap().0).unwrap();
    let output = desk.run(&["verify", "cut"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("BAD: "));
    std::fs::write(desk.path("short"), &desk.bytes("lib")[..100]).unwrap();
    for (words, code, part) in [
        (vec!["list", "short"], 1, "short: archive refused"),
        (vec!["list", "absent"], 1, "absent: "),
        (
            vec!["compile", "lib", "--target", "riscv64", "-o", "x"],
            1,
            "riscv64",
        ),
        (
            vec!["compile", "cut", "--target", "native", "-o", "x"],
            1,
            "add(::Int64): ",
        ),
        (vec!["unheard", "lib"], 2, "unheard"),
        (vec!["compile", "lib", "-o", "x"], 2, "--target"),
    ] {
        let error = desk.refuses(&words, code);
        assert!(error.contains(part), "{words:?}: {error}");
    }
    assert!(!Path::new(&desk.path("x")).exists());
}

#[test]
fn names_out_of_a_file_do_not_reach_the_terminal_as_they_are() {
    let desk = Desk::new();
    let bytes = desk.bytes("add");
    let mut archive = Archive::decode(&bytes).unwrap();
    archive.manifest.name = "a\x1b[2Jb";
    std::fs::write(desk.path("odd"), archive.encode().unwrap().0).unwrap();
    for words in [["list", "odd"], ["inspect", "odd"], ["verify", "odd"]] {
        let text = desk.says(&words);
        assert!(text.contains("a\\u{1b}[2Jb"), "{text}");
    }
}
