//! Julia's intrinsics made into code for this node.
//!
//! First, before optimisation ([`lower`]): calls of `julia.*` become calls of the prelude's functions (`prelude.ll`), `try`
//! becomes a `setjmp` in the function's own frame, marks that only Julia's collector needs vanish, and everything is made
//! private but the entry. Afterwards ([`finish`]): the prelude's bodies are linked in and inlined.

mod builder;
mod calls;
mod layout;
pub(crate) mod layout_mark;

use crate::error::JitError;
use crate::llvm::{
    Context, Machine, Module, functions, globals, instructions, name_of, opcode, uses,
};
use bitcode_wire::link::FUNCTION_SYMBOL;
use builder::Builder;
use inkwell::llvm_sys::LLVMLinkage;
use inkwell::llvm_sys::comdat::LLVMSetComdat;
use inkwell::llvm_sys::core::{
    LLVMAddAttributeAtIndex, LLVMAddCallSiteAttribute, LLVMDeleteFunction, LLVMIsDeclaration,
    LLVMSetAlignment, LLVMSetDLLStorageClass, LLVMSetLinkage, LLVMSetVisibility,
};
use inkwell::llvm_sys::debuginfo::LLVMGetSubprogram;
use inkwell::llvm_sys::prelude::LLVMValueRef;
use inkwell::llvm_sys::{
    LLVMAttributeFunctionIndex, LLVMDLLStorageClass, LLVMOpcode, LLVMVisibility,
};
use layout_mark::NUMBERS;
use std::ptr;

/// Julia's intrinsics that this room knows.
pub(crate) const INTRINSICS: [&str; 9] = [
    "julia.ptls_states",
    "julia.gc_alloc_obj",
    "julia.typeof",
    "julia.write_barrier",
    "julia.pointer_from_objref",
    "julia.except_enter",
    "julia.loopinfo_marker",
    "llvm.julia.gc_preserve_begin",
    "llvm.julia.gc_preserve_end",
];

/// What code calls that may be specialised (docs/ABI.md).
const FIXED: &str = "bc_fixed";

const PRELUDE: &str = include_str!("prelude.ll");
const BODIES: &str = include_str!("prelude_bodies.ll");

/// Prepares a module for optimisation.
pub(crate) fn lower(context: &Context, module: &Module<'_>, entry: &str) -> Result<(), JitError> {
    let prelude = context.parse_text(PRELUDE).map_err(JitError::Llvm)?;
    let builder = Builder::new(context, module, &prelude);
    layout::keep_origins_layout(&builder, module)?;
    for function in functions(module.raw()) {
        // SAFETY: a live function.
        if unsafe { LLVMIsDeclaration(function) } == 0 {
            calls::lower_function(&builder, function)?;
            keep_throws_apart(context, function);
        }
    }
    drop(builder);
    for name in INTRINSICS {
        if let Some(left) = functions(module.raw())
            .into_iter()
            .find(|function| name_of(*function) == name)
        {
            if !uses(left).is_empty() {
                return Err(JitError::Unsupported(format!(
                    "{name} is used other than by calling it"
                )));
            }
            // SAFETY: nothing uses it.
            unsafe { LLVMDeleteFunction(left) };
        }
    }
    make_private(module, entry);
    Ok(())
}

/// Calls that do not return are alike but for their place in the source: where that is known, they are not made one.
fn keep_throws_apart(context: &Context, function: LLVMValueRef) {
    // SAFETY: a live function.
    if unsafe { LLVMGetSubprogram(function) }.is_null() {
        return;
    }
    let all = instructions(function);
    for (call, next) in all.iter().zip(all.iter().skip(1)) {
        if opcode(*next) == LLVMOpcode::LLVMUnreachable && opcode(*call) == LLVMOpcode::LLVMCall {
            let apart = builder::flag_attribute(context, "nomerge");
            // SAFETY: a live call, an attribute of its context.
            unsafe { LLVMAddCallSiteAttribute(*call, LLVMAttributeFunctionIndex, apart) };
        }
    }
}

/// Everything defined here is nobody else's, but the entry, and what others may link to.
fn make_private(module: &Module<'_>, entry: &str) {
    for value in functions(module.raw())
        .into_iter()
        .chain(globals(module.raw()))
    {
        // SAFETY: a live global, in every line of this loop.
        let declared = unsafe { LLVMIsDeclaration(value) } != 0;
        let name = name_of(value);
        let visible = declared || name == entry || name == FUNCTION_SYMBOL;
        let linkage = if visible {
            LLVMLinkage::LLVMExternalLinkage
        } else {
            LLVMLinkage::LLVMInternalLinkage
        };
        // SAFETY: as above.
        unsafe { LLVMSetComdat(value, ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { LLVMSetVisibility(value, LLVMVisibility::LLVMDefaultVisibility) };
        // SAFETY: as above.
        unsafe { LLVMSetDLLStorageClass(value, LLVMDLLStorageClass::LLVMDefaultStorageClass) };
        // SAFETY: as above.
        unsafe { LLVMSetLinkage(value, linkage) };
        if declared && name.starts_with("bc.obj.") {
            // SAFETY: as above; Julia's objects are aligned to 16.
            unsafe { LLVMSetAlignment(value, 16) };
        }
    }
}

/// Attributes that every function needs on this machine.
pub(crate) fn set_target(context: &Context, module: &Module<'_>, cpu: &str, features: &str) {
    let text = |key: &str, value: &str| builder::text_attribute(context, key, value);
    let flag = |name: &str| builder::flag_attribute(context, name);
    for function in functions(module.raw()) {
        let add = |attribute| {
            // SAFETY: a live function, an attribute of its context.
            unsafe { LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute) };
        };
        if name_of(function).starts_with("llvm.") {
            continue;
        }
        // Nothing unwinds: Julia's exceptions are jumps.
        add(flag("nounwind"));
        // SAFETY: a live function.
        if unsafe { LLVMIsDeclaration(function) } != 0 {
            // What is called lies far away: go through the table of addresses at once, not through a stub.
            add(flag("nonlazybind"));
            if bitcode_runtime::is_openlibm(&name_of(function)) {
                // Of a constant, LLVM would take what the system's C library gives.
                add(flag("nobuiltin"));
            }
        } else {
            add(text("target-cpu", cpu));
            add(text("target-features", features));
            // A large frame touches every page of it, so that it cannot step over the guard page.
            add(text("probe-stack", "inline-asm"));
            // For backtraces. A call that became a jump would be missing there, and recursion that became a loop would never
            // overflow the stack, as it does at the origin.
            add(text("frame-pointer", "all"));
            add(text("disable-tail-calls", "true"));
        }
    }
}

/// Inlines what the prelude's functions do.
pub(crate) fn finish(
    context: &Context,
    module: &Module<'_>,
    machine: &Machine,
) -> Result<(), JitError> {
    let used = |function: &LLVMValueRef| name_of(*function).starts_with("bc.");
    if !functions(module.raw()).iter().any(used) {
        return Ok(());
    }
    let bodies = context.parse_text(&bodies()).map_err(JitError::Llvm)?;
    machine.adopt(&bodies);
    module.link(bodies, context).map_err(JitError::Llvm)?;
    for function in functions(module.raw()).into_iter().filter(used) {
        // SAFETY: a live function, now defined.
        unsafe { LLVMSetLinkage(function, LLVMLinkage::LLVMInternalLinkage) };
    }
    let passes =
        "always-inline,globaldce,function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)";
    machine.run(passes, module).map_err(JitError::Llvm)
}

/// Puts in what the code is specialised for: its calls of `bc_fixed` become the address of constants, which LLVM reads as such. In ordinary code
/// they become 0.
pub(crate) fn fix(
    context: &Context,
    module: &Module<'_>,
    machine: &Machine,
    fixed: &[u8],
) -> Result<(), JitError> {
    let asks = |function: &LLVMValueRef| name_of(*function) == FIXED;
    if !functions(module.raw()).iter().any(asks) {
        return Ok(());
    }
    let text = if fixed.is_empty() {
        format!("define i64 @{FIXED}() alwaysinline {{ ret i64 0 }}")
    } else {
        let length = fixed.len();
        let bytes: String = fixed.iter().map(|byte| format!("\\{byte:02X}")).collect();
        format!(
            "@bc.fixed = private unnamed_addr constant [{length} x i8] c\"{bytes}\", align 64\n\
             define i64 @{FIXED}() alwaysinline {{ ret i64 ptrtoint (ptr @bc.fixed to i64) }}"
        )
    };
    let fixed = context.parse_text(&text).map_err(JitError::Llvm)?;
    machine.adopt(&fixed);
    module.link(fixed, context).map_err(JitError::Llvm)
}

/// Says in the module which build of the runtime its code is for.
pub(crate) fn mark_layout(
    context: &Context,
    module: &Module<'_>,
    machine: &Machine,
) -> Result<(), JitError> {
    let text = format!("@{:?} = constant i8 0", layout_mark::name());
    let mark = context.parse_text(&text).map_err(JitError::Llvm)?;
    machine.adopt(&mark);
    module.link(mark, context).map_err(JitError::Llvm)
}

fn bodies() -> String {
    NUMBERS
        .iter()
        .fold(BODIES.to_owned(), |text, (name, number)| {
            text.replace(name, &number.to_string())
        })
}
