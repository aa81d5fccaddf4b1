# Pointer chases over one to six nodes of both kinds of machine, each checked against a walk here; and a worm that visits every node once.

using BitCode, Test
using BitCode: Hop

include("../node/waiting.jl")
include("cycle.jl")

const EMULATES = Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
EMULATES || println("SKIPPED: nodes of aarch64 among the others (make node-aarch64)")

walk(table, i, steps) = steps == 0 ? i : walk(table, table[i], steps - 1)

# Goes on to any node that it has not been to, and takes the list along.
function worm(visited, left)
    push!(visited, Hop.here())
    isempty(left) && return visited
    next = left[1+sum(visited)%length(left)]
    return Hop.forward(next, worm, visited, filter(!=(next), left))
end

function check_chases(nodes, n; depths = (0, 1, 2, 7, 64, 500))
    table = one_cycle(n)
    segment = BitCode.alloc(nodes, Int, n)
    copyto!(segment, table)
    for steps in depths, start in (1, n ÷ 2, n)
        @test BitCode.chase(segment, start, steps) == walk(table, start, steps)
    end
    close(segment)
end

function check_worm(nodes)
    numbers = [Hop.number(node) for node in nodes]
    for node in nodes
        here = Hop.number(node)
        visited = remotecall_fetch(worm, node, Int[], filter(!=(here), numbers))
        @test visited[1] == here && sort(visited) == numbers
    end
end

for transport in ("shm", "tcp")
    nodes = launch(6; transport = transport)
    @testset "$transport, $k nodes" for k in 1:6
        check_chases(nodes[1:k], 1000)
    end
    @testset "a worm over $transport" begin
        check_worm(nodes)
    end
    foreach(close, nodes)
end

if EMULATES
    @testset "x86-64 and aarch64" begin
        here, there = launch(3; transport = "tcp"), launch(3; arch = :aarch64, timeout = 120)
        check_chases([here[1], there[1]], 100; depths = (0, 1, 20))
        nodes = [here[1], there[1], here[2], there[2], there[3], here[3]]
        check_chases(nodes, 100; depths = (1, 7, 50))
        check_worm([here; there])
        foreach(close, nodes)
    end
end
