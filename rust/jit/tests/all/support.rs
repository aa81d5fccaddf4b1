//! Archives made from LLVM text, and what to do with them.

use bitcode_jit::{Compiled, Jit, JitConfig, JitError, Outcome, Output};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::manifest::{Dependency, Manifest, Object};
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use std::sync::LazyLock;

/// One compiler for all tests, as in a node.
pub(crate) static JIT: LazyLock<Jit> = LazyLock::new(|| Jit::new(JitConfig::default()).unwrap());

/// What Julia 1.5 writes in front of its modules.
pub(crate) const HEAD: &str = r#"
target datalayout = "e-m:e-i64:64-f80:128-n8:16:32:64-S128-ni:10:11:12:13"
target triple = "x86_64-pc-linux-gnu"
declare i64 @bc_result(i64, i64)
declare void @bc_throw(i64, ptr)
"#;

/// Bitcode of a module written as text.
pub(crate) fn assemble(text: &str) -> Vec<u8> {
    let context = Context::create();
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "test");
    let module = context
        .create_module_from_ir(buffer)
        .unwrap_or_else(|error| panic!("{}", error.to_string_lossy()));
    module.write_bitcode_to_memory().as_slice().to_vec()
}

/// An archive to be.
pub(crate) struct Case<'a> {
    pub(crate) code: Vec<u8>,
    pub(crate) imports: Vec<&'a str>,
    pub(crate) dependencies: Vec<Dependency<'a>>,
    pub(crate) objects: Vec<Object<'a>>,
}

impl<'a> Case<'a> {
    /// A module behind [`HEAD`]; it may import whatever the runtime offers.
    pub(crate) fn new(text: &str) -> Self {
        let code = assemble(&format!("{HEAD}{text}"));
        Self {
            code,
            imports: bitcode_runtime::symbols()
                .iter()
                .map(|(name, _)| *name)
                .collect(),
            dependencies: Vec::new(),
            objects: Vec::new(),
        }
    }

    pub(crate) fn objects(mut self, objects: impl IntoIterator<Item = Object<'a>>) -> Self {
        self.objects.extend(objects);
        self
    }

    pub(crate) fn archive(&self) -> Archive<'_> {
        Archive {
            manifest: Manifest {
                abi: "julia-1.5-64le",
                entry: "bitcode_entry",
                imports: self.imports.clone(),
                dependencies: self.dependencies.clone(),
                objects: self.objects.clone(),
                ..Manifest::default()
            },
            images: vec![Image {
                kind: ImageKind::Bitcode,
                triple: "x86_64-linux-gnu",
                cpu: "",
                features: "",
                code: &self.code,
            }],
            ..Archive::default()
        }
    }

    pub(crate) fn compile(&self) -> Result<Compiled, JitError> {
        self.compile_with(&JIT)
    }

    /// Compiles with another compiler than the tests' own.
    pub(crate) fn compile_with(&self, jit: &Jit) -> Result<Compiled, JitError> {
        compile(jit, &self.archive())
    }

    /// Compiles and runs with a payload of words.
    pub(crate) fn run(&self, payload: &[u64]) -> (Outcome, Vec<u8>) {
        call(&self.compile().unwrap(), payload)
    }

    /// Compiles and runs; the result is one word.
    pub(crate) fn word(&self, payload: &[u64]) -> u64 {
        let (outcome, bytes) = self.run(payload);
        assert_eq!(outcome, Outcome::Value);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }
}

/// Compiles an archive after it went through the wire, as what arrives at a node did.
pub(crate) fn compile(jit: &Jit, archive: &Archive<'_>) -> Result<Compiled, JitError> {
    let (bytes, id) = archive.encode().unwrap();
    jit.compile(&id, &Archive::decode(&bytes).unwrap())
}

/// Runs compiled code with a payload of words. Of an exception it gives the graph.
pub(crate) fn call(compiled: &Compiled, payload: &[u64]) -> (Outcome, Vec<u8>) {
    let (outcome, bytes, _) = call_and_trace(compiled, payload);
    (outcome, bytes)
}

/// Runs compiled code with a payload of words: the outcome, the result or the exception's graph, and the exception's backtrace.
pub(crate) fn call_and_trace(compiled: &Compiled, payload: &[u64]) -> (Outcome, Vec<u8>, Vec<u32>) {
    let mut bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut output = Output::new();
    let outcome = compiled.call(&mut bytes, &|_, _, _| (), &mut output);
    let mut left = output.bytes().to_vec();
    let mut sites = Vec::new();
    if outcome == Outcome::Thrown {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let count = word(&left.split_off(left.len() - 4)) as usize;
        sites.extend(left.split_off(left.len() - 4 * count).chunks(4).map(word));
    }
    (outcome, left, sites)
}
