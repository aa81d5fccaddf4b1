# Calls under way, many at once.

using BitCode, Test

include("waiting.jl")

slow_sum(n) = (s = 0.0; for i in 1:n; s += sin(i) * cos(i); end; s)
increment(x) = x + 1
tag(i, k) = (i, k, i * k)

@testset "futures" begin
    node = launch()
    future = remotecall(increment, node, 1)
    @test future isa BitCode.Future{Int}
    @test fetch(future) === 2
    @test fetch(future) === 2
    @test isready(future)
    @test wait(future) === future
    @test occursin("ready", repr(future))
    @test fetch(remotecall_wait(increment, node, 2)) === 3
    @test remote_do(increment, node, 1) === nothing

    failing = remotecall(sqrt, node, -1.0)
    @test wait(failing) === failing
    @test isready(failing)
    for _ in 1:2
        e = thrown(() -> fetch(failing))
        @test e isa RemoteException && e.exception isa DomainError
    end
    @test_throws RemoteException remotecall_wait(sqrt, node, -1.0)
    @test occursin("failed", repr(failing))

    # It comes to an end by itself.
    long = remotecall(slow_sum, node, 5_000_000)
    @test eventually(() -> isready(long))
    @test fetch(long) ≈ slow_sum(5_000_000)

    # Several tasks wait for one future.
    shared = remotecall(slow_sum, node, 3_000_000)
    waiting = [@async fetch(shared) for _ in 1:10]
    @test length(unique(map(fetch, waiting))) == 1
    close(node)
end

@testset "a waiting task lets others run" begin
    node = launch()
    remotecall_fetch(slow_sum, node, 10)
    # It ends with the node, which is for this task to close.
    waiting = @async thrown(() -> remotecall_fetch(slow_sum, node, typemax(Int)))
    @test eventually(() -> istaskstarted(waiting))
    foreach(_ -> yield(), 1:100)
    @test !istaskdone(waiting)
    close(node)
    @test fetch(waiting) isa BitCode.BitCodeError
end

@testset "64 tasks × four nodes" begin
    four = launch(4)
    results = Dict{Tuple{Int,Int},Any}()
    @sync for i in 1:64, (k, node) in enumerate(four)
        @async for round in 1:10
            results[i, k] = remotecall_fetch(tag, node, i, k)
        end
    end
    @test length(results) == 256
    @test all(key -> results[key] === (key..., prod(key)), keys(results))
    # With arrays, whose memory has to stay.
    sums = zeros(64)
    @sync for i in 1:64
        @async sums[i] = remotecall_fetch(sum, four[mod1(i, 4)], fill(Float64(i), 20_000))
    end
    @test sums == (1:64) .* 20_000.0
    foreach(close, four)
end

@testset "futures that nobody fetches are freed" begin
    node = launch()
    for _ in 1:20
        foreach(_ -> remotecall(sum, node, rand(10_000)), 1:100)
        GC.gc()
    end
    @test remotecall_fetch(increment, node, 1) == 2
    @test eventually(() -> (GC.gc(); BitCode.sweep_flights() == 0))
    close(node)
end

first_sum(parts) = sum(parts[1]::Vector{Float64}) + length(parts[2]::String)

@testset "arguments may change once the call is on its way" begin
    node = launch(; transport = "tcp")
    for _ in 1:10
        a = ones(1_000_000)
        whole = remotecall(sum, node, a)
        part = remotecall(first_sum, node, Any[a, "two"])
        fill!(a, 0)
        sizehint!(empty!(a), 0)
        @test fetch(whole) == 1_000_000
        @test fetch(part) == 1_000_003
    end
    close(node)
end

@testset "an interrupted wait" begin
    node = launch()
    remotecall_fetch(slow_sum, node, 10)
    waiting = @async remotecall_fetch(slow_sum, node, 30_000_000)
    @test eventually(() -> waiting.queue !== nothing || istaskdone(waiting))
    schedule(waiting, InterruptException(); error = true)
    @test thrown(() -> fetch(waiting)) == TaskFailedException(waiting)
    @test waiting.exception isa InterruptException
    # The node and the connection are none the worse for it, and what the call has used is freed when it has ended.
    @test remotecall_fetch(increment, node, 1) === 2
    @test eventually(() -> BitCode.sweep_flights() == 0)
    close(node)
end

mutable struct Leaving
    node::Node
end

@testset "a finalizer makes calls" begin
    node = launch()
    remote_do(increment, node, 1)
    before = BitCode.statistics(node)["calls"]
    foreach(_ -> finalizer(l -> remote_do(increment, l.node, 1), Leaving(node)), 1:1000)
    foreach(_ -> remotecall(sum, node, rand(1000)), 1:1000)
    GC.gc()
    @test remotecall_fetch(increment, node, 1) === 2
    @test eventually(() -> (GC.gc(); BitCode.sweep_flights() == 0))
    @test BitCode.statistics(node)["calls"] >= before + 2001
    close(node)
end
