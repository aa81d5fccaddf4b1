//! Machine code as text, for people: the instructions of an object file with the names that its symbols and relocations give.

use crate::error::JitError;
use crate::llvm::machine::initialise_disassembler;
use crate::target::Target;
use inkwell::llvm_sys::disassembler::{
    LLVMCreateDisasmCPUFeatures, LLVMDisasmContextRef, LLVMDisasmDispose, LLVMDisasmInstruction,
    LLVMDisassembler_ReferenceType_InOut_None,
};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::Write as _;
use std::ptr;

/// The longest text of an instruction.
const MAX_TEXT: usize = 512;

/// The instructions of an object file for `target`, function by function.
///
/// # Errors
/// [`JitError::Invalid`] for bytes that are no object file, [`JitError::Unsupported`] for a target that this LLVM does not know.
pub fn disassemble(object: &[u8], target: &Target) -> Result<String, JitError> {
    let invalid = |error: object::Error| JitError::Invalid(error.to_string());
    let file = object::File::parse(object).map_err(invalid)?;
    let mut text = format!("; {}, {}\n", target.triple, target.cpu);
    for section in file.sections().filter(|it| it.kind() == SectionKind::Text) {
        let code = section.data().map_err(invalid)?;
        if code.is_empty() {
            continue;
        }
        let mut names = BTreeMap::new();
        for symbol in file.symbols() {
            let named = matches!(symbol.kind(), SymbolKind::Text)
                && symbol.section_index() == Some(section.index());
            if named && let Ok(name) = CString::new(symbol.name().map_err(invalid)?) {
                names.insert(symbol.address(), name);
            }
        }
        let relocations = relocations(&file, &section);
        let reader = Reader::new(target, &names)?;
        reader.write(code, &relocations, &mut text);
    }
    Ok(text)
}

/// What the linker will put into a section, by place: the names of symbols.
fn relocations(
    file: &object::File<'_>,
    section: &object::Section<'_, '_>,
) -> BTreeMap<u64, String> {
    let name = |target| match target {
        RelocationTarget::Symbol(index) => {
            let symbol = file.symbol_by_index(index).ok()?;
            match symbol.name().ok()? {
                "" => Some(
                    file.section_by_index(symbol.section_index()?)
                        .ok()?
                        .name()
                        .ok()?
                        .to_owned(),
                ),
                name => Some(name.to_owned()),
            }
        }
        RelocationTarget::Section(index) => {
            Some(file.section_by_index(index).ok()?.name().ok()?.to_owned())
        }
        _ => None,
    };
    section
        .relocations()
        .filter_map(|(offset, relocation)| Some((offset, name(relocation.target())?)))
        .collect()
}

type Names = BTreeMap<u64, CString>;

/// LLVM's disassembler, for one section.
struct Reader<'a> {
    raw: LLVMDisasmContextRef,
    names: &'a Names,
}

impl<'a> Reader<'a> {
    fn new(target: &Target, names: &'a Names) -> Result<Self, JitError> {
        initialise_disassembler();
        let c_string = |text: &str| CString::new(text).unwrap_or_default();
        let (triple, cpu) = (c_string(&target.triple), c_string(&target.cpu));
        let features = c_string(&target.features);
        let known = ptr::from_ref(names).cast_mut().cast::<c_void>();
        // SAFETY: C strings; the names outlive the disassembler, which hands them to `name_of` only.
        let raw = unsafe {
            LLVMCreateDisasmCPUFeatures(
                triple.as_ptr(),
                cpu.as_ptr(),
                features.as_ptr(),
                known,
                0,
                None,
                Some(name_of),
            )
        };
        if raw.is_null() {
            let triple = &target.triple;
            return Err(JitError::Unsupported(format!(
                "this LLVM does not disassemble code for {triple}"
            )));
        }
        Ok(Self { raw, names })
    }

    /// Writes a line for each instruction, and one in front of each function.
    fn write(&self, code: &[u8], relocations: &BTreeMap<u64, String>, text: &mut String) {
        let mut at = 0;
        while at < code.len() {
            let place = at as u64;
            if let Some(name) = self.names.get(&place) {
                // Writing to a string cannot fail, here and below.
                let _ = writeln!(text, "\n{}:", name.to_string_lossy());
            }
            let (length, instruction) = self.instruction(&code[at..], place);
            let _ = write!(text, "{place:6x}:\t{instruction}");
            let end = place + length as u64;
            for (_, name) in relocations.range(place..end) {
                let _ = write!(text, "\t; {name}");
            }
            text.push('\n');
            at += length;
        }
    }

    /// The next instruction: its bytes' number and its text. What is none is a byte.
    fn instruction(&self, code: &[u8], place: u64) -> (usize, String) {
        let mut text = [0 as c_char; MAX_TEXT];
        // SAFETY: a live disassembler, which only reads the bytes, and room for so long a text.
        let length = unsafe {
            LLVMDisasmInstruction(
                self.raw,
                code.as_ptr().cast_mut(),
                code.len() as u64,
                place,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        if length == 0 {
            return (1, format!(".byte\t{:#04x}", code[0]));
        }
        // SAFETY: LLVM ends what it writes with a NUL.
        let text = unsafe { CStr::from_ptr(text.as_ptr()) };
        (length, text.to_string_lossy().trim().to_owned())
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisasmDispose(self.raw) };
    }
}

/// The function that is at an address, for calls within the section. Being there at all has LLVM write where jumps lead to as places.
extern "C" fn name_of(
    names: *mut c_void,
    address: u64,
    kind: *mut u64,
    _from: u64,
    reference: *mut *const c_char,
) -> *const c_char {
    // SAFETY: the names that `Reader::new` passed, which are alive.
    let names = unsafe { &*names.cast::<Names>() };
    // SAFETY: LLVM passes places to write to.
    unsafe { kind.write(LLVMDisassembler_ReferenceType_InOut_None) };
    // SAFETY: as above.
    unsafe { reference.write(ptr::null()) };
    // A jump back to a function's beginning, or a call: both by its name. But 0 is what relocated operands hold.
    match names.get(&address) {
        Some(name) if address != 0 => name.as_ptr(),
        _ => ptr::null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_file_is_not_disassembled() {
        let target = Target::host(None).unwrap();
        let error = disassemble(b"no object", &target).unwrap_err();
        assert!(matches!(error, JitError::Invalid(_)), "{error}");
    }
}
