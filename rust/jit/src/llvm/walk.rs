//! Iteration over what a module holds. Every list is taken whole first, so that its items may be changed on the way.

use inkwell::llvm_sys::core::{
    LLVMGetFirstBasicBlock, LLVMGetFirstFunction, LLVMGetFirstGlobal, LLVMGetFirstInstruction,
    LLVMGetFirstUse, LLVMGetInstructionOpcode, LLVMGetNextBasicBlock, LLVMGetNextFunction,
    LLVMGetNextGlobal, LLVMGetNextInstruction, LLVMGetNextUse, LLVMGetNumOperands, LLVMGetOperand,
    LLVMGetTypeKind, LLVMGetUser, LLVMGetValueName2, LLVMTypeOf,
};
use inkwell::llvm_sys::prelude::{LLVMBasicBlockRef, LLVMModuleRef, LLVMTypeRef, LLVMValueRef};
use inkwell::llvm_sys::{LLVMOpcode, LLVMTypeKind};

/// Follows a list from its first item.
fn list<T>(first: *mut T, next: impl Fn(*mut T) -> *mut T) -> Vec<*mut T> {
    let mut items = Vec::new();
    let mut at = first;
    while !at.is_null() {
        items.push(at);
        at = next(at);
    }
    items
}

/// The functions of a live module.
pub(crate) fn functions(module: LLVMModuleRef) -> Vec<LLVMValueRef> {
    // SAFETY: a live module.
    let first = unsafe { LLVMGetFirstFunction(module) };
    // SAFETY: functions of that module.
    list(first, |function| unsafe { LLVMGetNextFunction(function) })
}

/// The global variables of a live module.
pub(crate) fn globals(module: LLVMModuleRef) -> Vec<LLVMValueRef> {
    // SAFETY: a live module.
    let first = unsafe { LLVMGetFirstGlobal(module) };
    // SAFETY: variables of that module.
    list(first, |global| unsafe { LLVMGetNextGlobal(global) })
}

/// The blocks of a function; none if it is only declared.
fn blocks(function: LLVMValueRef) -> Vec<LLVMBasicBlockRef> {
    // SAFETY: a live function.
    let first = unsafe { LLVMGetFirstBasicBlock(function) };
    // SAFETY: blocks of that function.
    list(first, |block| unsafe { LLVMGetNextBasicBlock(block) })
}

/// The instructions of a function, in order.
pub(crate) fn instructions(function: LLVMValueRef) -> Vec<LLVMValueRef> {
    let mut all = Vec::new();
    for block in blocks(function) {
        // SAFETY: a live block.
        let first = unsafe { LLVMGetFirstInstruction(block) };
        // SAFETY: instructions of that block.
        all.extend(list(first, |instruction| unsafe {
            LLVMGetNextInstruction(instruction)
        }));
    }
    all
}

/// The operands of an instruction or constant; null where LLVM has none to give.
pub(crate) fn operands(user: LLVMValueRef) -> Vec<LLVMValueRef> {
    // SAFETY: a live user of values.
    let count = unsafe { LLVMGetNumOperands(user) };
    // SAFETY: below the count.
    (0..count.max(0) as u32)
        .map(|index| unsafe { LLVMGetOperand(user, index) })
        .collect()
}

/// Who uses a value.
pub(crate) fn uses(value: LLVMValueRef) -> Vec<LLVMValueRef> {
    // SAFETY: a live value.
    let first = unsafe { LLVMGetFirstUse(value) };
    // SAFETY: uses of that value.
    let all = list(first, |at| unsafe { LLVMGetNextUse(at) });
    // SAFETY: as above.
    all.into_iter()
        .map(|at| unsafe { LLVMGetUser(at) })
        .collect()
}

/// What an instruction does.
pub(crate) fn opcode(instruction: LLVMValueRef) -> LLVMOpcode {
    // SAFETY: a live instruction.
    unsafe { LLVMGetInstructionOpcode(instruction) }
}

/// The type of a value.
pub(crate) fn type_of(value: LLVMValueRef) -> LLVMTypeRef {
    // SAFETY: a live value.
    unsafe { LLVMTypeOf(value) }
}

/// The kind of a type.
pub(crate) fn kind(ty: LLVMTypeRef) -> LLVMTypeKind {
    // SAFETY: a live type.
    unsafe { LLVMGetTypeKind(ty) }
}

/// The name of a function or global.
pub(crate) fn name_of(value: LLVMValueRef) -> String {
    let mut length = 0;
    // SAFETY: a live value.
    let name = unsafe { LLVMGetValueName2(value, &raw mut length) };
    if name.is_null() {
        return String::new();
    }
    // SAFETY: so many bytes, which live until the value is renamed.
    let bytes = unsafe { std::slice::from_raw_parts(name.cast::<u8>(), length) };
    String::from_utf8_lossy(bytes).into_owned()
}
