//! New files out of old ones: other images, fewer words, several files in one.
//!
//! An archive with other images is other bytes, and so has another code id.

use crate::Failure;
use crate::file::{self, printable};
use bitcode_jit::{Target, native_code};
use bitcode_wire::archive::{Archive, ArchiveError, Image, ImageKind};
use bitcode_wire::library::{Function, Library, Notes};
use std::path::{Path, PathBuf};

/// A function on its way into a file.
struct Part<'a> {
    archive: Vec<u8>,
    notes: Option<Notes<'a>>,
}

pub(crate) fn compile(path: &Path, targets: &[String], output: &Path) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let library = file::decode(path, &bytes)?;
    let targets = targets.iter().map(|spec| Target::parse(spec));
    let targets: Vec<_> = targets.collect::<Result<_, _>>().map_err(Failure::Target)?;
    let parts = library.functions.iter().map(|function| {
        let code = objects(&function.archive, &targets)?;
        let mut archive = function.archive.clone();
        for (target, code) in targets.iter().zip(&code) {
            add(&mut archive.images, object(target, code));
        }
        part(&archive, function.notes.clone())
    });
    save(&parts.collect::<Result<Vec<_>, _>>()?, output)
}

/// The object files of an archive for each target.
fn objects(archive: &Archive<'_>, targets: &[Target]) -> Result<Vec<Vec<u8>>, Failure> {
    let made = targets.iter().map(|target| native_code(archive, target));
    made.collect::<Result<_, _>>()
        .map_err(|error| Failure::Code {
            name: printable(archive.manifest.name),
            error,
        })
}

fn object<'a>(target: &'a Target, code: &'a [u8]) -> Image<'a> {
    Image {
        kind: ImageKind::Object,
        triple: &target.triple,
        cpu: &target.cpu,
        features: &target.features,
        code,
    }
}

/// Adds an image, in the place of one for the same target.
fn add<'a>(images: &mut Vec<Image<'a>>, image: Image<'a>) {
    let place = |it: &Image<'_>| {
        (it.kind, it.triple, it.cpu, it.features)
            == (image.kind, image.triple, image.cpu, image.features)
    };
    match images.iter().position(place) {
        Some(at) => images[at] = image,
        None => images.push(image),
    }
}

pub(crate) fn strip(
    path: &Path,
    bitcode: bool,
    only: Option<&str>,
    output: &Path,
) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let library = file::decode(path, &bytes)?;
    let only = only
        .map(Target::parse)
        .transpose()
        .map_err(Failure::Target)?;
    let parts = library.functions.iter().map(|function| {
        let mut archive = function.archive.clone();
        if let Some(only) = &only {
            archive.images.retain(|image| only.is_arch_of(image));
        }
        let native = archive.images.iter().any(|it| it.kind == ImageKind::Object);
        if bitcode && native {
            archive.images.retain(|it| it.kind == ImageKind::Object);
        }
        if archive.images.is_empty() {
            let name = printable(archive.manifest.name);
            return Err(Failure::Nothing(format!("{name} would have no image left")));
        }
        part(&archive, None)
    });
    save(&parts.collect::<Result<Vec<_>, _>>()?, output)
}

pub(crate) fn merge(paths: &[PathBuf], output: &Path) -> Result<(), Failure> {
    let files = paths.iter().map(|path| file::read(path));
    let files: Vec<_> = files.collect::<Result<_, _>>()?;
    let mut merged: Vec<Function<'_>> = Vec::new();
    for (path, bytes) in paths.iter().zip(&files) {
        for function in file::decode(path, bytes)?.functions {
            match merged.iter_mut().find(|other| is_same(other, &function)) {
                Some(other) => {
                    let images = function.archive.images.into_iter();
                    images.for_each(|image| add(&mut other.archive.images, image));
                    other.notes = other.notes.take().or(function.notes);
                }
                None => merged.push(function),
            }
        }
    }
    let parts = merged.iter().map(|it| part(&it.archive, it.notes.clone()));
    save(&parts.collect::<Result<Vec<_>, _>>()?, output)
}

/// Is it the same code? A manifest does not tell: a function that was defined anew may have the same. One image that both have does.
fn is_same(a: &Function<'_>, b: &Function<'_>) -> bool {
    let shared = |image: &Image<'_>| b.archive.images.contains(image);
    a.bytes == b.bytes
        || a.archive.manifest == b.archive.manifest && a.archive.images.iter().any(shared)
}

fn part<'a>(archive: &Archive<'_>, notes: Option<Notes<'a>>) -> Result<Part<'a>, Failure> {
    let (archive, _) = archive.encode()?;
    Ok(Part { archive, notes })
}

fn save(parts: &[Part<'_>], output: &Path) -> Result<(), Failure> {
    let functions = parts
        .iter()
        .map(|part| Function::new(&part.archive, part.notes.clone()));
    let functions = functions.collect::<Result<_, ArchiveError>>()?;
    file::write(output, &Library { functions }.encode()?)
}
