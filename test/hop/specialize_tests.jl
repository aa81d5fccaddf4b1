# Code that running code has specialised.

using BitCode, Test
using BitCode: Hop, RemoteException, specialize
using BitCode.Hop: call, forward, spawn, here, nnodes, fetch_add

include("../node/waiting.jl")

const ns = launch(3)

# Whether the code that says so was compiled for certain constants.
is_special() = ccall("extern bc_fixed", llvmcall, Int64, ()) != 0

power(n, x) = (y = one(x); for _ in 1:n y *= x end; y)
powers(n, xs) = map(specialize(power, n), xs)
scaled(k, x) = (k * x, is_special(), here())
once(k, x) = specialize(scaled, k)(x)
plain(k, x) = scaled(k, x)
append_to!(n, v) = (push!(v, n); sum(v))
appends(n, v) = (h = specialize(append_to!, n); (h(v), h(v), v))
bounded(n, x) = x > n ? throw(DomainError(x, "more than $n")) : x
unbound(n, x) = specialize(bounded, n)(x)
caught(n, x) = try unbound(n, x) catch e; e isa DomainError ? e.val : -1 end
goes(node, k, x) = forward(node, specialize(scaled, k), x)
calls(node, k, x) = call(node, specialize(scaled, k), x)
starts(node, k, counts) = (spawn(node, specialize((k, counts) -> (fetch_add(counts, 1, is_special() ? k : 1); nothing), k), counts); nothing)
# The specialised code moves itself on, and says where it was special.
around(k, n, seen) = n == 0 ? push!(seen, is_special()) : forward(mod1(here() + 1, nnodes()), specialize(around, k), n - 1, push!(seen, is_special()))
makes(k) = specialize(scaled, k)
uses(h, x) = h(x)
twice(k, x) = (h = specialize(scaled, k); g = specialize(scaled, k + 1); (h(x)[1], g(x)[1], h(x)[1]))
nested(k, x) = specialize((k, x) -> specialize(scaled, k + 1)(x)[1] + k, k)(x)
struct Polynomial{N}
    coefficients::NTuple{N,Float64}
    small::Int8
    constant::Float64
end
value(p::Polynomial, x) = foldr((c, y) -> muladd(x, y, c), p.coefficients; init = 0.0) + p.constant + p.small
values_of(p, xs) = map(specialize(value, p), xs)
words(sep, v) = join(v, sep)
joined(sep, v) = specialize(words, sep)(v)
many(n) = sum(specialize(power, k)(2) for k in 1:n)
with_captured(a, x) = specialize((b, x) -> a * b * x, 3)(x)
nothing_fixed(x) = specialize(abs)(x)

@testset "here, it is the function with its first arguments" begin
    @test powers(3, [1.0, 2.0]) == [1.0, 8.0]
    @test specialize(power, 2) === specialize(power, 2) && specialize(power, 2)(7) == 49
    @test_throws ArgumentError specialize(append_to!, [1])
    @test_throws ArgumentError specialize(words, "a string")
end

@testset "on a node it is code of its own" begin
    @test (@remote ns[1] plain(7, 6)) == (42, false, 1)
    @test (@remote ns[1] once(7, 6)) == (42, true, 1)
    @test (@remote ns[2] once(8, 6)) == (48, true, 2)
    for n in 0:5
        @test (@remote ns[1] powers(n, [1.0, 2.0, 3.0])) == [1.0, 2.0, 3.0] .^ n
    end
    @test (@remote ns[1] twice(10, 3)) == (30, 33, 30)
    @test (@remote ns[1] nested(10, 3)) == 43
    p = Polynomial((1.0, 2.0, 3.0), Int8(4), 0.5)
    @test (@remote ns[3] values_of(p, [0.0, 1.0, -2.0])) == map(x -> value(p, x), [0.0, 1.0, -2.0])
    @test (@remote ns[3] with_captured(5, 2)) == 30
    @test (@remote ns[3] nothing_fixed(-2)) == 2
    @test (@remote ns[3] joined(',', ["a", "b"])) == "a,b"
    @test (@remote ns[2] many(30)) == sum(2^k for k in 1:30)
end

@testset "arguments are passed as they are" begin
    @test (@remote ns[1] appends(10, [1, 2, 3])) == (16, 26, [1, 2, 3, 10, 10])
end

@testset "exceptions" begin
    @test (@remote ns[1] unbound(10, 7)) == 7
    e = thrown(() -> @remote ns[1] unbound(10, 11))
    @test e isa RemoteException && e.exception == DomainError(11, "more than 10")
    @test (@remote ns[1] caught(10, 11)) == 11
    e = thrown(() -> @remote ns[1] joined("not bits", ["a"]))
    @test e isa RemoteException && e.exception isa ArgumentError && occursin("only plain data", e.exception.msg)
end

@testset "it moves" begin
    for node in 1:3
        @test (@remote ns[1] goes(node, 7, 6)) == (42, true, node)
        # Code that calls on the node that it is on calls directly.
        @test (@remote ns[1] calls(node, 7, 6)) == (42, true, node)
    end
    @test (@remote ns[2] around(5, 7, Bool[])) == [false; trues(7)]
    counts = BitCode.alloc(ns[3], Int, 1)
    @remote ns[1] starts(2, 1000, counts)
    @test eventually(() -> counts[1] == 1000)
end

@testset "it is a value" begin
    h = @remote ns[1] makes(9)
    @test h === specialize(scaled, 9)
    @test (@remote ns[2] h(2)) == (18, true, 2)
    @test (@remote ns[3] uses(h, 3)) == (27, true, 3)
end

@testset "a node without a compiler does the same without" begin
    # Code that moves has native code for it along; what is native finds its constants in the value.
    native = launch(jit = false)
    @test (@remote native once(7, 6)) == (42, false, 4)
    @test (@remote native powers(3, [1.0, 2.0])) == [1.0, 8.0]
    @test (@remote ns[1] goes(4, 7, 6)) == (42, false, 4)
    @test (@remote native goes(1, 7, 6)) == (42, true, 1)
    @test (@remote ns[1] goes(2, 7, 6)) == (42, true, 2)
end
