; The bodies of prelude.ll. @NAME@ stands for numbers that the runtime gives: offsets into its thread state.

declare ptr @bc_thread_state() #0
declare noalias noundef nonnull ptr @bc_alloc(ptr, i64, ptr) #1
declare void @bc_refuse_store(ptr) #2

define ptr @bc.thread() #3 {
  %state = call ptr @bc_thread_state()
  ret ptr %state
}

; Takes the object from the thread's run of free slots of its size, if it is small and there is one; the tag is the word
; before it. Runs are in the order of their sizes, an address and an end (16 bytes) for each multiple of 16.
define ptr @bc.alloc(ptr %state, i64 %size, ptr %type) #3 {
  %small = icmp ule i64 %size, @BUMP_MAX@
  br i1 %small, label %try, label %slowly
try:
  %with.tag = add nuw i64 %size, 23
  %total = and i64 %with.tag, -16
  %runs = getelementptr i8, ptr %state, i64 @RUNS@
  %behind = getelementptr i8, ptr %runs, i64 %total
  %cursor.at = getelementptr i8, ptr %behind, i64 -16
  %limit.at = getelementptr i8, ptr %behind, i64 -8
  %cursor = load ptr, ptr %cursor.at, align 8
  %limit = load ptr, ptr %limit.at, align 8
  %full = icmp eq ptr %cursor, %limit
  br i1 %full, label %slowly, label %quickly, !prof !1
quickly:
  %next = getelementptr i8, ptr %cursor, i64 %total
  store ptr %next, ptr %cursor.at, align 8
  store ptr %type, ptr %cursor, align 8
  %object = getelementptr i8, ptr %cursor, i64 8
  ret ptr %object
slowly:
  %slow = call ptr @bc_alloc(ptr %state, i64 %size, ptr %type)
  ret ptr %slow
}

define ptr @bc.typeof(ptr %object) #3 {
  %tag.at = getelementptr i8, ptr %object, i64 -8
  %tag = load i64, ptr %tag.at, align 8
  %address = and i64 %tag, -16
  %type = inttoptr i64 %address to ptr
  ret ptr %type
}

; Objects that outlive the call have both low bits of their tag set.
define void @bc.barrier(ptr %parent, ptr %child) #3 {
  %tag.at = getelementptr i8, ptr %parent, i64 -8
  %tag = load i64, ptr %tag.at, align 8
  %marks = and i64 %tag, 3
  %constant = icmp eq i64 %marks, 3
  br i1 %constant, label %look, label %done, !prof !1
look:
  %none = icmp eq ptr %child, null
  br i1 %none, label %done, label %child.tag
child.tag:
  %child.tag.at = getelementptr i8, ptr %child, i64 -8
  %child.word = load i64, ptr %child.tag.at, align 8
  %child.mark = and i64 %child.word, 1
  %lasting = icmp ne i64 %child.mark, 0
  br i1 %lasting, label %done, label %refuse
refuse:
  call void @bc_refuse_store(ptr %parent)
  unreachable
done:
  ret void
}

define void @bc.keep(ptr %object) #3 {
  call void asm sideeffect "", "r"(ptr %object) #4
  ret void
}

define void @bc.enter(ptr %state, ptr %handler) #3 {
  %innermost.at = getelementptr i8, ptr %state, i64 @HANDLER@
  %outer = load volatile ptr, ptr %innermost.at, align 8
  %prev.at = getelementptr i8, ptr %handler, i64 @HANDLER_PREV@
  store volatile ptr %outer, ptr %prev.at, align 8
  store volatile ptr %handler, ptr %innermost.at, align 8
  ret void
}

define void @bc.leave(ptr %state, i32 %count) #3 {
  %innermost.at = getelementptr i8, ptr %state, i64 @HANDLER@
  %innermost = load volatile ptr, ptr %innermost.at, align 8
  br label %next
next:
  %at = phi ptr [ %innermost, %0 ], [ %outer, %drop ]
  %left = phi i32 [ %count, %0 ], [ %fewer, %drop ]
  %more = icmp sgt i32 %left, 0
  br i1 %more, label %drop, label %done
drop:
  %prev.at = getelementptr i8, ptr %at, i64 @HANDLER_PREV@
  %outer = load volatile ptr, ptr %prev.at, align 8
  %fewer = sub i32 %left, 1
  br label %next
done:
  store volatile ptr %at, ptr %innermost.at, align 8
  ret void
}

define i64 @bc.exceptions(ptr %state) #3 {
  %top.at = getelementptr i8, ptr %state, i64 @EXCEPTIONS@
  %top = load volatile i64, ptr %top.at, align 8
  ret i64 %top
}

define void @bc.forget(ptr %state, i64 %earlier) #3 {
  %top.at = getelementptr i8, ptr %state, i64 @EXCEPTIONS@
  %top = load volatile i64, ptr %top.at, align 8
  %less = icmp ult i64 %earlier, %top
  %new = select i1 %less, i64 %earlier, i64 %top
  store volatile i64 %new, ptr %top.at, align 8
  ret void
}

attributes #0 = { nounwind willreturn nosync nofree nonlazybind memory(none) }
attributes #1 = { nounwind cold nonlazybind }
attributes #2 = { nounwind noreturn cold nonlazybind }
attributes #3 = { nounwind alwaysinline }
attributes #4 = { nounwind }

!0 = !{!"branch_weights", i32 2000, i32 1}
!1 = !{!"branch_weights", i32 1, i32 2000}
