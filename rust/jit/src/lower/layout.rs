//! Structs with 128-bit integers, laid out as they are at the origin.
//!
//! LLVM 9 aligned `i128` to 8 bytes on x86-64, and Julia 1.5 with it; LLVM aligns it to 16 since version 18, and so would
//! place the fields of `{i64, i128}` elsewhere than the origin's Julia did. So before an image is taken for one of this
//! machine, every access that depends on such a layout is written in bytes: element pointers with computed offsets, loads
//! and stores of whole structs field by field, stack slots and constants with the origin's size.

use super::builder::Builder;
use crate::error::JitError;
use crate::llvm::{
    Module, functions, globals, instructions, kind, name_of, opcode, operands, type_of, uses,
};
use inkwell::llvm_sys::core::{
    LLVMAddGlobal, LLVMBuildAdd, LLVMBuildAlloca, LLVMBuildExtractValue, LLVMBuildGEP2,
    LLVMBuildInsertValue, LLVMBuildLoad2, LLVMBuildMul, LLVMBuildSExt, LLVMBuildStore,
    LLVMBuildTrunc, LLVMConstGEP2, LLVMConstInt, LLVMConstIntGetSExtValue, LLVMConstNull,
    LLVMConstStructInContext, LLVMCountStructElementTypes, LLVMDeleteGlobal,
    LLVMGetAggregateElement, LLVMGetAlignment, LLVMGetAllocatedType, LLVMGetArrayLength2,
    LLVMGetElementType, LLVMGetGEPSourceElementType, LLVMGetInitializer, LLVMGetIntTypeWidth,
    LLVMGetUndef, LLVMGetVolatile, LLVMGlobalGetValueType, LLVMIsAConstantExpr, LLVMIsAConstantInt,
    LLVMIsDeclaration, LLVMIsGlobalConstant, LLVMReplaceAllUsesWith, LLVMSetAlignment,
    LLVMSetGlobalConstant, LLVMSetInitializer, LLVMSetLinkage, LLVMSetValueName2, LLVMSetVolatile,
    LLVMStructGetTypeAtIndex,
};
use inkwell::llvm_sys::prelude::{LLVMTypeRef, LLVMValueRef};
use inkwell::llvm_sys::target::{
    LLVMABISizeOfType, LLVMCreateTargetData, LLVMDisposeTargetData, LLVMOffsetOfElement,
    LLVMTargetDataRef,
};
use inkwell::llvm_sys::{LLVMLinkage, LLVMOpcode, LLVMTypeKind};
use std::collections::HashSet;
use std::ffi::CString;
use std::ptr;

/// Rewrites `module`, if anything in it depends on where a 128-bit integer lies.
pub(super) fn keep_origins_layout(
    builder: &Builder<'_>,
    module: &Module<'_>,
) -> Result<(), JitError> {
    let layout = module.data_layout().to_string_lossy().into_owned();
    let Some(layouts) = Layouts::new(&layout) else {
        return Ok(());
    };
    let rewriter = Rewriter {
        builder,
        module,
        layouts,
    };
    rewriter.variables()?;
    for function in functions(module.raw()) {
        for instruction in instructions(function) {
            rewriter.instruction(function, instruction)?;
        }
    }
    Ok(())
}

/// The origin's layout beside the one that LLVM took the module's for.
struct Layouts {
    origin: LLVMTargetDataRef,
    upgraded: LLVMTargetDataRef,
}

impl Layouts {
    /// None if both are the same.
    fn new(text: &str) -> Option<Self> {
        let old = text.replace("-i128:128", "-i128:64");
        if old == text {
            return None;
        }
        let data = |text: &str| {
            let text = CString::new(text).ok()?;
            // SAFETY: a layout that LLVM has parsed, or one that differs from it in a number.
            Some(unsafe { LLVMCreateTargetData(text.as_ptr()) })
        };
        Some(Self {
            origin: data(&old)?,
            upgraded: data(text)?,
        })
    }

    /// Bytes from one element of an array to the next, at the origin.
    fn size(&self, ty: LLVMTypeRef) -> u64 {
        // SAFETY: a live layout, a sized type.
        unsafe { LLVMABISizeOfType(self.origin, ty) }
    }

    fn offset(&self, ty: LLVMTypeRef, index: u32) -> u64 {
        // SAFETY: a live layout, a struct type, one of its fields.
        unsafe { LLVMOffsetOfElement(self.origin, ty, index) }
    }

    /// Does this type have another layout now?
    fn differs(&self, ty: LLVMTypeRef) -> bool {
        match kind(ty) {
            LLVMTypeKind::LLVMStructTypeKind => {
                let fields = fields(ty);
                fields.iter().any(|field| contains_wide(*field)) && {
                    // SAFETY: live layouts, a sized type.
                    let resized = unsafe { LLVMABISizeOfType(self.upgraded, ty) } != self.size(ty);
                    let moved = |i: u32| {
                        // SAFETY: as above, and one of its fields.
                        let now = unsafe { LLVMOffsetOfElement(self.upgraded, ty, i) };
                        now != self.offset(ty, i)
                    };
                    resized
                        || (0..fields.len() as u32).any(moved)
                        || fields.iter().any(|field| self.differs(*field))
                }
            }
            LLVMTypeKind::LLVMArrayTypeKind => self.differs(element(ty)),
            _ => false,
        }
    }
}

impl Drop for Layouts {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisposeTargetData(self.origin) };
        // SAFETY: owned.
        unsafe { LLVMDisposeTargetData(self.upgraded) };
    }
}

fn element(ty: LLVMTypeRef) -> LLVMTypeRef {
    // SAFETY: an array type.
    unsafe { LLVMGetElementType(ty) }
}

fn fields(ty: LLVMTypeRef) -> Vec<LLVMTypeRef> {
    // SAFETY: a struct type.
    let count = unsafe { LLVMCountStructElementTypes(ty) };
    // SAFETY: one of its fields.
    (0..count)
        .map(|i| unsafe { LLVMStructGetTypeAtIndex(ty, i) })
        .collect()
}

/// Is there a 128-bit integer anywhere inside?
fn contains_wide(ty: LLVMTypeRef) -> bool {
    match kind(ty) {
        // SAFETY: an integer type.
        LLVMTypeKind::LLVMIntegerTypeKind => unsafe { LLVMGetIntTypeWidth(ty) == 128 },
        LLVMTypeKind::LLVMStructTypeKind => fields(ty).into_iter().any(contains_wide),
        LLVMTypeKind::LLVMArrayTypeKind => contains_wide(element(ty)),
        _ => false,
    }
}

/// Accesses whose alignment the origin left to its layout were read with the new one's.
fn limit_alignment(access: LLVMValueRef, ty: LLVMTypeRef) {
    // SAFETY: a load or store.
    if contains_wide(ty) && unsafe { LLVMGetAlignment(access) } > 8 {
        // SAFETY: as above.
        unsafe { LLVMSetAlignment(access, 8) };
    }
}

/// A field of an aggregate that is no aggregate itself.
struct Leaf {
    path: Vec<u32>,
    ty: LLVMTypeRef,
    offset: u64,
}

struct Rewriter<'a> {
    builder: &'a Builder<'a>,
    module: &'a Module<'a>,
    layouts: Layouts,
}

impl Rewriter<'_> {
    fn instruction(
        &self,
        function: LLVMValueRef,
        instruction: LLVMValueRef,
    ) -> Result<(), JitError> {
        for operand in operands(instruction) {
            self.constant_pointer(operand)?;
        }
        match opcode(instruction) {
            LLVMOpcode::LLVMGetElementPtr => self.element_pointer(instruction),
            LLVMOpcode::LLVMAlloca => self.slot(instruction),
            LLVMOpcode::LLVMLoad => self.load(instruction),
            LLVMOpcode::LLVMStore => self.store(instruction),
            LLVMOpcode::LLVMCall => Ok(()),
            _ if self.layouts.differs(type_of(instruction)) => self.whole(function, instruction),
            _ => Ok(()),
        }
    }

    /// Values in registers have no layout; only what moves them through memory does.
    fn whole(&self, function: LLVMValueRef, instruction: LLVMValueRef) -> Result<(), JitError> {
        let opcode = opcode(instruction);
        let harmless = matches!(
            opcode,
            LLVMOpcode::LLVMInsertValue
                | LLVMOpcode::LLVMExtractValue
                | LLVMOpcode::LLVMPHI
                | LLVMOpcode::LLVMSelect
        );
        if harmless || matches!(opcode, LLVMOpcode::LLVMFreeze) {
            return Ok(());
        }
        let place = name_of(function);
        Err(JitError::Unsupported(format!(
            "{place} has an operation on a struct with a 128-bit integer that a node does not know"
        )))
    }

    /// `getelementptr T, p, i, j…` → `getelementptr i8, p, bytes`.
    fn element_pointer(&self, pointer: LLVMValueRef) -> Result<(), JitError> {
        // SAFETY: an element pointer.
        let ty = unsafe { LLVMGetGEPSourceElementType(pointer) };
        if !self.layouts.differs(ty) {
            return Ok(());
        }
        let parts = operands(pointer);
        self.builder.before(pointer);
        let bytes = self.bytes(ty, &parts[1..])?;
        let mut indices = [bytes];
        // SAFETY: a pointer and an integer.
        let made = unsafe {
            LLVMBuildGEP2(
                self.builder.raw(),
                self.builder.byte(),
                parts[0],
                indices.as_mut_ptr(),
                1,
                c"".as_ptr(),
            )
        };
        self.builder.replace(pointer, made);
        Ok(())
    }

    /// The distance that indices mean, as code.
    fn bytes(&self, ty: LLVMTypeRef, indices: &[LLVMValueRef]) -> Result<LLVMValueRef, JitError> {
        let word = self.builder.word();
        let constant = |number: u64| {
            // SAFETY: an integer type.
            unsafe { LLVMConstInt(word, number, 0) }
        };
        let mut sum = constant(0);
        let mut at = None;
        for &index in indices {
            let step = match at {
                None => {
                    at = Some(ty);
                    self.scaled(index, self.layouts.size(ty))?
                }
                Some(inside) if matches!(kind(inside), LLVMTypeKind::LLVMStructTypeKind) => {
                    // SAFETY: a constant: fields are named by nothing else.
                    let field = unsafe { LLVMConstIntGetSExtValue(index) } as u32;
                    // SAFETY: one of its fields.
                    at = Some(unsafe { LLVMStructGetTypeAtIndex(inside, field) });
                    constant(self.layouts.offset(inside, field))
                }
                Some(inside) => {
                    let next = element(inside);
                    at = Some(next);
                    self.scaled(index, self.layouts.size(next))?
                }
            };
            // SAFETY: two integers of one type.
            sum = unsafe { LLVMBuildAdd(self.builder.raw(), sum, step, c"".as_ptr()) };
        }
        Ok(sum)
    }

    /// `index * bytes`, as a word.
    fn scaled(&self, index: LLVMValueRef, bytes: u64) -> Result<LLVMValueRef, JitError> {
        let word = self.builder.word();
        let ty = type_of(index);
        if !matches!(kind(ty), LLVMTypeKind::LLVMIntegerTypeKind) {
            return Err(JitError::Unsupported(
                "vectors of pointers into structs with 128-bit integers".into(),
            ));
        }
        // SAFETY: an integer type.
        let width = unsafe { LLVMGetIntTypeWidth(ty) };
        let raw = self.builder.raw();
        let index = match width {
            64 => index,
            // SAFETY: an integer made wider.
            width if width < 64 => unsafe { LLVMBuildSExt(raw, index, word, c"".as_ptr()) },
            // SAFETY: an integer made narrower.
            _ => unsafe { LLVMBuildTrunc(raw, index, word, c"".as_ptr()) },
        };
        // SAFETY: an integer type.
        let bytes = unsafe { LLVMConstInt(word, bytes, 0) };
        // SAFETY: two integers of one type.
        Ok(unsafe { LLVMBuildMul(raw, index, bytes, c"".as_ptr()) })
    }

    /// A stack slot of the origin's size.
    fn slot(&self, slot: LLVMValueRef) -> Result<(), JitError> {
        // SAFETY: an alloca.
        let ty = unsafe { LLVMGetAllocatedType(slot) };
        if !self.layouts.differs(ty) {
            return Ok(());
        }
        // SAFETY: a live value.
        let count =
            operands(slot)
                .first()
                .map_or(1, |count| match unsafe { LLVMIsAConstantInt(*count) } {
                    number if number.is_null() => 0,
                    // SAFETY: a constant.
                    number => unsafe { LLVMConstIntGetSExtValue(number) }.max(0) as u64,
                });
        if count == 0 {
            return Err(JitError::Unsupported(
                "a stack array of structs with 128-bit integers".into(),
            ));
        }
        self.builder.before(slot);
        let bytes = self
            .builder
            .bytes_type(self.layouts.size(ty).saturating_mul(count));
        // SAFETY: the builder stands where the slot was.
        let made = unsafe { LLVMBuildAlloca(self.builder.raw(), bytes, c"".as_ptr()) };
        // SAFETY: an alloca.
        let align = unsafe { LLVMGetAlignment(slot) };
        // SAFETY: an alloca.
        unsafe { LLVMSetAlignment(made, align.max(16)) };
        self.builder.replace(slot, made);
        Ok(())
    }

    fn leaves(&self, ty: LLVMTypeRef, offset: u64, path: &mut Vec<u32>, found: &mut Vec<Leaf>) {
        let parts: Vec<_> = match kind(ty) {
            LLVMTypeKind::LLVMStructTypeKind => fields(ty)
                .into_iter()
                .zip(0..)
                .map(|(field, i)| (field, self.layouts.offset(ty, i)))
                .collect(),
            LLVMTypeKind::LLVMArrayTypeKind => {
                let each = element(ty);
                // SAFETY: an array type.
                let count = unsafe { LLVMGetArrayLength2(ty) };
                (0..count)
                    .map(|i| (each, i * self.layouts.size(each)))
                    .collect()
            }
            _ => {
                return found.push(Leaf {
                    path: path.clone(),
                    ty,
                    offset,
                });
            }
        };
        for ((part, at), i) in parts.into_iter().zip(0..) {
            path.push(i);
            self.leaves(part, offset + at, path, found);
            path.pop();
        }
    }

    fn leaf_pointer(&self, base: LLVMValueRef, leaf: &Leaf) -> LLVMValueRef {
        // SAFETY: an integer type.
        let mut offset = [unsafe { LLVMConstInt(self.builder.word(), leaf.offset, 0) }];
        // SAFETY: a pointer and an integer.
        unsafe {
            LLVMBuildGEP2(
                self.builder.raw(),
                self.builder.byte(),
                base,
                offset.as_mut_ptr(),
                1,
                c"".as_ptr(),
            )
        }
    }

    /// What is known of a field's alignment: the struct's, as far as its place allows.
    fn leaf_alignment(access: LLVMValueRef, leaf: &Leaf) -> u32 {
        // SAFETY: a load or store. The origin's structs are aligned to 8 at most.
        let whole = unsafe { LLVMGetAlignment(access) }.clamp(1, 8);
        if leaf.offset == 0 {
            whole
        } else {
            whole.min(1 << leaf.offset.trailing_zeros().min(3))
        }
    }

    /// Gives an access to a field what the access to the struct had.
    fn copy_access(whole: LLVMValueRef, part: LLVMValueRef, leaf: &Leaf) {
        // SAFETY: a load or store, in every line.
        unsafe { LLVMSetAlignment(part, Self::leaf_alignment(whole, leaf)) };
        // SAFETY: as above.
        let volatile = unsafe { LLVMGetVolatile(whole) };
        // SAFETY: as above.
        unsafe { LLVMSetVolatile(part, volatile) };
    }

    fn load(&self, load: LLVMValueRef) -> Result<(), JitError> {
        let ty = type_of(load);
        if !self.layouts.differs(ty) {
            limit_alignment(load, ty);
            return Ok(());
        }
        let base = operands(load)[0];
        self.builder.before(load);
        let mut leaves = Vec::new();
        self.leaves(ty, 0, &mut Vec::new(), &mut leaves);
        // SAFETY: a type that has values.
        let mut whole = unsafe { LLVMGetUndef(ty) };
        for leaf in &leaves {
            let from = self.leaf_pointer(base, leaf);
            // SAFETY: a pointer to a value of that type.
            let part = unsafe { LLVMBuildLoad2(self.builder.raw(), leaf.ty, from, c"".as_ptr()) };
            Self::copy_access(load, part, leaf);
            whole = self.insert(whole, part, &leaf.path);
        }
        self.builder.replace(load, whole);
        Ok(())
    }

    fn store(&self, store: LLVMValueRef) -> Result<(), JitError> {
        let parts = operands(store);
        let (value, base) = (parts[0], parts[1]);
        let ty = type_of(value);
        if !self.layouts.differs(ty) {
            limit_alignment(store, ty);
            return Ok(());
        }
        self.builder.before(store);
        let mut leaves = Vec::new();
        self.leaves(ty, 0, &mut Vec::new(), &mut leaves);
        for leaf in &leaves {
            let part = self.extract(value, &leaf.path);
            let to = self.leaf_pointer(base, leaf);
            // SAFETY: a pointer to room for the value.
            let made = unsafe { LLVMBuildStore(self.builder.raw(), part, to) };
            Self::copy_access(store, made, leaf);
        }
        self.builder.erase(store);
        Ok(())
    }

    /// LLVM's C API inserts one level at a time.
    fn insert(&self, whole: LLVMValueRef, part: LLVMValueRef, path: &[u32]) -> LLVMValueRef {
        let Some((&first, rest)) = path.split_first() else {
            return part;
        };
        let inner = if rest.is_empty() {
            part
        } else {
            self.insert(self.extract(whole, &[first]), part, rest)
        };
        // SAFETY: an aggregate and one of its parts.
        unsafe { LLVMBuildInsertValue(self.builder.raw(), whole, inner, first, c"".as_ptr()) }
    }

    fn extract(&self, whole: LLVMValueRef, path: &[u32]) -> LLVMValueRef {
        path.iter().fold(whole, |value, index| {
            // SAFETY: an aggregate that has this part.
            unsafe { LLVMBuildExtractValue(self.builder.raw(), value, *index, c"".as_ptr()) }
        })
    }

    /// Constants whose type has another layout now: the same bytes with the padding spelt out.
    fn variables(&self) -> Result<(), JitError> {
        for global in globals(self.module.raw()) {
            // SAFETY: a live variable.
            let ty = unsafe { LLVMGlobalGetValueType(global) };
            // SAFETY: a live variable.
            if unsafe { LLVMIsDeclaration(global) } != 0 || !self.layouts.differs(ty) {
                continue;
            }
            self.pointers_into(global)?;
            // SAFETY: a defined variable.
            let initial = unsafe { LLVMGetInitializer(global) };
            let spelt = self.spelt_out(initial);
            let name = CString::new(name_of(global)).unwrap_or_default();
            // SAFETY: a live module, a constant's type.
            let made = unsafe { LLVMAddGlobal(self.module.raw(), type_of(spelt), c"".as_ptr()) };
            // SAFETY: a variable and a constant of its type.
            unsafe { LLVMSetInitializer(made, spelt) };
            // SAFETY: live variables, in every line from here.
            unsafe { LLVMSetLinkage(made, LLVMLinkage::LLVMInternalLinkage) };
            // SAFETY: as above.
            let constant = unsafe { LLVMIsGlobalConstant(global) };
            // SAFETY: as above.
            unsafe { LLVMSetGlobalConstant(made, constant) };
            // SAFETY: as above.
            unsafe { LLVMSetAlignment(made, 16) };
            // SAFETY: as above: both are pointers.
            unsafe { LLVMReplaceAllUsesWith(global, made) };
            // SAFETY: nothing uses it any more.
            unsafe { LLVMDeleteGlobal(global) };
            // SAFETY: as above.
            unsafe { LLVMSetValueName2(made, name.as_ptr(), name.as_bytes().len()) };
        }
        Ok(())
    }

    /// A packed struct: every field, and the bytes between them.
    fn spelt_out(&self, value: LLVMValueRef) -> LLVMValueRef {
        let ty = type_of(value);
        let mut leaves = Vec::new();
        self.leaves(ty, 0, &mut Vec::new(), &mut leaves);
        let mut parts = Vec::new();
        let mut at = 0;
        let padding = |parts: &mut Vec<LLVMValueRef>, bytes: u64| {
            if bytes > 0 {
                // SAFETY: a type that has values.
                parts.push(unsafe { LLVMConstNull(self.builder.bytes_type(bytes)) });
            }
        };
        for leaf in &leaves {
            padding(&mut parts, leaf.offset - at);
            let part = leaf.path.iter().fold(value, |value, index| {
                // SAFETY: a constant aggregate that has this part.
                unsafe { LLVMGetAggregateElement(value, *index) }
            });
            parts.push(part);
            at = leaf.offset + self.layouts.size(leaf.ty);
        }
        padding(&mut parts, self.layouts.size(ty) - at);
        // SAFETY: constants of one context.
        unsafe {
            LLVMConstStructInContext(
                self.builder.context().raw(),
                parts.as_mut_ptr(),
                parts.len() as u32,
                1,
            )
        }
    }

    /// Constant element pointers that start at this variable.
    fn pointers_into(&self, global: LLVMValueRef) -> Result<(), JitError> {
        for user in uses(global).into_iter().collect::<HashSet<_>>() {
            self.constant_pointer(user)?;
        }
        Ok(())
    }

    /// `getelementptr` as a constant.
    fn constant_pointer(&self, value: LLVMValueRef) -> Result<(), JitError> {
        use inkwell::llvm_sys::core::LLVMGetConstOpcode;
        // SAFETY: a live value.
        if value.is_null() || unsafe { LLVMIsAConstantExpr(value) }.is_null() {
            return Ok(());
        }
        for operand in operands(value) {
            self.constant_pointer(operand)?;
        }
        // SAFETY: a constant expression.
        let opcode = unsafe { LLVMGetConstOpcode(value) };
        if !matches!(opcode, LLVMOpcode::LLVMGetElementPtr) {
            return Ok(());
        }
        // SAFETY: an element pointer.
        let ty = unsafe { LLVMGetGEPSourceElementType(value) };
        if !self.layouts.differs(ty) {
            return Ok(());
        }
        let parts = operands(value);
        let mut offset = [self.constant_bytes(ty, &parts[1..])];
        // SAFETY: a constant pointer and a constant integer.
        let made = unsafe { LLVMConstGEP2(self.builder.byte(), parts[0], offset.as_mut_ptr(), 1) };
        if !ptr::eq(made, value) {
            // SAFETY: both are constant pointers.
            unsafe { LLVMReplaceAllUsesWith(value, made) };
        }
        Ok(())
    }

    /// The distance that constant indices mean.
    fn constant_bytes(&self, ty: LLVMTypeRef, indices: &[LLVMValueRef]) -> LLVMValueRef {
        let mut sum = 0_i64;
        let mut at = None;
        for &index in indices {
            // SAFETY: the indices of a constant are constants.
            let number = unsafe { LLVMConstIntGetSExtValue(index) };
            sum = sum.wrapping_add(match at {
                None => {
                    at = Some(ty);
                    number.wrapping_mul(self.layouts.size(ty) as i64)
                }
                Some(inside) if matches!(kind(inside), LLVMTypeKind::LLVMStructTypeKind) => {
                    // SAFETY: one of its fields.
                    at = Some(unsafe { LLVMStructGetTypeAtIndex(inside, number as u32) });
                    self.layouts.offset(inside, number as u32) as i64
                }
                Some(inside) => {
                    let next = element(inside);
                    at = Some(next);
                    number.wrapping_mul(self.layouts.size(next) as i64)
                }
            });
        }
        // SAFETY: an integer type.
        unsafe { LLVMConstInt(self.builder.word(), sum as u64, 1) }
    }
}
