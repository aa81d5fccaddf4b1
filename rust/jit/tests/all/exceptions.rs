//! Throwing and catching in emitted code.

use crate::support::Case;
use bitcode_jit::Outcome;
use bitcode_wire::manifest::Object;

/// What Julia emits for `try … catch`.
const TRY: &str = r#"
declare i32 @julia.except_enter() returns_twice
declare void @jl_pop_handler(i32)
declare ptr @jl_current_exception()
declare i64 @jl_excstack_state()
declare void @jl_restore_excstack(i64)
declare void @jl_throw(ptr) noreturn
declare void @jl_error(ptr) noreturn
declare void @jl_rethrow() noreturn
declare void @jl_bounds_error_ints(ptr, ptr, i64) noreturn
@message = internal constant [5 x i8] c"oops\00"
"#;

fn graph(tag: u8, rest: &[u8]) -> Vec<u8> {
    [&[tag], rest].concat()
}

#[test]
fn an_exception_goes_through_several_frames() {
    let case = Case::new(&format!(
        r#"{TRY}
define internal void @deep(i64 %n) noinline {{
  %room = alloca [64 x i8]
  store volatile i8 1, ptr %room
  %last = icmp eq i64 %n, 0
  br i1 %last, label %throw, label %deeper
throw:
  call void @jl_error(ptr @message)
  unreachable
deeper:
  %less = sub i64 %n, 1
  call void @deep(i64 %less)
  store volatile i8 2, ptr %room
  ret void
}}
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {{
  %slot = alloca i64
  store volatile i64 %call, ptr %slot
  %depth = call i64 @jl_excstack_state()
  %again = call i32 @julia.except_enter() returns_twice
  %first = icmp eq i32 %again, 0
  br i1 %first, label %try, label %catch
try:
  call void @deep(i64 20)
  call void @jl_pop_handler(i32 1)
  ret i32 0
catch:
  call void @jl_pop_handler(i32 1)
  %exception = call ptr @jl_current_exception()
  %kept = load volatile i64, ptr %slot
  call void @bc_throw(i64 %kept, ptr %exception)
  call void @jl_restore_excstack(i64 %depth)
  ret i32 1
}}"#
    ));
    let compiled = case.compile().unwrap();
    for _ in 0..3 {
        let (outcome, bytes) = crate::support::call(&compiled, &[]);
        assert_eq!(outcome, Outcome::Thrown);
        // STRUCT of ErrorException (25), 8 zero bytes, one reference: the STRING.
        let mut expected = graph(3, &25_u32.to_le_bytes());
        expected.extend(8_u32.to_le_bytes());
        expected.extend([0; 8]);
        expected.extend(1_u32.to_le_bytes());
        expected.extend(graph(5, &4_u64.to_le_bytes()));
        expected.extend(b"oops");
        assert_eq!(bytes, expected);
    }
}

#[test]
fn catching_goes_on_with_the_values_of_the_try() {
    // Ten turns of a loop, each with a try that throws in odd turns: counts what was caught.
    let case = Case::new(&format!(
        r#"{TRY}
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {{
entry:
  %turn = alloca i64
  %caught = alloca i64
  store volatile i64 0, ptr %turn
  store volatile i64 0, ptr %caught
  br label %loop
loop:
  %state = call i64 @jl_excstack_state()
  %again = call i32 @julia.except_enter() returns_twice
  %first = icmp eq i32 %again, 0
  br i1 %first, label %try, label %catch
try:
  %i = load volatile i64, ptr %turn
  %odd = trunc i64 %i to i1
  br i1 %odd, label %throw, label %fine
throw:
  call void @jl_error(ptr @message)
  unreachable
fine:
  call void @jl_pop_handler(i32 1)
  br label %next
catch:
  call void @jl_pop_handler(i32 1)
  %c = load volatile i64, ptr %caught
  %c1 = add i64 %c, 1
  store volatile i64 %c1, ptr %caught
  call void @jl_restore_excstack(i64 %state)
  br label %next
next:
  %j = load volatile i64, ptr %turn
  %j1 = add i64 %j, 1
  store volatile i64 %j1, ptr %turn
  %more = icmp ult i64 %j1, 10
  br i1 %more, label %loop, label %done
done:
  %n = load volatile i64, ptr %caught
  %left = call i64 @jl_excstack_state()
  %shifted = shl i64 %left, 32
  %answer = or i64 %n, %shifted
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %answer, ptr %to
  ret i32 0
}}"#
    ));
    assert_eq!(case.word(&[]), 5);
}

#[test]
fn nested_tries_rethrow_outwards() {
    let case = Case::new(&format!(
        r#"{TRY}
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {{
  %outer = call i32 @julia.except_enter() returns_twice
  %o = icmp eq i32 %outer, 0
  br i1 %o, label %try, label %catch.outer
try:
  %inner = call i32 @julia.except_enter() returns_twice
  %i = icmp eq i32 %inner, 0
  br i1 %i, label %throw, label %catch.inner
throw:
  call void @jl_error(ptr @message)
  unreachable
catch.inner:
  call void @jl_pop_handler(i32 1)
  call void @jl_rethrow()
  unreachable
catch.outer:
  call void @jl_pop_handler(i32 1)
  %exceptions = call i64 @jl_excstack_state()
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %exceptions, ptr %to
  ret i32 0
}}"#
    ));
    assert_eq!(case.word(&[]), 1);
}

#[test]
fn nobody_catches() {
    let case = Case::new(&format!(
        "{TRY}define i32 @bitcode_entry(i64, i64, i64) {{\ncall void @jl_error(ptr @message)\nunreachable\n}}"
    ));
    let (outcome, bytes) = case.run(&[]);
    assert_eq!(outcome, Outcome::Thrown);
    assert!(bytes.ends_with(b"oops"));
}

#[test]
fn bounds_errors_carry_their_indices() {
    let case = Case::new(&format!(
        r#"{TRY}
@bc.obj.0 = external global i8
define i32 @bitcode_entry(i64, i64, i64) {{
  %indices = alloca [2 x i64]
  store i64 7, ptr %indices
  %second = getelementptr i64, ptr %indices, i64 1
  store i64 -1, ptr %second
  call void @jl_bounds_error_ints(ptr @bc.obj.0, ptr %indices, i64 2)
  unreachable
}}"#
    ))
    .objects([Object::Symbol("a")]);
    let (outcome, bytes) = case.run(&[]);
    assert_eq!(outcome, Outcome::Thrown);
    let mut expected = graph(3, &19_u32.to_le_bytes());
    expected.extend(16_u32.to_le_bytes());
    expected.extend([0; 16]);
    expected.extend(2_u32.to_le_bytes());
    expected.extend(graph(6, &[1, 0, 0, 0, b'a']));
    expected.extend(graph(9, &2_u32.to_le_bytes()));
    expected.extend([7_i64.to_le_bytes(), (-1_i64).to_le_bytes()].concat());
    assert_eq!(bytes, expected);
}
