//! Values in, values out.

use crate::support::Case;
use bitcode_jit::Outcome;

const ADD_ONE: &str = r#"
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {
  %at = inttoptr i64 %payload to ptr
  %x = load i64, ptr %at
  %y = add i64 %x, 1
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %y, ptr %to
  ret i32 0
}
"#;

#[test]
fn a_word_goes_in_and_comes_out() {
    assert_eq!(Case::new(ADD_ONE).word(&[41]), 42);
}

#[test]
fn no_result_is_an_empty_value() {
    let case = Case::new("define i32 @bitcode_entry(i64, i64, i64) { ret i32 0 }");
    assert_eq!(case.run(&[]), (Outcome::Value, Vec::new()));
}
