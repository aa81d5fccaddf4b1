//! What may stand where, in every source file of the repository: foreign calls, `unsafe`, file length, a first line that says what
//! the file is for, and nothing that is true on one machine only.

use std::fs;
use std::path::{Path, PathBuf};

/// Julia rooms and files that may hold a `ccall`: the room that calls libbitcode, Julia's code generator and LLVM; and those whose
/// shipped functions call the node's symbols.
const CCALL_ROOMS: &[&str] = &[
    "julia/abi/",
    "julia/marshal/",
    "julia/hop/",
    "julia/capture/libraries.jl",
    "julia/capture/ordinary.jl",
    "julia/capture/output.jl",
    "julia/capture/standins.jl",
];

/// Rust rooms that may hold `unsafe`; `bench/` speaks to UCX bare, as the thing to be measured against, and the example goes through the C ABI.
const UNSAFE_ROOMS: &[&str] = &[
    "rust/ucx-sys/",
    "rust/transport/",
    "rust/runtime/",
    "rust/jit/",
    "rust/ffi/",
    "bench/",
    "examples/rust/",
];

/// Crates whose every target refuses `unsafe` by itself.
const FORBIDDING: &[&str] = &[
    "rust/wire/src/lib.rs",
    "rust/node/src/lib.rs",
    "rust/client/src/lib.rs",
    "rust/archive/src/main.rs",
];

const LINE_LIMIT: usize = 800;

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &[
    "target",
    "node_modules",
    "out",
    "corpus",
    "artifacts",
    "usr",
    "house",
];

struct Source {
    /// Relative to the root, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    fn in_one_of(&self, rooms: &[&str]) -> bool {
        rooms.iter().any(|room| self.path.starts_with(room))
    }

    /// Lines with their numbers, without those that are comments as a whole.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let comment = if self.is("rs") { "//" } else { "#" };
        self.text
            .lines()
            .enumerate()
            .filter_map(move |(index, line)| {
                (!line.trim_start().starts_with(comment)).then_some((index + 1, line))
            })
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository is there")
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                let ours = (!name.starts_with('.') || name == ".ci") && !SKIPPED.contains(&name);
                if ours {
                    directories.push(path);
                }
                continue;
            }
            let ours = matches!(
                path.extension().and_then(|extension| extension.to_str()),
                Some("rs" | "jl" | "sh" | "toml" | "md" | "h")
            ) || ["Makefile", "run"].contains(&name);
            if ours
                && name != "deps.jl"
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path
                    .strip_prefix(&root)
                    .expect("below the root")
                    .to_string_lossy()
                    .replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    assert!(
        found.iter().any(|source| source.path == "Cargo.toml"),
        "the root is not the repository"
    );
    found
}

/// Fails with every offence at once.
fn none(offences: Vec<String>, rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Whether `line` has `word` with no letter, digit or underscore beside it.
fn has_word(line: &str, word: &str) -> bool {
    let boundary = |character: Option<char>| {
        !character.is_some_and(|found| found.is_alphanumeric() || found == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

/// `ccall(…)` or `@ccall …`, not the symbol `:ccall`.
fn calls_foreign(line: &str) -> bool {
    has_word(line, "@ccall") || (has_word(line, "ccall") && line.contains("ccall("))
}

#[test]
fn foreign_calls_have_their_rooms() {
    let offences = sources()
        .iter()
        .filter(|source| source.is("jl") && source.in_one_of(&["julia/", "src/", "examples/"]))
        .filter(|source| !source.in_one_of(CCALL_ROOMS))
        .flat_map(|source| {
            let calls = source.code().filter(|(_, line)| calls_foreign(line));
            calls
                .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(offences, &format!("`ccall` outside {CCALL_ROOMS:?}"));
}

#[test]
fn unsafe_has_its_rooms() {
    let offences = sources()
        .iter()
        .filter(|source| source.is("rs") && !source.in_one_of(UNSAFE_ROOMS))
        .flat_map(|source| {
            let uses = source.code().filter(|(_, line)| has_word(line, "unsafe"));
            uses.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(offences, &format!("`unsafe` outside {UNSAFE_ROOMS:?}"));
    for path in FORBIDDING {
        let text = fs::read_to_string(root().join(path)).expect("a crate root");
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{path} does not forbid unsafe code"
        );
    }
}

#[test]
fn no_file_is_too_long() {
    let offences = sources()
        .iter()
        .filter(|source| source.is("rs") || source.is("jl") || source.is("sh"))
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINE_LIMIT)
        .map(|(source, lines)| format!("{}: {lines} lines", source.path))
        .collect();
    none(
        offences,
        &format!("longer than {LINE_LIMIT} lines: two things in one file"),
    );
}

/// The first line that is not blank is a comment or a docstring: what this is, and why it is apart. The tests of one file
/// (`tests.rs`, `…_tests.jl`) say it by their name.
#[test]
fn every_file_opens_with_what_it_is() {
    let offences = sources()
        .iter()
        .filter(|source| source.is("rs") || source.is("jl") || source.is("sh"))
        .filter(|source| !source.path.ends_with("/tests.rs") && !source.path.ends_with("_tests.jl"))
        .filter(|source| {
            let first = source
                .text
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default();
            let opening: &[&str] = if source.is("rs") {
                &["//!"]
            } else {
                &["#", "\"\"\""]
            };
            !opening.iter().any(|start| first.starts_with(start))
        })
        .map(|source| source.path.clone())
        .collect();
    none(offences, "files that do not open with what they are for");
}

#[test]
fn nothing_is_left_undone() {
    let offences = sources()
        .iter()
        .filter(|source| source.is("rs") || source.is("jl") || source.is("sh"))
        .flat_map(|source| {
            let marked = source.text.lines().enumerate().filter(|(_, line)| {
                ["TODO", "FIXME", "XXX"]
                    .iter()
                    .any(|mark| has_word(line, mark))
                    || line.contains("todo!(")
                    || line.contains("unimplemented!(")
            });
            marked
                .map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(offences, "left undone: do it, or open an issue and name it");
}

/// Paths of somebody's home or workplace: true on one machine only.
#[test]
fn no_file_knows_a_machine() {
    let offences = sources()
        .iter()
        .flat_map(|source| {
            let local = source.text.lines().enumerate().filter(|(_, line)| {
                ["/home/", "/root/", "/Users/", "/work/"]
                    .iter()
                    .any(|start| names_absolute_path(line, start))
            });
            local
                .map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(offences, "absolute paths of one machine");
}

/// Whether `line` has an absolute path that starts with `start`: not the tail of a longer path.
fn names_absolute_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|found| found.is_alphanumeric() || "._-}~)".contains(found))
    })
}
