//! Code as text.

use crate::support::{Case, JIT};
use bitcode_jit::{Jit, JitConfig};
use bitcode_wire::archive::Archive;
use bitcode_wire::error::ErrorCode;

/// Adds up numbers, by way of a function of its own.
const SUM: &str = "
    define internal double @sum(ptr %numbers, i64 %count) noinline {
    start:
      br label %loop
    loop:
      %i = phi i64 [ 0, %start ], [ %next, %loop ]
      %sum = phi double [ 0.0, %start ], [ %more, %loop ]
      %place = getelementptr double, ptr %numbers, i64 %i
      %number = load double, ptr %place
      %more = fadd reassoc double %sum, %number
      %next = add i64 %i, 1
      %done = icmp eq i64 %next, %count
      br i1 %done, label %end, label %loop
    end:
      ret double %more
    }
    define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
      %numbers = inttoptr i64 %payload to ptr
      %count = lshr i64 %length, 3
      %sum = call double @sum(ptr %numbers, i64 %count)
      %room = call i64 @bc_result(i64 %call, i64 8)
      %out = inttoptr i64 %room to ptr
      store double %sum, ptr %out
      ret i32 0
    }";

fn native(jit: &Jit, case: &Case<'_>) -> String {
    let (bytes, id) = case.archive().encode().unwrap();
    jit.native(&id, &Archive::decode(&bytes).unwrap()).unwrap()
}

fn on(cpu: &str) -> Jit {
    let mut config = JitConfig::default();
    config.cpu = Some(cpu.into());
    Jit::new(config).unwrap()
}

#[test]
fn instructions_have_the_names_that_the_object_gives() {
    let text = native(&JIT, &Case::new(SUM));
    assert!(text.starts_with("; "), "{text}");
    assert!(text.contains(JIT.target().cpu.as_str()), "{text}");
    assert!(text.contains("\nbitcode_entry:\n"), "{text}");
    assert!(text.contains("\t; bc_result"), "{text}");
    assert!(!text.contains(".byte"), "{text}");
    assert!(text.lines().any(|line| line.contains("\tret")), "{text}");
}

/// The same image is made for each processor as wide as it has registers.
#[test]
fn loops_use_what_the_processor_has() {
    let widths = |cpu: &str| {
        let text = native(&on(cpu), &Case::new(SUM));
        ["xmm", "ymm", "zmm", ".2d", "z0.d"].map(|name| text.contains(name))
    };
    if cfg!(target_arch = "x86_64") {
        assert_eq!(widths("x86-64"), [true, false, false, false, false]);
        assert!(widths("x86-64-v3")[1], "AVX2: 256 bits");
        // LLVM prefers 256 bits on the processors that lower their clock for 512, not on this one.
        assert!(widths("znver4")[2], "AVX-512");
    } else {
        assert!(widths("neoverse-n1")[3], "NEON");
        assert!(widths("a64fx")[4], "SVE");
    }
}

#[test]
fn llvms_text_is_of_the_optimised_code() {
    let case = Case::new(SUM);
    let (bytes, _) = case.archive().encode().unwrap();
    let text = JIT.explain(&Archive::decode(&bytes).unwrap()).unwrap();
    let wide = ["<2 x double>", "<4 x double>", "<8 x double>"];
    assert!(text.contains("i32 @bitcode_entry(i64"), "{text}");
    assert!(wide.iter().any(|ty| text.contains(ty)), "{text}");
}

#[test]
fn what_is_refused_is_not_shown() {
    let case = Case::new(
        "define i32 @bitcode_entry(i64, i64, i64) {\ncall void asm \"nop\", \"\"()\nret i32 0\n}",
    );
    let (bytes, id) = case.archive().encode().unwrap();
    let archive = Archive::decode(&bytes).unwrap();
    assert_eq!(
        JIT.native(&id, &archive).unwrap_err().code(),
        ErrorCode::BAD_IMAGE
    );
    assert_eq!(
        JIT.explain(&archive).unwrap_err().code(),
        ErrorCode::BAD_IMAGE
    );
}
