//! One function's calls.

use super::builder::{Builder, is_pointer};
use crate::error::{JitError, Refusal};
use crate::llvm::{instructions, name_of, opcode, operands, type_of};
use inkwell::llvm_sys::LLVMOpcode;
use inkwell::llvm_sys::core::LLVMInstructionEraseFromParent;
use inkwell::llvm_sys::core::{
    LLVMAddCallSiteAttribute, LLVMBuildCall2, LLVMGetCallSiteAttributeCount,
    LLVMGetCallSiteAttributes, LLVMGetCalledFunctionType, LLVMGetCalledValue,
    LLVMGetInstructionCallConv, LLVMGetInstructionParent, LLVMGetNumArgOperands,
    LLVMGetNumOperandBundles, LLVMGetTailCallKind, LLVMIsAConstant, LLVMIsAFunction,
    LLVMIsDeclaration, LLVMReplaceAllUsesWith, LLVMSetInstructionCallConv, LLVMSetTailCallKind,
};
use inkwell::llvm_sys::prelude::LLVMValueRef;
use inkwell::llvm_sys::{LLVMAttributeFunctionIndex, LLVMAttributeReturnIndex};
use std::collections::HashSet;

/// Lowers every call in `function`.
pub(super) fn lower_function(
    builder: &Builder<'_>,
    function: LLVMValueRef,
) -> Result<(), JitError> {
    let mut begun = Vec::new();
    let all = instructions(function);
    let quiet = quiet_regions(&all);
    for call in all {
        if !matches!(opcode(call), LLVMOpcode::LLVMCall) {
            continue;
        }
        convention(function, call)?;
        let call = without_bundles(builder, call);
        match callee(call).as_str() {
            // The end of a region names its beginning, which may come later in the list: beginnings go last.
            "llvm.julia.gc_preserve_begin" => begun.push(call),
            "llvm.julia.gc_preserve_end" => {
                if !quiet.contains(&call) {
                    preserve(builder, call);
                }
                builder.erase(call);
            }
            "julia.loopinfo_marker" => builder.erase(call),
            name => lower_call(builder, function, call, name)?,
        }
    }
    for call in begun {
        builder.erase(call);
    }
    Ok(())
}

/// What is called without any memory being asked for.
const QUIET: [&str; 12] = [
    "julia.typeof",
    "julia.write_barrier",
    "julia.pointer_from_objref",
    "julia.ptls_states",
    "julia.loopinfo_marker",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "memchr",
    "strlen",
    "jl_string_ptr",
];

/// The ends of those regions in which nothing can be collected: straight code that calls nothing else than [`QUIET`].
fn quiet_regions(all: &[LLVMValueRef]) -> HashSet<LLVMValueRef> {
    let mut quiet = HashSet::new();
    // Regions that began in the block, while nothing else was called in it since.
    let mut open = HashSet::new();
    let mut block = std::ptr::null_mut();
    for &instruction in all {
        // SAFETY: a live instruction.
        let parent = unsafe { LLVMGetInstructionParent(instruction) };
        if parent != block {
            block = parent;
            open.clear();
        }
        if !matches!(opcode(instruction), LLVMOpcode::LLVMCall) {
            continue;
        }
        match callee(instruction).as_str() {
            "llvm.julia.gc_preserve_begin" => {
                open.insert(instruction);
            }
            "llvm.julia.gc_preserve_end" => {
                if operands(instruction)
                    .first()
                    .is_some_and(|begin| open.contains(begin))
                {
                    quiet.insert(instruction);
                }
            }
            name if name.starts_with("llvm.") || QUIET.contains(&name) => {}
            _ => open.clear(),
        }
    }
    quiet
}

/// Keeps what a region preserves in a register or on the stack up to its end, where a collector sees it: the code may hold its
/// address only in memory that nobody looks at.
fn preserve(builder: &Builder<'_>, end: LLVMValueRef) {
    let Some(&begin) = operands(end).first() else {
        return;
    };
    if !matches!(opcode(begin), LLVMOpcode::LLVMCall) {
        return;
    }
    builder.before(end);
    for value in arguments(begin) {
        // SAFETY: a live value.
        let constant = !unsafe { LLVMIsAConstant(value) }.is_null();
        if is_pointer(type_of(value)) && !constant {
            builder.call("bc.keep", &[value]);
        }
    }
}

/// C's convention and LLVM's own for private functions: Julia's must have been lowered at the origin.
fn convention(function: LLVMValueRef, call: LLVMValueRef) -> Result<(), JitError> {
    const C: u32 = 0;
    const FAST: u32 = 8;
    const COLD: u32 = 9;
    // SAFETY: a live call.
    let convention = unsafe { LLVMGetInstructionCallConv(call) };
    if matches!(convention, C | FAST | COLD) {
        return Ok(());
    }
    let place = name_of(function);
    Err(JitError::Unsupported(format!(
        "{place} makes a call in calling convention {convention}"
    )))
}

/// The name of the function that is called, if it is known.
fn callee(call: LLVMValueRef) -> String {
    // SAFETY: a live call.
    let called = unsafe { LLVMGetCalledValue(call) };
    // SAFETY: a live value.
    if called.is_null() || unsafe { LLVMIsAFunction(called) }.is_null() {
        return String::new();
    }
    // A function that the image defines is what the image says it is.
    // SAFETY: a live function.
    if unsafe { LLVMIsDeclaration(called) } == 0 {
        String::new()
    } else {
        name_of(called)
    }
}

fn lower_call(
    builder: &Builder<'_>,
    function: LLVMValueRef,
    call: LLVMValueRef,
    name: &str,
) -> Result<(), JitError> {
    let arguments = arguments(call);
    let expect = |count: usize| {
        let right = arguments.len() == count;
        let message = || {
            JitError::Invalid(format!(
                "{name} is called with {} arguments, not {count}",
                arguments.len()
            ))
        };
        if right { Ok(()) } else { Err(message()) }
    };
    builder.before(call);
    match name {
        "julia.ptls_states" => {
            expect(0)?;
            builder.replace(call, builder.thread());
        }
        "julia.gc_alloc_obj" => {
            expect(3)?;
            pointers(name, &[arguments[2]])?;
            builder.replace(
                call,
                builder.call("bc.alloc", &[builder.thread(), arguments[1], arguments[2]]),
            );
        }
        "julia.typeof" => {
            expect(1)?;
            pointers(name, &arguments)?;
            builder.replace(call, builder.call("bc.typeof", &arguments));
        }
        "julia.pointer_from_objref" => {
            expect(1)?;
            pointers(name, &arguments)?;
            builder.replace(call, arguments[0]);
        }
        "julia.write_barrier" => {
            pointers(name, &arguments)?;
            for &child in arguments.iter().skip(1) {
                builder.call("bc.barrier", &[arguments[0], child]);
            }
            builder.erase(call);
        }
        "julia.except_enter" => {
            expect(0)?;
            enter(builder, function, call);
        }
        "jl_pop_handler" => {
            expect(1)?;
            builder.call("bc.leave", &[builder.thread(), arguments[0]]);
            builder.erase(call);
        }
        "jl_excstack_state" => {
            expect(0)?;
            builder.replace(call, builder.call("bc.exceptions", &[builder.thread()]));
        }
        "jl_restore_excstack" => {
            expect(1)?;
            builder.call("bc.forget", &[builder.thread(), arguments[0]]);
            builder.erase(call);
        }
        _ => {}
    }
    Ok(())
}

fn pointers(name: &str, values: &[LLVMValueRef]) -> Result<(), JitError> {
    if values.iter().all(|value| is_pointer(type_of(*value))) {
        return Ok(());
    }
    Err(JitError::Refused(Refusal::Intrinsic {
        name: format!("{name} with arguments that are no pointers"),
    }))
}

/// `try`: a handler in the frame, pushed; then the place to come back to.
fn enter(builder: &Builder<'_>, function: LLVMValueRef, call: LLVMValueRef) {
    let handler = builder.handler(function);
    builder.before(call);
    builder.call("bc.enter", &[builder.thread(), handler]);
    builder.replace(call, builder.setjmp(handler));
}

fn arguments(call: LLVMValueRef) -> Vec<LLVMValueRef> {
    // SAFETY: a live call.
    let count = unsafe { LLVMGetNumArgOperands(call) };
    operands(call).into_iter().take(count as usize).collect()
}

/// The same call without operand bundles: they name roots for Julia's collector. Ours finds what the callee was given, and they
/// hinder LLVM.
fn without_bundles(builder: &Builder<'_>, call: LLVMValueRef) -> LLVMValueRef {
    // SAFETY: a live call.
    if unsafe { LLVMGetNumOperandBundles(call) } == 0 {
        return call;
    }
    builder.before(call);
    // SAFETY: a live call, in this and the following lines.
    let ty = unsafe { LLVMGetCalledFunctionType(call) };
    // SAFETY: as above.
    let called = unsafe { LLVMGetCalledValue(call) };
    let mut arguments = arguments(call);
    let count = arguments.len() as u32;
    // SAFETY: the call's own function and arguments.
    let made = unsafe {
        LLVMBuildCall2(
            builder.raw(),
            ty,
            called,
            arguments.as_mut_ptr(),
            count,
            c"".as_ptr(),
        )
    };
    // SAFETY: as above.
    let convention = unsafe { LLVMGetInstructionCallConv(call) };
    // SAFETY: as above.
    unsafe { LLVMSetInstructionCallConv(made, convention) };
    // SAFETY: as above.
    let tail = unsafe { LLVMGetTailCallKind(call) };
    // SAFETY: as above.
    unsafe { LLVMSetTailCallKind(made, tail) };
    for place in [LLVMAttributeFunctionIndex, LLVMAttributeReturnIndex]
        .into_iter()
        .chain(1..=count)
    {
        // SAFETY: as above.
        let count = unsafe { LLVMGetCallSiteAttributeCount(call, place) } as usize;
        let mut attributes = vec![std::ptr::null_mut(); count];
        // SAFETY: room for all of them.
        unsafe { LLVMGetCallSiteAttributes(call, place, attributes.as_mut_ptr()) };
        for attribute in attributes {
            // SAFETY: an attribute of the same context.
            unsafe { LLVMAddCallSiteAttribute(made, place, attribute) };
        }
    }
    // SAFETY: both have the same type.
    unsafe { LLVMReplaceAllUsesWith(call, made) };
    // SAFETY: nothing uses it any more.
    unsafe { LLVMInstructionEraseFromParent(call) };
    made
}
