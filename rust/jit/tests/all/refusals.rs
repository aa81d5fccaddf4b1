//! What an image may not hold, one test for each reason.

use crate::support::{Case, HEAD, JIT, assemble, compile};
use bitcode_jit::{JitError, Refusal};
use bitcode_wire::archive::{Image, ImageKind};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::manifest::Object;

const ENTRY: &str = "define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {";

/// Compiles a module with this body of the entry and these further definitions; it must be refused.
fn refused(definitions: &str, body: &str) -> JitError {
    let case = Case::new(&format!("{definitions}\n{ENTRY}\n{body}\n}}"));
    case.compile().expect_err("it must be refused")
}

fn refusal(definitions: &str, body: &str) -> Refusal {
    match refused(definitions, body) {
        JitError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn an_absolute_address_in_an_instruction() {
    let found = refusal(
        "",
        "%x = load i64, ptr inttoptr (i64 140700000000000 to ptr)\nret i32 0",
    );
    assert_eq!(
        found,
        Refusal::AbsoluteAddress {
            place: "the function bitcode_entry".into(),
            address: 140_700_000_000_000
        }
    );
}

#[test]
fn an_absolute_address_deep_in_a_constant() {
    let nested = "@table = internal global { i64, [2 x ptr] } { i64 1, [2 x ptr] [ptr null, \
                  ptr getelementptr (i8, ptr inttoptr (i64 94920599745856 to ptr), i64 8)] }";
    let found = refusal(nested, "%x = load i64, ptr @table\nret i32 0");
    assert_eq!(
        found,
        Refusal::AbsoluteAddress {
            place: "the variable table".into(),
            address: 94_920_599_745_856
        }
    );
}

#[test]
fn an_absolute_address_made_by_an_instruction() {
    // Written as an instruction, with a constant operand: as unoptimised code has it.
    let found = refusal(
        "",
        "%a = inttoptr i64 140700000000000 to ptr\n%x = load i64, ptr %a\nret i32 0",
    );
    assert!(matches!(
        found,
        Refusal::AbsoluteAddress {
            address: 140_700_000_000_000,
            ..
        }
    ));
}

#[test]
fn null_and_its_neighbours_are_no_addresses() {
    let body =
        "%a = icmp eq ptr inttoptr (i64 -1 to ptr), null\n%b = inttoptr i64 8 to ptr\nret i32 0";
    assert!(Case::new(&format!("{ENTRY}\n{body}\n}}")).compile().is_ok());
}

#[test]
fn assembly() {
    let found = refusal("", "call void asm sideeffect \"nop\", \"\"()\nret i32 0");
    assert_eq!(
        found,
        Refusal::Assembly {
            place: "the function bitcode_entry".into()
        }
    );
    let found = refusal("module asm \".globl x\"", "ret i32 0");
    assert_eq!(
        found,
        Refusal::Assembly {
            place: "the module".into()
        }
    );
}

#[test]
fn aliases_and_indirect_functions() {
    let found = refusal(
        "@a = alias i8, ptr @g\n@g = internal global i8 0",
        "%x = load i8, ptr @a\nret i32 0",
    );
    assert_eq!(found, Refusal::Alias { name: "a".into() });
    let indirect =
        "@f = ifunc void (), ptr @choose\ndefine internal ptr @choose() { ret ptr null }";
    assert_eq!(
        refusal(indirect, "call void @f()\nret i32 0"),
        Refusal::Alias { name: "f".into() }
    );
}

#[test]
fn constructors() {
    let constructor = "@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] \
                       [{ i32, ptr, ptr } { i32 65535, ptr @run, ptr null }]\ndefine internal void @run() { ret void }";
    assert_eq!(
        refusal(constructor, "ret i32 0"),
        Refusal::Constructor {
            name: "llvm.global_ctors".into()
        }
    );
    let section = "define internal void @run() section \".init_array\" { ret void }";
    assert_eq!(
        refusal(section, "ret i32 0"),
        Refusal::Attachment {
            name: "run".into(),
            what: "a section of its own"
        }
    );
}

#[test]
fn thread_local_variables() {
    let found = refusal(
        "@t = internal thread_local global i64 0",
        "%x = load i64, ptr @t\nret i32 0",
    );
    assert_eq!(found, Refusal::ThreadLocal { name: "t".into() });
}

#[test]
fn prologues_personalities_and_collectors() {
    let what = |definition: &str| match refusal(definition, "ret i32 0") {
        Refusal::Attachment { what, .. } => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        what("define internal void @f() prologue i8 195 { ret void }"),
        "bytes in front of its code"
    );
    assert_eq!(
        what("define internal void @f() gc \"shadow-stack\" { ret void }"),
        "a collector"
    );
    let personality =
        "declare i32 @p(...)\ndefine internal void @f() personality ptr @p { ret void }";
    assert_eq!(what(personality), "a personality");
}

#[test]
fn unknown_externals() {
    let mut case = Case::new(&format!(
        "declare void @surprise()\n{ENTRY}\ncall void @surprise()\nret i32 0\n}}"
    ));
    let error = case.compile().unwrap_err();
    assert_eq!(
        error,
        JitError::Unresolved {
            symbols: vec!["surprise".into()],
            reason: "the manifest does not name"
        }
    );
    // Named in the manifest, it is still nothing that a node offers.
    case.imports.push("surprise");
    let error = case.compile().unwrap_err();
    assert_eq!(
        error,
        JitError::Unresolved {
            symbols: vec!["surprise".into()],
            reason: "this node does not offer"
        }
    );
    assert_eq!(error.code(), ErrorCode::UNRESOLVED_SYMBOL);
}

#[test]
fn process_symbols_are_not_to_be_had() {
    for name in ["system", "execve", "dlopen", "getenv", "LLVMContextCreate"] {
        let mut case = Case::new(&format!(
            "declare i32 @{name}(ptr)\n{ENTRY}\n%r = call i32 @{name}(ptr null)\nret i32 %r\n}}"
        ));
        case.imports.push(name);
        assert_eq!(
            case.compile().unwrap_err().code(),
            ErrorCode::UNRESOLVED_SYMBOL,
            "{name}"
        );
    }
}

#[test]
fn objects_that_are_not_there() {
    let text = format!(
        "@bc.obj.1 = external global i8\n{ENTRY}\n%x = load i8, ptr @bc.obj.1\nret i32 0\n}}"
    );
    let case = Case::new(&text).objects([Object::Symbol("only")]);
    assert_eq!(
        case.compile().unwrap_err().code(),
        ErrorCode::UNRESOLVED_SYMBOL
    );
}

#[test]
fn entries_of_another_kind() {
    let problem = |text: &str| match Case::new(text).compile().unwrap_err() {
        JitError::Refused(Refusal::Entry { problem, .. }) => problem,
        other => panic!("{other}"),
    };
    assert_eq!(
        problem("define void @other() { ret void }"),
        "is not defined"
    );
    assert_eq!(
        problem("declare i32 @bitcode_entry(i64, i64, i64)"),
        "is not defined"
    );
    assert_eq!(
        problem("define i32 @bitcode_entry(i64, i64) { ret i32 0 }"),
        "does not take three arguments"
    );
    assert_eq!(
        problem("define i64 @bitcode_entry(i64, i64, i64) { ret i64 0 }"),
        "is not of the type i32 (i64, i64, i64)"
    );
    assert_eq!(
        problem("define i32 @bitcode_entry(i64, ptr, i64) { ret i32 0 }"),
        "is not of the type i32 (i64, i64, i64)"
    );
}

#[test]
fn data_of_other_machines() {
    let text = "target datalayout = \"E-m:e-i64:64\"\ndefine i32 @bitcode_entry(i64, i64, i64) { ret i32 0 }";
    let case = Case {
        code: assemble(text),
        imports: Vec::new(),
        dependencies: Vec::new(),
        objects: Vec::new(),
    };
    assert!(matches!(
        case.compile().unwrap_err(),
        JitError::Refused(Refusal::DataLayout { .. })
    ));
    let narrow = text.replace("E-m:e", "e-m:e-p:32:32");
    let case = Case {
        code: assemble(&narrow),
        imports: Vec::new(),
        dependencies: Vec::new(),
        objects: Vec::new(),
    };
    assert!(matches!(
        case.compile().unwrap_err(),
        JitError::Refused(Refusal::DataLayout { .. })
    ));
}

#[test]
fn intrinsics_that_nobody_knows() {
    let found = refusal(
        "declare ptr @julia.from_the_future()",
        "%x = call ptr @julia.from_the_future()\nret i32 0",
    );
    assert_eq!(
        found,
        Refusal::Intrinsic {
            name: "julia.from_the_future".into()
        }
    );
}

#[test]
fn julias_own_calling_conventions() {
    let error = refused(
        "declare ptr @jl_f_tuple(ptr, ptr, i32)",
        "%x = call cc37 ptr @jl_f_tuple(ptr null, ptr null, i32 0)\nret i32 0",
    );
    assert_eq!(error.code(), ErrorCode::UNSUPPORTED);
}

#[test]
fn garbage_and_broken_modules() {
    for code in [
        &b""[..],
        b"BC\xc0\xde",
        b"BC\xc0\xdegarbage after the magic bytes, more of it",
        &[0; 64],
    ] {
        let case = Case {
            code: code.to_vec(),
            imports: Vec::new(),
            dependencies: Vec::new(),
            objects: Vec::new(),
        };
        assert_eq!(
            case.compile().unwrap_err().code(),
            ErrorCode::BAD_IMAGE,
            "{code:?}"
        );
    }
    // Every truncation of a good image, and every one of some changed bytes: refused or compiled, never a crash.
    let good = assemble(&format!("{HEAD}\n{ENTRY}\nret i32 0\n}}"));
    for length in (4..good.len()).step_by(good.len() / 60) {
        let case = Case {
            code: good[..length].to_vec(),
            imports: Vec::new(),
            dependencies: Vec::new(),
            objects: Vec::new(),
        };
        let _ = case.compile();
    }
}

#[test]
fn too_many_functions() {
    let many: String = (0..20_100)
        .map(|i| format!("define internal void @f{i}() {{ ret void }}\n"))
        .collect();
    assert!(matches!(
        refused(&many, "ret i32 0"),
        JitError::TooLarge {
            what: "functions",
            ..
        }
    ));
}

#[test]
fn other_abis_and_other_images() {
    let case = Case::new(&format!("{ENTRY}\nret i32 0\n}}"));
    let mut archive = case.archive();
    archive.manifest.abi = "julia-1.4-64le";
    assert_eq!(
        compile(&JIT, &archive).unwrap_err().code(),
        ErrorCode::BAD_ABI
    );
    let mut archive = case.archive();
    archive.images = vec![Image {
        kind: ImageKind::Object,
        ..archive.images[0]
    }];
    assert_eq!(
        compile(&JIT, &archive).unwrap_err().code(),
        ErrorCode::BAD_IMAGE
    );
    archive.images.clear();
    assert_eq!(
        compile(&JIT, &archive).unwrap_err().code(),
        ErrorCode::NO_IMAGE
    );
}

#[test]
fn bitcode_of_another_processor_is_left_to_the_origin() {
    let text = format!("{ENTRY}\nret i32 0\n}}");
    let case = Case {
        code: assemble(&text),
        imports: Vec::new(),
        dependencies: Vec::new(),
        objects: Vec::new(),
    };
    let mut archive = case.archive();
    archive.images[0].triple = "riscv64-unknown-linux-gnu";
    let error = compile(&JIT, &archive).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NO_IMAGE);
    // Both sides: what is needed, and what there is.
    let message = error.to_string();
    assert!(message.contains(&JIT.target().triple), "{message}");
    assert!(message.contains("riscv64-unknown-linux-gnu"), "{message}");
}

#[test]
fn instructions_of_another_processor_are_refused_by_name() {
    let (name, declaration) = if cfg!(target_arch = "x86_64") {
        (
            "llvm.aarch64.crc32b",
            "declare i32 @llvm.aarch64.crc32b(i32, i32)",
        )
    } else {
        ("llvm.x86.rdtsc", "declare i64 @llvm.x86.rdtsc()")
    };
    let call = if cfg!(target_arch = "x86_64") {
        "%x = call i32 @llvm.aarch64.crc32b(i32 1, i32 2)"
    } else {
        "%x = call i64 @llvm.x86.rdtsc()"
    };
    let text = format!("{declaration}\n{ENTRY}\n{call}\nret i32 0\n}}");
    let case = Case {
        code: assemble(&text),
        imports: Vec::new(),
        dependencies: Vec::new(),
        objects: Vec::new(),
    };
    let error = compile(&JIT, &case.archive()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UNSUPPORTED);
    assert!(error.to_string().contains(name), "{error}");
}
