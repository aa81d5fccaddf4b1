//! Native images: made here for any machine, checked, chosen and linked without a compiler.

use crate::sites::CODE;
use crate::support::{Case, call, call_and_trace, compile};
use bitcode_jit::{
    Jit, JitConfig, JitError, Outcome, Refusal, Target, image_text, native_code, verify,
};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::manifest::Object;
use std::sync::LazyLock;

/// A compiler that does not compile.
static OBJECTS_ONLY: LazyLock<Jit> = LazyLock::new(|| {
    let mut config = JitConfig::default();
    config.objects_only = true;
    Jit::new(config).unwrap()
});

/// Twice the payload's word; of 0 an exception.
fn twice() -> Case<'static> {
    Case::new(
        "@bc.obj.0 = external global i8
         declare void @jl_throw(ptr)
         define internal i64 @twice(i64 %x) noinline {
           %y = shl i64 %x, 1
           ret i64 %y
         }
         define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
           %place = inttoptr i64 %payload to ptr
           %x = load i64, ptr %place
           %wrong = icmp eq i64 %x, 0
           br i1 %wrong, label %throw, label %go
         throw:
           call void @jl_throw(ptr @bc.obj.0)
           unreachable
         go:
           %y = call i64 @twice(i64 %x)
           %room = call i64 @bc_result(i64 %call, i64 8)
           %out = inttoptr i64 %room to ptr
           store i64 %y, ptr %out
           ret i32 0
         }",
    )
    .objects([Object::String(b"an object")])
}

fn object<'a>(target: &'a Target, code: &'a [u8]) -> Image<'a> {
    Image {
        kind: ImageKind::Object,
        triple: &target.triple,
        cpu: &target.cpu,
        features: &target.features,
        code,
    }
}

/// The archive with nothing but an object image.
fn with<'a>(case: &'a Case<'_>, image: Image<'a>) -> Archive<'a> {
    let mut archive = case.archive();
    archive.images = vec![image];
    archive
}

#[test]
fn native_code_runs_where_nothing_compiles() {
    let case = twice();
    for spec in ["native", std::env::consts::ARCH] {
        let target = Target::parse(spec).unwrap();
        let code = native_code(&case.archive(), &target).unwrap();
        let archive = with(&case, object(&target, &code));
        verify(&archive, &archive.images[0]).unwrap();
        let compiled = compile(&OBJECTS_ONLY, &archive).unwrap();
        let timings = compiled.timings();
        assert_eq!((timings.optimise, timings.emit), (0, 0));
        let answer = (Outcome::Value, 42_u64.to_le_bytes().to_vec());
        assert_eq!(call(&compiled, &[21]), answer);
        assert_eq!(call(&compiled, &[0]).0, Outcome::Thrown);
    }
}

#[test]
fn its_backtraces_are_those_of_the_bitcode() {
    let case = Case::new(CODE);
    let target = Target::parse("native").unwrap();
    let code = native_code(&case.archive(), &target).unwrap();
    let compiled = compile(&OBJECTS_ONLY, &with(&case, object(&target, &code))).unwrap();
    let (outcome, _, sites) = call_and_trace(&compiled, &[2]);
    assert_eq!(outcome, Outcome::Thrown);
    assert_eq!(sites, [2, 3, 70000]);
}

#[test]
fn bitcode_alone_is_no_use_where_nothing_compiles() {
    let error = compile(&OBJECTS_ONLY, &twice().archive()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NO_IMAGE);
    let text = error.to_string();
    assert!(text.contains("runs native images only"), "{text}");
    assert!(text.contains("bitcode for x86_64-linux-gnu"), "{text}");
}

#[test]
fn of_a_fat_archive_the_fitting_image_is_taken() {
    let case = twice();
    let native = Target::parse("native").unwrap();
    let code = native_code(&case.archive(), &native).unwrap();
    let mut archive = case.archive();
    // Were one of these taken, it could not be linked.
    let elsewhere = [("riscv64-linux-gnu", ""), ("x86_64-linux-gnu", "+made-up")];
    for (triple, features) in elsewhere {
        archive.images.push(Image {
            kind: ImageKind::Object,
            triple,
            cpu: "",
            features,
            code: b"no object",
        });
    }
    let jit = Jit::new(JitConfig::default()).unwrap();
    assert_ne!(compile(&jit, &archive).unwrap().timings().emit, 0);
    archive.images.push(object(&native, &code));
    let compiled = compile(&jit, &archive).unwrap();
    assert_eq!(compiled.timings().emit, 0);
    assert_eq!(call(&compiled, &[4]).1, 8_u64.to_le_bytes());
}

#[test]
fn images_are_made_for_other_machines_and_can_be_read() {
    let case = twice();
    let target = Target::parse("aarch64:neoverse-n1").unwrap();
    // Only the origin makes bitcode of another architecture: here it is the same code, said to be for it.
    let mut archive = case.archive();
    archive.images[0].triple = "aarch64-linux-gnu";
    let code = native_code(&archive, &target).unwrap();
    let image = object(&target, &code);
    verify(&with(&case, image), &image).unwrap();
    let text = image_text(&image).unwrap();
    for part in ["bitcode_entry:", "twice", "ret", "jl_throw"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let error = compile(&OBJECTS_ONLY, &with(&case, image)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NO_IMAGE);
    // Said to be for this machine, it is refused for what it is.
    let native = Target::parse("x86_64").unwrap();
    let error = compile(&OBJECTS_ONLY, &with(&case, object(&native, &code))).unwrap_err();
    assert!(
        matches!(&error, JitError::Refused(Refusal::Object { what, .. }) if what.contains("machine 183")),
        "{error}"
    );
}

/// An object file as LLVM makes it of a module's text, without any of our checks.
fn raw_object(text: &str) -> Vec<u8> {
    use inkwell::OptimizationLevel;
    use inkwell::context::Context;
    use inkwell::memory_buffer::MemoryBuffer;
    use inkwell::targets::{
        CodeModel, FileType, InitializationConfig, RelocMode, Target as Processor, TargetTriple,
    };
    Processor::initialize_x86(&InitializationConfig::default());
    let triple = TargetTriple::create("x86_64-unknown-linux-gnu");
    let context = Context::create();
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "test");
    let module = context.create_module_from_ir(buffer).unwrap();
    module.set_triple(&triple);
    let machine = Processor::from_triple(&triple)
        .unwrap()
        .create_target_machine(
            &triple,
            "x86-64",
            "",
            OptimizationLevel::None,
            RelocMode::PIC,
            CodeModel::Small,
        )
        .unwrap();
    let object = machine.write_to_memory_buffer(&module, FileType::Object);
    object.unwrap().as_slice().to_vec()
}

const ENTRY: &str = "define i32 @bitcode_entry(i64, i64, i64) { ret i32 0 }\n";

fn refusal_of(code: &[u8]) -> JitError {
    let case = Case::new(ENTRY);
    let target = Target::parse("x86_64").unwrap();
    let archive = with(&case, object(&target, code));
    let error = compile(&OBJECTS_ONLY, &archive).unwrap_err();
    assert_eq!(verify(&archive, &archive.images[0]).unwrap_err(), error);
    error
}

#[test]
fn what_no_native_image_may_hold_is_refused_by_name() {
    let refused = [
        (
            "module asm \".section .init_array,\\22aw\\22,@init_array\\0A.quad 0\"",
            ".init_array is a section of type 0xe",
        ),
        (
            "@local = thread_local global i64 1",
            "holds thread-local variables",
        ),
        (
            "@indirect = ifunc i32 (), ptr @resolve
          define internal ptr @resolve() { ret ptr null }",
            "indirect is an indirect function",
        ),
        (
            "define void @other() { ret void }",
            "other is defined for others to use",
        ),
        ("@common = common global i64 0", "common is a common symbol"),
        (
            "module asm \".globl fixed\\0Afixed = 4096\"",
            "fixed is an absolute address",
        ),
        (
            "module asm \".section .loose,\\22awx\\22,@progbits\\0A.quad 0\"",
            ".loose is writable and executable",
        ),
        (
            "@page = internal global i32 1, align 8192
          define internal ptr @use() { ret ptr @page }
          @llvm.used = appending global [1 x ptr] [ptr @use]",
            "wants to be aligned to more than a page",
        ),
        (
            "@size = external global i8
          module asm \".data\\0A.quad size@SIZE\"",
            "has a relocation of type 33",
        ),
    ];
    for (text, expected) in refused {
        let error = refusal_of(&raw_object(&format!("{ENTRY}{text}")));
        let JitError::Refused(Refusal::Object { .. }) = &error else {
            panic!("{text}: {error}");
        };
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert_eq!(error.code(), ErrorCode::BAD_IMAGE);
    }
}

#[test]
fn an_object_of_another_build_is_refused() {
    let error = refusal_of(&raw_object(ENTRY));
    assert!(
        matches!(&error, JitError::Build { found, .. } if found == "none"),
        "{error}"
    );
    let marked = format!("{ENTRY}@\"bc.layout.0.0.1-8\" = constant i8 0");
    let error = refusal_of(&raw_object(&marked));
    assert!(
        matches!(&error, JitError::Build { found, .. } if found == "bc.layout.0.0.1-8"),
        "{error}"
    );
    assert_eq!(error.code(), ErrorCode::BAD_ABI);
}

#[test]
fn an_object_without_its_entry_is_refused() {
    for text in [
        "define internal void @f() { ret void }",
        "@bitcode_entry = global i64 0",
    ] {
        let error = refusal_of(&raw_object(text));
        assert!(matches!(error, JitError::Refused(_)), "{error}");
        assert!(error.to_string().contains("entry"), "{error}");
    }
}

#[test]
fn a_cut_off_or_garbled_object_is_refused_and_the_next_one_runs() {
    let case = twice();
    let target = Target::parse("native").unwrap();
    let whole = native_code(&case.archive(), &target).unwrap();
    for length in [0, 3, 16, 64, whole.len() / 2, whole.len() - 1] {
        let error = compile(
            &OBJECTS_ONLY,
            &with(&case, object(&target, &whole[..length])),
        );
        assert!(matches!(error, Err(JitError::Invalid(_))), "{length} bytes");
    }
    // Whatever a byte becomes, the process goes on: it is refused, or linked and not run.
    for at in (0..whole.len()).step_by(7) {
        let mut garbled = whole.clone();
        garbled[at] ^= 0xA5;
        let _ = compile(&OBJECTS_ONLY, &with(&case, object(&target, &garbled)));
    }
    let compiled = compile(&OBJECTS_ONLY, &with(&case, object(&target, &whole))).unwrap();
    assert_eq!(call(&compiled, &[1]).1, 2_u64.to_le_bytes());
}

/// The section headers of an object file of ours: where the table starts, how many entries of 64 bytes it has.
fn section_table(code: &[u8]) -> (usize, usize) {
    let start = u64::from_le_bytes(code[0x28..0x30].try_into().unwrap());
    let count = u16::from_le_bytes(code[0x3C..0x3E].try_into().unwrap());
    (start as usize, count.into())
}

fn word(code: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(code[at..at + 8].try_into().unwrap())
}

/// Where in the file the header of the first section of a type is that `fits`.
fn section_header(code: &[u8], kind: u32, fits: impl Fn(&[u8]) -> bool) -> usize {
    let (start, count) = section_table(code);
    let headers = (0..count).map(|index| start + 64 * index);
    let mut found = headers.filter(|at| {
        let found = u32::from_le_bytes(code[at + 4..at + 8].try_into().unwrap());
        found == kind && fits(&code[*at..at + 64])
    });
    found.next().unwrap()
}

const PROGBITS: u32 = 1;
const RELA: u32 = 4;

/// A megabyte of the file may be named by thousands of sections, of which each would be a megabyte of memory.
#[test]
fn sections_that_share_bytes_do_not_multiply_memory() {
    let text = format!(
        "{ENTRY}@data = internal constant [1048576 x i8] zeroinitializer
        define internal ptr @use() {{ ret ptr @data }}
        @llvm.used = appending global [1 x ptr] [ptr @use]"
    );
    let mut code =
        raw_object(&text.replace("zeroinitializer", &format!("c\"{}\"", "x".repeat(1 << 20))));
    let (start, count) = section_table(&code);
    let large = section_header(&code, PROGBITS, |header| word(header, 0x20) >= 1 << 20);
    let copies = 4096;
    let mut table = code[start..start + 64 * count].to_vec();
    let copy = code[large..large + 64].to_vec();
    (0..copies).for_each(|_| table.extend_from_slice(&copy));
    let moved = code.len() as u64;
    code.extend_from_slice(&table);
    code[0x28..0x30].copy_from_slice(&moved.to_le_bytes());
    code[0x3C..0x3E].copy_from_slice(&((count + copies) as u16).to_le_bytes());
    let error = refusal_of(&code);
    assert!(
        matches!(&error, JitError::TooLarge { found, .. } if *found > copies << 20),
        "{error}"
    );
    assert_eq!(error.code(), ErrorCode::TOO_LARGE);
}

#[test]
fn relocations_stay_inside_what_they_change() {
    // A table of addresses, which are relocations of eight bytes.
    let text = format!(
        "{ENTRY}define internal void @f() {{ ret void }}
        @table = internal global [2 x ptr] [ptr @f, ptr @f]
        define internal ptr @use() {{ ret ptr @table }}
        @llvm.used = appending global [1 x ptr] [ptr @use]"
    );
    let code = raw_object(&text);
    let of_table = |header: &[u8]| {
        let target = u32::from_le_bytes(header[0x2C..0x30].try_into().unwrap()) as usize;
        let target = section_table(&code).0 + 64 * target;
        word(&code, target + 0x20) == 16
    };
    let relocations = section_header(&code, RELA, of_table);
    let first = word(&code, relocations + 0x18) as usize;
    assert_eq!(word(&code, first), 0);
    for (offset, inside) in [
        (8_u64, true),
        (9, false),
        (12, false),
        (16, false),
        (u64::MAX, false),
    ] {
        let mut code = code.clone();
        code[first..first + 8].copy_from_slice(&offset.to_le_bytes());
        let error = refusal_of(&code);
        // What is not refused for this is refused for its missing mark.
        assert_eq!(matches!(error, JitError::Build { .. }), inside, "{error}");
        assert_eq!(
            error.to_string().contains("outside its section"),
            !inside,
            "{error}"
        );
    }
}

#[test]
fn what_is_not_loaded_is_not_relocated() {
    let code = raw_object(&format!(
        "{ENTRY}module asm \".section .aside,\\22\\22,@progbits\\0A.quad bitcode_entry\""
    ));
    let error = refusal_of(&code);
    assert!(
        error.to_string().contains("relocates what is not loaded"),
        "{error}"
    );
}

#[test]
fn what_an_object_wants_from_outside_must_be_offered() {
    let mark = native_mark();
    let text = format!(
        "{mark}declare void @system(ptr)
         define i32 @bitcode_entry(i64, i64, i64) {{
           call void @system(ptr null)
           ret i32 0
         }}"
    );
    let error = refusal_of(&raw_object(&text));
    assert_eq!(error.code(), ErrorCode::UNRESOLVED_SYMBOL);
    assert!(error.to_string().contains("`system`"), "{error}");
}

/// The line that marks a module as this build's: what `native_code` puts there.
fn native_mark() -> String {
    let case = Case::new(ENTRY);
    let target = Target::parse("native").unwrap();
    let code = native_code(&case.archive(), &target).unwrap();
    let text = String::from_utf8_lossy(&code).into_owned();
    let start = text.find("bc.layout.").unwrap();
    let name = text[start..].split('\0').next().unwrap();
    format!("@\"{name}\" = constant i8 0\n")
}
