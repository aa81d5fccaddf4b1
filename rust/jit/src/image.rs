//! Native images, made ahead for whatever machine.

use crate::choose::choose_bitcode;
use crate::compile::check_abi;
use crate::disassemble::disassemble;
use crate::error::JitError;
use crate::fatal::guarded;
use crate::llvm::Context;
use crate::object::check;
use crate::target::Target;
use crate::translate;
use bitcode_wire::archive::{Archive, Image, ImageKind};

/// The object file of the archive's code for `target`: optimised and emitted here, linked where it runs. It is made of the archive's
/// bitcode for that architecture.
///
/// # Errors
/// As for [`Jit::compile`](crate::Jit::compile); [`JitError::NoImage`] if there is no such bitcode.
pub fn native_code(archive: &Archive<'_>, target: &Target) -> Result<Vec<u8>, JitError> {
    check_abi(&archive.manifest)?;
    let image = choose_bitcode(&archive.images, target)?;
    let object =
        guarded(|| translate::marked_object(target, image, archive)).map_err(JitError::Llvm)??;
    // What we make, we take.
    check::object(object.bytes(), target.arch(), archive.manifest.entry)?;
    Ok(object.bytes().to_vec())
}

/// An image as text, for people: bitcode as LLVM writes it, native code as instructions.
///
/// # Errors
/// [`JitError::Invalid`] if it cannot be read.
pub fn image_text(image: &Image<'_>) -> Result<String, JitError> {
    let text = || match image.kind {
        ImageKind::Bitcode => {
            let context = Context::new();
            let module = context.parse_bitcode(image.code);
            module.map(|it| it.text()).map_err(JitError::Invalid)
        }
        ImageKind::Object => disassemble(image.code, &Target::of(image)),
    };
    guarded(text).map_err(JitError::Llvm)?
}

/// Whether an image is one that a node of its target would take: read and checked as there, but not run.
///
/// # Errors
/// Why it would not.
pub fn verify(archive: &Archive<'_>, image: &Image<'_>) -> Result<(), JitError> {
    check_abi(&archive.manifest)?;
    match image.kind {
        ImageKind::Object => {
            let arch = crate::target::arch(image.triple);
            check::object(image.code, arch, archive.manifest.entry)?;
            crate::object::Wanted::of(image.code, &archive.manifest).map(drop)
        }
        ImageKind::Bitcode => {
            guarded(|| translate::check(image, &archive.manifest)).map_err(JitError::Llvm)?
        }
    }
}
