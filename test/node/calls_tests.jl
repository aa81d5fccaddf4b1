# Calls of every form, over shared memory and over TCP.

using BitCode, Test
using Dates, LinearAlgebra

struct Sphere
    centre::NTuple{3,Float64}
    radius::Float64
end
volume(s::Sphere) = 4 / 3 * π * s.radius^3
@enum Weekday monday tuesday

increment(x) = x + 1
nothing_much() = nothing
scaled(x; by = 2, plus = 0) = x * by + plus
half(n) = iseven(n) ? n ÷ 2 : nothing
fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)

variable = 10
numbers = [1, 2, 3]

@testset "over $transport" for transport in ("shm", "tcp")
    node = launch(; transport = transport)

    @testset "values" begin
        @test (@remote node increment(1)) === 2
        @test (@remote node +(1.5, 2)) === 3.5
        @test (@remote node nothing_much()) === nothing
        @test (@remote node volume(Sphere((0.0, 0.0, 0.0), 2.0))) === volume(Sphere((0.0, 0.0, 0.0), 2.0))
        @test (@remote node identity(tuesday)) === tuesday
        @test (@remote node half(4)) === 2
        @test (@remote node half(5)) === nothing
        @test (@remote node fib(20)) == 6765
        @test (@remote node Date(2020, 2, 29)) === Date(2020, 2, 29)
        @test (@remote node tuple(1, 'a', (b = 2.5,))) === (1, 'a', (b = 2.5,))
    end

    @testset "types as functions and arguments" begin
        @test (@remote node Complex(1, 2)) === 1 + 2im
        @test (@remote node zero(Float32)) === 0.0f0
        @test (@remote node typeof(1)) === Int
        @test (@remote node convert(Float64, 3)) === 3.0
    end

    @testset "arrays, small and large" begin
        for n in (0, 1, 10, 1000, 100_000, 1_000_000)
            v = collect(1.0:n)
            @test (@remote node identity(v)) == v
            @test (@remote node sum(v)) == sum(v)
        end
        a = reshape(collect(1:24), 2, 3, 4)
        @test (@remote node identity(a)) == a
        @test (@remote node sort([3, 1, 2])) == [1, 2, 3]
        # Each side has its own: a change over there is not one here.
        w = [3, 1, 2]
        @test (@remote node sort!(w)) == [1, 2, 3]
        @test w == [3, 1, 2]
        @test (@remote node dot([1, 2], [3, 4])) == 11
        @test (@remote node tuple([1, 2], 3, [4.0])) == ([1, 2], 3, [4.0])
    end

    @testset "closures" begin
        adder(k) = x -> x + k
        @test (@remote node adder(3)(4)) === 7
        @test [(@remote node (adder(k))(1)) for k in 1:5] == 2:6
        lookup(v) = i -> v[i]
        @test remotecall_fetch(lookup([5, 6, 7]), node, 2) === 6
        @test remotecall_fetch(map, node, x -> x^2, [1, 2, 3]) == [1, 4, 9]
        let a = 2, b = [1.0, 2.0], c = nothing
            @test remotecall_fetch(x -> c === nothing ? a .* b .+ x : b, node, 1) == [3.0, 5.0]
        end
    end

    @testset "keyword arguments" begin
        @test (@remote node scaled(3)) === 6
        @test (@remote node scaled(3; by = 5)) === 15
        @test (@remote node scaled(3, by = 5, plus = 1.5)) === 16.5
        @test (@remote node sort([1, 3, 2]; rev = true)) == [3, 2, 1]
        @test remotecall_fetch(scaled, node, 3; plus = 1) === 7
        options = (by = 3, plus = 4)
        @test (@remote node scaled(1; options...)) === 7
    end

    @testset "blocks" begin
        @test (@remote node begin
            s = 0
            for i in 1:10
                s += i
            end
            s
        end) === 55
        # Variables that are not constant travel by value.
        @test (@remote node begin
            variable + sum(numbers)
        end) === 16
        k = 5
        @test (@remote node let y = k; y^2 end) === 25
        @test (@remote node k > 3 ? k : 0) === 5
        @test (@remote node numbers .+ k) == [6, 7, 8]
        @test (@remote node map(numbers) do x
            x * k
        end) == [5, 10, 15]
        @test (@remote node k > 3 && k < 10) === true
        @test (@remote node [x^2 for x in 1:3]) == [1, 4, 9]
        arguments = (7, 3)
        @test (@remote node div(arguments...)) === 2
    end

    @testset "the result's type is known where inference knows it" begin
        call_there(n, x) = remotecall_fetch(increment, n, x)
        @test (@inferred call_there(node, 1)) === 2
        @test (@inferred call_there(node, 1.5)) === 2.5
        macro_there(n, x) = @remote n increment(x)
        @test (@inferred macro_there(node, 1)) === 2
    end

    @test isopen(node)
    close(node)
end

@testset "several nodes" begin
    several = launch(3)
    @test (@remote several increment(1)) == [2, 2, 2]
    @test (@remote several begin
        variable * 2
    end) == [20, 20, 20]
    @test (@remote (several[1], several[3]) increment(1)) == [2, 2]
    @test (@remote several[1:0] increment(1)) == []
    failures = try
        @remote several sqrt(-1.0)
        nothing
    catch e
        e
    end
    @test failures isa CompositeException && length(failures) == 3
    @test all(e -> e isa RemoteException && e.exception isa DomainError, failures)
    @test [e.node for e in failures] == several
    foreach(close, several)
    @test isempty(nodes())
end

@testset "what @remote is not for" begin
    @test_throws ArgumentError @remote 3 increment(1)
    @test_throws ArgumentError BitCode.remote_expression(Main, :node, :(x = f(1)))
end
