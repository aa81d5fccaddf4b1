# Nodes that die, stop or come back while a call is on its way between them.

using BitCode, Test
using BitCode: Hop, BitCodeError
using BitCode.Hop: forward, here, nnodes

include("../node/waiting.jl")

next() = mod1(here() + 1, nnodes())
round_and_round(n) = forward(next(), round_and_round, n + 1)
tour(n, visited) = n == 0 ? 10visited + here() : forward(next(), tour, n - 1, 10visited + here())
plus(x) = x + here()
signal(node, number) = kill(node.process.process, number)
const STOP, GO_ON = 19, 18

# A call that hops from node to node, more often than it will ever get round to.
endless(node) = remotecall(round_and_round, BitCode.within(node; hops = typemax(UInt32)), 0)

@testset "a node that is killed ends the calls that were on their way, and no others" begin
    ns = launch(3)
    @test (@remote ns[1] tour(3, 0)) == 1231
    calls = [endless(ns[1]), endless(ns[2])]
    @test (@remote ns[1] plus(41)) == 42
    @test !any(isready, calls)
    signal(ns[3], Base.SIGKILL)
    for call in calls
        e = thrown(() -> fetch(call))
        @test e isa BitCodeError
        @test occursin(ns[3].address, sprint(showerror, e))
    end
    # Those that are left serve on, also for code that moves.
    @test (@remote ns[1] plus(41)) == 42
    @test (@remote ns[2] plus(40)) == 42
    close(ns[3])
    @test (@remote ns[1] tour(3, 0)) == 1212
    # Another one in its place.
    third = launch()
    @test (@remote ns[2] tour(3, 0)) == 2312
    foreach(close, (ns[1], ns[2], third))
end

@testset "a node that has stopped lets deadlines pass, and goes on when it may" begin
    ns = launch(2)
    @test (@remote ns[1] tour(2, 0)) == 121
    signal(ns[2], STOP)
    try
        e = thrown(() -> remotecall_fetch(tour, BitCode.within(ns[1]; deadline = 0.5), 3, 0))
        @test e isa BitCodeError && e.code in (:timeout, :deadline)
        @test (@remote ns[1] plus(41)) == 42
    finally
        signal(ns[2], GO_ON)
    end
    @test (@remote ns[2] plus(40)) == 42
    @test (@remote ns[1] tour(2, 0)) == 121
    foreach(close, ns)
end
