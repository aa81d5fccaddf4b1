# What cannot be shipped is refused here, with every reason, before anything is sent.

using BitCode, Test

include("waiting.jl")

struct HasText
    id::Int
    text::String
end
mutable struct Counter
    n::Int
end
not_constant = 1
uses_global(x) = x + not_constant
unstable(x) = x > 0 ? Any[1][1] : 2.0
dispatches(v) = sum(f -> f(1.0), [v > 0 ? sin : sqrt, cos])
prints(x) = (println(x); x)
spawns(x) = fetch(@async x)
with_keyword(x; by = 1) = x * by
with_any_keyword(x; others...) = x + sum(values(values(others)))
boxed() = (x = 1; f = () -> x; x = 2; f)

node = launch()
sent() = BitCode.statistics(node)["calls"]
refusal(f, arguments...) = thrown(() -> remotecall_fetch(f, node, arguments...))
text(e) = sprint(showerror, e)

@testset "values that cannot cross" begin
    before = sent()
    for (f, arguments, words) in ((identity, (HasText(1, "a"),), "field `text` of `HasText`"), (identity, (Counter(1),), "mutable"),
                                  (length, (["a", "b"],), "elements (`String`)"), (identity, (Any[1],), "`Any`"), (+, (1, big(2)), "`BigInt`"),
                                  (identity, (Ptr{Int}(0),), "pointer"), (isempty, (Dict(1 => 2),), "mutable"), (boxed(), (), "captured variable `x`"),
                                  (unstable, (1,), "the result"))
        e = refusal(f, arguments...)
        @test e isa CaptureError
        @test occursin(words, text(e))
    end
    # All of them at once.
    e = refusal((a, b, c) -> c, "a", Counter(1), 3)
    @test count(reason -> reason.kind == :type, e.reasons) == 2
    @test sent() == before
end

@testset "code that no node can run" begin
    before = sent()
    for (f, words) in ((uses_global, "not_constant"), (dispatches, ""), (prints, ""), (spawns, ""))
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
end

@testset "explained without a call" begin
    before = sent()
    report = BitCode.explain(uses_global, Tuple{Int})
    @test occursin("not_constant", repr("text/plain", report))
    @test !isempty(report.reasons)
    good = BitCode.explain(+, Tuple{Int,Int})
    @test isempty(good.reasons)
    @test occursin("can be shipped", repr("text/plain", good))
    @test occursin("HasText", repr("text/plain", BitCode.explain(identity, Tuple{HasText})))
    @test sent() == before
end

# None of it did any harm.
@test remotecall_fetch(+, node, 1, 2) === 3
close(node)
