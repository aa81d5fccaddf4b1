# Code that moves between nodes that see each other over a network only: each node, and the origin, in a network namespace of its own.

using BitCode, Test

include("../node/waiting.jl")
include("cycle.jl")
include("network.jl")

const ACROSS = joinpath(dirname(@__FILE__), "across.jl")

walk(table, i, steps) = steps == 0 ? i : walk(table, table[i], steps - 1)

# A node at a place, and its address.
function node_at(network, k, key)
    command = `$(BitCode.node_program()) --listen $(address(k)):0 --key-file $key --transport tcp --net-devices eth0 --log error`
    process = open(pipeline(at_place(network, k, command); stderr = stderr), "r+")
    ready = readline(process)
    return process, BitCode.parse_json(ready)["address"]
end

trouble = no_network()
if trouble !== nothing
    println("SKIPPED: nodes in network namespaces: $trouble")
    @test trouble isa String
else
    mktempdir() do folder
        key = joinpath(folder, "key")
        write(key, rand(UInt8, 32))
        chmod(key, 0o600)
        with_network(4) do network
            nodes = [node_at(network, k, key) for k in 2:4]
            try
                script = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) $ACROSS $key $(last.(nodes))`
                origin = setenv(at_place(network, 1, script), merge(Dict(ENV), Dict("UCX_NET_DEVICES" => "eth0")))
                said = split.(readlines(origin))
                of(word) = [line[2:end] for line in said if line[1] == word]
                table = one_cycle(300)
                @testset "chases end where a walk here does" begin
                    chases = [parse.(Int, line) for line in of("chase")]
                    @test length(chases) == 15
                    @test all(last == walk(table, start, steps) for (start, steps, last) in chases)
                end
                @testset "a worm, specialised code, a trail" begin
                    @test of("worm") == [["1", "3", "2"]]
                    @test of("specialised") == [["42"]]
                    @test of("trail") == [["1", "2", "3", "1", "2", "3"]]
                end
            finally
                foreach(((process, _),) -> kill(process), nodes)
                foreach(((process, _),) -> wait(process), nodes)
            end
        end
    end
end
