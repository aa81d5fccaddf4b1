# Everything that may be in the way of shipping a function: its kind, the user's own line, what to do.

include("shipping.jl")

reasons(f, types...) = BitCode.explain(f, Tuple{types...}).reasons

counter = 0
const TALLY = Ref(0)
const LINE = @__LINE__
reads_global(x) = x + counter
asks(x) = (readline(); x)
reads_file(x) = length(read(string(x)))
starts_task(x) = fetch(@async x + 1)
asks_for_task(x) = objectid(current_task()) + x
any_elements(x) = sum(Any[x, 2x])
calls_library(x) = ccall((:zlibCompileFlags, "libz"), Culong, ())
calls_runtime(x) = ccall(:jl_environ, Any, (Int32,), x)
assembles(x) = Base.llvmcall("""%v = call i64 asm "mov \$1, \$0", "=r,r"(i64 %0)
    ret i64 %v""", Int, Tuple{Int}, x)
keeps_pointer(x) = unsafe_load(BUFFER) + x
deeper(x) = middle(x) + 1
@noinline middle(x) = innermost(x) * 2
@noinline innermost(x) = x + counter
twice(x) = reads_global(x) + x +
    counter
undefined_name(x) = x + this_name_does_not_exist
const BUFFER = Ptr{UInt8}(Libc.malloc(16))
const STREAM = IOBuffer()
const OPEN = Base.stdout isa IO ? ReentrantLock() : ReentrantLock()
locks(x) = (lock(OPEN); x)

only_for_strings(x::String) = x

line(n) = LINE + n

function only_reason(f, types...)
    found = reasons(f, types...)
    @test length(found) == 1
    return found[1]
end

@testset "kinds and lines" begin
    for (f, kind, n) in ((reads_global, :global, 1), (asks, :io, 2), (starts_task, :task, 4), (asks_for_task, :task, 5),
                         (any_elements, :dynamic_dispatch, 6), (calls_library, :library, 7), (calls_runtime, :runtime_call, 8),
                         (assembles, :assembly, 9), (keeps_pointer, :address, 11), (undefined_name, :global, 17))
        reason = only_reason(f, f === calls_runtime ? Int32 : Int)
        @test (f, reason.kind) == (f, kind)
        @test (f, reason.line) == (f, line(n))
        @test reason.file == @__FILE__
        @test reason.name == string(f)
        @test !isempty(reason.message) && !isempty(reason.advice)
    end
    @test only_reason(reads_file, Int).kind == :io
    @test only_reason(locks, Int).line == line(21)
end

@testset "words" begin
    @test occursin("counter", only_reason(reads_global, Int).message)
    @test occursin("stdin", only_reason(asks, Int).message)
    @test occursin("zlibCompileFlags", only_reason(calls_library, Int).message) && occursin("libz", only_reason(calls_library, Int).message)
    @test occursin("jl_environ", only_reason(calls_runtime, Int32).message)
    @test occursin("::Any", only_reason(any_elements, Int).message)
    text = sprint(showerror, CaptureError("f(::Int64)", reasons(reads_global, Int)))
    @test startswith(text, "CaptureError: f(::Int64) cannot be shipped:")
    @test occursin("help: declare it `const`", text)
    @test occursin("reasons_tests.jl:$(line(1))", text)
end

@testset "the way to the cause" begin
    found = reasons(deeper, Int)
    @test found[1].kind == :global
    # What follows from it comes after it.
    @test all(r -> r.kind == :dynamic_dispatch, found[2:end])
    reason = found[1]
    # The user's own line is the innermost of the user's.
    @test (reason.name, reason.line) == ("innermost", line(14))
    reason = only_reason(asks, Int)
    @test [frame.name for frame in reason.frames][1:2] == ["asks", "readline"]
end

@testset "all reasons at once, one for each line" begin
    found = reasons(twice, Int)
    @test sort([r.line for r in found]) == [line(1), line(15)] || sort([r.line for r in found]) == [line(1), line(16)]
    @test all(r -> r.kind == :global, found)
end

@testset "no such method" begin
    error = try capture(only_for_strings, Tuple{Int}) catch e e end
    @test error isa CaptureError
    @test error.reasons[1].kind == :method
    @test occursin("only_for_strings(::Int64)", error.reasons[1].message)
end

@testset "what is fine is not complained about" begin
    @test isempty(reasons(x -> TALLY[] + x, Int))
    @test isempty(reasons(x -> x > 0 ? x : error("negative: $x"), Int))
    @test isempty(reasons(x -> x > 0 ? x : error("counter is $counter"), Int))
    @test isempty(reasons(x -> x > 0 ? x : throw(KeyError(x)), Int))
    @test isempty(reasons(x -> try x ÷ 0 catch; 0 end, Int))
end
