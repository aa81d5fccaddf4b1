//! Files: reading them whole, writing them whole or not at all, and lines for the terminal.

use crate::Failure;
use bitcode_wire::library::{Function, Library};
use std::fs;
use std::io::{Read, Write, stdin, stdout};
use std::path::Path;

/// Standard input, or output.
const STANDARD: &str = "-";

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if path == Path::new(STANDARD) {
        let mut bytes = Vec::new();
        stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    bytes.map_err(|error| failed(path, error))
}

pub(crate) fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<Library<'a>, Failure> {
    Library::decode(bytes).map_err(|error| Failure::Refused {
        path: path.to_owned(),
        error,
    })
}

/// The functions that `name` means; all of them if it is `None`.
pub(crate) fn named<'l, 'a>(
    library: &'l Library<'a>,
    name: Option<&str>,
) -> Result<Vec<&'l Function<'a>>, Failure> {
    let Some(name) = name else {
        return Ok(library.functions.iter().collect());
    };
    let found: Vec<_> = library.named(name).collect();
    if found.is_empty() {
        return Err(Failure::Nothing(format!(
            "there is no function `{name}` in the file"
        )));
    }
    Ok(found)
}

/// Writes beside the file first: who reads it finds the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if path == Path::new(STANDARD) {
        return say(bytes);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // The first error is the one that matters.
        let _ = fs::remove_file(&beside);
        failed(path, error)
    })
}

/// To standard output.
pub(crate) fn say(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| failed(Path::new("standard output"), error))
}

/// Text out of a file, fit for a terminal: without control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

fn failed(path: &Path, error: std::io::Error) -> Failure {
    Failure::File {
        path: path.to_owned(),
        error,
    }
}
