//! What a processor can do, asked of LLVM in the one way that its C API leaves open.

use super::{Context, Machine, functions, instructions, name_of, opcode};
use inkwell::llvm_sys::LLVMOpcode;
use std::fmt::Write;

/// Those of `asked` that a processor has which LLVM calls `cpu`, with `features` on top.
///
/// LLVM inlines a function only into one whose features include its own (`areInlineCompatible` of each target). So each feature
/// gets a function that asks for it, called by one that does not, and what is inlined tells.
pub(crate) fn inlinable<'f>(
    machine: &Machine,
    cpu: &str,
    features: &str,
    asked: &[&'f str],
) -> Result<Vec<&'f str>, String> {
    let mut text = String::new();
    for (i, feature) in asked.iter().enumerate() {
        let with = if features.is_empty() {
            format!("+{feature}")
        } else {
            format!("{features},+{feature}")
        };
        writeln!(
            text,
            "define internal i32 @asks.{i}(i32 %x) \"target-cpu\"={cpu:?} \"target-features\"={with:?} {{ ret i32 %x }}
             define i32 @has.{i}() \"target-cpu\"={cpu:?} \"target-features\"={features:?} {{
               %y = call i32 @asks.{i}(i32 {i})
               ret i32 %y
             }}"
        )
        .map_err(|error| error.to_string())?;
    }
    let context = Context::new();
    let module = context.parse_text(&text)?;
    machine.adopt(&module);
    machine.run("cgscc(inline)", &module)?;
    let mut found = Vec::new();
    for function in functions(module.raw()) {
        let name = name_of(function);
        let number = name
            .strip_prefix("has.")
            .and_then(|n| n.parse::<usize>().ok());
        let calls = |instruction: &_| opcode(*instruction) == LLVMOpcode::LLVMCall;
        if let Some(feature) = number.and_then(|number| asked.get(number))
            && !instructions(function).iter().any(calls)
        {
            found.push(*feature);
        }
    }
    Ok(found)
}
