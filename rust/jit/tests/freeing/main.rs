//! Code and memory come back. In a process of their own, one after the other: they look at the process's memory.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's helper is a failed test"
)]

#[path = "../all/support.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use bitcode_jit::Outcome;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::{Case, call};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process's resident and mapped memory, in bytes.
fn memory() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = text
        .split(' ')
        .map(|number| number.parse::<usize>().unwrap() * 4096);
    let mapped = pages.next().unwrap();
    (pages.next().unwrap(), mapped)
}

/// Bytes of executable memory that is no file's.
fn code() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let size = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        let anonymous = words.nth(2)? == "0" && rights.contains('x');
        let (from, to) = range.split_once('-')?;
        let bytes = usize::from_str_radix(to, 16).ok()? - usize::from_str_radix(from, 16).ok()?;
        anonymous.then_some(bytes)
    };
    maps.lines().filter_map(size).sum()
}

/// About 40 KB of machine code.
fn large(seed: usize) -> String {
    let body: String = (0..1500)
        .map(|i| {
            format!(
                "store volatile i64 {}, ptr %room\n",
                (i + 1) * 2_654_435_761 + seed
            )
        })
        .collect();
    format!("define i32 @bitcode_entry(i64, i64, i64) {{\n%room = alloca i64\n{body}ret i32 0\n}}")
}

#[test]
fn dropped_code_is_unmapped() {
    let _alone = alone();
    let text = large(0);
    let case = Case::new(&text);
    let kept = case.compile().unwrap();
    assert!(kept.code_bytes() > 20_000, "{}", kept.code_bytes());
    let before = memory().0;
    for _ in 0..15 {
        let compiled = case.compile().unwrap();
        assert_eq!(call(&compiled, &[]).0, Outcome::Value);
    }
    let grown = memory().0.saturating_sub(before);
    // Copies that stayed would bring LLVM's modules with them: megabytes each.
    assert!(grown < 48 << 20, "{grown} bytes more");
    let held: Vec<_> = (0..20).map(|_| case.compile().unwrap()).collect();
    let with_code = code();
    assert!(with_code > 20 * 20_000, "{with_code} bytes");
    drop(held);
    let without = code();
    assert!(
        without + 15 * 20_000 < with_code,
        "{without} bytes of {with_code} are left"
    );
    assert_eq!(call(&kept, &[]).0, Outcome::Value);
}

#[test]
fn the_same_names_live_side_by_side() {
    let _alone = alone();
    let text = |value: u64| {
        format!(
            "@state = internal global i64 {value}\n\
             define internal i64 @helper() noinline {{\n%x = load volatile i64, ptr @state\nret i64 %x\n}}\n\
             define i32 @bitcode_entry(i64, i64, i64 %call) {{\n%x = call i64 @helper()\n\
             %r = call i64 @bc_result(i64 %call, i64 8)\n%to = inttoptr i64 %r to ptr\nstore i64 %x, ptr %to\nret i32 0\n}}"
        )
    };
    let both: Vec<_> = [11_u64, 22]
        .into_iter()
        .map(|value| (value, Case::new(&text(value)).compile().unwrap()))
        .collect();
    for (value, compiled) in &both {
        assert_eq!(
            call(compiled, &[]),
            (Outcome::Value, value.to_le_bytes().to_vec())
        );
    }
    let mut both = both.into_iter();
    drop(both.next());
    let (value, second) = both.next().unwrap();
    assert_eq!(
        call(&second, &[]),
        (Outcome::Value, value.to_le_bytes().to_vec())
    );
}

#[test]
fn a_hundred_thousand_calls_keep_memory_flat() {
    let _alone = alone();
    let case = Case::new(
        r#"
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
declare ptr @jl_alloc_string(i64)
@jl_any_type = external global ptr
define i32 @bitcode_entry(i64, i64, i64) {
  %type = load ptr, ptr @jl_any_type
  %state = call ptr @julia.ptls_states()
  %small = call ptr @julia.gc_alloc_obj(ptr %state, i64 48, ptr %type)
  store volatile i64 1, ptr %small
  %large = call ptr @julia.gc_alloc_obj(ptr %state, i64 100000, ptr %type)
  store volatile i64 1, ptr %large
  %text = call ptr @jl_alloc_string(i64 1000)
  store volatile i64 1000, ptr %text
  ret i32 0
}"#,
    );
    let compiled = case.compile().unwrap();
    for _ in 0..1000 {
        assert_eq!(call(&compiled, &[]).0, Outcome::Value);
    }
    let before = memory();
    for _ in 0..100_000 {
        assert_eq!(call(&compiled, &[]).0, Outcome::Value);
    }
    // Each call takes 100 KB: kept, they would be 10 GB.
    let grown = memory().0.saturating_sub(before.0);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[test]
fn threads_compile_at_the_same_time() {
    let _alone = alone();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                for turn in 0..5 {
                    let compiled = Case::new(&large(seed * 100 + turn)).compile().unwrap();
                    assert_eq!(call(&compiled, &[]).0, Outcome::Value);
                }
            });
        }
    });
}
