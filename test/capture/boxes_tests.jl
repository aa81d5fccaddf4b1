# Variables that a closure captures and somebody assigns afterwards.

include("shipping.jl")

total(xs) = (sum = 0; foreach(x -> (sum += x), xs); sum)
mean_of(xs) = (sum = 0.0; n = 0; foreach(x -> (sum += x; n += 1), xs); sum / n)
@noinline apply(f, x) = f(x)
not_inlined(n) = (k = 0; step(x) = (k += x); for i in 1:n; apply(step, i); end; k)
nested(n) = (k = 0; outer(i) = (inner(j) = (k += i * j); foreach(inner, 1:i)); foreach(outer, 1:n); k)
counter() = (k = 0; () -> (k += 1))
counts(n) = (c = counter(); for _ in 1:n; c(); end; c())
joins(n) = (s = ""; for i in 1:n; (() -> s = string(s, i))(); end; s)
maybe_unset(set) = (local v; f() = (v = 1); set && f(); v)

changes_type(xs) = (sum = 0; foreach(x -> (sum += x), xs); sum)
changes_type_here() = (sum = 0; f(x) = (sum += x); f(1.5); f(2.5); sum)
@noinline assign(f, x) = f(x)
changes_type_there(x) = (sum = 0; f(y) = (sum = y); assign(f, x); sum + 1)
two_types(x) = (v = 1; f(y) = (v = y); x > 0 && (v = 2.0); f(3); v + 1)
twice(x) = (k = zero(x); foreach(i -> (k += i), [x, x]); k)
both_types(x) = (twice(x), twice(1.5x))

reasons(f, types...) = try shipped(f, types...); [] catch e; [r.kind for r in e.reasons] end

@testset "assigned values of one type" begin
    for (f, T) in (total => Vector{Int}, mean_of => Vector{Float64}, not_inlined => Int, nested => Int, counts => Int, joins => Int, maybe_unset => Bool)
        @test shipped(f, T) isa Shipped
    end
end

@testset "values of several types are refused as before" begin
    @test :dynamic_dispatch in reasons(changes_type, Vector{Float64})
    @test :dynamic_dispatch in reasons(changes_type_here)
    @test :dynamic_dispatch in reasons(changes_type_there, String)
    @test :dynamic_dispatch in reasons(two_types, Int)
    @test shipped(twice, Int) isa Shipped
    @test :dynamic_dispatch in reasons(both_types, Int)
end

@testset "what a box holds is checked" begin
    @test Capture.contents(Core.Box(3), Int) === 3
    @test_throws ArgumentError Capture.contents(Core.Box("3"), Int)
    @test_throws UndefRefError Capture.contents(Core.Box(), Int)
end
