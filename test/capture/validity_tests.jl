# No stale code: what was captured is valid until a definition that it relies on changes, and not after.

include("shipping.jl")

module Changing
outer(x) = middle(x) + 1
middle(x) = inner(x) * 2
@noinline inner(x) = x + 10
open_ended(x) = picks(x)
picks(x) = 1
other(x) = x
fails(x) = x > 0 ? x : complain(x)
@noinline complain(x) = error("negative $x")
end

recapture(f) = Base.invokelatest(shipped, f, Int)
still(s) = Base.invokelatest(isvalid, s)

@testset "nothing changed" begin
    s = recapture(Changing.outer)
    @test still(s)
    @eval Changing unrelated(x) = x
    @test still(s)
end

@testset "redefinition of $name" for (name, definition) in (
        "the function itself" => :(outer(x) = middle(x) + 2), "what it calls" => :(middle(x) = inner(x) * 3),
        "what that calls" => :(@noinline inner(x) = x + 20))
    s = recapture(Changing.outer)
    Core.eval(Changing, definition)
    @test !still(s)
    @test !still(s)
    again = recapture(Changing.outer)
    @test still(again)
    @test again.archive != s.archive
end

@testset "a better method" begin
    s = recapture(Changing.open_ended)
    @eval Changing picks(x::Int) = 2
    @test !still(s)
    @test still(recapture(Changing.open_ended))
end

@testset "what only leads to a throw" begin
    s = recapture(Changing.fails)
    @eval Changing @noinline complain(x) = throw(ArgumentError("other"))
    @test !still(s)
    @test ArgumentError in recapture(Changing.fails).objects
end

@testset "captured again, the same code" begin
    s = recapture(Changing.other)
    @eval Changing other(x) = x
    @test !still(s)
    @test recapture(Changing.other).archive == s.archive
end

# Inference gives up on a value of so many types, and on all that comes of it. Capture does not, and settles the call of `weight` itself: nothing of
# Julia's own watches over that.
module Settling
one_of(i) = i == 1 ? 1 : i == 2 ? 1.0 : i == 3 ? 1f0 : i == 4 ? 0x01 : i == 5 ? 'c' : "s"
kind(x::Int) = 1
kind(x::Float64) = 2
kind(x::Float32) = 3
kind(x::UInt8) = 4
kind(x::Char) = 5
kind(x::String) = 6
weight(x::Integer) = 1
weight(x::Float64) = 2
weight(x::Float32) = 3
weight(x::Char) = 5
weight(x::AbstractString) = 6
weigh(i) = weight(kind(one_of(i)))
lacks(x::Float64) = 2
lacks(x::Float32) = 3
lacks(x::UInt8) = 4
lacks(x::Char) = 5
lacks(x::String) = 6
lacking(i) = lacks(kind(one_of(i)))
end

@testset "what capture settled itself: $name" for (name, f, definition) in (
        ("another definition", Settling.weigh, :(weight(x::Integer) = 10)),
        ("a better method", Settling.weigh, :(weight(x::Int) = 20)),
        ("the method that was missing", Settling.lacking, :(lacks(x::Int) = 1)))
    s = recapture(f)
    @test still(s)
    @eval Settling unrelated(x) = x
    @test still(s)
    Core.eval(Settling, definition)
    @test !still(s)
    @test recapture(f).archive != s.archive
end
