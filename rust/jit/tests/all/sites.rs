//! Backtraces: the lines of an image's line table come back with an exception.

use crate::support::{Case, call_and_trace};
use bitcode_jit::Outcome;

/// Functions that call each other, and the numbers of the calls. `inner` is inlined into `middle` by the compiler.
pub(crate) const CODE: &str = r#"
declare void @jl_throw(ptr) noreturn
declare void @jl_error(ptr) noreturn
declare ptr @jl_box_int64(i64)
@message = internal constant [5 x i8] c"oops\00"

define internal void @inner(i64 %n) alwaysinline !dbg !10 {
  %one = icmp eq i64 %n, 1
  br i1 %one, label %first, label %other
first:
  call void @jl_error(ptr @message), !dbg !20
  unreachable
other:
  %two = icmp eq i64 %n, 2
  br i1 %two, label %second, label %done
second:
  call void @jl_error(ptr @message), !dbg !21
  unreachable
done:
  ret void
}
define internal void @middle(i64 %n) noinline !dbg !11 {
  call void @inner(i64 %n), !dbg !22
  ret void
}
define internal i64 @recurse(i64 %n) noinline !dbg !12 {
  %stop = icmp eq i64 %n, -7
  br i1 %stop, label %end, label %on
on:
  %more = add i64 %n, 1
  %deeper = call i64 @recurse(i64 %more), !dbg !24
  %sum = add i64 %deeper, 1
  ret i64 %sum
end:
  ret i64 0
}
define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) !dbg !13 {
  %place = inttoptr i64 %payload to ptr
  %n = load i64, ptr %place
  %deep = icmp eq i64 %n, 9
  br i1 %deep, label %recurse, label %middle
recurse:
  %far = call i64 @recurse(i64 %n), !dbg !25
  store i64 %far, ptr %place
  ret i32 0
middle:
  call void @middle(i64 %n), !dbg !23
  ret i32 0
}

!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!1}
!0 = distinct !DICompileUnit(language: DW_LANG_C, file: !2, isOptimized: true, emissionKind: LineTablesOnly)
!1 = !{i32 1, !"Debug Info Version", i32 3}
!2 = !DIFile(filename: "-", directory: "")
!3 = !DISubroutineType(types: !{})
!10 = distinct !DISubprogram(scope: !2, file: !2, line: 100, type: !3, scopeLine: 100, spFlags: DISPFlagDefinition, unit: !0)
!11 = distinct !DISubprogram(scope: !2, file: !2, line: 101, type: !3, scopeLine: 101, spFlags: DISPFlagDefinition, unit: !0)
!12 = distinct !DISubprogram(scope: !2, file: !2, line: 102, type: !3, scopeLine: 102, spFlags: DISPFlagDefinition, unit: !0)
!13 = distinct !DISubprogram(scope: !2, file: !2, line: 0, type: !3, scopeLine: 0, spFlags: DISPFlagDefinition, unit: !0)
!20 = !DILocation(line: 1, scope: !10)
!21 = !DILocation(line: 2, scope: !10)
!22 = !DILocation(line: 3, scope: !11)
!23 = !DILocation(line: 70000, scope: !13)
!24 = !DILocation(line: 5, scope: !12)
!25 = !DILocation(line: 0, scope: !13)
"#;

#[test]
fn sites_come_innermost_first_inlined_ones_too() {
    let compiled = Case::new(CODE).compile().unwrap();
    for (n, site) in [(1, 1), (2, 2), (1, 1)] {
        let (outcome, graph, sites) = call_and_trace(&compiled, &[n]);
        assert_eq!(outcome, Outcome::Thrown);
        assert!(graph.ends_with(b"oops"));
        // Both calls are alike, and still told apart.
        assert_eq!(sites, [site, 3, 70000]);
    }
    assert_eq!(call_and_trace(&compiled, &[4]).0, Outcome::Value);
}

#[test]
fn a_stack_that_is_full_has_its_innermost_frames() {
    let compiled = Case::new(CODE).compile().unwrap();
    let (outcome, _, sites) = call_and_trace(&compiled, &[9]);
    assert_eq!(outcome, Outcome::Thrown);
    // The function that found it full, where it began, then its callers.
    assert!(matches!(sites[0], 5 | 102), "{sites:?}");
    assert_eq!(sites[1..], [5].repeat(sites.len() - 1));
    assert!(sites.len() > 30 && sites.len() <= 64);
}

#[test]
fn without_a_line_table_there_is_no_backtrace() {
    let bare: String = CODE
        .lines()
        .filter(|line| !line.starts_with('!'))
        .map(|line| {
            let end = line.find("!dbg").unwrap_or(line.len());
            let rest = if line.ends_with('{') { "{" } else { "" };
            format!("{}{rest}\n", line[..end].trim_end_matches([' ', ',']))
        })
        .collect();
    let compiled = Case::new(&bare.replace("alwaysinline{", "alwaysinline {"))
        .compile()
        .unwrap();
    let (outcome, _, sites) = call_and_trace(&compiled, &[1]);
    assert_eq!((outcome, sites.len()), (Outcome::Thrown, 0));
}

/// Every thread has its own exceptions and traces.
#[test]
fn threads_keep_apart() {
    let compiled = Case::new(CODE).compile().unwrap();
    std::thread::scope(|scope| {
        for n in [1, 2, 1, 2] {
            let compiled = &compiled;
            scope.spawn(move || {
                for _ in 0..500 {
                    let (_, _, sites) = call_and_trace(compiled, &[n]);
                    assert_eq!(sites, [n as u32, 3, 70000]);
                }
            });
        }
    });
}
