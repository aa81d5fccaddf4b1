//! One function's calls.

use super::builder::{Builder, is_pointer};
use crate::error::{JitError, Refusal};
use crate::llvm::{instructions, name_of, opcode, operands, type_of};
use inkwell::llvm_sys::LLVMOpcode;
use inkwell::llvm_sys::core::LLVMInstructionEraseFromParent;
use inkwell::llvm_sys::core::{
    LLVMAddCallSiteAttribute, LLVMBuildCall2, LLVMGetCallSiteAttributeCount,
    LLVMGetCallSiteAttributes, LLVMGetCalledFunctionType, LLVMGetCalledValue,
    LLVMGetInstructionCallConv, LLVMGetNumArgOperands, LLVMGetNumOperandBundles,
    LLVMGetTailCallKind, LLVMIsAFunction, LLVMIsDeclaration, LLVMReplaceAllUsesWith,
    LLVMSetInstructionCallConv, LLVMSetTailCallKind,
};
use inkwell::llvm_sys::prelude::LLVMValueRef;
use inkwell::llvm_sys::{LLVMAttributeFunctionIndex, LLVMAttributeReturnIndex};

/// Lowers every call in `function`.
pub(super) fn lower_function(
    builder: &Builder<'_>,
    function: LLVMValueRef,
) -> Result<(), JitError> {
    let mut begun = Vec::new();
    for call in instructions(function) {
        if !matches!(opcode(call), LLVMOpcode::LLVMCall) {
            continue;
        }
        convention(function, call)?;
        let call = without_bundles(builder, call);
        match callee(call).as_str() {
            // The end of a region names its beginning, which may come later in the list: beginnings go last.
            "llvm.julia.gc_preserve_begin" => begun.push(call),
            "llvm.julia.gc_preserve_end" | "julia.loopinfo_marker" => builder.erase(call),
            name => lower_call(builder, function, call, name)?,
        }
    }
    for call in begun {
        builder.erase(call);
    }
    Ok(())
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

/// The same call without operand bundles: they root objects for a collector that is not here, and hinder LLVM.
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
