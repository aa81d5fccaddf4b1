//! Checking a file: what a node of each image's target would say of it.

use crate::Failure;
use crate::file::{self, printable};
use crate::show::target;
use std::fmt::Write as _;
use std::path::Path;

pub(crate) fn verify(path: &Path) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let library = file::decode(path, &bytes)?;
    let (mut bad, mut all) = (0, 0);
    let mut out = String::new();
    for function in &library.functions {
        for image in &function.archive.images {
            all += 1;
            let verdict = match bitcode_jit::verify(&function.archive, image) {
                Ok(()) => "good".to_owned(),
                Err(error) => {
                    bad += 1;
                    format!("BAD: {}", printable(&error.to_string()))
                }
            };
            let name = printable(function.archive.manifest.name);
            let _ = writeln!(out, "{name}: {}: {verdict}", target(image));
        }
    }
    file::say(out.as_bytes())?;
    if bad == 0 {
        Ok(())
    } else {
        Err(Failure::Bad { bad, all })
    }
}
