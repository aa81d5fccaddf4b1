# What cannot be shipped is refused here, with every reason, before anything is sent.

using BitCode, Test

include("waiting.jl")

struct HasPointer
    id::Int
    place::Ptr{Int}
end
not_constant = 1
uses_global(x) = x + not_constant
dispatches(v) = sum(f -> f(1.0), [v > 0 ? sin : sqrt, cos])
spawns(x) = fetch(@async x)
with_keyword(x; by = 1) = x * by
with_any_keyword(x; others...) = x + sum(values(values(others)))

node = launch()
sent() = BitCode.statistics(node)["calls"]
refusal(f, arguments...) = thrown(() -> remotecall_fetch(f, node, arguments...))
text(e) = sprint(showerror, e)

@testset "values that cannot cross" begin
    before = sent()
    for (f, arguments, words) in ((identity, (Ptr{Int}(8),), "pointer"), (identity, (Task(() -> 1),), "this process only"), (length, ([ReentrantLock()],), "elements"),
                                  (identity, (HasPointer(1, Ptr{Int}(0)),), "field `place` of `HasPointer`"), (identity, (Any[1, stdout],), "element 2 is a"),
                                  (() -> Ptr{Int}(0), (), "the result"), (x -> x[1], ((stdin, 1),), "element 1"))
        e = refusal(f, arguments...)
        @test e isa CaptureError
        @test occursin(words, text(e))
    end
    # All of them at once.
    e = refusal((a, b, c) -> c, Ptr{Int}(0), Task(() -> 1), 3)
    @test count(reason -> reason.kind == :type, e.reasons) == 2
    @test sent() == before
end

struct Another
    n::Int
end

@testset "a refused type spoils nothing" begin
    @test remotecall_fetch(length, node, Any[1]) == 1
    for _ in 1:2
        e = refusal(length, Any[Val(i) for i in 1:1200])
        @test e isa CaptureError
        @test occursin("element 1001 is a `Val{1001}`, a type that the shipped code does not know, and one more than it can learn", text(e))
    end
    @test remotecall_fetch(length, node, Any[Another(1)]) == 1
    @test remotecall_fetch(length, node, Any[Val(i) for i in 1:20]) == 20
end

@testset "code that no node can run" begin
    before = sent()
    for (f, words) in ((uses_global, "not_constant"), (dispatches, ""), (spawns, ""))
        e = refusal(f, 1)
        @test e isa CaptureError
        @test !isempty(e.reasons)
        @test occursin(words, text(e))
        @test any(reason -> endswith(reason.file, basename(@__FILE__)) && reason.line > 0, e.reasons)
    end
    @test sent() == before
end

@testset "no such method" begin
    e = refusal(sqrt, 'a')
    @test e isa MethodError && e.f === sqrt
    @test refusal(uses_global, 1, 2) isa MethodError
    @test thrown(() -> remotecall_fetch(with_keyword, node; by = 1)) isa MethodError
    unknown = thrown(() -> remotecall_fetch(with_keyword, node, 1; no_such_keyword = 1))
    @test unknown isa MethodError
    @test sprint(showerror, unknown) == sprint(showerror, thrown(() -> with_keyword(1; no_such_keyword = 1)))
    @test remotecall_fetch(with_any_keyword, node, 1; some_keyword = 2) == 3
    @test remotecall_fetch(round, node, 2.567; digits = 1) == 2.6
end

@testset "explained without a call" begin
    before = sent()
    report = BitCode.explain(uses_global, Tuple{Int})
    @test occursin("not_constant", repr("text/plain", report))
    @test !isempty(report.reasons)
    good = BitCode.explain(+, Tuple{Int,Int})
    @test isempty(good.reasons)
    @test occursin("can be shipped", repr("text/plain", good))
    @test occursin("HasPointer", repr("text/plain", BitCode.explain(identity, Tuple{HasPointer})))
    @test sent() == before
end

# None of it did any harm.
@test remotecall_fetch(+, node, 1, 2) === 3
close(node)
