# Code that moves from node to node, on real nodes.

using BitCode, Test
using BitCode: Hop, BitCodeError
using BitCode.Hop: forward, here, nnodes, origin

include("../node/waiting.jl")

const ns = launch(3)
next() = mod1(here() + 1, nnodes())

tour(n, visited) = n == 0 ? 10visited + here() : forward(next(), tour, n - 1, 10visited + here())
@eval asks_often() = $(foldl((a, b) -> :($a + $b), fill(:(here()), 40)))
anonymous(k, captured) = forward(k, x -> (x, captured, here()), 7)
words(n, list) = n == 0 ? push!(list, "end") : forward(next(), words, n - 1, push!(list, string(here())))
arrays(n, a) = n == 0 ? a : forward(next(), arrays, n - 1, a .+ here())
even(n) = n == 0 ? true : forward(next(), odd, n - 1)
odd(n) = n == 0 ? false : forward(next(), even, n - 1)
maybe(n) = n == 0 ? nothing : n == 1 ? here() : forward(next(), maybe, n - 2)
zeroed(k, T) = forward(k, zero, T)
throws(n) = n == 0 ? sqrt(-Float64(here())) : forward(next(), throws, n - 1)
prints(n) = (BitCode.println("on ", here()); n == 0 ? nothing : forward(next(), prints, n - 1))
astray(k) = forward(k, here)
function tries(k)
    try
        forward(k, here)
    catch
        0
    finally
        BitCode.println("never reached")
    end
end

drowned(k) = try forward(k, here) finally error("never said") end
mistaken(k) = try forward(k, string, k) finally return 0 end
widened(k) = try forward(k, k -> k > 1 ? "two" : 1, k) finally k > 5 && return 0 end


@testset "words have a meaning at the origin" begin
    @test (here(), origin(), nnodes()) == (0, 0, 3)
    @test tour(2, 0) == 0
    @test [Hop.number(n) for n in ns] == 1:3
    @test anonymous(1, 2) == (7, 2, 0)
end

@testset "where code runs" begin
    @test [(@remote n here()) for n in ns] == 1:3
    @test (@remote ns[2] asks_often()) == 80
    @test (@remote ns[2] nnodes()) == 3
    @test (@remote ns[2] origin()) == 0
end

@testset "forward" begin
    @test (@remote ns[1] tour(0, 0)) == 1
    @test (@remote ns[1] tour(7, 0)) == 12312312
    @test (@remote ns[3] tour(2, 0)) == 312
    @test [(@remote n anonymous(2, 0x07)) for n in ns] == fill((7, 0x07, 2), 3)
    @test (@remote ns[1] even(10)) === true
    @test (@remote ns[2] even(11)) === false
    @test [(@remote ns[1] maybe(n)) for n in 0:4] == [nothing, 1, nothing, 2, nothing]
    @test (@remote ns[1] zeroed(2, Float32)) === 0.0f0
    @test (@remote ns[1] tries(3)) === 3
    @test (@remote ns[1] tries(1)) === 1
    @test fetch.([remotecall(tour, ns[mod1(k, 3)], k, 0) for k in 0:9]) ==
          [parse(Int, join(mod1(mod1(k, 3) + i, 3) for i in 0:k)) for k in 0:9]
end

@testset "what is refused before anything is sent" begin
    # Results of which the compiler knows nothing, because `finally` does not run.
    for (f, words) in ((drowned, "always throws"), (mistaken, "returns a Int64"))
        e = thrown(() -> remotecall_fetch(f, ns[1], 1))
        @test e isa BitCode.CaptureError && occursin(words, sprint(showerror, e))
    end
    # Other types with each hop, without end. (Inference itself gives up on most such code, or takes very long over it.)
    signatures = Any[Tuple{typeof(identity),Tuple{Val{n}}} for n in 1:BitCode.MAX_ENTRIES+1]
    @test isempty(BitCode.further_obstacles(Any, signatures[1:end-1], 1))
    @test only(BitCode.further_obstacles(Any, signatures, 1)) === BitCode.TOO_MANY_ENTRIES
    @test [remotecall_fetch(widened, ns[1], k) for k in 1:3] == [1, "two", "two"]
end

@testset "what calls take along" begin
    @test (@remote ns[1] words(3, String[])) == ["1", "2", "3", "end"]
    a = rand(3, 4)
    @test (@remote ns[1] arrays(2, a)) == a .+ 1 .+ 2
    large = collect(1:300_000)
    @test (@remote ns[1] arrays(4, large)) == large .+ (1 + 2 + 3 + 1)
end

@testset "how they end" begin
    e = thrown(() -> @remote ns[1] throws(1))
    @test e isa RemoteException && e.exception isa DomainError && e.exception.val == -2.0
    @test any(frame -> frame[1].func == :throws, e.backtrace)
    for k in (0, 4, -1)
        e = thrown(() -> @remote ns[1] astray(k))
        @test e isa BitCodeError && e.code == :unreachable
    end
    e = thrown(() -> @remote ns[1] tour(2_000_000, 0))
    @test e isa BitCodeError && e.code == :hop_budget
end

@testset "output comes from everywhere" begin
    path, io = mktemp()
    redirect_stdout(io) do
        @remote ns[1] prints(3)
        @remote ns[1] tries(2)
        flush(stdout)
    end
    close(io)
    lines = readlines(path)
    @test sort(map(l -> l[findlast(==(' '), l)+1:end], lines)) == ["1", "1", "2", "3"]
end

@testset "nodes come and go" begin
    fourth = launch()
    @test Hop.number(fourth) == 4
    @test (@remote ns[1] tour(4, 0)) == 12341
    close(ns[2])
    @test_throws ArgumentError Hop.number(ns[2])
    @test Hop.number(ns[3]) == 2
    @test (@remote ns[1] tour(3, 0)) == 1231
    @test (@remote ns[3] here()) == 2
end
