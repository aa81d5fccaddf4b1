//! Structs with 128-bit integers keep the origin's layout: 8-byte alignment, as LLVM 9 and Julia 1.5 had it.

use crate::support::Case;

/// Fills a struct by fields, reads it by bytes.
#[test]
fn fields_lie_where_the_origin_has_them() {
    let case = Case::new(
        r#"
%S = type { i64, i128, i8 }
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %in = inttoptr i64 %payload to ptr
  %i = load i64, ptr %in
  %slot = alloca [2 x %S], align 8
  %field.0 = getelementptr inbounds [2 x %S], ptr %slot, i64 0, i64 %i, i32 0
  store i64 11, ptr %field.0, align 8
  %field.1 = getelementptr inbounds [2 x %S], ptr %slot, i64 0, i64 %i, i32 1
  store i128 22, ptr %field.1, align 8
  %field.2 = getelementptr inbounds [2 x %S], ptr %slot, i64 0, i64 %i, i32 2
  store i8 33, ptr %field.2, align 8
  %result = call i64 @bc_result(i64 %call, i64 64)
  %out = inttoptr i64 %result to ptr
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %slot, i64 64, i1 false)
  ret i32 0
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"#,
    );
    let (_, bytes) = case.run(&[1]);
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((word(32), word(40), word(48), bytes[56]), (11, 22, 0, 33));
}

#[test]
fn whole_structs_move_field_by_field() {
    let case = Case::new(
        r#"
%S = type { i64, i128, i8 }
define internal %S @twice(%S %x) noinline {
  %a = extractvalue %S %x, 1
  %b = shl i128 %a, 65
  %y = insertvalue %S %x, i128 %b, 1
  ret %S %y
}
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %in = inttoptr i64 %payload to ptr
  %x = load %S, ptr %in, align 8
  %y = call %S @twice(%S %x)
  %result = call i64 @bc_result(i64 %call, i64 32)
  %out = inttoptr i64 %result to ptr
  store %S %y, ptr %out, align 8
  ret i32 0
}
"#,
    );
    let (_, bytes) = case.run(&[5, 3, 0, 0xaa, 0]);
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((word(0), word(8), word(16), bytes[24]), (5, 0, 6, 0xaa));
}

#[test]
fn constants_keep_their_bytes() {
    let case = Case::new(
        r#"
%S = type { i64, i128, i8 }
@table = internal constant [2 x %S] [%S { i64 1, i128 2, i8 3 }, %S { i64 4, i128 5, i8 6 }]
@inner = internal constant ptr getelementptr ([2 x %S], ptr @table, i64 0, i64 1, i32 1)
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %in = inttoptr i64 %payload to ptr
  %i = load volatile i64, ptr %in
  %second = getelementptr [2 x %S], ptr @table, i64 0, i64 %i, i32 2
  %x = load i8, ptr %second
  %at = load volatile ptr, ptr @inner
  %y = load i64, ptr %at, align 8
  %z = load i128, ptr getelementptr ([2 x %S], ptr @table, i64 0, i64 0, i32 1), align 8
  %a = zext i8 %x to i64
  %b = trunc i128 %z to i64
  %result = call i64 @bc_result(i64 %call, i64 24)
  %out = inttoptr i64 %result to ptr
  store i64 %a, ptr %out
  %out.1 = getelementptr i64, ptr %out, i64 1
  store i64 %y, ptr %out.1
  %out.2 = getelementptr i64, ptr %out, i64 2
  store i64 %b, ptr %out.2
  ret i32 0
}
"#,
    );
    let (_, bytes) = case.run(&[1]);
    let words: Vec<_> = bytes
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect();
    assert_eq!(words, [6, 5, 2]);
}

#[test]
fn division_of_wide_integers_is_there() {
    let case = Case::new(
        r#"
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %in = inttoptr i64 %payload to ptr
  %x = load i128, ptr %in, align 8
  %in.1 = getelementptr i128, ptr %in, i64 1
  %y = load i128, ptr %in.1, align 8
  %q = sdiv i128 %x, %y
  %r = srem i128 %x, %y
  %f = sitofp i128 %q to double
  %g = fptosi double %f to i128
  %s = add i128 %g, %r
  %result = call i64 @bc_result(i64 %call, i64 16)
  %out = inttoptr i64 %result to ptr
  store i128 %s, ptr %out, align 8
  ret i32 0
}
"#,
    );
    let (x, y) = (
        -123_456_789_012_345_678_901_234_567_i128,
        987_654_321_987_i128,
    );
    let words = [x as u64, (x >> 64) as u64, y as u64, (y >> 64) as u64];
    let (_, bytes) = case.run(&words);
    assert_eq!(
        i128::from_le_bytes(bytes.try_into().unwrap()),
        x / y + x % y
    );
}
