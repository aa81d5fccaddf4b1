//! Code that does what it must not: the call ends, the node lives on.

use crate::support::{Case, call};
use bitcode_jit::{Jit, JitConfig, Outcome};

const FINE: &str = "define i32 @bitcode_entry(i64, i64, i64) { ret i32 0 }";
const STACK_OVERFLOW_ERROR: u32 = 23;
const OUT_OF_MEMORY_ERROR: u32 = 24;
const DIVIDE_ERROR: u32 = 20;

/// The graph of an exception without fields.
fn bare(ty: u32) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend(ty.to_le_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn still_fine() {
    assert_eq!(Case::new(FINE).run(&[]).0, Outcome::Value);
}

#[test]
fn null_is_not_memory() {
    let case = Case::new(
        "define i32 @bitcode_entry(i64 %p, i64, i64) {\n%a = inttoptr i64 %p to ptr\n%n = load volatile i64, ptr %a\n\
         %b = inttoptr i64 %n to ptr\n%x = load volatile i64, ptr %b\nret i32 0\n}",
    );
    let compiled = case.compile().unwrap();
    for _ in 0..20 {
        assert_eq!(
            call(&compiled, &[0]).0,
            Outcome::Fault {
                signal: libc::SIGSEGV
            }
        );
    }
    still_fine();
}

#[test]
fn traps_are_faults() {
    let case = Case::new(
        "declare void @llvm.trap()\ndefine i32 @bitcode_entry(i64, i64, i64) {\ncall void @llvm.trap()\nunreachable\n}",
    );
    let (outcome, _) = case.run(&[]);
    let trap = if cfg!(target_arch = "x86_64") {
        libc::SIGILL
    } else {
        libc::SIGTRAP
    };
    assert_eq!(outcome, Outcome::Fault { signal: trap });
    still_fine();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_trapped_division_is_a_divide_error() {
    let case = Case::new(
        "define i32 @bitcode_entry(i64 %p, i64, i64) {\n%a = inttoptr i64 %p to ptr\n%n = load volatile i64, ptr %a\n\
         %m = load volatile i64, ptr %a\n%x = sdiv i64 %m, %n\nstore volatile i64 %x, ptr %a\nret i32 0\n}",
    );
    assert_eq!(case.run(&[0]), (Outcome::Thrown, bare(DIVIDE_ERROR)));
    assert_eq!(case.run(&[1]).0, Outcome::Value);
}

const RUNAWAY: &str = r#"
define internal i64 @down(i64 %n) noinline {
  %room = alloca [200 x i8]
  store volatile i8 1, ptr %room
  %more = add i64 %n, 1
  %x = call i64 @down(i64 %more)
  %y = load volatile i8, ptr %room
  %z = zext i8 %y to i64
  %s = add i64 %x, %z
  ret i64 %s
}
"#;

#[test]
fn runaway_recursion_is_a_stack_overflow() {
    let entry = "define i32 @bitcode_entry(i64, i64, i64) {\n%x = call i64 @down(i64 0)\n%y = trunc i64 %x to i32\nret i32 %y\n}";
    let compiled = Case::new(&format!("{RUNAWAY}{entry}")).compile().unwrap();
    for _ in 0..5 {
        assert_eq!(
            call(&compiled, &[]),
            (Outcome::Thrown, bare(STACK_OVERFLOW_ERROR))
        );
    }
    // On a thread with another stack, and after it.
    std::thread::scope(|scope| {
        let run = || {
            assert_eq!(
                call(&compiled, &[]),
                (Outcome::Thrown, bare(STACK_OVERFLOW_ERROR))
            )
        };
        std::thread::Builder::new()
            .stack_size(16 << 20)
            .spawn_scoped(scope, run)
            .unwrap();
    });
    still_fine();
}

#[test]
fn a_stack_overflow_can_be_caught() {
    let case = Case::new(&format!(
        r#"{RUNAWAY}
declare i32 @julia.except_enter() returns_twice
declare void @jl_pop_handler(i32)
define i32 @bitcode_entry(i64, i64, i64 %call) {{
  %again = call i32 @julia.except_enter() returns_twice
  %first = icmp eq i32 %again, 0
  br i1 %first, label %try, label %catch
try:
  %x = call i64 @down(i64 0)
  ret i32 2
catch:
  call void @jl_pop_handler(i32 1)
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 99, ptr %to
  ret i32 0
}}"#
    ));
    assert_eq!(case.word(&[]), 99);
}

#[test]
fn one_frame_larger_than_the_guard_page_is_still_found() {
    let case = Case::new(
        r#"
define internal i64 @down(i64 %n) noinline {
  %room = alloca [1000000 x i8]
  %at = getelementptr i8, ptr %room, i64 %n
  store volatile i8 1, ptr %at
  %more = add i64 %n, 1
  %x = call i64 @down(i64 %more)
  %y = load volatile i8, ptr %at
  %z = zext i8 %y to i64
  %s = add i64 %x, %z
  ret i64 %s
}
define i32 @bitcode_entry(i64, i64, i64) {
  %x = call i64 @down(i64 0)
  %y = trunc i64 %x to i32
  ret i32 %y
}"#,
    );
    assert_eq!(case.run(&[]), (Outcome::Thrown, bare(STACK_OVERFLOW_ERROR)));
}

/// Allocates until somebody stops it; keeps a chain of what it got: simple vectors of one element.
const GREEDY: &str = r#"
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
@jl_simplevector_type = external global ptr
define i32 @bitcode_entry(i64 %payload, i64, i64) {
entry:
  %at = inttoptr i64 %payload to ptr
  %size = load i64, ptr %at
  %type = load ptr, ptr @jl_simplevector_type
  br label %loop
loop:
  %last = phi ptr [ null, %entry ], [ %new, %loop ]
  %state = call ptr @julia.ptls_states()
  %new = call ptr @julia.gc_alloc_obj(ptr %state, i64 %size, ptr %type)
  store volatile i64 1, ptr %new
  %element = getelementptr i8, ptr %new, i64 8
  store volatile ptr %last, ptr %element
  br label %loop
}"#;

/// Allocates a gigabyte in simple vectors of one element, and keeps a chain of eight.
const WASTEFUL: &str = r#"
declare void @llvm.trap()
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
@jl_simplevector_type = external global ptr
define i32 @bitcode_entry(i64 %payload, i64, i64) {
entry:
  %at = inttoptr i64 %payload to ptr
  %size = load i64, ptr %at
  %count = udiv i64 1073741824, %size
  %type = load ptr, ptr @jl_simplevector_type
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %last = phi ptr [ null, %entry ], [ %new, %loop ]
  %state = call ptr @julia.ptls_states()
  %new = call ptr @julia.gc_alloc_obj(ptr %state, i64 %size, ptr %type)
  %low = and i64 %i, 7
  %first = icmp eq i64 %low, 0
  %kept = select i1 %first, ptr null, ptr %last
  store volatile i64 1, ptr %new
  %element = getelementptr i8, ptr %new, i64 8
  store volatile ptr %kept, ptr %element
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %count.chain
count.chain:
  %link = phi ptr [ %new, %loop ], [ %before, %count.chain ]
  %length = phi i32 [ 0, %loop ], [ %longer, %count.chain ]
  %link.element = getelementptr i8, ptr %link, i64 8
  %before = load volatile ptr, ptr %link.element
  %longer = add i32 %length, 1
  %end = icmp eq ptr %before, null
  br i1 %end, label %done, label %count.chain
done:
  %expected.all = urem i64 %i, 8
  %expected.less = trunc i64 %expected.all to i32
  %expected = add i32 %expected.less, 1
  %right = icmp eq i32 %longer, %expected
  br i1 %right, label %good, label %bad
good:
  ret i32 0
bad:
  call void @llvm.trap()
  unreachable
}"#;

#[test]
fn memory_has_its_limit() {
    let mut config = JitConfig::default();
    config.limits.memory = 64 << 20;
    let jit = Jit::new(config).unwrap();
    let compiled = Case::new(GREEDY).compile_with(&jit).unwrap();
    for size in [16, 1000, 40_000, 10 << 20, 1 << 40, u64::MAX - 7] {
        assert_eq!(
            call(&compiled, &[size]),
            (Outcome::Thrown, bare(OUT_OF_MEMORY_ERROR)),
            "objects of {size} bytes"
        );
    }
    still_fine();
}

#[test]
fn what_a_loop_drops_is_used_again() {
    let mut config = JitConfig::default();
    config.limits.memory = 64 << 20;
    let jit = Jit::new(config).unwrap();
    let compiled = Case::new(WASTEFUL).compile_with(&jit).unwrap();
    for size in [16, 200, 1000, 40_000, 2 << 20] {
        let (outcome, _) = call(&compiled, &[size]);
        assert_eq!(outcome, Outcome::Value, "objects of {size} bytes");
    }
    still_fine();
}

#[test]
fn a_result_that_is_too_large_is_out_of_memory() {
    let case = Case::new(
        "define i32 @bitcode_entry(i64, i64, i64 %call) {\n%r = call i64 @bc_result(i64 %call, i64 4611686018427387904)\nret i32 0\n}",
    );
    assert_eq!(case.run(&[]), (Outcome::Thrown, bare(OUT_OF_MEMORY_ERROR)));
}

#[test]
fn faults_on_many_threads_at_once() {
    let case = Case::new(
        "define i32 @bitcode_entry(i64 %p, i64, i64) {\n%a = inttoptr i64 %p to ptr\n%n = load volatile i64, ptr %a\n\
         %b = inttoptr i64 %n to ptr\n%x = load volatile i64, ptr %b\nret i32 0\n}",
    );
    let compiled = case.compile().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(
                        call(&compiled, &[16]).0,
                        Outcome::Fault {
                            signal: libc::SIGSEGV
                        }
                    );
                }
            });
        }
    });
}
