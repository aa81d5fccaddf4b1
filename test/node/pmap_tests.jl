# A collection, spread over nodes.

using BitCode, Test

include("waiting.jl")

half(n) = iseven(n) ? n ÷ 2 : throw(DomainError(n, "is odd"))
kill_node(node) = run(`kill -9 $(node.pid)`)

@testset "values, in the order of the collection" begin
    several = launch(2)
    @test pmap(half, several, 2:2:40) == 1:20
    @test pmap(hypot, several, [3.0, 5.0], [4.0, 12.0]) == [5.0, 13.0]
    @test pmap(abs, several, [1 -2; -3 4]) == [1 2; 3 4]
    @test pmap(abs, several, Int[]) == []
    # Both had work.
    @test all(node -> BitCode.statistics(node)["calls"] > 0, several)
    foreach(close, several)
end

@testset "what a call throws" begin
    several = launch(2)
    e = thrown(() -> pmap(half, several, [2, 3, 4]))
    @test e isa RemoteException && e.exception == DomainError(3, "is odd")
    @test pmap(half, several, [2, 3, 4]; on_error = e -> e.exception.val) == [1, 3, 2]
    @test thrown(() -> pmap(half, BitCode.Node[], [2])) isa ArgumentError
    foreach(close, several)
end

@testset "nodes that die" begin
    several = launch(2)
    kill_node(several[1])
    # What was given to it fails; the other one does the rest.
    values = pmap(half, several, 2:2:40; on_error = e -> e isa BitCode.BitCodeError ? -1 : rethrow())
    @test count(==(-1), values) <= 1
    @test all(k -> values[k] in (k, -1), 1:20)
    kill_node(several[2])
    e = thrown(() -> pmap(half, several, 2:2:40; on_error = e -> -1))
    @test e isa BitCode.BitCodeError && occursin("none of the 2 nodes", e.message)
    foreach(close, several)
end
