//! Archives of functions written by hand in LLVM's language, as capture would make them of Julia's.

use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::manifest::Manifest;
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;

const HEAD: &str = r#"
target datalayout = "e-m:e-i64:64-f80:128-n8:16:32:64-S128"
declare i64 @bc_result(i64, i64)
define internal ptr @result(i64 %call, i64 %length) alwaysinline {
  %address = call i64 @bc_result(i64 %call, i64 %length)
  %place = inttoptr i64 %address to ptr
  ret ptr %place
}
define internal i64 @word(i64 %payload) alwaysinline {
  %at = inttoptr i64 %payload to ptr
  %x = load i64, ptr %at
  ret i64 %x
}
"#;

/// A word more than the word in the payload.
pub(crate) const ADD_ONE: &str = r#"
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
  %x = call i64 @word(i64 %payload)
  %y = add i64 %x, 1
  %to = call ptr @result(i64 %call, i64 8)
  store i64 %y, ptr %to
  ret i32 0
}
"#;

/// The payload.
pub(crate) const ECHO: &str = r#"
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
  %from = inttoptr i64 %payload to ptr
  %to = call ptr @result(i64 %call, i64 %length)
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %length, i1 false)
  ret i32 0
}
"#;

/// Counts up to the word in the payload, one step of a nanosecond or so each, and returns it. For ever if it is negative.
pub(crate) const COUNT: &str = r#"
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
start:
  %place = alloca i64
  %limit = call i64 @word(i64 %payload)
  store volatile i64 0, ptr %place
  br label %loop
loop:
  %old = load volatile i64, ptr %place
  %done = icmp eq i64 %old, %limit
  %new = add i64 %old, 1
  store volatile i64 %new, ptr %place
  br i1 %done, label %end, label %loop
end:
  %to = call ptr @result(i64 %call, i64 8)
  store i64 %old, ptr %to
  ret i32 0
}
"#;

/// Reads from address 8.
pub(crate) const CRASH: &str = r#"
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
  %wild = getelementptr i8, ptr null, i64 %length
  %x = load volatile i64, ptr %wild
  ret i32 0
}
"#;

/// A result of as many bytes as the word in the payload says.
pub(crate) const BYTES: &str = r#"
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
  %count = call i64 @word(i64 %payload)
  %to = call ptr @result(i64 %call, i64 %count)
  ret i32 0
}
"#;

/// Calls a function that no node has.
pub(crate) const UNRESOLVED: &str = r#"
declare void @jl_nothing_like_it()
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
  call void @jl_nothing_like_it()
  ret i32 0
}
"#;

/// The archive of a function, under a name of its own: archives that differ in their names alone are different code.
pub(crate) fn archive(name: &str, text: &str) -> Vec<u8> {
    let arch = std::env::consts::ARCH;
    let triple = format!("{arch}-pc-linux-gnu");
    let text = format!("target triple = \"{triple}\"\n{HEAD}{text}");
    let context = Context::create();
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), name);
    let module = context
        .create_module_from_ir(buffer)
        .unwrap_or_else(|error| panic!("{}", error.to_string_lossy()));
    let code = module.write_bitcode_to_memory();
    let mut imports = vec!["bc_result"];
    if text.contains("jl_nothing_like_it") {
        imports.push("jl_nothing_like_it");
    }
    let archive = Archive {
        manifest: Manifest {
            abi: "julia-1.5-64le",
            producer: "by hand",
            entry: "bitcode_entry",
            name,
            imports,
            ..Manifest::default()
        },
        images: vec![Image {
            kind: ImageKind::Bitcode,
            triple: &triple,
            cpu: "",
            features: "",
            code: code.as_slice(),
        }],
        ..Archive::default()
    };
    archive.encode().unwrap().0
}
