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
