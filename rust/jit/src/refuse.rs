//! What an image may not hold, found before any of it is believed.
//!
//! Shipped code is native code in the end: this is no sandbox. It keeps out what cannot be right on another machine
//! (addresses of the capturing process above all), and what would reach the node by other ways than the table of symbols
//! that it offers.

use crate::error::{JitError, Refusal};
use crate::llvm::{
    Module, functions, globals, instructions, kind, name_of, opcode, operands, uses,
};
use crate::object::is_foreign;
use bitcode_wire::manifest::{Manifest, object_index};
use inkwell::llvm_sys::LLVMOpcode;
use inkwell::llvm_sys::core::{
    LLVMConstIntGetZExtValue, LLVMCountParamTypes, LLVMDeleteFunction, LLVMDeleteGlobal,
    LLVMGetConstOpcode, LLVMGetFirstGlobalAlias, LLVMGetFirstGlobalIFunc, LLVMGetFunctionCallConv,
    LLVMGetGC, LLVMGetInitializer, LLVMGetIntTypeWidth, LLVMGetIntrinsicID, LLVMGetModuleInlineAsm,
    LLVMGetNamedFunction, LLVMGetParamTypes, LLVMGetReturnType, LLVMGetSection,
    LLVMGlobalGetValueType, LLVMHasPersonalityFn, LLVMHasPrefixData, LLVMHasPrologueData,
    LLVMIsAConstant, LLVMIsAConstantExpr, LLVMIsAConstantInt, LLVMIsAFunction,
    LLVMIsAGlobalVariable, LLVMIsAInlineAsm, LLVMIsDeclaration, LLVMIsFunctionVarArg,
    LLVMIsThreadLocal,
};
use inkwell::llvm_sys::prelude::{LLVMTypeRef, LLVMValueRef};
use inkwell::llvm_sys::target::{
    LLVMByteOrder, LLVMByteOrdering, LLVMCreateTargetData, LLVMDisposeTargetData, LLVMPointerSize,
};
use std::collections::HashSet;
use std::ffi::{CStr, CString};

/// The most functions that an image may define.
pub(crate) const MAX_FUNCTIONS: usize = 20_000;
/// The most instructions of an image.
pub(crate) const MAX_INSTRUCTIONS: usize = 2_000_000;
/// Numbers this close to null, from either side, are no addresses.
const NOT_AN_ADDRESS: u64 = 4096;

/// Looks at everything in `module`; drops declarations that nothing uses. Returns those of the manifest's imports that it uses.
pub(crate) fn inspect(
    module: &Module<'_>,
    manifest: &Manifest<'_>,
) -> Result<Vec<String>, JitError> {
    data_layout(module)?;
    whole_module(module)?;
    entry(module, manifest.entry)?;
    let mut walk = Walk {
        seen: HashSet::new(),
    };
    let mut total = 0;
    for global in globals(module.raw()) {
        variable(global, &mut walk)?;
    }
    let all = functions(module.raw());
    if all.len() > MAX_FUNCTIONS {
        return Err(JitError::TooLarge {
            what: "functions",
            found: all.len(),
            limit: MAX_FUNCTIONS,
        });
    }
    for function in all {
        attachments(function)?;
        total += body(function, &mut walk)?;
        if total > MAX_INSTRUCTIONS {
            return Err(JitError::TooLarge {
                what: "instructions",
                found: total,
                limit: MAX_INSTRUCTIONS,
            });
        }
    }
    externals(module, manifest)
}

fn refused(refusal: Refusal) -> JitError {
    JitError::Refused(refusal)
}

/// Little endian, 64-bit pointers: origins of other kinds have other layouts.
fn data_layout(module: &Module<'_>) -> Result<(), JitError> {
    let text = module.data_layout();
    // SAFETY: a layout that LLVM has parsed once already.
    let layout = unsafe { LLVMCreateTargetData(text.as_ptr()) };
    // SAFETY: a live layout.
    let order = unsafe { LLVMByteOrder(layout) };
    // SAFETY: a live layout.
    let pointer = unsafe { LLVMPointerSize(layout) };
    // SAFETY: ours, freed once.
    unsafe { LLVMDisposeTargetData(layout) };
    if matches!(order, LLVMByteOrdering::LLVMLittleEndian) && pointer == 8 {
        return Ok(());
    }
    Err(refused(Refusal::DataLayout {
        layout: text.to_string_lossy().into_owned(),
    }))
}

fn whole_module(module: &Module<'_>) -> Result<(), JitError> {
    let mut length = 0;
    // SAFETY: a live module; writes a local.
    unsafe { LLVMGetModuleInlineAsm(module.raw(), &raw mut length) };
    if length > 0 {
        return Err(refused(Refusal::Assembly {
            place: "the module".into(),
        }));
    }
    // SAFETY: a live module.
    let alias = unsafe { LLVMGetFirstGlobalAlias(module.raw()) };
    // SAFETY: a live module.
    let indirect = unsafe { LLVMGetFirstGlobalIFunc(module.raw()) };
    match [alias, indirect].into_iter().find(|found| !found.is_null()) {
        Some(found) => Err(refused(Refusal::Alias {
            name: name_of(found),
        })),
        None => Ok(()),
    }
}

/// `i32 (i64, i64, i64)`, defined, in C's convention.
fn entry(module: &Module<'_>, name: &str) -> Result<(), JitError> {
    let problem = |problem| {
        Err(refused(Refusal::Entry {
            name: name.into(),
            problem,
        }))
    };
    let Ok(c_name) = CString::new(name) else {
        return problem("has a NUL in its name");
    };
    // SAFETY: a live module, a C string.
    let function = unsafe { LLVMGetNamedFunction(module.raw(), c_name.as_ptr()) };
    // SAFETY: a live function.
    if function.is_null() || unsafe { LLVMIsDeclaration(function) } != 0 {
        return problem("is not defined");
    }
    // SAFETY: a live function.
    let ty = unsafe { LLVMGlobalGetValueType(function) };
    // SAFETY: a function type.
    let count = unsafe { LLVMCountParamTypes(ty) };
    // SAFETY: a function type.
    let variadic = unsafe { LLVMIsFunctionVarArg(ty) } != 0;
    if count != 3 || variadic {
        return problem("does not take three arguments");
    }
    let mut parameters = [std::ptr::null_mut(); 3];
    // SAFETY: room for three.
    unsafe { LLVMGetParamTypes(ty, parameters.as_mut_ptr()) };
    // SAFETY: a function type.
    let result = unsafe { LLVMGetReturnType(ty) };
    // SAFETY: a live function.
    let convention = unsafe { LLVMGetFunctionCallConv(function) };
    if !parameters.iter().all(|ty| is_integer(*ty, 64))
        || !is_integer(result, 32)
        || convention != 0
    {
        return problem("is not of the type i32 (i64, i64, i64)");
    }
    Ok(())
}

fn is_integer(ty: LLVMTypeRef, width: u32) -> bool {
    use inkwell::llvm_sys::LLVMTypeKind::LLVMIntegerTypeKind;
    // SAFETY: an integer type.
    kind(ty) == LLVMIntegerTypeKind && unsafe { LLVMGetIntTypeWidth(ty) } == width
}

fn variable(global: LLVMValueRef, walk: &mut Walk) -> Result<(), JitError> {
    let name = name_of(global);
    if matches!(name.as_str(), "llvm.used" | "llvm.compiler.used") {
        // Says what must be kept: nothing must, but what the entry reaches.
        // SAFETY: nothing can use these two.
        unsafe { LLVMDeleteGlobal(global) };
        return Ok(());
    }
    if name.starts_with("llvm.") {
        return Err(refused(Refusal::Constructor { name }));
    }
    // SAFETY: a live variable.
    if unsafe { LLVMIsThreadLocal(global) } != 0 {
        return Err(refused(Refusal::ThreadLocal { name }));
    }
    section(global, &name)?;
    // SAFETY: a live variable.
    let initial = unsafe { LLVMGetInitializer(global) };
    if initial.is_null() {
        Ok(())
    } else {
        walk.constant(initial, &|| format!("the variable {name}"))
    }
}

fn section(value: LLVMValueRef, name: &str) -> Result<(), JitError> {
    // SAFETY: a live global; the text is the module's.
    let section = unsafe { LLVMGetSection(value) };
    // SAFETY: null or a C string.
    if !section.is_null() && !unsafe { CStr::from_ptr(section) }.is_empty() {
        return Err(refused(Refusal::Attachment {
            name: name.into(),
            what: "a section of its own",
        }));
    }
    Ok(())
}

fn attachments(function: LLVMValueRef) -> Result<(), JitError> {
    let name = name_of(function);
    section(function, &name)?;
    // SAFETY: a live function, in this and the following lines.
    let gc = !unsafe { LLVMGetGC(function) }.is_null();
    // SAFETY: as above.
    let personality = unsafe { LLVMHasPersonalityFn(function) } != 0;
    // SAFETY: as above.
    let prefix = unsafe { LLVMHasPrefixData(function) } != 0;
    // SAFETY: as above.
    let prologue = unsafe { LLVMHasPrologueData(function) } != 0;
    let found = [
        (gc, "a collector"),
        (personality, "a personality"),
        (prefix || prologue, "bytes in front of its code"),
    ];
    match found.into_iter().find(|(has, _)| *has) {
        Some((_, what)) => Err(refused(Refusal::Attachment { name, what })),
        None => Ok(()),
    }
}

/// Looks at every instruction; returns how many there are.
fn body(function: LLVMValueRef, walk: &mut Walk) -> Result<usize, JitError> {
    let all = instructions(function);
    let place = || format!("the function {}", name_of(function));
    for &instruction in &all {
        let opcode = opcode(instruction);
        for operand in operands(instruction) {
            if operand.is_null() {
                continue;
            }
            // SAFETY: a live value.
            if !unsafe { LLVMIsAInlineAsm(operand) }.is_null() {
                return Err(refused(Refusal::Assembly { place: place() }));
            }
            if matches!(opcode, LLVMOpcode::LLVMIntToPtr) {
                address(operand, &place)?;
            }
            walk.constant(operand, &place)?;
        }
    }
    Ok(all.len())
}

/// A number that is made a pointer must not be a constant.
fn address(value: LLVMValueRef, place: &dyn Fn() -> String) -> Result<(), JitError> {
    // SAFETY: a live value.
    if unsafe { LLVMIsAConstantInt(value) }.is_null() {
        return Ok(());
    }
    // SAFETY: a constant integer, of a pointer's width at most.
    let number = unsafe { LLVMConstIntGetZExtValue(value) };
    if number < NOT_AN_ADDRESS || number > NOT_AN_ADDRESS.wrapping_neg() {
        return Ok(());
    }
    Err(refused(Refusal::AbsoluteAddress {
        place: place(),
        address: number,
    }))
}

/// Constants are shared and nested: each is looked at once.
struct Walk {
    seen: HashSet<LLVMValueRef>,
}

impl Walk {
    fn constant(
        &mut self,
        value: LLVMValueRef,
        place: &dyn Fn() -> String,
    ) -> Result<(), JitError> {
        let mut pending = vec![value];
        while let Some(value) = pending.pop() {
            // SAFETY: a live value.
            if value.is_null() || unsafe { LLVMIsAConstant(value) }.is_null() {
                continue;
            }
            // Functions and variables are looked at on their own.
            // SAFETY: a live value.
            let function = !unsafe { LLVMIsAFunction(value) }.is_null();
            // SAFETY: a live value.
            let variable = !unsafe { LLVMIsAGlobalVariable(value) }.is_null();
            if function || variable || !self.seen.insert(value) {
                continue;
            }
            // SAFETY: a live value.
            let expression = !unsafe { LLVMIsAConstantExpr(value) }.is_null();
            // SAFETY: a constant expression.
            let to_pointer = expression
                && matches!(
                    unsafe { LLVMGetConstOpcode(value) },
                    LLVMOpcode::LLVMIntToPtr
                );
            for operand in operands(value) {
                if to_pointer {
                    address(operand, place)?;
                }
                pending.push(operand);
            }
        }
        Ok(())
    }
}

/// Sorts the external symbols; drops the declarations that nothing uses.
fn externals(module: &Module<'_>, manifest: &Manifest<'_>) -> Result<Vec<String>, JitError> {
    let mut imports = Vec::new();
    let mut unnamed = Vec::new();
    for function in functions(module.raw()) {
        // SAFETY: a live function.
        if unsafe { LLVMIsDeclaration(function) } == 0 {
            continue;
        }
        if uses(function).is_empty() {
            // SAFETY: nothing uses it.
            unsafe { LLVMDeleteFunction(function) };
            continue;
        }
        let name = name_of(function);
        if name.starts_with("llvm.") && !name.starts_with("llvm.julia.") {
            // SAFETY: a live function.
            if unsafe { LLVMGetIntrinsicID(function) } == 0 {
                return Err(refused(Refusal::Intrinsic { name }));
            }
            if is_of_another_processor(&name, std::env::consts::ARCH) {
                return Err(JitError::Unsupported(format!(
                    "{name} is an instruction of another processor than {}",
                    std::env::consts::ARCH
                )));
            }
        } else if name.starts_with("julia.") || name.starts_with("llvm.julia.") {
            if !crate::lower::INTRINSICS.contains(&name.as_str()) {
                return Err(refused(Refusal::Intrinsic { name }));
            }
        } else {
            external(name, manifest, &mut imports, &mut unnamed);
        }
    }
    for global in globals(module.raw()) {
        // SAFETY: a live variable.
        if unsafe { LLVMIsDeclaration(global) } == 0 {
            continue;
        }
        if uses(global).is_empty() {
            // SAFETY: nothing uses it.
            unsafe { LLVMDeleteGlobal(global) };
            continue;
        }
        external(name_of(global), manifest, &mut imports, &mut unnamed);
    }
    if unnamed.is_empty() {
        return Ok(imports);
    }
    Err(JitError::Unresolved {
        symbols: unnamed,
        reason: "the manifest does not name",
    })
}

/// LLVM's intrinsics that only some processors have, by the second part of their names.
const PROCESSORS: &[(&str, &str)] = &[
    ("aarch64", "aarch64"),
    ("amdgcn", ""),
    ("arm", ""),
    ("loongarch", ""),
    ("mips", ""),
    ("nvvm", ""),
    ("ppc", ""),
    ("r600", ""),
    ("riscv", ""),
    ("s390", ""),
    ("spv", ""),
    ("ve", ""),
    ("wasm", ""),
    ("x86", "x86_64"),
];

/// LLVM would end the compilation at such a one, much later, with fewer words.
fn is_of_another_processor(intrinsic: &str, arch: &str) -> bool {
    let part = intrinsic.split('.').nth(1);
    PROCESSORS
        .iter()
        .any(|(name, of)| Some(*name) == part && *of != arch)
}

fn external(
    name: String,
    manifest: &Manifest<'_>,
    imports: &mut Vec<String>,
    unnamed: &mut Vec<String>,
) {
    match object_index(&name) {
        Some(index) if (index as usize) < manifest.objects.len() => {}
        None if manifest.imports.contains(&name.as_str()) => imports.push(name),
        None if is_foreign(&name, manifest) => {}
        _ => unnamed.push(name),
    }
}
