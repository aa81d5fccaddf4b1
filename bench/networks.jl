# Chases over a network that holds each packet back: network namespaces, joined by bench/src/delayed_network.rs. The origin runs in one of them, a process of
# its own (bench/far.jl), the nodes and their rivals in the others.

const MICROSECONDS = (20, 200)
const FAR_ORIGIN = joinpath(@__DIR__, "far.jl")

far_away(k) = "10.78.0.$k"

# What is in the way of such a network, or `nothing`.
function no_namespaces()
    Sys.which("ip") === nothing && return "there is no `ip` (Debian's iproute2)"
    ispath("/dev/net/tun") || return "there is no /dev/net/tun"
    isfile(beside_node("delayed-network")) || return "delayed-network has not been built"
    place = "bitcode-bench-$(getpid())"
    success(pipeline(`ip netns add $place`; stdout = devnull, stderr = devnull)) || return "this user may not make network namespaces"
    run(`ip netns delete $place`)
    return nothing
end

beside_node(program) = joinpath(dirname(BitCode.node_program()), program)

# `f(places)` with `count` namespaces whose packets to each other take so many microseconds.
function with_delay(f, delay, count)
    places = ["bitcode-bench-$(getpid())-$k" for k in 1:count]
    network = nothing
    try
        foreach(place -> run(`ip netns add $place`), places)
        network = open(`$(beside_node("delayed-network")) $delay $places`, "r+")
        readline(network) == "ready" || error("the delayed network has not come up")
        return f(places)
    finally
        network === nothing || (close(network.in); wait(network))
        foreach(place -> run(pipeline(ignorestatus(`ip netns delete $place`); stderr = devnull)), places)
    end
end

at_place(place, command; settings...) =
    setenv(`ip netns exec $place $command`, merge(Dict(ENV), Dict("UCX_NET_DEVICES" => "eth0"), Dict(string(k) => v for (k, v) in settings)))

function far_node(place, k, key)
    node = open(at_place(place, `$(BitCode.node_program()) --listen $(far_away(k)):0 --key-file $key --transport tcp --net-devices eth0 --log error --exit-on-stdin-eof`), "r+")
    return node, BitCode.parse_json(readline(node))["address"]
end

# As `chase_times` (xrdma.jl), over such a network.
function far_chase_times(delay, servers; words, depths, turns, seconds)
    times = Dict{Tuple{String,Int},Vector{Float64}}()
    note!(((mode, depth), time)) = push!(get!(() -> Float64[], times, (mode, depth)), time)
    with_delay(delay, servers + 1) do places
        rivals = `$(beside_node("native-xrdma")) tcp $servers $words $seconds $XRDMA_MODES -- $depths`
        native() = times_in(readlines(at_place(places[1], rivals; BITCODE_BENCH_PLACES = join(places[2:end], ','))))
        mktempdir() do folder
            key = joinpath(folder, "key")
            write(key, rand(UInt8, 32))
            chmod(key, 0o600)
            nodes = [far_node(place, k + 1, key) for (k, place) in enumerate(places[2:end])]
            script = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) $FAR_ORIGIN $key $words $seconds $(join(depths, ',')) $(last.(nodes))`
            origin = open(at_place(places[1], script), "r+")
            try
                for _ in 1:turns
                    foreach(note!, native())
                    println(origin, "go") # One turn of the shipped chase.
                    lines = [readline(origin) for _ in depths]
                    any(isempty, lines) && error("the origin in its namespace has ended")
                    foreach(note!, times_in(lines))
                end
            finally
                # Each of them ends with its standard input.
                foreach(process -> (close(process.in); wait(process)), [origin; first.(nodes)])
            end
        end
    end
    return times
end
