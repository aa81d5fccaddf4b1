//! Contexts, modules and memory buffers.

use super::take_message;
use inkwell::llvm_sys::LLVMDiagnosticSeverity;
use inkwell::llvm_sys::analysis::{LLVMVerifierFailureAction, LLVMVerifyModule};
use inkwell::llvm_sys::bit_reader::LLVMParseBitcodeInContext2;
use inkwell::llvm_sys::core::{
    LLVMContextCreate, LLVMContextDispose, LLVMContextSetDiagnosticHandler,
    LLVMContextSetDiscardValueNames, LLVMCreateMemoryBufferWithMemoryRange,
    LLVMCreateMemoryBufferWithMemoryRangeCopy, LLVMDisposeMemoryBuffer, LLVMDisposeModule,
    LLVMGetBufferSize, LLVMGetBufferStart, LLVMGetDataLayoutStr, LLVMGetDiagInfoDescription,
    LLVMGetDiagInfoSeverity, LLVMPrintModuleToString,
};
use inkwell::llvm_sys::ir_reader::LLVMParseIRInContext;
use inkwell::llvm_sys::linker::LLVMLinkModules2;
use inkwell::llvm_sys::prelude::{
    LLVMBool, LLVMContextRef, LLVMDiagnosticInfoRef, LLVMMemoryBufferRef, LLVMModuleRef,
};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr;

/// A context, with what LLVM said about the modules in it.
pub(crate) struct Context {
    raw: LLVMContextRef,
    diagnostics: Box<RefCell<Vec<String>>>,
}

impl Context {
    pub(crate) fn new() -> Self {
        // SAFETY: makes a new context.
        let raw = unsafe { LLVMContextCreate() };
        let diagnostics = Box::new(RefCell::new(Vec::new()));
        let sink = (&raw const *diagnostics).cast_mut().cast::<c_void>();
        // SAFETY: the sink lives as long as the context; without a handler LLVM ends the process on an error.
        unsafe { LLVMContextSetDiagnosticHandler(raw, Some(on_diagnostic), sink) };
        // SAFETY: a live context.
        unsafe { LLVMContextSetDiscardValueNames(raw, 1) };
        Self { raw, diagnostics }
    }

    pub(crate) fn raw(&self) -> LLVMContextRef {
        self.raw
    }

    /// The errors reported since the last call, as one text.
    pub(crate) fn take_errors(&self) -> String {
        self.diagnostics.take().join("; ")
    }

    /// Reads bitcode, of this LLVM or an older one.
    pub(crate) fn parse_bitcode(&self, code: &[u8]) -> Result<Module<'_>, String> {
        let buffer = Buffer::over(code);
        let mut module = ptr::null_mut();
        // SAFETY: the buffer lives until this returns, and the module does not refer to it.
        let failed =
            unsafe { LLVMParseBitcodeInContext2(self.raw, buffer.raw(), &raw mut module) } != 0;
        let errors = self.take_errors();
        if failed || module.is_null() {
            return Err(if errors.is_empty() {
                "it is not LLVM bitcode".into()
            } else {
                errors
            });
        }
        let module = Module {
            raw: module,
            _context: PhantomData,
        };
        if errors.is_empty() {
            Ok(module)
        } else {
            Err(errors)
        }
    }

    /// Reads LLVM's text form: for the parts that are our own.
    pub(crate) fn parse_text(&self, text: &str) -> Result<Module<'_>, String> {
        let name = c"text";
        // SAFETY: copies the text.
        let buffer = unsafe {
            LLVMCreateMemoryBufferWithMemoryRangeCopy(
                text.as_ptr().cast(),
                text.len(),
                name.as_ptr(),
            )
        };
        let (mut module, mut message) = (ptr::null_mut(), ptr::null_mut());
        // Text can only be read with its names, which are of no use afterwards.
        // SAFETY: a live context.
        unsafe { LLVMContextSetDiscardValueNames(self.raw, 0) };
        // SAFETY: takes the buffer.
        let failed =
            unsafe { LLVMParseIRInContext(self.raw, buffer, &raw mut module, &raw mut message) }
                != 0;
        // SAFETY: a live context.
        unsafe { LLVMContextSetDiscardValueNames(self.raw, 1) };
        // SAFETY: LLVM's message, or null.
        let message = unsafe { take_message(message) };
        if failed {
            Err(message)
        } else {
            Ok(Module {
                raw: module,
                _context: PhantomData,
            })
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: modules borrow the context, so none is left.
        unsafe { LLVMContextDispose(self.raw) };
    }
}

extern "C" fn on_diagnostic(info: LLVMDiagnosticInfoRef, sink: *mut c_void) {
    // SAFETY: LLVM passes a diagnostic.
    let severity = unsafe { LLVMGetDiagInfoSeverity(info) };
    if !matches!(severity, LLVMDiagnosticSeverity::LLVMDSError) {
        return;
    }
    // SAFETY: as above; the text is ours.
    let text = unsafe { LLVMGetDiagInfoDescription(info) };
    // SAFETY: ours, freed once.
    let text = unsafe { take_message(text) };
    // SAFETY: the sink that `Context::new` registered.
    let sink = unsafe { &*sink.cast::<RefCell<Vec<String>>>() };
    sink.borrow_mut().push(text);
}

/// A module of a context.
pub(crate) struct Module<'c> {
    raw: LLVMModuleRef,
    _context: PhantomData<&'c Context>,
}

impl Module<'_> {
    pub(crate) fn raw(&self) -> LLVMModuleRef {
        self.raw
    }

    /// How data is laid out, as LLVM writes it.
    pub(crate) fn data_layout(&self) -> CString {
        // SAFETY: a live module.
        let text = unsafe { LLVMGetDataLayoutStr(self.raw) };
        // SAFETY: a C string of the module's, copied here.
        unsafe { CStr::from_ptr(text) }.to_owned()
    }

    /// LLVM's own check.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let mut message = ptr::null_mut();
        let action = LLVMVerifierFailureAction::LLVMReturnStatusAction;
        // SAFETY: a live module; the message is written.
        let broken = unsafe { LLVMVerifyModule(self.raw, action, &raw mut message) } != 0;
        // SAFETY: LLVM's message, or null.
        let message = unsafe { take_message(message) };
        if broken { Err(message) } else { Ok(()) }
    }

    /// Moves everything of `other` in here.
    pub(crate) fn link(&self, other: Module<'_>, context: &Context) -> Result<(), String> {
        let raw = other.raw;
        std::mem::forget(other);
        // SAFETY: both live in `context`; takes the other module.
        let failed: LLVMBool = unsafe { LLVMLinkModules2(self.raw, raw) };
        if failed == 0 {
            Ok(())
        } else {
            Err(context.take_errors())
        }
    }

    /// The module in LLVM's text form.
    pub(crate) fn text(&self) -> String {
        // SAFETY: a live module; the text is ours.
        let text = unsafe { LLVMPrintModuleToString(self.raw) };
        // SAFETY: ours, freed once.
        unsafe { take_message(text) }
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: owned, and not given away.
        unsafe { LLVMDisposeModule(self.raw) };
    }
}

/// A memory buffer.
pub(crate) struct Buffer(LLVMMemoryBufferRef);

impl Buffer {
    /// Over bytes that outlive it: see where it is made.
    fn over(bytes: &[u8]) -> Self {
        let name = c"image";
        // SAFETY: refers to the bytes; no NUL is needed behind them.
        Self(unsafe {
            LLVMCreateMemoryBufferWithMemoryRange(
                bytes.as_ptr().cast(),
                bytes.len(),
                name.as_ptr(),
                0,
            )
        })
    }

    /// With a copy of the bytes.
    pub(crate) fn copy(bytes: &[u8]) -> Self {
        let name = c"object";
        // SAFETY: copies the bytes.
        Self(unsafe {
            LLVMCreateMemoryBufferWithMemoryRangeCopy(
                bytes.as_ptr().cast(),
                bytes.len(),
                name.as_ptr(),
            )
        })
    }

    /// # Safety
    /// - `raw` is a buffer that nobody else frees.
    pub(crate) unsafe fn own(raw: LLVMMemoryBufferRef) -> Self {
        Self(raw)
    }

    pub(crate) fn raw(&self) -> LLVMMemoryBufferRef {
        self.0
    }

    /// Gives it away.
    pub(crate) fn into_raw(self) -> LLVMMemoryBufferRef {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a live buffer.
        let start = unsafe { LLVMGetBufferStart(self.0) };
        // SAFETY: so many bytes, which live as long as the buffer.
        unsafe { std::slice::from_raw_parts(start.cast(), self.len()) }
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: a live buffer.
        unsafe { LLVMGetBufferSize(self.0) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisposeMemoryBuffer(self.0) };
    }
}
