# The way to a throw: texts are made at home, everything else of the exception is real, and nothing that is only needed there is shipped
# or in the way.

include("shipping.jl")
using BitCode.Capture: Splat, deferred_text

negative(x) = x > 0 ? x : error("negative: $(x)!")
wordy(x) = x > 0 ? x : error("negative: ", x, "!")
root(x) = sqrt(x)
dynamic_message(x) = x > 0 ? x : throw(ArgumentError(string("bad ", Any[x][1], " of ", typeof(x))))
struct Mine <: Exception
    what::String
    value::Int
end
mine(x) = x > 0 ? x : throw(Mine(string("value ", x), x))
looks_at_text(x) = x > 0 ? x : throw(Mine(string("value ", x), length(string("abc", x))))
text_is_result(x) = x > 0 ? string(x) : "none"
unknown_call(x) = x > 0 ? x : throw(Ref{Any}(x)[] + 1)
loops(n) = while true
    n = n > 100 ? error("over") : n + Any[1][1]
end

describe(x::Int) = string("an integer, ", x)::String
describe(x::String) = string("a string, ", x)::String
describe(x)::String = string("something, ", x)
own_words(x) = x > 0 ? x : error(describe(Any[x][1]))

names(s) = [f for f in s.deferrable]

# Since 1.8 many of Base's own messages are made when somebody reads them, and there is nothing to defer.
const MADE_LATER = isdefined(Base, :LazyString)

@testset "texts are not shipped" begin
    s = shipped(negative, Int)
    @test "bc_defer" in s.imports
    @test string in names(s) || Base.print_to_string in names(s)
    @test all(f -> any(o -> o === f, s.objects), s.deferrable)
    # Neither the code that formats nor what it needs.
    @test !any(symbol -> occursin("string", symbol), s.imports)
    @test s.functions <= 3
    s = shipped(root, Float64)
    @test (MADE_LATER || "bc_defer" in s.imports) && length(s.archive) < 5000
    @test DomainError in s.objects
end

@testset "an error of several words" begin
    s = shipped(wordy, Int)
    @test "bc_throw_deferred" in s.imports
    @test error in s.deferrable && ErrorException in s.objects
end

@testset "dynamic code on the way to a throw is not in the way" begin
    @test "bc_defer" in shipped(dynamic_message, Int).imports
    @test shipped(unknown_call, Int) isa Shipped
end

@testset "exceptions of the user's own" begin
    s = shipped(mine, Int)
    @test Mine in s.objects
    @test "bc_defer" in s.imports
end

@testset "what the user's own functions do is done on the node, or refused" begin
    found = try
        shipped(own_words, Int)
    catch e
        e
    end
    @test found isa CaptureError || !(describe in found.deferrable)
end

@testset "texts that somebody looks at are real" begin
    # A text that is returned is no message.
    @test !("bc_defer" in shipped(text_is_result, Int).imports)
    s = shipped(looks_at_text, Int)
    @test "jl_alloc_string" in s.imports || "jl_array_to_string" in s.imports
end

@testset "an endless loop is not the way to a throw" begin
    found = try shipped(loops, Int); [] catch e; e.reasons end
    @test any(r -> r.kind == :dynamic_dispatch, found)
end

@testset "what is deferred means the same here" begin
    @test deferred_text(string, 1, "a") == "1a"
    @test Splat{typeof(string)}()((1, "a"), [2]) == "1a2"
    @test_throws ErrorException Capture.deferred_throw(nothing, error, "x")
    @test_throws ErrorException Capture.static_throw(nothing, nothing)
end

@testset "inferred code in Julia's cache is as it was" begin
    before = [string(ci) for ci in code_typed(negative, Tuple{Int})]
    shipped(negative, Int)
    @test [string(ci) for ci in code_typed(negative, Tuple{Int})] == before
    @test negative(1) == 1
    @test_throws ErrorException("negative: -1!") negative(-1)
end

@testset "texts that a handler looks at are real" begin
    ignores(x) = try sqrt(x) catch; NaN end
    asks_type(x) = try sqrt(x) catch e; e isa DomainError ? NaN : rethrow() end
    reads_text(x) = try negative(x) catch e; e isa ErrorException ? length(e.msg::String) : 0 end
    @test MADE_LATER || "bc_defer" in shipped(ignores, Float64).imports
    @test MADE_LATER || "bc_defer" in shipped(asks_type, Float64).imports
    s = shipped(reads_text, Int)
    @test !("bc_defer" in s.imports)
    @test isempty(s.deferrable)
end

@testset "what returns is not on the way to a throw" begin
    # Union-split iteration has jumps that are typed like calls which never return.
    mixed(n) = (s = 0; for x in (1, "ab", n); s += x isa String ? length(x) : x; end; s)
    @test !("bc_throw_static" in shipped(mixed, Int).imports)
    @test !("bc_throw_static" in shipped(n -> length(string(1, "a", n)), Int).imports)
end

@testset "a handler that looks into an exception finds its text, or the function is refused" begin
    complains(x) = x > 0 ? throw(ArgumentError(string("bad: ", Any[x]))) : x
    passes_on(x) = try complains(x) catch e; e isa ArgumentError ? -1 : rethrow() end
    looks_into(x) = try string(complains(x)) catch e; e isa ArgumentError ? e.msg::String : rethrow() end
    @test shipped(passes_on, Int) isa Shipped
    reasons = try shipped(looks_into, Int); Capture.Reason[] catch e; e.reasons end
    @test [r.kind for r in reasons] == [:dynamic_dispatch]
    @test occursin("show(", only(reasons).message)
end

@testset "only what a handler may look into is shipped with its text" begin
    fails(x) = x > 0 ? error("no: ", x) : x
    wraps(x) = try fails(x) catch e; throw(ArgumentError(string("wrapped ", typeof(x)))) end
    reads_first(x) = (y = try fails(x) catch e; e isa ErrorException ? ncodeunits(e.msg::String) : 0 end; y > 9 ? error("long: ", y, 1.5) : y)
    @test "bc_throw_deferred" in shipped(reads_first, Int).imports
    @test !("bc_throw_static" in shipped(x -> try fails(x) catch e; e isa ErrorException ? e.msg : "" end, Int).imports)
    # A handler that throws another exception is not watched by itself.
    @test shipped(wraps, Int) isa Shipped
end
