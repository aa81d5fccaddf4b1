//! The processor we run on, and code for it.

use super::{Buffer, Module, outcome, take_message};
use inkwell::llvm_sys::core::{LLVMDisposeMessage, LLVMSetDataLayout, LLVMSetTarget};
use inkwell::llvm_sys::target::{
    LLVMCopyStringRepOfTargetData, LLVMDisposeTargetData, LLVMInitializeAArch64AsmPrinter,
    LLVMInitializeAArch64Disassembler, LLVMInitializeAArch64Target,
    LLVMInitializeAArch64TargetInfo, LLVMInitializeAArch64TargetMC, LLVMInitializeX86AsmPrinter,
    LLVMInitializeX86Disassembler, LLVMInitializeX86Target, LLVMInitializeX86TargetInfo,
    LLVMInitializeX86TargetMC,
};
use inkwell::llvm_sys::target_machine::{
    LLVMCodeGenFileType, LLVMCodeGenOptLevel, LLVMCodeModel, LLVMCreateTargetDataLayout,
    LLVMCreateTargetMachine, LLVMDisposeTargetMachine, LLVMGetDefaultTargetTriple,
    LLVMGetHostCPUFeatures, LLVMGetHostCPUName, LLVMGetTargetFromTriple, LLVMRelocMode,
    LLVMTargetMachineEmitToMemoryBuffer, LLVMTargetMachineRef,
};
use inkwell::llvm_sys::transforms::pass_builder::{
    LLVMCreatePassBuilderOptions, LLVMDisposePassBuilderOptions,
    LLVMPassBuilderOptionsSetLoopInterleaving, LLVMPassBuilderOptionsSetLoopVectorization,
    LLVMPassBuilderOptionsSetSLPVectorization, LLVMRunPasses,
};
use std::ffi::CString;
use std::ptr;
use std::sync::Once;

/// Makes LLVM know the processors that nodes may have. Cheap to repeat.
///
/// What LLVM calls its "native" target is decided by the headers that `llvm-sys` was built with, which are those of the
/// machine that builds: in a cross build, the wrong ones. So each processor is named here.
pub(crate) fn initialise() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        // SAFETY: registers a target, once; so in each line.
        unsafe { LLVMInitializeX86TargetInfo() };
        // SAFETY: as above.
        unsafe { LLVMInitializeX86Target() };
        // SAFETY: as above.
        unsafe { LLVMInitializeX86TargetMC() };
        // SAFETY: as above.
        unsafe { LLVMInitializeX86AsmPrinter() };
        // SAFETY: as above.
        unsafe { LLVMInitializeAArch64TargetInfo() };
        // SAFETY: as above.
        unsafe { LLVMInitializeAArch64Target() };
        // SAFETY: as above.
        unsafe { LLVMInitializeAArch64TargetMC() };
        // SAFETY: as above.
        unsafe { LLVMInitializeAArch64AsmPrinter() };
    });
}

/// Makes LLVM read these processors' code, too. Cheap to repeat.
pub(crate) fn initialise_disassembler() {
    static DONE: Once = Once::new();
    initialise();
    DONE.call_once(|| {
        // SAFETY: registers a disassembler, once.
        unsafe { LLVMInitializeX86Disassembler() };
        // SAFETY: as above.
        unsafe { LLVMInitializeAArch64Disassembler() };
    });
}

/// The triple that this LLVM makes code for.
pub(crate) fn host_triple() -> String {
    // SAFETY: the text is ours.
    let text = unsafe { LLVMGetDefaultTargetTriple() };
    // SAFETY: ours, freed once.
    unsafe { take_message(text) }
}

/// The name of the processor.
pub(crate) fn host_cpu() -> String {
    // SAFETY: the text is ours.
    let text = unsafe { LLVMGetHostCPUName() };
    // SAFETY: ours, freed once.
    unsafe { take_message(text) }
}

/// What the processor can do, as LLVM writes it.
pub(crate) fn host_features() -> String {
    // SAFETY: the text is ours.
    let text = unsafe { LLVMGetHostCPUFeatures() };
    // SAFETY: ours, freed once.
    unsafe { take_message(text) }
}

/// A target machine.
pub(crate) struct Machine {
    raw: LLVMTargetMachineRef,
    triple: CString,
}

impl Machine {
    pub(crate) fn new(triple: &str, cpu: &str, features: &str) -> Result<Self, String> {
        initialise();
        let c_string = |text: &str| CString::new(text).map_err(|_| format!("{text:?} holds a NUL"));
        let (triple, cpu, features) = (c_string(triple)?, c_string(cpu)?, c_string(features)?);
        let (mut target, mut message) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: writes two locals.
        let failed =
            unsafe { LLVMGetTargetFromTriple(triple.as_ptr(), &raw mut target, &raw mut message) }
                != 0;
        // SAFETY: LLVM's message, or null.
        let message = unsafe { take_message(message) };
        if failed {
            return Err(message);
        }
        // Position independent: the linker may put code far from what it calls, which goes through tables then.
        // SAFETY: C strings, and a target that LLVM knows.
        let raw = unsafe {
            LLVMCreateTargetMachine(
                target,
                triple.as_ptr(),
                cpu.as_ptr(),
                features.as_ptr(),
                LLVMCodeGenOptLevel::LLVMCodeGenLevelAggressive,
                LLVMRelocMode::LLVMRelocPIC,
                LLVMCodeModel::LLVMCodeModelSmall,
            )
        };
        if raw.is_null() {
            Err(format!("no target machine for {triple:?}"))
        } else {
            Ok(Self { raw, triple })
        }
    }

    /// Gives it away, to whom it belongs then.
    pub(crate) fn into_raw(self) -> LLVMTargetMachineRef {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }

    /// Says that the module is for this machine.
    pub(crate) fn adopt(&self, module: &Module<'_>) {
        // SAFETY: a live module, a C string.
        unsafe { LLVMSetTarget(module.raw(), self.triple.as_ptr()) };
        // SAFETY: a live machine.
        let layout = unsafe { LLVMCreateTargetDataLayout(self.raw) };
        // SAFETY: as above; the text is ours.
        let text = unsafe { LLVMCopyStringRepOfTargetData(layout) };
        // SAFETY: a live module, a C string.
        unsafe { LLVMSetDataLayout(module.raw(), text) };
        // SAFETY: ours, freed once.
        unsafe { LLVMDisposeMessage(text) };
        // SAFETY: ours, freed once.
        unsafe { LLVMDisposeTargetData(layout) };
    }

    /// Runs a pipeline of passes, in the words of LLVM's `opt -passes`.
    pub(crate) fn run(&self, passes: &str, module: &Module<'_>) -> Result<(), String> {
        let passes = CString::new(passes).map_err(|_| "a pipeline with a NUL".to_string())?;
        // SAFETY: options of our own, freed below.
        let options = unsafe { LLVMCreatePassBuilderOptions() };
        // SAFETY: live options, here and in the next two.
        unsafe { LLVMPassBuilderOptionsSetLoopVectorization(options, 1) };
        // SAFETY: as above.
        unsafe { LLVMPassBuilderOptionsSetSLPVectorization(options, 1) };
        // SAFETY: as above.
        unsafe { LLVMPassBuilderOptionsSetLoopInterleaving(options, 1) };
        // SAFETY: live module, machine and options; a C string.
        let error = unsafe { LLVMRunPasses(module.raw(), passes.as_ptr(), self.raw, options) };
        // SAFETY: ours, freed once.
        unsafe { LLVMDisposePassBuilderOptions(options) };
        // SAFETY: what LLVM returned.
        unsafe { outcome(error) }
    }

    /// Machine code, as an object file.
    pub(crate) fn emit(&self, module: &Module<'_>) -> Result<Buffer, String> {
        let (mut message, mut buffer) = (ptr::null_mut(), ptr::null_mut());
        let kind = LLVMCodeGenFileType::LLVMObjectFile;
        // SAFETY: live machine and module; writes two locals.
        let failed = unsafe {
            LLVMTargetMachineEmitToMemoryBuffer(
                self.raw,
                module.raw(),
                kind,
                &raw mut message,
                &raw mut buffer,
            )
        } != 0;
        // SAFETY: LLVM's message, or null.
        let message = unsafe { take_message(message) };
        if failed {
            return Err(message);
        }
        // SAFETY: a new buffer.
        Ok(unsafe { Buffer::own(buffer) })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: owned, and not given away.
        unsafe { LLVMDisposeTargetMachine(self.raw) };
    }
}
