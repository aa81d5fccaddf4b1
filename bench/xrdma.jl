# Code that goes to the data: pointer chases by shipped Julia, against the same by handlers that are compiled into the servers (bench/src/xrdma),
# all with the same fabric, headers and tags. Increments are in increments.jl; `python3 bench/plot.py` draws figures of the tables in bench/out.

# The table of bench/src/xrdma/main.rs, with indices from 0 in its words.
successor(i, words) = (i * 1_664_525 + 1_013_904_223) & (words - 1)

function fill_part!(table)
    part, range = BitCode.Hop.localpart(table), BitCode.Hop.localindices(table)
    for i in range
        part[i-first(range)+1] = successor(i - 1, length(table))
    end
    return nothing
end

# The rivals' lines: (mode, depth) => median in nanoseconds.
function native_times(transport, servers, words, seconds, modes, depths)
    program = joinpath(dirname(BitCode.node_program()), "native-xrdma")
    isfile(program) || exit_with("$program is missing: run `make bench`, which builds it")
    lines = readlines(`$program $transport $servers $words $seconds $modes -- $depths`)
    field(line, name) = match(Regex("$name=(\\S+)"), line)[1]
    return Dict((field(line, "mode"), parse(Int, field(line, "depth"))) => parse(Float64, field(line, "median_ns")) for line in lines)
end

# About `seconds` of `f(k)` for k = 0, 1, 2…: the median in nanoseconds.
function repeated(f, seconds; fewest = 8)
    times = Float64[]
    finish = time_ns() + seconds * 1e9
    while time_ns() < finish || length(times) < fewest
        k = length(times)
        start = time_ns()
        f(k)
        push!(times, time_ns() - start)
    end
    return median_of(times)
end

first_of(k, words) = Int((UInt64(k) * 0x9E3779B97F4A7C15) & UInt64(words - 1))

function shipped_chase(table, depth, seconds)
    words = length(table)
    chase(k) = BitCode.chase(table, first_of(k, words) + 1, depth; next = i -> i + 1) - 1
    for k in 0:2
        expected = foldl((i, _) -> successor(i, words), 1:depth; init = first_of(k, words))
        chase(k) == expected || error("a chase of $depth steps did not end where it should")
    end
    return repeated(chase, seconds)
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
    for transport in ("shm", "tcp"), servers in (quick ? (2,) : (1, 2, 4))
        times = chase_times(transport, servers; words = words, depths = depths, turns = turns, seconds = seconds)
        note_chases(report, transport, servers, times, depths)
        for ((mode, depth), own) in sort!(collect(times); by = first)
            push!(lines, @sprintf("%s,%d,%s,%d,%.1f", transport, servers, mode, depth, median_of(own) / depth))
        end
        push!(to_am, ratio_to(times, "am"))
        transport == "tcp" && servers > 1 && push!(to_read, min(ratio_to(times, "read"), ratio_to(times, "get")))
        note(report, @sprintf("from depth 64 on: %.2f times as quick as reads, %.2f times as quick as native handlers", ratio_to(times, "read"), to_am[end]))
    end
    quick || write_lines(joinpath(@__DIR__, "out", "xrdma_chase.csv"), lines)
    note(report, "All servers wait as nodes do: they spin, or, with more processes than cores, sleep between messages.")
    result(report, "chase_vs_read", minimum(to_read), "ratio"; bound = "at least 1.7, over tcp on 2 and 4 nodes, from depth 64 on")
    result(report, "chase_vs_am", minimum(to_am), "ratio"; bound = "at least 0.95")
    bench_increments(report; quick = quick, turns = turns, seconds = seconds)
end

write_lines(path, lines) = (mkpath(dirname(path)); write(path, join(lines, '\n'), '\n'))
