; What Julia's intrinsics become. The declarations below stand in the code while it is optimised, with what LLVM may
; assume about them; the bodies in prelude_bodies.ll are inlined afterwards.
;
; None of them unwinds: Julia's exceptions are jumps, which LLVM does not see.

; The state of the thread that runs the code. It is the same during the whole call.
declare noundef nonnull ptr @bc.thread() #0
; A new object of so many bytes, with this type.
declare noalias noundef nonnull align 16 ptr @bc.alloc(ptr noundef, i64 noundef, ptr noundef) #1
; The type of an object: it never changes.
declare noundef nonnull align 16 ptr @bc.typeof(ptr noundef nonnull) #0
; A reference to the second was stored into the first.
declare void @bc.barrier(ptr noundef, ptr noundef) #2
; Something that must be where the collector looks, up to here.
declare void @bc.keep(ptr noundef) #4
; A `try` begins: the handler is in the frame of the function.
declare void @bc.enter(ptr noundef, ptr noundef) #3
; So many `try`s end.
declare void @bc.leave(ptr noundef, i32 noundef) #3
; The number of exceptions being handled; back to an earlier number.
declare i64 @bc.exceptions(ptr noundef) #3
declare void @bc.forget(ptr noundef, i64 noundef) #3

attributes #0 = { nounwind willreturn nosync nofree memory(none) }
attributes #1 = { nounwind willreturn nosync nofree allockind("alloc,uninitialized") allocsize(1) memory(inaccessiblemem: readwrite) }
attributes #2 = { nounwind nosync nofree memory(argmem: read, inaccessiblemem: readwrite) }
attributes #3 = { nounwind willreturn nosync nofree }
attributes #4 = { nounwind willreturn nosync nofree memory(inaccessiblemem: readwrite) }
