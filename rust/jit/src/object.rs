//! What an object file wants from outside: asked of its symbol table, whoever made it.
//!
//! Objects come from our own compiler, a moment ago or out of the store. Either way the symbols that they leave open are all
//! that has to be found, and the manifest says what each of them is.

pub(crate) mod check;

use crate::error::JitError;
use bitcode_wire::link::FUNCTION_SYMBOL;
use bitcode_wire::manifest::{Manifest, object_index};
use object::{Object, ObjectSymbol};

/// The table through which position-independent code finds addresses: the linker makes it.
const OFFSET_TABLE: &str = "_GLOBAL_OFFSET_TABLE_";

/// The symbols that an object leaves open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Numbers of the manifest's objects.
    pub(crate) objects: Vec<u32>,
    /// Names from the manifest's dependencies.
    pub(crate) foreign: Vec<String>,
    /// Whether it has a function for other archives.
    pub(crate) exports: bool,
}

impl Wanted {
    /// Sorts the open symbols of an object file; what is in neither list, the runtime offers.
    ///
    /// # Errors
    /// [`JitError::Invalid`] for bytes that are no object file, [`JitError::Unresolved`] for symbols that nobody has.
    pub(crate) fn of(object: &[u8], manifest: &Manifest<'_>) -> Result<Self, JitError> {
        let invalid = |error: object::Error| JitError::Invalid(error.to_string());
        let file = object::File::parse(object).map_err(invalid)?;
        let mut wanted = Self {
            exports: file
                .symbol_by_name(FUNCTION_SYMBOL)
                .is_some_and(|it| !it.is_undefined()),
            ..Self::default()
        };
        let mut nobodys = Vec::new();
        for symbol in file.symbols().filter(ObjectSymbol::is_undefined) {
            let name = symbol.name().map_err(invalid)?;
            if name.is_empty() || name == OFFSET_TABLE {
                continue;
            }
            let imported = manifest.imports.contains(&name);
            match object_index(name) {
                Some(index) if (index as usize) < manifest.objects.len() => {
                    wanted.objects.push(index);
                }
                None if !imported && is_foreign(name, manifest) => {
                    wanted.foreign.push(name.to_owned());
                }
                None if bitcode_runtime::lookup(name).is_some() => {}
                _ => nobodys.push(name.to_owned()),
            }
        }
        if nobodys.is_empty() {
            return Ok(wanted);
        }
        Err(JitError::Unresolved {
            symbols: nobodys,
            reason: "this node does not offer",
        })
    }
}

/// Does a library that the manifest names have it?
pub(crate) fn is_foreign(name: &str, manifest: &Manifest<'_>) -> bool {
    manifest
        .dependencies
        .iter()
        .any(|library| library.symbols.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_file_is_not_valid() {
        for bytes in [&b""[..], b"\x7fELF", b"BC\xc0\xde and more of it"] {
            let error = Wanted::of(bytes, &Manifest::default()).unwrap_err();
            assert!(matches!(error, JitError::Invalid(_)), "{error}");
        }
    }
}
