//! LLVM's JIT linker (ORCv2): object files in, addresses out, memory back.
//!
//! One `LLJIT` for the process. Each archive has a library (`JITDylib`) of its own, so that names of different archives
//! never meet. A library sees three things: its own object, the addresses of its archive's Julia objects, and, by a
//! generator that asks the runtime's table, the symbols that shipped code may use; never the process's. Clearing a library
//! gives its memory back; since libraries themselves cannot be removed through LLVM's C API, cleared ones are used again.

use crate::llvm::{Buffer, Machine, outcome};
use inkwell::llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use inkwell::llvm_sys::orc2::lljit::{
    LLVMOrcCreateLLJIT, LLVMOrcCreateLLJITBuilder, LLVMOrcDisposeLLJIT, LLVMOrcLLJITAddObjectFile,
    LLVMOrcLLJITBuilderSetJITTargetMachineBuilder, LLVMOrcLLJITGetExecutionSession,
    LLVMOrcLLJITMangleAndIntern, LLVMOrcLLJITRef,
};
use inkwell::llvm_sys::orc2::{
    LLVMJITEvaluatedSymbol, LLVMJITSymbolFlags, LLVMJITSymbolGenericFlags, LLVMOrcAbsoluteSymbols,
    LLVMOrcCLookupSet, LLVMOrcCLookupSetElement, LLVMOrcCSymbolMapPair,
    LLVMOrcCreateCustomCAPIDefinitionGenerator, LLVMOrcDefinitionGeneratorRef,
    LLVMOrcDisposeMaterializationUnit, LLVMOrcExecutionSessionCreateBareJITDylib,
    LLVMOrcExecutionSessionLookup, LLVMOrcExecutionSessionRef,
    LLVMOrcExecutionSessionSetErrorReporter, LLVMOrcJITDylibAddGenerator, LLVMOrcJITDylibClear,
    LLVMOrcJITDylibDefine, LLVMOrcJITDylibLookupFlags, LLVMOrcJITDylibRef,
    LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine, LLVMOrcLookupKind,
    LLVMOrcLookupStateRef, LLVMOrcRetainSymbolStringPoolEntry, LLVMOrcSymbolLookupFlags,
    LLVMOrcSymbolStringPoolEntryRef, LLVMOrcSymbolStringPoolEntryStr,
};
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Finds the address of a symbol that shipped code may use.
pub(crate) type Resolver = fn(&str) -> Option<usize>;

/// The JIT linker.
pub(crate) struct Orc {
    jit: LLVMOrcLLJITRef,
    session: LLVMOrcExecutionSessionRef,
    /// Cleared libraries.
    spare: Mutex<Vec<Dylib>>,
    resolver: Box<Resolver>,
}

#[derive(Clone, Copy)]
struct Dylib(LLVMOrcJITDylibRef);

// SAFETY: LLJIT, its session and its libraries lock for themselves.
unsafe impl Send for Orc {}
// SAFETY: as above.
unsafe impl Sync for Orc {}
// SAFETY: as above.
unsafe impl Send for Dylib {}
// SAFETY: as above; compiled code is shared by all threads that run it.
unsafe impl Sync for Dylib {}

impl Orc {
    /// A linker for code of `machine`.
    pub(crate) fn new(machine: Machine, resolver: Resolver) -> Result<Arc<Self>, String> {
        // SAFETY: makes a builder.
        let builder = unsafe { LLVMOrcCreateLLJITBuilder() };
        // SAFETY: takes the machine.
        let target =
            unsafe { LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(machine.into_raw()) };
        // SAFETY: takes the target.
        unsafe { LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(builder, target) };
        let mut jit = ptr::null_mut();
        // SAFETY: takes the builder, whatever comes of it (disposing of it again would free it twice).
        let error = unsafe { LLVMOrcCreateLLJIT(&raw mut jit, builder) };
        // SAFETY: what LLVM returned.
        unsafe { outcome(error) }?;
        // SAFETY: a live JIT.
        let session = unsafe { LLVMOrcLLJITGetExecutionSession(jit) };
        // SAFETY: a live session. What is reported here is also returned by the lookup that failed.
        unsafe { LLVMOrcExecutionSessionSetErrorReporter(session, discard, ptr::null_mut()) };
        Ok(Arc::new(Self {
            jit,
            session,
            spare: Mutex::new(Vec::new()),
            resolver: Box::new(resolver),
        }))
    }

    fn library(&self) -> Result<Dylib, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(spare) = spare {
            return Ok(spare);
        }
        let name = CString::new(format!("archive.{}", NEXT.fetch_add(1, Ordering::Relaxed)))
            .unwrap_or_default();
        // SAFETY: a live session, a C string.
        let library =
            unsafe { LLVMOrcExecutionSessionCreateBareJITDylib(self.session, name.as_ptr()) };
        if library.is_null() {
            return Err("LLVM made no library".into());
        }
        let resolver = (&raw const *self.resolver).cast_mut().cast::<c_void>();
        // SAFETY: the resolver lives as long as the session.
        let generator =
            unsafe { LLVMOrcCreateCustomCAPIDefinitionGenerator(offer, resolver, keep) };
        // SAFETY: takes the generator.
        unsafe { LLVMOrcJITDylibAddGenerator(library, generator) };
        Ok(Dylib(library))
    }

    fn intern(&self, name: &str) -> LLVMOrcSymbolStringPoolEntryRef {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: a live JIT, a C string.
        unsafe { LLVMOrcLLJITMangleAndIntern(self.jit, name.as_ptr()) }
    }

    /// Links an object file; `absolute` are names that only it sees. `exported` is what it has for other archives, besides its entry.
    pub(crate) fn link(
        self: &Arc<Self>,
        object: Buffer,
        absolute: &[(String, usize)],
        entry: &str,
        exported: Option<&str>,
    ) -> Result<Linked, String> {
        let mut linked = Linked {
            orc: self.clone(),
            library: self.library()?,
            entry: 0,
            exported: None,
        };
        self.define(linked.library, absolute)?;
        // SAFETY: takes the object.
        let error =
            unsafe { LLVMOrcLLJITAddObjectFile(self.jit, linked.library.0, object.into_raw()) };
        // SAFETY: what LLVM returned.
        unsafe { outcome(error) }?;
        linked.entry = self.lookup(linked.library, entry)?;
        if let Some(name) = exported {
            linked.exported = Some(self.lookup(linked.library, name)?);
        }
        Ok(linked)
    }

    fn define(&self, library: Dylib, absolute: &[(String, usize)]) -> Result<(), String> {
        if absolute.is_empty() {
            return Ok(());
        }
        let mut pairs: Vec<_> = absolute
            .iter()
            .map(|(name, address)| pair(self.intern(name), *address))
            .collect();
        // SAFETY: takes the names.
        let unit = unsafe { LLVMOrcAbsoluteSymbols(pairs.as_mut_ptr(), pairs.len()) };
        // SAFETY: takes the unit if it succeeds.
        let error = unsafe { LLVMOrcJITDylibDefine(library.0, unit) };
        if !error.is_null() {
            // SAFETY: not taken.
            unsafe { LLVMOrcDisposeMaterializationUnit(unit) };
        }
        // SAFETY: what LLVM returned.
        unsafe { outcome(error) }
    }

    /// Links what the symbol needs, and returns its address.
    fn lookup(&self, library: Dylib, name: &str) -> Result<usize, String> {
        let mut order = [
            inkwell::llvm_sys::orc2::LLVMOrcCJITDylibSearchOrderElement {
                JD: library.0,
                JDLookupFlags:
                    LLVMOrcJITDylibLookupFlags::LLVMOrcJITDylibLookupFlagsMatchAllSymbols,
            },
        ];
        let entry = self.intern(name);
        let mut wanted = [LLVMOrcCLookupSetElement {
            Name: entry,
            LookupFlags: LLVMOrcSymbolLookupFlags::LLVMOrcSymbolLookupFlagsRequiredSymbol,
        }];
        let answer = Answer {
            found: Mutex::new(None),
            ready: Condvar::new(),
        };
        // SAFETY: a live session and library; takes the name; the answer is waited for below.
        unsafe {
            LLVMOrcExecutionSessionLookup(
                self.session,
                LLVMOrcLookupKind::LLVMOrcLookupKindStatic,
                order.as_mut_ptr(),
                order.len(),
                wanted.as_mut_ptr(),
                wanted.len(),
                answered,
                (&raw const answer).cast_mut().cast(),
            );
        }
        let mut found = answer.found.lock().unwrap_or_else(PoisonError::into_inner);
        while found.is_none() {
            found = answer
                .ready
                .wait(found)
                .unwrap_or_else(PoisonError::into_inner);
        }
        found.take().unwrap_or_else(|| Err("no answer".into()))
    }
}

impl Drop for Orc {
    fn drop(&mut self) {
        // SAFETY: everything linked holds this value, so nothing is left.
        let error = unsafe { LLVMOrcDisposeLLJIT(self.jit) };
        // SAFETY: what LLVM returned.
        if let Err(message) = unsafe { outcome(error) } {
            tracing::warn!(message, "the JIT linker ended with an error");
        }
    }
}

fn pair(name: LLVMOrcSymbolStringPoolEntryRef, address: usize) -> LLVMOrcCSymbolMapPair {
    let exported = LLVMJITSymbolGenericFlags::LLVMJITSymbolGenericFlagsExported as u8;
    let flags = LLVMJITSymbolFlags {
        GenericFlags: exported,
        TargetFlags: 0,
    };
    LLVMOrcCSymbolMapPair {
        Name: name,
        Sym: LLVMJITEvaluatedSymbol {
            Address: address as u64,
            Flags: flags,
        },
    }
}

struct Answer {
    found: Mutex<Option<Result<usize, String>>>,
    ready: Condvar,
}

/// The end of a lookup.
extern "C" fn answered(
    error: LLVMErrorRef,
    pairs: *mut LLVMOrcCSymbolMapPair,
    count: usize,
    answer: *mut c_void,
) {
    // SAFETY: what LLVM passed.
    let outcome = unsafe { outcome(error) };
    let found = outcome.and_then(|()| {
        if count == 0 {
            return Err("an empty answer".to_owned());
        }
        // SAFETY: at least one pair.
        Ok(unsafe { (*pairs).Sym.Address } as usize)
    });
    // SAFETY: `lookup` waits for this, with its answer alive.
    let answer = unsafe { &*answer.cast::<Answer>() };
    *answer.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    answer.ready.notify_all();
}

/// Errors are returned where they belong; nothing goes to standard error.
extern "C" fn discard(_: *mut c_void, error: LLVMErrorRef) {
    // SAFETY: consumes the error.
    let message = unsafe { LLVMGetErrorMessage(error) };
    // SAFETY: a C string.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    tracing::debug!(%text, "the JIT linker reports");
    // SAFETY: ours, freed once.
    unsafe { LLVMDisposeErrorMessage(message) };
}

/// A generator goes: the resolver is the linker's.
extern "C" fn keep(_resolver: *mut c_void) {}

/// A library lacks these symbols: defines those that the resolver knows.
extern "C" fn offer(
    _generator: LLVMOrcDefinitionGeneratorRef,
    resolver: *mut c_void,
    _state: *mut LLVMOrcLookupStateRef,
    _kind: LLVMOrcLookupKind,
    library: LLVMOrcJITDylibRef,
    _flags: LLVMOrcJITDylibLookupFlags,
    wanted: LLVMOrcCLookupSet,
    count: usize,
) -> LLVMErrorRef {
    // SAFETY: the resolver of the linker that made the generator.
    let resolver = unsafe { *resolver.cast::<Resolver>() };
    let wanted = if count == 0 {
        &[]
    } else {
        // SAFETY: so many elements.
        unsafe { std::slice::from_raw_parts(wanted, count) }
    };
    let mut pairs = Vec::new();
    for element in wanted {
        // SAFETY: a live entry of the string pool.
        let name = unsafe { LLVMOrcSymbolStringPoolEntryStr(element.Name) };
        // SAFETY: a C string of the pool's.
        let name = unsafe { CStr::from_ptr(name) };
        if let Some(address) = name.to_str().ok().and_then(resolver) {
            // SAFETY: the definition below takes a reference of its own.
            unsafe { LLVMOrcRetainSymbolStringPoolEntry(element.Name) };
            pairs.push(pair(element.Name, address));
        }
    }
    if pairs.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: takes the names.
    let unit = unsafe { LLVMOrcAbsoluteSymbols(pairs.as_mut_ptr(), pairs.len()) };
    // SAFETY: a live library; takes the unit.
    unsafe { LLVMOrcJITDylibDefine(library, unit) }
}

/// Code that can be run. Dropping it frees the code.
pub(crate) struct Linked {
    orc: Arc<Orc>,
    library: Dylib,
    entry: usize,
    exported: Option<usize>,
}

impl Linked {
    /// The address of the entry.
    pub(crate) fn entry(&self) -> usize {
        self.entry
    }

    /// The address of what it has for other archives.
    pub(crate) fn exported(&self) -> Option<usize> {
        self.exported
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        // SAFETY: nobody runs the code any more: it is borrowed while it runs.
        let error = unsafe { LLVMOrcJITDylibClear(self.library.0) };
        // SAFETY: what LLVM returned.
        match unsafe { outcome(error) } {
            Ok(()) => self
                .orc
                .spare
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.library),
            Err(message) => tracing::warn!(message, "code could not be freed"),
        }
    }
}
