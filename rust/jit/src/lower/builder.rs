//! Making instructions: calls of the prelude's functions and of the runtime's, with the casts that they need.

use crate::llvm::{Context, Module};
use bitcode_runtime::thread::HANDLER_BYTES;
use inkwell::llvm_sys::core::{
    LLVMAddAttributeAtIndex, LLVMAddFunction, LLVMArrayType2, LLVMBuildAddrSpaceCast,
    LLVMBuildAlloca, LLVMBuildCall2, LLVMConstInt, LLVMCountParamTypes, LLVMCreateBuilderInContext,
    LLVMCreateEnumAttribute, LLVMCreateStringAttribute, LLVMDisposeBuilder, LLVMFunctionType,
    LLVMGetAttributeCountAtIndex, LLVMGetAttributesAtIndex, LLVMGetEntryBasicBlock,
    LLVMGetEnumAttributeKindForName, LLVMGetFirstInstruction, LLVMGetNamedFunction,
    LLVMGetTypeKind, LLVMGetUndef, LLVMGlobalGetValueType, LLVMInstructionEraseFromParent,
    LLVMInt8TypeInContext, LLVMInt32TypeInContext, LLVMInt64TypeInContext,
    LLVMPointerTypeInContext, LLVMPositionBuilderBefore, LLVMReplaceAllUsesWith, LLVMSetAlignment,
    LLVMTypeOf,
};
use inkwell::llvm_sys::prelude::{LLVMAttributeRef, LLVMBuilderRef, LLVMTypeRef, LLVMValueRef};
use inkwell::llvm_sys::{LLVMAttributeFunctionIndex, LLVMAttributeReturnIndex, LLVMTypeKind};
use std::ffi::CString;

/// An attribute without a value.
pub(crate) fn flag_attribute(context: &Context, name: &str) -> LLVMAttributeRef {
    // SAFETY: the name and its length.
    let kind = unsafe { LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len()) };
    // SAFETY: a live context.
    unsafe { LLVMCreateEnumAttribute(context.raw(), kind, 0) }
}

/// An attribute that the code generator knows by its text.
pub(crate) fn text_attribute(context: &Context, key: &str, value: &str) -> LLVMAttributeRef {
    let (key, value) = (key.as_bytes(), value.as_bytes());
    // SAFETY: a live context, two texts with their lengths.
    unsafe {
        LLVMCreateStringAttribute(
            context.raw(),
            key.as_ptr().cast(),
            key.len() as u32,
            value.as_ptr().cast(),
            value.len() as u32,
        )
    }
}

/// Places instructions in one module.
pub(super) struct Builder<'a> {
    raw: LLVMBuilderRef,
    context: &'a Context,
    module: &'a Module<'a>,
    prelude: &'a Module<'a>,
    pub(super) pointer: LLVMTypeRef,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        context: &'a Context,
        module: &'a Module<'a>,
        prelude: &'a Module<'a>,
    ) -> Self {
        // SAFETY: a live context.
        let raw = unsafe { LLVMCreateBuilderInContext(context.raw()) };
        // SAFETY: a live context.
        let pointer = unsafe { LLVMPointerTypeInContext(context.raw(), 0) };
        Self {
            raw,
            context,
            module,
            prelude,
            pointer,
        }
    }

    pub(super) fn context(&self) -> &Context {
        self.context
    }

    /// The type of a byte.
    pub(super) fn byte(&self) -> LLVMTypeRef {
        // SAFETY: a live context.
        unsafe { LLVMInt8TypeInContext(self.context.raw()) }
    }

    /// The type of a word.
    pub(super) fn word(&self) -> LLVMTypeRef {
        // SAFETY: a live context.
        unsafe { LLVMInt64TypeInContext(self.context.raw()) }
    }

    /// The type of so many bytes.
    pub(super) fn bytes_type(&self, count: u64) -> LLVMTypeRef {
        // SAFETY: a type of this context.
        unsafe { LLVMArrayType2(self.byte(), count) }
    }

    /// What is built next comes before `instruction`.
    pub(super) fn before(&self, instruction: LLVMValueRef) {
        // SAFETY: a live builder and instruction.
        unsafe { LLVMPositionBuilderBefore(self.raw, instruction) };
    }

    /// The prelude's function of this name, declared in the module with the prelude's attributes.
    fn declared(&self, name: &str) -> (LLVMValueRef, LLVMTypeRef) {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: a live module, a C string.
        let model = unsafe { LLVMGetNamedFunction(self.prelude.raw(), name.as_ptr()) };
        // SAFETY: a live function.
        let ty = unsafe { LLVMGlobalGetValueType(model) };
        // SAFETY: a live module, a C string.
        let there = unsafe { LLVMGetNamedFunction(self.module.raw(), name.as_ptr()) };
        if !there.is_null() {
            return (there, ty);
        }
        // SAFETY: as above.
        let made = unsafe { LLVMAddFunction(self.module.raw(), name.as_ptr(), ty) };
        // SAFETY: a function type.
        let parameters = unsafe { LLVMCountParamTypes(ty) };
        let places = [LLVMAttributeFunctionIndex, LLVMAttributeReturnIndex]
            .into_iter()
            .chain(1..=parameters);
        for place in places {
            // SAFETY: a live function.
            let count = unsafe { LLVMGetAttributeCountAtIndex(model, place) } as usize;
            let mut attributes = vec![std::ptr::null_mut(); count];
            // SAFETY: room for all of them.
            unsafe { LLVMGetAttributesAtIndex(model, place, attributes.as_mut_ptr()) };
            for attribute in attributes {
                // SAFETY: a live function; the attribute belongs to the same context.
                unsafe { LLVMAddAttributeAtIndex(made, place, attribute) };
            }
        }
        (made, ty)
    }

    /// Calls a function of the prelude.
    pub(super) fn call(&self, name: &str, arguments: &[LLVMValueRef]) -> LLVMValueRef {
        let (function, ty) = self.declared(name);
        let mut arguments: Vec<_> = arguments
            .iter()
            .map(|argument| self.plain(*argument))
            .collect();
        // SAFETY: the arguments are those that the prelude's function takes.
        unsafe {
            LLVMBuildCall2(
                self.raw,
                ty,
                function,
                arguments.as_mut_ptr(),
                arguments.len() as u32,
                c"".as_ptr(),
            )
        }
    }

    /// A pointer of address space 0 for one of any.
    fn plain(&self, value: LLVMValueRef) -> LLVMValueRef {
        self.cast(value, self.pointer)
    }

    /// A pointer of the type's address space.
    pub(super) fn cast(&self, value: LLVMValueRef, ty: LLVMTypeRef) -> LLVMValueRef {
        // SAFETY: a live value.
        let from = unsafe { LLVMTypeOf(value) };
        if !is_pointer(from) || !is_pointer(ty) || from == ty {
            return value;
        }
        // SAFETY: both are pointers of different address spaces.
        unsafe { LLVMBuildAddrSpaceCast(self.raw, value, ty, c"".as_ptr()) }
    }

    /// The state of the thread.
    pub(super) fn thread(&self) -> LLVMValueRef {
        self.call("bc.thread", &[])
    }

    /// Room for a handler, in the frame of `function`.
    pub(super) fn handler(&self, function: LLVMValueRef) -> LLVMValueRef {
        // SAFETY: a live, defined function.
        let block = unsafe { LLVMGetEntryBasicBlock(function) };
        // SAFETY: a live block.
        let first = unsafe { LLVMGetFirstInstruction(block) };
        self.before(first);
        let memory = self.bytes_type(HANDLER_BYTES as u64);
        // SAFETY: the builder stands in the function's first block.
        let made = unsafe { LLVMBuildAlloca(self.raw, memory, c"".as_ptr()) };
        // SAFETY: an alloca.
        unsafe { LLVMSetAlignment(made, 16) };
        made
    }

    /// `setjmp(handler)`, which LLVM knows to return twice.
    pub(super) fn setjmp(&self, handler: LLVMValueRef) -> LLVMValueRef {
        let name = c"bc_setjmp";
        // SAFETY: a live context.
        let int = unsafe { LLVMInt32TypeInContext(self.context.raw()) };
        let mut parameters = [self.pointer, int];
        // SAFETY: types of this context.
        let ty = unsafe { LLVMFunctionType(int, parameters.as_mut_ptr(), 2, 0) };
        // SAFETY: a live module, a C string.
        let mut function = unsafe { LLVMGetNamedFunction(self.module.raw(), name.as_ptr()) };
        if function.is_null() {
            // SAFETY: as above.
            function = unsafe { LLVMAddFunction(self.module.raw(), name.as_ptr(), ty) };
            let attribute = flag_attribute(self.context, "returns_twice");
            // SAFETY: a live function.
            unsafe { LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute) };
        }
        // SAFETY: a type of this context.
        let zero = unsafe { LLVMConstInt(int, 0, 0) };
        let mut arguments = [handler, zero];
        // SAFETY: the arguments are those that the function takes.
        unsafe {
            LLVMBuildCall2(
                self.raw,
                ty,
                function,
                arguments.as_mut_ptr(),
                2,
                c"".as_ptr(),
            )
        }
    }

    /// Puts `new` where `old` was used, and removes `old`.
    pub(super) fn replace(&self, old: LLVMValueRef, new: LLVMValueRef) {
        // SAFETY: a live value.
        let ty = unsafe { LLVMTypeOf(old) };
        let new = self.cast(new, ty);
        // SAFETY: both have the same type.
        unsafe { LLVMReplaceAllUsesWith(old, new) };
        self.erase(old);
    }

    /// Removes an instruction; what used it, uses nothing.
    pub(super) fn erase(&self, old: LLVMValueRef) {
        // SAFETY: a live value.
        let ty = unsafe { LLVMTypeOf(old) };
        // SAFETY: a live type.
        let kind = unsafe { LLVMGetTypeKind(ty) };
        if !matches!(
            kind,
            LLVMTypeKind::LLVMVoidTypeKind | LLVMTypeKind::LLVMTokenTypeKind
        ) {
            // SAFETY: a type that has values.
            let nothing = unsafe { LLVMGetUndef(ty) };
            // SAFETY: both have the same type.
            unsafe { LLVMReplaceAllUsesWith(old, nothing) };
        }
        // SAFETY: an instruction that nothing uses.
        unsafe { LLVMInstructionEraseFromParent(old) };
    }

    pub(super) fn raw(&self) -> LLVMBuilderRef {
        self.raw
    }
}

impl Drop for Builder<'_> {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisposeBuilder(self.raw) };
    }
}

/// Is this a pointer type, in whatever address space?
pub(super) fn is_pointer(ty: LLVMTypeRef) -> bool {
    // SAFETY: a live type.
    let kind = unsafe { LLVMGetTypeKind(ty) };
    matches!(kind, LLVMTypeKind::LLVMPointerTypeKind)
}
