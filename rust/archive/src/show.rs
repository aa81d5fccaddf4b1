//! What a file says, for people.

use crate::Failure;
use crate::file::{self, printable};
use bitcode_wire::archive::Image;
use bitcode_wire::library::{Function, Notes};
use bitcode_wire::manifest::{Manifest, Object};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

pub(crate) fn list(path: &Path) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let library = file::decode(path, &bytes)?;
    let mut out = String::new();
    for function in &library.functions {
        let images: Vec<_> = function.archive.images.iter().map(target).collect();
        let _ = writeln!(
            out,
            "{}  {}  {}",
            function.id(),
            printable(function.archive.manifest.name),
            images.join(", ")
        );
    }
    file::say(out.as_bytes())
}

pub(crate) fn inspect(path: &Path, name: Option<&str>, objects: bool) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let library = file::decode(path, &bytes)?;
    let functions = file::named(&library, name)?;
    let texts: Vec<_> = functions.iter().map(|it| about(it, objects)).collect();
    file::say(texts.join("\n").as_bytes())
}

pub(crate) fn disassemble(
    path: &Path,
    name: Option<&str>,
    only: Option<usize>,
) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let library = file::decode(path, &bytes)?;
    let mut shown = false;
    for function in file::named(&library, name)? {
        let images = function.archive.images.iter().enumerate();
        for (_, image) in images.filter(|(index, _)| only.is_none_or(|only| only == index + 1)) {
            let name = function.archive.manifest.name;
            let text = bitcode_jit::image_text(image).map_err(|error| Failure::Code {
                name: printable(name),
                error,
            })?;
            let head = format!("; {}: {}\n", printable(name), target(image));
            file::say(head.as_bytes())?;
            file::say(text.as_bytes())?;
            shown = true;
        }
    }
    if shown {
        return Ok(());
    }
    Err(Failure::Nothing("there is no such image".into()))
}

/// What an image is for, in a few words.
pub(crate) fn target(image: &Image<'_>) -> String {
    let kind = format!("{:?}", image.kind).to_lowercase();
    let triple = printable(image.triple);
    if image.cpu.is_empty() {
        format!("{kind} for {triple}")
    } else {
        format!("{kind} for {triple} ({})", printable(image.cpu))
    }
}

fn about(function: &Function<'_>, objects: bool) -> String {
    let manifest = &function.archive.manifest;
    let mut out = format!("{}\n", printable(manifest.name));
    let mut line = |what: &str, words: String| {
        let _ = writeln!(out, "  {what:<13} {words}");
    };
    line("code id", function.id().to_string());
    line("result", printable(manifest.result));
    line("abi", printable(manifest.abi));
    line("producer", printable(manifest.producer));
    line("bytes", function.bytes.len().to_string());
    for image in &function.archive.images {
        line("image", format!("{}, {}", target(image), size_of(image)));
    }
    line("symbols", words(&manifest.imports));
    for library in &manifest.dependencies {
        let symbols = words(&library.symbols);
        line(
            "library",
            format!("{}: {symbols}", printable(library.soname)),
        );
    }
    line("objects", counts(manifest));
    line("notes", notes(function.notes.as_ref()));
    if objects {
        for (index, object) in manifest.objects.iter().enumerate() {
            line(&format!("  {index}"), object_words(object));
        }
    }
    out
}

fn size_of(image: &Image<'_>) -> String {
    let needs = printable(image.features);
    let needs = if needs.is_empty() {
        needs
    } else {
        format!(", needs {needs}")
    };
    format!("{} bytes{needs}", image.code.len())
}

fn words(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    printable(&names.join(", "))
}

/// How many objects of each kind.
fn counts(manifest: &Manifest<'_>) -> String {
    let mut kinds = BTreeMap::new();
    for object in &manifest.objects {
        *kinds.entry(object.kind_name()).or_insert(0_usize) += 1;
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if kinds.is_empty() {
        "none".into()
    } else {
        kinds.join(", ")
    }
}

fn notes(notes: Option<&Notes<'_>>) -> String {
    notes.map_or_else(
        || "none".into(),
        |notes| {
            format!(
                "{} sites, called with {} {}, returns {}",
                notes.sites.len(),
                printable(notes.arguments),
                printable(notes.keywords),
                printable(notes.result)
            )
        },
    )
}

fn object_words(object: &Object<'_>) -> String {
    let kind = object.kind_name();
    match object {
        Object::Type(it) => format!("{kind} {}", printable(it.name)),
        Object::Instance { ty } => format!("{kind} of {ty}"),
        Object::Symbol(name) => format!("{kind} {}", printable(name)),
        Object::String(bytes) => format!("{kind} of {} bytes", bytes.len()),
        Object::Data(it) => format!("{kind} of {}, {} bytes", it.ty, it.bytes.len()),
        Object::Array(it) => format!("{kind} of {}, {:?}", it.ty, it.dims),
        Object::Slot(target) => target.map_or(kind.into(), |it| format!("{kind} for {it}")),
        Object::Opaque { name, .. } => format!("{kind} {}", printable(name)),
    }
}
