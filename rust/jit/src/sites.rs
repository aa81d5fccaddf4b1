//! What return addresses in compiled code mean: the sites of the source that its image numbers its calls by.
//!
//! An image that wants backtraces has a line table, whose lines are numbers that only its origin understands. LLVM carries them
//! through optimisation, and through inlining, into the object's DWARF sections. Those are kept beside the code and looked
//! into when an exception leaves it.

use addr2line::Context;
use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionIndex,
    SectionKind,
};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// How many different return addresses are remembered.
const REMEMBERED: usize = 4096;

/// The line table of one object.
pub(crate) struct Sites {
    /// Where the entry is in the section that holds it.
    entry: usize,
    /// Bytes of that section.
    text_bytes: usize,
    /// DWARF, relocated as if that section began at 0.
    sections: HashMap<&'static str, Vec<u8>>,
    /// What has been looked up: sites by return address, relative to the section.
    known: RwLock<HashMap<usize, Arc<[u32]>>>,
}

impl Sites {
    /// The line table of an object file; `None` if it has none, or none that can be read.
    pub(crate) fn of(object: &[u8], entry: &str) -> Option<Self> {
        let file = object::File::parse(object).ok()?;
        file.section_by_name(".debug_line")?;
        let symbol = file.symbol_by_name(entry)?;
        let text = file.section_by_index(symbol.section_index()?).ok()?;
        let mut sections = HashMap::new();
        for id in WANTED {
            if let Some(section) = file.section_by_name(id.name()) {
                sections.insert(id.name(), relocated(&file, &section, text.index())?);
            }
        }
        Some(Self {
            entry: usize::try_from(symbol.address().checked_sub(text.address())?).ok()?,
            text_bytes: usize::try_from(text.size()).ok()?,
            sections,
            known: RwLock::default(),
        })
    }

    /// Where the code is, when its entry is there.
    pub(crate) fn text(&self, entry: usize) -> Range<usize> {
        let start = entry - self.entry;
        start..start + self.text_bytes
    }

    /// Bytes that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        self.sections.values().map(Vec::len).sum()
    }

    /// To look return addresses up.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            sites: self,
            context: None,
        }
    }

    fn remember(&self, at: usize, sites: Arc<[u32]>) -> Arc<[u32]> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED {
            known.insert(at, Arc::clone(&sites));
        }
        sites
    }

    fn context(&self) -> Option<Context<Slice<'_>>> {
        let load = |id: SectionId| {
            let bytes = self.sections.get(id.name());
            let bytes = bytes.map_or(&[][..], Vec::as_slice);
            Ok::<_, gimli::Error>(Slice::new(bytes, LittleEndian))
        };
        Context::from_dwarf(Dwarf::load(load).ok()?).ok()
    }
}

/// Looks return addresses up; reads the line table once, if there is one that is not remembered.
pub(crate) struct Reader<'a> {
    sites: &'a Sites,
    context: Option<Option<Context<Slice<'a>>>>,
}

impl Reader<'_> {
    /// The sites of a return address, relative to the section, innermost first.
    pub(crate) fn at(&mut self, at: usize) -> Arc<[u32]> {
        let known = self.sites.known.read();
        let known = known
            .unwrap_or_else(PoisonError::into_inner)
            .get(&at)
            .map(Arc::clone);
        known.unwrap_or_else(|| {
            let context = self.context.get_or_insert_with(|| self.sites.context());
            let found = context.as_ref().map_or_else(Vec::new, |it| look_up(it, at));
            self.sites.remember(at, found.into())
        })
    }
}

/// What a line table of LLVM's may consist of.
const WANTED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// The sites of the instruction before a return address, innermost first.
fn look_up(context: &Context<Slice<'_>>, at: usize) -> Vec<u32> {
    let mut sites = Vec::new();
    let frames = context
        .find_frames((at as u64).wrapping_sub(1))
        .skip_all_loads();
    let Ok(mut frames) = frames else {
        return sites;
    };
    while let Ok(Some(frame)) = frames.next() {
        let line = frame.location.and_then(|location| location.line);
        sites.extend(line.filter(|line| *line != 0));
    }
    sites
}

/// A section's bytes with its relocations applied, as if `text` began at 0. Other code is put where nobody looks.
fn relocated(
    file: &object::File<'_>,
    section: &object::Section<'_, '_>,
    text: SectionIndex,
) -> Option<Vec<u8>> {
    let mut bytes = section.data().ok()?.to_vec();
    let base = |index: SectionIndex| {
        let section = file.section_by_index(index).ok()?;
        let is_code = section.kind() == SectionKind::Text;
        Some(if is_code && index != text {
            (index.0 as u64) << 40
        } else {
            0
        })
    };
    for (offset, relocation) in section.relocations() {
        let target = match relocation.target() {
            RelocationTarget::Symbol(index) => {
                let symbol = file.symbol_by_index(index).ok()?;
                base(symbol.section_index()?)?.wrapping_add(symbol.address())
            }
            RelocationTarget::Section(index) => base(index)?,
            _ => return None,
        };
        if relocation.kind() != RelocationKind::Absolute || relocation.has_implicit_addend() {
            return None;
        }
        let value = target
            .wrapping_add_signed(relocation.addend())
            .to_le_bytes();
        let size = usize::from(relocation.size()) / 8;
        let at = usize::try_from(offset).ok()?;
        bytes
            .get_mut(at..at.checked_add(size)?)?
            .copy_from_slice(value.get(..size)?);
    }
    Some(bytes)
}
