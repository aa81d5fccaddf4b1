# Calls with an argument of one type or another: what the tests before them leave, and what cannot be.

include("shipping.jl")

picks(x) = x > 0 ? (x > 10 ? 'c' : 1) : nothing
takes(x::Int) = x
takes(x::Char) = 7
@noinline hidden(@nospecialize(f), x) = f(x) + 1
applies(f, x) = hidden(f, x)
width(x::String) = ncodeunits(x)
width(x::Int) = x
width(x::Nothing) = 0

@testset "every way has its method, or none" begin
    # `takes(nothing)` is a MethodError, made at the origin.
    s = shipped(x -> takes(picks(x)), Int)
    @test "bc_throw_deferred" in s.imports
    @test takes in s.deferrable && MethodError in s.objects
    s = shipped(x -> width(x > 0 ? (x > 5 ? "ab" : x) : nothing), Int)
    @test !("bc_throw_deferred" in s.imports)
end

@testset "iteration over mixed tuples" begin
    mixed(n) = (s = 0; for x in (1, "ab", n); s += width(x); end; s)
    @test isempty(BitCode.explain(mixed, Tuple{Int}).reasons)
end

@testset "arrays of unions" begin
    holes(n) = sum(x -> x === nothing ? 0 : x, Union{Int,Nothing}[1, nothing, n])
    @test isempty(BitCode.explain(holes, Tuple{Int}).reasons)
    missings(n) = sum(skipmissing(Union{Int,Missing}[1, missing, n]))
    @test isempty(BitCode.explain(missings, Tuple{Int}).reasons)
end

@testset "splats" begin
    gathers(a, b) = +((a..., b)...)
    @test isempty(BitCode.explain(gathers, Tuple{NTuple{3,Int},Int}).reasons)
    many(t) = +(t...)
    @test isempty(BitCode.explain(many, Tuple{NTuple{40,Int}}).reasons)
end

@testset "wide signatures are narrowed" begin
    # The keyword sorter's inner method is compiled for any function and any order.
    ordered(v) = sort!(v; by = abs, rev = true)
    @test isempty(BitCode.explain(ordered, Tuple{Vector{Int}}).reasons)
    @test isempty(BitCode.explain(x -> applies(sin, x), Tuple{Float64}).reasons)
end

@testset "types that grow for ever end somewhere" begin
    grows(x, n) = n == 0 ? 0 : grows((x,), n - 1)
    @test BitCode.explain(x -> grows(x, 100), Tuple{Int}).reasons isa Vector
end
