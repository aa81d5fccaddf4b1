//! From bitcode to the machine code of a target: parse, refuse, lower, optimise, emit.
//!
//! The target is most often the machine that we run on, but need not be: images for other machines are made here too.

use crate::compile::micros;
use crate::compiled::Timings;
use crate::error::JitError;
use crate::llvm::{Buffer, Context, Machine, Module};
use crate::target::Target;
use crate::{lower, refuse};
use bitcode_wire::archive::{Archive, Image};
use bitcode_wire::manifest::Manifest;
use std::time::Instant;

/// An object file with the image's code for `target`.
pub(crate) fn object(
    target: &Target,
    image: &Image<'_>,
    archive: &Archive<'_>,
    timings: &mut Timings,
) -> Result<Buffer, JitError> {
    let context = Context::new();
    let machine = target.machine()?;
    let module = prepare(target, &context, &machine, image, archive, timings)?;
    let started = Instant::now();
    let object = machine.emit(&module).map_err(JitError::Llvm)?;
    timings.emit = micros(started);
    Ok(object)
}

/// An object file that nodes of other builds can tell from their own: with the mark of the thread state's layout.
pub(crate) fn marked_object(
    target: &Target,
    image: &Image<'_>,
    archive: &Archive<'_>,
) -> Result<Buffer, JitError> {
    let context = Context::new();
    let machine = target.machine()?;
    let timings = &mut Timings::default();
    let module = prepare(target, &context, &machine, image, archive, timings)?;
    lower::mark_layout(&context, &module, &machine)?;
    machine.emit(&module).map_err(JitError::Llvm)
}

/// The optimised code as text.
pub(crate) fn text(
    target: &Target,
    image: &Image<'_>,
    archive: &Archive<'_>,
) -> Result<String, JitError> {
    let context = Context::new();
    let machine = target.machine()?;
    let timings = &mut Timings::default();
    let module = prepare(target, &context, &machine, image, archive, timings)?;
    Ok(module.text())
}

/// Parse, check, lower, optimise.
fn prepare<'c>(
    target: &Target,
    context: &'c Context,
    machine: &Machine,
    image: &Image<'_>,
    archive: &Archive<'_>,
    timings: &mut Timings,
) -> Result<Module<'c>, JitError> {
    let started = Instant::now();
    let module = checked(context, image, &archive.manifest)?;
    timings.parse = micros(started);
    let started = Instant::now();
    lower::fix(context, &module, machine, archive.fixed)?;
    lower::lower(context, &module, archive.manifest.entry)?;
    machine.adopt(&module);
    lower::set_target(context, &module, &target.cpu, &target.features);
    if cfg!(debug_assertions) {
        module.verify().map_err(JitError::Llvm)?;
    }
    machine
        .run("default<O3>", &module)
        .map_err(JitError::Llvm)?;
    lower::finish(context, &module, machine)?;
    lower::set_target(context, &module, &target.cpu, &target.features);
    if cfg!(debug_assertions) {
        module.verify().map_err(JitError::Llvm)?;
    }
    timings.optimise = micros(started);
    Ok(module)
}

/// Reads an image and checks what is in it.
pub(crate) fn check(image: &Image<'_>, manifest: &Manifest<'_>) -> Result<(), JitError> {
    checked(&Context::new(), image, manifest).map(drop)
}

fn checked<'c>(
    context: &'c Context,
    image: &Image<'_>,
    manifest: &Manifest<'_>,
) -> Result<Module<'c>, JitError> {
    let module = context
        .parse_bitcode(image.code)
        .map_err(JitError::Invalid)?;
    let imports = refuse::inspect(&module, manifest)?;
    module.verify().map_err(JitError::Invalid)?;
    let missing: Vec<_> = imports
        .into_iter()
        .filter(|name| bitcode_runtime::lookup(name).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(JitError::Unresolved {
            symbols: missing,
            reason: "this node does not offer",
        });
    }
    Ok(module)
}
