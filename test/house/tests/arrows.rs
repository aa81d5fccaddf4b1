//! The arrows between the Rust rooms, as ARCHITECTURE.md draws them, held against `cargo metadata`.
//!
//! A new crate fails here until it has its place in [`ARROWS`]; so does a crate that learns of one it may not know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Each crate of the workspace, and the crates of the workspace that it may depend on. Tests of a room
/// (dev-dependencies) may use any room that does not use them.
const ARROWS: &[(&str, &[&str])] = &[
    // Ground floor.
    ("bitcode-wire", &[]),
    ("ucx-sys", &[]),
    ("bitcode-runtime", &[]),
    // First floor.
    ("bitcode-transport", &["bitcode-wire", "ucx-sys"]),
    ("bitcode-jit", &["bitcode-wire", "bitcode-runtime"]),
    // Second floor: the two sides of a call.
    (
        "bitcode-node",
        &["bitcode-wire", "bitcode-transport", "bitcode-jit"],
    ),
    ("bitcode-client", &["bitcode-wire", "bitcode-transport"]),
    // Roof. `client` knows the trait of a fabric; which one it gets, UCX, is decided up here.
    (
        "bitcode-ffi",
        &["bitcode-client", "bitcode-transport", "bitcode-wire"],
    ),
    ("bitcode-archive", &["bitcode-wire", "bitcode-jit"]),
    // Beside the house: what looks at it.
    ("bitcode-house", &[]),
    (
        "bitcode-bench",
        &["bitcode-transport", "bitcode-wire", "ucx-sys"],
    ),
    ("bitcode-smooth", &["bitcode-ffi"]),
];

/// Crates from outside that only one room may see.
const FENCED: &[(&str, &[&str])] = &[
    ("inkwell", &["bitcode-jit"]),
    ("llvm-sys", &["bitcode-jit"]),
    ("bindgen", &["ucx-sys"]),
    ("snow", &["bitcode-transport"]),
];

/// What a crate of the workspace depends on, by kind.
struct Crate {
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

fn workspace() -> BTreeMap<String, Crate> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"]
        .as_array()
        .expect("cargo metadata lists packages");
    packages
        .iter()
        .map(|package| {
            let names = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
                let dependencies = package["dependencies"]
                    .as_array()
                    .expect("a list of dependencies");
                dependencies
                    .iter()
                    .filter(|dependency| wanted(dependency["kind"].as_str().unwrap_or("normal")))
                    .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
                    .collect()
            };
            let name = package["name"]
                .as_str()
                .expect("a package has a name")
                .to_owned();
            (
                name,
                Crate {
                    normal: names(&|kind| kind != "dev"),
                    dev: names(&|kind| kind == "dev"),
                },
            )
        })
        .collect()
}

#[test]
fn every_crate_has_its_place() {
    let placed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for name in workspace().keys() {
        assert!(
            placed.contains(name.as_str()),
            "{name} is in the workspace but not in ARROWS (and ARCHITECTURE.md)"
        );
    }
}

#[test]
fn arrows_go_down_only() {
    let rooms = workspace();
    for (name, allowed) in ARROWS {
        let Some(room) = rooms.get(*name) else {
            continue;
        };
        for dependency in room
            .normal
            .iter()
            .filter(|dependency| rooms.contains_key(*dependency))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} depends on {dependency}; it may know only {allowed:?} (ARCHITECTURE.md)"
            );
        }
    }
}

/// The tests of a room may look at other rooms, but not at those that are built on it: a test of both belongs upstairs.
#[test]
fn tests_do_not_look_upstairs() {
    let rooms = workspace();
    for (name, room) in &rooms {
        for dependency in room
            .dev
            .iter()
            .filter(|dependency| rooms.contains_key(*dependency))
        {
            assert!(
                !reaches(&rooms, dependency, name),
                "the tests of {name} use {dependency}, which is built on {name}"
            );
        }
    }
}

#[test]
fn llvm_stays_in_its_room() {
    for (name, room) in workspace() {
        for (fenced, owners) in FENCED {
            assert!(
                !room.normal.contains(*fenced) || owners.contains(&name.as_str()),
                "{name} depends on {fenced}, which only {owners:?} may see"
            );
        }
    }
}

/// Julia brings its own LLVM: libbitcode must not load a second one into every Julia process.
#[test]
fn libbitcode_does_not_reach_the_jit() {
    assert!(
        !reaches(&workspace(), "bitcode-ffi", "bitcode-jit"),
        "bitcode-ffi links LLVM through bitcode-jit"
    );
}

fn reaches(rooms: &BTreeMap<String, Crate>, from: &str, to: &str) -> bool {
    let Some(room) = rooms.get(from) else {
        return false;
    };
    room.normal
        .iter()
        .any(|dependency| dependency == to || reaches(rooms, dependency, to))
}
