//! Julia's intrinsics, in the shapes in which they come.

use crate::support::{Case, JIT, call, compile};
use bitcode_jit::Outcome;
use bitcode_wire::archive::Archive;
use bitcode_wire::manifest::{DataObject, Object, TypeFlags, TypeObject};

fn boxed_type<'a>() -> Object<'a> {
    Object::Type(TypeObject {
        name: "Test.Pair",
        flags: TypeFlags::CONCRETE.with(TypeFlags::ISBITS),
        size: 16,
        align: 8,
        ..TypeObject::default()
    })
}

#[test]
fn objects_know_their_type() {
    let case = Case::new(
        r#"
declare ptr @julia.ptls_states()
declare noalias ptr @julia.gc_alloc_obj(ptr, i64, ptr)
declare ptr @julia.typeof(ptr)
@bc.obj.0 = external global i8
define i32 @bitcode_entry(i64, i64, i64 %call) {
  %state = call ptr @julia.ptls_states()
  %a = call ptr @julia.gc_alloc_obj(ptr %state, i64 16, ptr @bc.obj.0)
  %b = call ptr @julia.gc_alloc_obj(ptr %state, i64 16, ptr @bc.obj.0)
  %type = call ptr @julia.typeof(ptr %a)
  %same = icmp eq ptr %type, @bc.obj.0
  %x = ptrtoint ptr %a to i64
  %y = ptrtoint ptr %b to i64
  %apart = sub i64 %y, %x
  %low = and i64 %x, 15
  %one = zext i1 %same to i64
  %answer.1 = mul i64 %apart, 1000
  %answer.2 = mul i64 %low, 10
  %answer.3 = add i64 %answer.1, %answer.2
  %answer = add i64 %answer.3, %one
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %answer, ptr %to
  ret i32 0
}"#,
    )
    .objects([boxed_type()]);
    // The next object is 32 bytes on, aligned to 16; the type is the archive's.
    assert_eq!(case.word(&[]), 32_001);
}

/// The same with what Julia's passes leave when nobody removes it: address spaces, bundles, preservation marks.
#[test]
fn address_spaces_and_bundles_are_tolerated() {
    let case = Case::new(
        r#"
declare ptr @julia.ptls_states()
declare noalias nonnull ptr addrspace(10) @julia.gc_alloc_obj(ptr, i64, ptr addrspace(10))
declare void @julia.write_barrier(ptr addrspace(10), ...)
declare ptr @julia.pointer_from_objref(ptr addrspace(11))
declare token @llvm.julia.gc_preserve_begin(...)
declare void @llvm.julia.gc_preserve_end(token)
declare void @julia.loopinfo_marker()
declare i64 @memhash(ptr, i64)
@bc.obj.0 = external global i8
define i32 @bitcode_entry(i64, i64, i64 %call) {
  %state = call ptr @julia.ptls_states()
  %type = addrspacecast ptr @bc.obj.0 to ptr addrspace(10)
  %a = call noalias nonnull ptr addrspace(10) @julia.gc_alloc_obj(ptr %state, i64 16, ptr addrspace(10) %type)
  call void (ptr addrspace(10), ...) @julia.write_barrier(ptr addrspace(10) %a, ptr addrspace(10) %a)
  call void (ptr addrspace(10), ...) @julia.write_barrier(ptr addrspace(10) %a)
  %token = call token (...) @llvm.julia.gc_preserve_begin(ptr addrspace(10) %a)
  %derived = addrspacecast ptr addrspace(10) %a to ptr addrspace(11)
  %raw = call ptr @julia.pointer_from_objref(ptr addrspace(11) %derived)
  store i64 5, ptr %raw
  call void @julia.loopinfo_marker()
  %hash = call i64 @memhash(ptr %raw, i64 8) [ "jl_roots"(ptr addrspace(10) %a) ]
  call void @llvm.julia.gc_preserve_end(token %token)
  %back = load i64, ptr addrspace(11) %derived
  %zero = sub i64 %hash, %hash
  %answer = add i64 %back, %zero
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %answer, ptr %to
  ret i32 0
}"#,
    )
    .objects([boxed_type()]);
    assert_eq!(case.word(&[]), 5);
}

#[test]
fn constants_cannot_be_made_to_hold_a_calls_objects() {
    let holder = Object::Type(TypeObject {
        name: "Test.Ref",
        flags: TypeFlags::CONCRETE.with(TypeFlags::MUTABLE),
        size: 8,
        align: 8,
        pointers: vec![0],
        ..TypeObject::default()
    });
    let data = |ty| {
        Object::Data(DataObject {
            ty,
            bytes: &[0; 8],
            relocations: Vec::new(),
        })
    };
    let case = Case::new(
        r#"
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
declare void @julia.write_barrier(ptr, ...)
@bc.obj.0 = external global i8
@bc.obj.1 = external global i8
@bc.obj.2 = external global i8
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %at = inttoptr i64 %payload to ptr
  %which = load i64, ptr %at
  %constant = icmp eq i64 %which, 0
  br i1 %constant, label %fine, label %bad
fine:
  store ptr @bc.obj.2, ptr @bc.obj.1
  call void (ptr, ...) @julia.write_barrier(ptr @bc.obj.1, ptr @bc.obj.2)
  br label %done
bad:
  %state = call ptr @julia.ptls_states()
  %new = call ptr @julia.gc_alloc_obj(ptr %state, i64 8, ptr @bc.obj.0)
  store ptr %new, ptr @bc.obj.1
  call void (ptr, ...) @julia.write_barrier(ptr @bc.obj.1, ptr %new)
  br label %done
done:
  %held = load i64, ptr @bc.obj.1
  %none = icmp eq i64 %held, 0
  %answer = zext i1 %none to i64
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %answer, ptr %to
  ret i32 0
}"#,
    )
    .objects([holder, data(0), data(0)]);
    let compiled = case.compile().unwrap();
    assert_eq!(call(&compiled, &[0]), (Outcome::Value, vec![0; 8]));
    let (outcome, bytes) = call(&compiled, &[1]);
    assert_eq!(outcome, Outcome::Thrown);
    assert!(String::from_utf8_lossy(&bytes).contains("changed a constant"));
}

/// Code that is specialised reads constants: a loop over as many steps as they say is gone. Ordinary code finds that nothing is fixed.
#[test]
fn what_is_fixed_is_folded() {
    let case = Case::new(
        r#"
declare i64 @bc_fixed()
define i64 @sum(ptr %words) {
entry:
  %count = load i64, ptr %words
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i64 [ 0, %entry ], [ %more, %loop ]
  %next = add i64 %k, 1
  %place = getelementptr i64, ptr %words, i64 %next
  %word = load i64, ptr %place
  %more = add i64 %sum, %word
  %go = icmp ult i64 %next, %count
  br i1 %go, label %loop, label %done
done:
  ret i64 %more
}
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %place = call i64 @bc_fixed()
  %plain = icmp eq i64 %place, 0
  %from = select i1 %plain, i64 %payload, i64 %place
  %words = inttoptr i64 %from to ptr
  %sum = call i64 @sum(ptr %words)
  %to = call i64 @bc_result(i64 %call, i64 8)
  %result = inttoptr i64 %to to ptr
  store i64 %sum, ptr %result
  ret i32 0
}"#,
    );
    let fixed: Vec<u8> = [3_u64, 1000, 200, 34]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let special = Archive {
        fixed: &fixed,
        ..case.archive()
    };
    let text = JIT.explain(&special).unwrap();
    assert!(text.contains("store i64 1234"), "{text}");
    assert!(!text.contains("phi"), "{text}");
    let (outcome, bytes) = call(&compile(&JIT, &special).unwrap(), &[1, 5]);
    assert_eq!(
        (outcome, &bytes[..]),
        (Outcome::Value, &1234_u64.to_le_bytes()[..])
    );
    assert_eq!(case.word(&[2, 5, 6]), 11);
    let plain = JIT.explain(&case.archive()).unwrap();
    assert!(plain.contains("phi"), "{plain}");
}

#[test]
fn allocation_is_inline_and_tries_are_cheap() {
    let case = Case::new(
        r#"
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
@bc.obj.0 = external global i8
define i32 @bitcode_entry(i64, i64, i64) {
  %state = call ptr @julia.ptls_states()
  %a = call ptr @julia.gc_alloc_obj(ptr %state, i64 16, ptr @bc.obj.0)
  store volatile i64 1, ptr %a
  ret i32 0
}"#,
    )
    .objects([boxed_type()]);
    let text = JIT.explain(&case.archive()).unwrap();
    assert!(!text.contains("julia."), "{text}");
    assert!(text.contains("call ptr @bc_thread_state()"), "{text}");
    let body = &text[text.find("define").unwrap()..];
    // One call for the thread, one for the run that is used up; the size is known, so nothing is compared with the largest.
    assert_eq!(body.matches(" call ").count(), 2, "{text}");
    assert!(!text.contains("504"), "{text}");
}

/// What a region preserves is not collected while only memory that nobody looks at knows its address; what is not preserved, is.
#[test]
fn what_is_preserved_stays() {
    let text = r#"
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
declare void @jl_gc_collect(i32)
declare token @llvm.julia.gc_preserve_begin(...)
declare void @llvm.julia.gc_preserve_end(token)
@bc.obj.0 = external global i8
define void @hide(ptr %payload) noinline {
  %state = call ptr @julia.ptls_states()
  %new = call ptr @julia.gc_alloc_obj(ptr %state, i64 16, ptr @bc.obj.0)
  store volatile i64 42, ptr %new
  %address = ptrtoint ptr %new to i64
  %hidden = xor i64 %address, -1
  store volatile i64 %hidden, ptr %payload
  ret void
}
define void @overwrite() noinline {
entry:
  call void @jl_gc_collect(i32 1)
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %state = call ptr @julia.ptls_states()
  %new = call ptr @julia.gc_alloc_obj(ptr %state, i64 16, ptr @bc.obj.0)
  store volatile i64 7, ptr %new
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 100000
  br i1 %more, label %loop, label %done
done:
  ret void
}
define ptr @shown(ptr %payload) noinline {
  %hidden = load volatile i64, ptr %payload
  %address = xor i64 %hidden, -1
  %object = inttoptr i64 %address to ptr
  ret ptr %object
}
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %at = inttoptr i64 %payload to ptr
  call void @hide(ptr %at)
  BEGIN
  call void @overwrite()
  END
  %object = call ptr @shown(ptr %at)
  %answer = load volatile i64, ptr %object
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store i64 %answer, ptr %to
  ret i32 0
}"#;
    let begin = "%o = call ptr @shown(ptr %at)
        %token = call token (...) @llvm.julia.gc_preserve_begin(ptr %o)";
    let preserving = text
        .replace("BEGIN", begin)
        .replace("END", "call void @llvm.julia.gc_preserve_end(token %token)");
    let case = Case::new(&preserving).objects([boxed_type()]);
    assert_eq!(case.word(&[0]), 42);
    let careless = text.replace("BEGIN", "").replace("END", "");
    let case = Case::new(&careless).objects([boxed_type()]);
    assert_eq!(case.word(&[0]), 7);
}

#[test]
fn unused_allocations_vanish() {
    let case = Case::new(
        r#"
declare ptr @julia.ptls_states()
declare ptr @julia.gc_alloc_obj(ptr, i64, ptr)
@bc.obj.0 = external global i8
define i32 @bitcode_entry(i64, i64, i64) {
  %state = call ptr @julia.ptls_states()
  %a = call ptr @julia.gc_alloc_obj(ptr %state, i64 16, ptr @bc.obj.0)
  store i64 1, ptr %a
  ret i32 0
}"#,
    )
    .objects([boxed_type()]);
    let text = JIT.explain(&case.archive()).unwrap();
    assert!(!text.contains("bc_alloc"), "{text}");
}

#[test]
fn multiply_add_is_left_to_the_origins_choice() {
    // `fmuladd` may fuse, separate operations may not.
    let case = Case::new(
        r#"
declare double @llvm.fma.f64(double, double, double)
define i32 @bitcode_entry(i64 %payload, i64, i64 %call) {
  %at = inttoptr i64 %payload to ptr
  %a = load double, ptr %at
  %p = fmul double %a, %a
  %s = fadd double %p, -1.0
  %result = call i64 @bc_result(i64 %call, i64 8)
  %to = inttoptr i64 %result to ptr
  store double %s, ptr %to
  ret i32 0
}"#,
    );
    let a = 1.0 + f64::from_bits((1023 - 30) << 52);
    let bits = case.word(&[a.to_bits()]);
    assert_eq!(f64::from_bits(bits), a * a - 1.0);
    assert_ne!(f64::from_bits(bits), a.mul_add(a, -1.0));
}
