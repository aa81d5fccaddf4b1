# Where a call went that failed on its way.

using BitCode, Test
using BitCode: Hop, BitCodeError, RemoteException, within
using BitCode.Hop: call, forward, here, nnodes, fetch_add

include("../node/waiting.jl")

next() = mod1(here() + 1, nnodes())
fails(x) = throw(ArgumentError("no $x"))
# Goes on `n` times and throws there.
tour(n) = n == 0 ? fails(here()) : forward(next(), tour, n - 1)
# Hops a hundred times without leaving the node, then on.
lingers(n, k) = n == 0 ? fails(here()) : k == 0 ? forward(next(), lingers, n - 1, 100) : forward(here(), lingers, n, k - 1)
round_and_round() = forward(next(), round_and_round)
asks(n) = (call(next(), abs, -1); call(next(), abs, -2); n == 0 ? call(next(), fails, 1) : forward(next(), asks, n - 1))
# Says in the first word that it has come to its end, and waits there for ever.
stays(words, n) = n > 0 ? forward(next(), stays, words, n - 1) : (fetch_add(words, 1, 1); while fetch_add(words, 2, 0) == 0 end; here())
plus(x) = x + here()

caught(f, type) = (e = thrown(f); e isa type ? e : error("caught $e"))
signal(node, number) = kill(node.process.process, number)
const STOP, GO_ON = 19, 18

@testset "an exception says by which nodes the call went" begin
    ns = launch(3)
    e = caught(() -> remotecall_fetch(tour, ns[1], 4), RemoteException)
    @test e.trail == [1, 2, 3, 1, 2] && e.node === ns[2] && e.exception == ArgumentError("no 2")
    @test occursin("On node $(ns[2].address), after hops from node 1 → 2 → 3 → 1 → 2:\nArgumentError: no 2", sprint(showerror, e))
    e = caught(() -> remotecall_fetch(tour, ns[3], 0), RemoteException)
    @test e.trail == [3] && e.node === ns[3]
    @test startswith(sprint(showerror, e), "On node $(ns[3].address):\n")
    # Code that cannot move has no trail.
    e = caught(() -> remotecall_fetch(fails, ns[2], 0), RemoteException)
    @test isempty(e.trail) && e.node === ns[2]
    # Calls that are under way at the same time have trails of their own.
    calls = [remotecall(tour, ns[mod1(k, 3)], k) for k in 1:50]
    for (k, it) in enumerate(calls)
        e = caught(() -> fetch(it), RemoteException)
        @test e.trail == [mod1(k + i, 3) for i in 0:k]
    end
    e = caught(() -> remotecall_fetch(lingers, ns[1], 2, 100), RemoteException)
    @test e.trail == [1, 2, 3]
    foreach(close, ns)
end

@testset "of a long way the end is known" begin
    ns = launch(2)
    e = caught(() -> remotecall_fetch(tour, ns[1], 5001), RemoteException)
    @test e.trail[1:2] == [1, 0] && e.trail[end] == 2 && e.node === ns[2]
    way = e.trail[3:end]
    @test length(way) >= 1000 && all(way[k] == mod1(way[k-1] + 1, 2) for k in 2:length(way))
    @test occursin("from node … → 1 → 2", sprint(showerror, e))
    e = caught(() -> remotecall_fetch(round_and_round, within(ns[1]; hops = 3)), BitCodeError)
    @test e.code == :hop_budget && e.trail == [1, 2, 1, 2]
    @test occursin("It went from node 1 → 2 → 1 → 2, the last of which is node 2 ($(ns[2].address))", sprint(showerror, e))
    foreach(close, ns)
end

@testset "calls that were waited for are on it only if they fail" begin
    ns = launch(3)
    e = caught(() -> remotecall_fetch(asks, ns[1], 2), RemoteException)
    @test e.trail == [1, 2, 3, 1] && e.node === ns[1]
    foreach(close, ns)
end

@testset "a node that is killed with the call" begin
    ns = launch(3)
    words = BitCode.alloc(ns[1], Int, 2)
    running = remotecall(stays, ns[1], words, 2)
    @test eventually(() -> words[1] == 1)
    other = remotecall(stays, ns[1], words, 1)
    @test eventually(() -> words[1] == 2)
    signal(ns[3], Base.SIGKILL)
    for (it, way) in ((running, [1, 2, 3]), (other, [1, 2]))
        e = caught(() -> fetch(it), BitCodeError)
        # Either the origin has seen it first, or a node that had a link to it.
        @test e.code in (:peer_died, :unreachable) && e.trail == way
    end
    e = caught(() -> fetch(running), BitCodeError)
    @test occursin("It went from node 1 → 2 → 3, the last of which is node 3 ($(ns[3].address)); node 3 ($(ns[3].address)) did not say where it went from there", sprint(showerror, e))
    words[2] = 1
    @test (@remote ns[1] plus(41)) == 42
    foreach(close, ns)
end

@testset "a node that has stopped" begin
    ns = launch(2)
    @test caught(() -> remotecall_fetch(tour, ns[1], 1), RemoteException).trail == [1, 2]
    signal(ns[2], STOP)
    try
        e = caught(() -> remotecall_fetch(tour, within(ns[1]; deadline = 0.5), 3), BitCodeError)
        @test e.code in (:timeout, :deadline) && e.trail == [1, 2]
        @test occursin("node 2 ($(ns[2].address)) did not say", sprint(showerror, e))
    finally
        signal(ns[2], GO_ON)
    end
    @test (@remote ns[2] plus(40)) == 42
    foreach(close, ns)
end
