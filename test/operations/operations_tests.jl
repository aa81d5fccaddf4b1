# The ready-made operations, against the same done here to an array.

using BitCode, Test
using BitCode: Hop, RemoteException, allreduce!, barrier, chase, fetch_update!, gather, replicate!, scatter!

include("../node/waiting.jl")

struct Link
    next::Int32
    weight::Float32
end

struct Stats
    count::Int
    least::Float64
    most::Float64
end

note(s::Stats, x) = Stats(s.count + 1, min(s.least, x), max(s.most, x))

function walk(table, i, steps)
    for _ in 1:steps
        i = table[i]
    end
    return i
end

const ns = launch(3)
const n = 100

function distributed(xs, nodes = ns)
    s = BitCode.alloc(nodes, eltype(xs), length(xs))
    return copyto!(s, xs)
end

@testset "chase" begin
    xs = [mod1(37i + 11, n) for i in 1:n]
    s = distributed(xs)
    @test [chase(s, i, k) for i in (1, 50, 100), k in (0, 1, 7, 200)] == [walk(xs, i, k) for i in (1, 50, 100), k in (0, 1, 7, 200)]
    links = distributed([Link(x, i) for (i, x) in enumerate(xs)], ns[2:3])
    @test chase(links, 9, 64; next = link -> link.next) == walk(xs, 9, 64)
    @test_throws BoundsError chase(s, n + 1, 1)
    s[walk(xs, 1, 5)] = n + 1
    e = thrown(() -> chase(s, 1, 10))
    @test e isa RemoteException && e.exception isa BoundsError
end

@testset "gather and scatter!" begin
    xs = rand(n)
    s = distributed(xs)
    for indices in ([3, 99, 3, 50, 1], collect(n:-1:1), 40:45, Int[])
        @test gather(s, indices) == xs[indices]
    end
    @test_throws BoundsError gather(s, [1, n + 1])
    @test scatter!(s, [100, 1, 60], [1.0, 2.0, 3.0]) === s
    xs[[100, 1, 60]] = [1.0, 2.0, 3.0]
    @test Array(s) == xs
    scatter!(s, [7, 80, 7], [1, 10, 100]; combine = +)
    xs[7] += 101
    xs[80] += 10
    @test Array(s) == xs
    @test_throws DimensionMismatch scatter!(s, [1, 2], [1.0])
    @test_throws BoundsError scatter!(s, [0], [1.0])
end

@testset "fetch_update!" begin
    s = distributed(collect(1:10))
    @test fetch_update!((old, x) -> old * x, s, 10, 7) == 10 && s[10] == 70
    @test fetch_update!(old -> 0, s, 1) == 1 && s[1] == 0
    floats = distributed(fill(NaN, 5))
    @test isnan(fetch_update!((old, x) -> x, floats, 5, 1.0)) && floats[5] == 1.0
    small = distributed(zeros(UInt8, 10))
    @test fetch_update!(+, small, 9, 0x05) == 0x00 && small[9] == 0x05
    stats = distributed([Stats(0, Inf, -Inf) for _ in 1:4])
    xs = rand(300)
    foreach(fetch, [remotecall(BitCode.update_on, BitCode.owner(stats, 3), note, stats, 3, x) for x in xs])
    @test stats[3] == Stats(300, extrema(xs)...)
    @test stats[2] == Stats(0, Inf, -Inf)
    @test_throws ArgumentError fetch_update!(identity, BitCode.alloc(ns, NTuple{9,Int}, 2), 1)
    @test_throws BoundsError fetch_update!(identity, s, 11)
end

@testset "findfirst, mapreduce" begin
    xs = [mod(i^2, 61) for i in 1:n]
    s = distributed(xs)
    for x in (xs[1], xs[50], xs[end], 60, -1)
        @test findfirst(==(x), s) == findfirst(==(x), xs)
    end
    @test mapreduce(x -> 2x, +, s) == 2sum(xs) && sum(s) == sum(xs) && sum(x -> x^2, s) == sum(x -> x^2, xs)
    @test maximum(s) == maximum(xs) && extrema(Array(s)) == (minimum(s), maximum(s))
    @test mapreduce(identity, max, s; init = 1000) == 1000
    @test_throws ArgumentError mapreduce(identity, +, s; dims = 1)
    few = distributed([4, 5])
    @test sum(few) == 9 && findfirst(==(5), few) == 2
    empty = BitCode.alloc(ns, Int, 0)
    @test sum(empty) == 0 && findfirst(iszero, empty) === nothing
    # An ArgumentError, and since 1.8 a MethodError.
    @test_throws typeof(thrown(() -> maximum(Int[]))) maximum(empty)
end

@testset "replicate!, allreduce!" begin
    for nodes in (ns, ns[2:3], ns[1:1])
        k = length(nodes)
        s = BitCode.alloc(nodes, Int, 5k)
        @test replicate!(s, collect(1:5)) === s && Array(s) == repeat(1:5, k)
        copyto!(s, collect(1:5k))
        @test allreduce!((a, b) -> 2a + b, s) === s
        @test Array(s) == repeat(foldl((a, b) -> 2 .* a .+ b, [collect(5i+1:5i+5) for i in 0:k-1]), k)
    end
    s = BitCode.alloc(ns, Int, 6)
    @test_throws DimensionMismatch replicate!(s, [1])
    @test_throws DimensionMismatch allreduce!(+, BitCode.alloc(ns, Int, 7))
end

# Each call adds one before the barrier, and sees what all have added behind it.
function meet(counter, sums, n, rounds)
    seen = Int[]
    for round in 1:rounds
        Hop.fetch_add(sums, round, 1)
        barrier(counter, n)
        push!(seen, Hop.get(sums, round))
    end
    return seen
end

@testset "barrier" begin
    counter, sums = BitCode.alloc(ns[2], Int, 1), BitCode.alloc(ns[3], Int, 4)
    @test map(fetch, [remotecall(meet, node, counter, sums, 3, 4) for node in ns]) == fill(fill(3, 4), 3)
end

foreach(close, ns)
