# Code that goes to the data: pointer chases by shipped Julia, against the same by handlers that are compiled into the servers (bench/src/xrdma),
# all with the same fabric, headers and tags. Increments are in increments.jl; `python3 bench/plot.py` draws figures of the tables in bench/out.

# The rivals' lines: (mode, depth) => median in nanoseconds.
function native_times(transport, servers, words, seconds, modes, depths)
    program = joinpath(dirname(BitCode.node_program()), "native-xrdma")
    isfile(program) || exit_with("$program is missing: run `make bench`, which builds it")
    return times_in(readlines(`$program $transport $servers $words $seconds $modes -- $depths`))
end

function times_in(lines)
    field(line, name) = match(Regex("$name=(\\S+)"), line)[1]
    return Dict((field(line, "mode"), parse(Int, field(line, "depth"))) => parse(Float64, field(line, "median_ns")) for line in lines)
end

const XRDMA_MODES = ["get", "read", "am"]

# Chases by shipped code and by the rivals, taking turns: (mode, depth) => medians, one for each turn.
function chase_times(transport, servers; words, depths, turns, seconds)
    nodes = launch(servers; transport = transport)
    nodes = nodes isa AbstractVector ? nodes : [nodes]
    table = BitCode.alloc(nodes, Int, words)
    @remote nodes fill_part!(table)
    times = Dict{Tuple{String,Int},Vector{Float64}}()
    note!(mode, depth, time) = push!(get!(() -> Float64[], times, (mode, depth)), time)
    for _ in 1:turns
        for ((mode, depth), time) in native_times(transport, servers, words, seconds, XRDMA_MODES, depths)
            note!(mode, depth, time)
        end
        foreach(depth -> note!("shipped", depth, shipped_chase(table, depth, seconds)), depths)
    end
    foreach(close, nodes)
    return times
end

# `f(turn of one mode, the same turn of the other)` for all depths from 64 on, over all turns: the median.
function compare_turns(f, times, mode, other)
    ratios = [f(a, b) for ((m, depth), own) in times if m == mode && depth >= 64 && haskey(times, (other, depth))
              for (a, b) in zip(own, times[(other, depth)])]
    return median_of(ratios)
end

ratio_to(times, rival) = compare_turns((shipped, other) -> other / shipped, times, "shipped", rival)

function note_chases(report, transport, servers, times, depths)
    note(report, "$transport, $servers node$(servers == 1 ? "" : "s"), ns a step:")
    for mode in [XRDMA_MODES; "shipped"]
        cells = [haskey(times, (mode, d)) ? @sprintf("%9.0f", median_of(times[(mode, d)]) / d) : lpad("-", 9) for d in depths]
        note(report, rpad("  " * mode, 10) * join(cells))
    end
end

function bench_xrdma(report; quick = false)
    words, turns, seconds = quick ? (1 << 12, 1, 0.05) : (1 << 24, 3, 0.15)
    depths = quick ? [1, 64] : [1 << k for k in 0:12]
    note(report, "pointer chases over a table of $words words; depths $(join(depths, ", "))")
    lines = ["transport,nodes,mode,depth,ns_per_step"]
    to_read, to_am = Float64[], Float64[]
    setting = (words = words, depths = depths, turns = turns, seconds = seconds)
    networks = Pair{String,Any}[name => servers -> chase_times(name, servers; setting...) for name in ("shm", "tcp")]
    trouble = no_namespaces()
    if trouble === nothing
        append!(networks, ["tcp + $delay us" => servers -> far_chase_times(delay, servers; setting...) for delay in MICROSECONDS])
    else
        note(report, "no networks with a delay: $trouble")
    end
    for (transport, times_over) in networks, servers in (quick ? (2,) : (1, 2, 4))
        times = times_over(servers)
        note_chases(report, transport, servers, times, depths)
        for ((mode, depth), own) in sort!(collect(times); by = first)
            push!(lines, @sprintf("%s,%d,%s,%d,%.1f", transport, servers, mode, depth, median_of(own) / depth))
        end
        reads, natives = ratio_to(times, "read"), ratio_to(times, "am")
        # The bars are for the machine's own transports; over a network with a delay the bound is what counts.
        transport in ("shm", "tcp") && push!(to_am, natives)
        transport == "tcp" && servers > 1 && push!(to_read, min(reads, ratio_to(times, "get")))
        bound = servers > 1 ? @sprintf(" (with random pointers no more than %.2f)", 2 / (1 - 1 / servers)) : ""
        note(report, @sprintf("from depth 64 on: %.2f times as quick as reads%s, %.2f times as quick as native handlers", reads, bound, natives))
    end
    quick || write_lines(joinpath(@__DIR__, "out", "xrdma_chase.csv"), lines)
    note(report, "All servers wait as nodes do: they spin, or, with more processes than cores, sleep between messages.")
    result(report, "chase_vs_read", minimum(to_read), "ratio"; bound = "at least 1.7, over tcp on 2 and 4 nodes, from depth 64 on")
    result(report, "chase_vs_am", minimum(to_am), "ratio"; bound = "at least 0.95")
    bench_increments(report; quick = quick, turns = turns, seconds = seconds)
end

write_lines(path, lines) = (mkpath(dirname(path)); write(path, join(lines, '\n'), '\n'))
