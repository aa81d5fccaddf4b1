//! libbitcode from outside: a C program that uses its header against a node, and what the library links.
#![expect(
    clippy::unwrap_used,
    reason = "a panic here is a failed test with its place"
)]

#[path = "../../node/tests/all/archives.rs"]
#[expect(dead_code, reason = "most of its functions are for the node's tests")]
mod archives;

use std::io::{BufRead, BufReader, pipe};
use std::path::{Path, PathBuf};
use std::process::Command;

use bitcode_node::Wishes;
use bitcode_wire::library::{Function, Library};

/// The library that was built for this test, beside it. (The one a directory above may be of another day.)
fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let library = here.with_file_name("libbitcode.so");
    assert!(library.exists(), "{} was not built", library.display());
    library
}

/// A node in this process. It ends with it.
fn node() -> String {
    let (output, ready) = pipe().unwrap();
    let mut wishes = Wishes::default();
    wishes.transport = Some("shm".into());
    let config = wishes.decide().unwrap();
    std::thread::spawn(move || bitcode_node::run(config, ready).unwrap());
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    ready["address"].as_str().unwrap().to_owned()
}

#[test]
fn a_c_program_calls_a_node() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("calls");
    let library = library();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-g", "-I"])
        .arg(room.join("include"))
        .arg(room.join("tests/calls.c"))
        .arg("-o")
        .arg(&program)
        .arg(&library)
        .arg("-Wl,--allow-shlib-undefined")
        .status()
        .unwrap();
    assert!(compiled.success());
    let add_one = archives::archive("add one", archives::ADD_ONE);
    let count = archives::archive("count", archives::COUNT);
    let functions = [&add_one, &count].map(|it| Function::new(it, None).unwrap());
    let library_of_both = Library {
        functions: functions.to_vec(),
    };
    let contents = [
        ("add one", &add_one),
        ("count", &count),
        ("both", &library_of_both.encode().unwrap()),
    ];
    let files = contents.map(|(name, bytes)| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    });
    let ran = Command::new(&program)
        .arg(node())
        .args(&files)
        .env("LD_LIBRARY_PATH", library.parent().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{:?}\n{said}", ran.status);
    assert_eq!(ran.stdout, b"all well\n");
}

#[test]
fn the_header_is_cplusplus_too() {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/bitcode.h");
    let checked = Command::new("cc")
        .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++"])
        .arg(header)
        .status()
        .unwrap();
    assert!(checked.success());
}

#[test]
fn the_library_links_neither_llvm_nor_julia() {
    let output = Command::new("readelf")
        .arg("-d")
        .arg(library())
        .output()
        .unwrap();
    let dynamic = String::from_utf8(output.stdout).unwrap();
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("NEEDED"))
        .collect();
    assert!(
        needed.iter().any(|line| line.contains("libucp")),
        "{needed:?}"
    );
    for line in needed {
        let line = line.to_lowercase();
        assert!(!line.contains("llvm") && !line.contains("julia"), "{line}");
    }
}

#[test]
fn every_function_of_the_header_is_exported_and_nothing_else_is() {
    let header = include_str!("../include/bitcode.h");
    let output = Command::new("nm")
        .args(["-D", "--defined-only", "--format=just-symbols"])
        .arg(library())
        .output()
        .unwrap();
    let exported = String::from_utf8(output.stdout).unwrap();
    let ours: Vec<&str> = exported
        .lines()
        .filter(|name| name.starts_with("bc_"))
        .collect();
    assert!(ours.len() > 20, "{exported}");
    for name in &ours {
        assert!(header.contains(&format!("{name}(")), "{name}");
    }
    let declared = header.split(['\n', ' ', '*']).filter_map(|word| {
        let (name, _) = word.split_once('(')?;
        (name.starts_with("bc_") && name.len() > 3).then_some(name)
    });
    for name in declared {
        assert!(ours.contains(&name), "{name} is in the header only");
    }
}
