//! What an object file made by strangers may consist of, found before the linker sees it.
//!
//! A native image is an ELF file for relocation as LLVM writes it for position-independent code: code, data, the entry, and
//! relocations of a few kinds. Whatever else the format allows (code that runs when the file is loaded, thread-local
//! variables, indirect functions, addresses of another process, memory that is both writable and executable) has no
//! business there. This does not make the code itself harmless, any more than `refuse.rs` does that of bitcode.

use crate::error::{JitError, Refusal};
use crate::lower::layout_mark;
use bitcode_wire::link::FUNCTION_SYMBOL;
use object::elf::{self, FileHeader64, Machine, RelocationType, SectionType, Sym64};
use object::read::elf::{
    ElfFile64, FileHeader, Rela as _, SectionHeader as _, SectionTable, Sym as _,
    SymbolTable as ElfSymbols,
};
use object::{LittleEndian, SymbolIndex};

type Endian = LittleEndian;
type Header = FileHeader64<Endian>;

/// Relocations that our code generator asks for in code and data, and that the linker knows.
const X86_64: [RelocationType; 8] = [
    elf::R_X86_64_NONE,
    elf::R_X86_64_64,
    elf::R_X86_64_PC32,
    elf::R_X86_64_PC64,
    elf::R_X86_64_PLT32,
    elf::R_X86_64_GOTPCREL,
    elf::R_X86_64_GOTPCRELX,
    elf::R_X86_64_REX_GOTPCRELX,
];
const AARCH64: [RelocationType; 19] = [
    elf::R_AARCH64_NONE,
    elf::R_AARCH64_ABS64,
    elf::R_AARCH64_PREL32,
    elf::R_AARCH64_PREL64,
    elf::R_AARCH64_LD_PREL_LO19,
    elf::R_AARCH64_ADR_PREL_LO21,
    elf::R_AARCH64_ADR_PREL_PG_HI21,
    elf::R_AARCH64_ADD_ABS_LO12_NC,
    elf::R_AARCH64_LDST8_ABS_LO12_NC,
    elf::R_AARCH64_LDST16_ABS_LO12_NC,
    elf::R_AARCH64_LDST32_ABS_LO12_NC,
    elf::R_AARCH64_LDST64_ABS_LO12_NC,
    elf::R_AARCH64_LDST128_ABS_LO12_NC,
    elf::R_AARCH64_TSTBR14,
    elf::R_AARCH64_CONDBR19,
    elf::R_AARCH64_JUMP26,
    elf::R_AARCH64_CALL26,
    elf::R_AARCH64_ADR_GOT_PAGE,
    elf::R_AARCH64_LD64_GOT_LO12_NC,
];

/// Symbols whose addresses matter (llvm/BinaryFormat/ELF.h).
const SHT_LLVM_ADDRSIG: SectionType = SectionType(0x6fff_4c03);
/// Kinds of sections. `LLVM_ADDRSIG` lists symbols for another linker, `UNWIND` is what x86-64 calls `.eh_frame`.
const SECTIONS: [SectionType; 8] = [
    elf::SHT_NULL,
    elf::SHT_PROGBITS,
    elf::SHT_NOBITS,
    elf::SHT_SYMTAB,
    elf::SHT_STRTAB,
    elf::SHT_RELA,
    SHT_LLVM_ADDRSIG,
    elf::SHT_X86_64_UNWIND,
];
/// The most memory that an object may ask for beyond its own length: sections of zeros, and what aligning takes.
const MAX_ZEROS: u64 = 64 << 20;
/// Sections with relocations that are not loaded. The linker leaves these out, by their names (LLVM's `isDwarfSection`); in any other it would do what the
/// relocations say.
const DEBUG: [&str; 10] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_frame",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// Looks at an object file for `arch` whose entry is `entry`.
///
/// # Errors
/// [`JitError::Invalid`] for bytes that are no such file, [`JitError::Refused`] for what may not be in it,
/// [`JitError::Abi`] if it was made for another build of the runtime.
pub(crate) fn object(bytes: &[u8], arch: &str, entry: &str) -> Result<(), JitError> {
    let file = ElfFile64::<Endian>::parse(bytes).map_err(invalid)?;
    let header = file.elf_header();
    let endian = LittleEndian;
    if header.e_type(endian) != elf::ET_REL {
        return Err(JitError::Invalid("it is not for relocation".into()));
    }
    let machine = header.e_machine(endian);
    let ours = if arch == "aarch64" {
        elf::EM_AARCH64
    } else {
        elf::EM_X86_64
    };
    if machine != ours {
        return Err(refused("the file", format!("is for machine {}", machine.0)));
    }
    let sections = header.sections(endian, bytes).map_err(invalid)?;
    let symbols = sections
        .symbols(endian, bytes, elf::SHT_SYMTAB)
        .map_err(invalid)?;
    let check = Check {
        bytes,
        machine,
        sections: &sections,
        symbols: &symbols,
    };
    check.sections()?;
    check.symbols(entry)
}

struct Check<'a, 'data> {
    bytes: &'data [u8],
    machine: Machine,
    sections: &'a SectionTable<'data, Header>,
    symbols: &'a ElfSymbols<'data, Header>,
}

impl Check<'_, '_> {
    fn sections(&self) -> Result<(), JitError> {
        let endian = LittleEndian;
        let mut memory = 0_u64;
        for section in self.sections.iter() {
            let name = self.sections.section_name(endian, section);
            let name = String::from_utf8_lossy(name.map_err(invalid)?).into_owned();
            let kind = section.sh_type(endian);
            let flags = section.sh_flags(endian);
            if !SECTIONS.contains(&kind) {
                return Err(refused(
                    &name,
                    format!("is a section of type {:#x}", kind.0),
                ));
            }
            if flags.contains(elf::SHF_WRITE | elf::SHF_EXECINSTR) {
                return Err(refused(&name, "is writable and executable"));
            }
            if flags.contains(elf::SHF_TLS) {
                return Err(refused(&name, "holds thread-local variables"));
            }
            if section.sh_addralign(endian) > 4096 {
                return Err(refused(&name, "wants to be aligned to more than a page"));
            }
            if flags.contains(elf::SHF_ALLOC) {
                // Several may name the same bytes of the file, and each is a copy of its own once it is loaded.
                let align = section.sh_addralign(endian).max(1);
                let size = section.sh_size(endian).saturating_add(align - 1);
                memory = memory.saturating_add(size);
            }
            self.relocations(&name, section)?;
        }
        let limit = MAX_ZEROS + self.bytes.len() as u64;
        if memory > limit {
            return Err(JitError::TooLarge {
                what: "bytes in memory",
                found: usize::try_from(memory).unwrap_or(usize::MAX),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            });
        }
        Ok(())
    }

    /// Relocations of what is loaded. Those of line tables are `sites.rs`'s, which copies them and looks for itself.
    fn relocations(
        &self,
        name: &str,
        section: &elf::SectionHeader64<Endian>,
    ) -> Result<(), JitError> {
        let endian = LittleEndian;
        let Some((relocations, _)) = section.rela(endian, self.bytes).map_err(invalid)? else {
            return Ok(());
        };
        let target = object::SectionIndex(section.sh_info(endian) as usize);
        let target = self.sections.section(target).map_err(invalid)?;
        if !target.sh_flags(endian).contains(elf::SHF_ALLOC) {
            let fixed = self
                .sections
                .section_name(endian, target)
                .map_err(invalid)?;
            if DEBUG.iter().any(|debug| debug.as_bytes() == fixed) {
                return Ok(());
            }
            return Err(refused(name, "relocates what is not loaded"));
        }
        if target.sh_type(endian) == elf::SHT_NOBITS {
            return Err(refused(name, "relocates zeros"));
        }
        for relocation in relocations {
            let kind = relocation.r_type(endian, false);
            if !self.knows(kind) {
                return Err(refused(
                    name,
                    format!("has a relocation of type {}", kind.0),
                ));
            }
            // The linker writes there without looking.
            let end = relocation.r_offset(endian).checked_add(width(kind));
            if end.is_none_or(|end| end > target.sh_size(endian)) {
                return Err(refused(name, "relocates what is outside its section"));
            }
            let symbol = relocation.r_sym(endian, false) as usize;
            self.symbols.symbol(SymbolIndex(symbol)).map_err(invalid)?;
        }
        Ok(())
    }

    /// Is it one of those that our code generator asks for?
    fn knows(&self, kind: RelocationType) -> bool {
        if self.machine == elf::EM_AARCH64 {
            AARCH64.contains(&kind)
        } else {
            X86_64.contains(&kind)
        }
    }

    fn symbols(&self, entry: &str) -> Result<(), JitError> {
        let endian = LittleEndian;
        let (mut found, mut mark) = (false, None);
        for symbol in self.symbols.iter() {
            let name = symbol.name(endian, self.symbols.strings());
            let name = String::from_utf8_lossy(name.map_err(invalid)?).into_owned();
            match symbol.st_type() {
                elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC | elf::STT_SECTION => {}
                elf::STT_FILE => continue,
                elf::STT_TLS => return Err(refused(&name, "is a thread-local variable")),
                elf::STT_GNU_IFUNC => return Err(refused(&name, "is an indirect function")),
                kind => return Err(refused(&name, format!("is a symbol of type {}", kind.0))),
            }
            match symbol.st_shndx(endian) {
                elf::SHN_UNDEF => continue,
                elf::SHN_ABS => return Err(refused(&name, "is an absolute address")),
                elf::SHN_COMMON => return Err(refused(&name, "is a common symbol")),
                _ => {}
            }
            if symbol.st_bind() == elf::STB_LOCAL {
                continue;
            }
            if name == entry {
                self.is_function(&name, symbol)?;
                found = true;
            } else if name == FUNCTION_SYMBOL {
                self.is_function(&name, symbol)?;
            } else if name.starts_with(layout_mark::PREFIX) {
                mark = Some(name);
            } else {
                return Err(refused(&name, "is defined for others to use"));
            }
        }
        if !found {
            return Err(JitError::Refused(Refusal::Entry {
                name: entry.to_owned(),
                problem: "is not defined",
            }));
        }
        let ours = layout_mark::name();
        if mark.as_deref() == Some(&ours) {
            return Ok(());
        }
        Err(JitError::Build {
            found: mark.unwrap_or_else(|| "none".into()),
            ours,
        })
    }

    /// What is called from outside lies in code.
    fn is_function(&self, name: &str, symbol: &Sym64<Endian>) -> Result<(), JitError> {
        let endian = LittleEndian;
        let index = object::SectionIndex(symbol.st_shndx(endian).0.into());
        let section = self.sections.section(index).map_err(invalid)?;
        let flags = section.sh_flags(endian);
        let is_code = flags.contains(elf::SHF_EXECINSTR);
        if is_code && symbol.st_value(endian) < section.sh_size(endian) {
            return Ok(());
        }
        Err(refused(name, "does not lie in code"))
    }
}

/// Bytes that the linker writes for a relocation. The numbers of the two machines overlap in none of these.
fn width(kind: RelocationType) -> u64 {
    const WORDS: [RelocationType; 4] = [
        elf::R_X86_64_64,
        elf::R_X86_64_PC64,
        elf::R_AARCH64_ABS64,
        elf::R_AARCH64_PREL64,
    ];
    if WORDS.contains(&kind) { 8 } else { 4 }
}

fn invalid(error: object::Error) -> JitError {
    JitError::Invalid(error.to_string())
}

fn refused(name: &str, what: impl Into<String>) -> JitError {
    JitError::Refused(Refusal::Object {
        name: name.to_owned(),
        what: what.into(),
    })
}
