# Code that goes to the data: pointer chases and increments by shipped Julia, against the same by handlers that are compiled into the servers
# (bench/src/xrdma), all with the same fabric, headers and tags.

# The table of bench/src/xrdma/main.rs, with indices from 0 in its words.
successor(i, words) = (i * 1_664_525 + 1_013_904_223) & (words - 1)

function fill_part!(table)
    part, range = BitCode.Hop.localpart(table), BitCode.Hop.localindices(table)
    for i in range
        part[i-first(range)+1] = successor(i - 1, length(table))
    end
    return nothing
end

# Atomic, because calls without an answer run on several of a node's threads.
increment_here!(counter) = (BitCode.Hop.fetch_add(counter, 1, 1); nothing)

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

# A shipped increment, with its answer, and in a stream, of which only the last one is answered.
function increment_times(report, transport; turns, seconds, stream = 1000)
    node = launch(transport = transport)
    counter = BitCode.alloc(node, Int, 1)
    one(k) = @remote node increment_here!(counter)
    function many(k)
        for _ in 2:stream
            remote_do(increment_here!, node, counter)
        end
        @remote node increment_here!(counter)
    end
    ratios = Dict("increment" => Float64[], "stream" => Float64[])
    for _ in 1:turns
        native = native_times(transport, 1, 1024, seconds, ["increment", "stream"], [sizeof(Int)])
        for (mode, time) in ("increment" => repeated(one, seconds), "stream" => repeated(many, seconds) / stream)
            row(report, "native $mode, $transport", [native[(mode, sizeof(Int))]])
            row(report, "shipped $mode, $transport", [time])
            push!(ratios[mode], time / native[(mode, sizeof(Int))])
        end
    end
    before = counter[1]
    many(0)
    # The last one need not be the last to run.
    timedwait(() -> counter[1] == before + stream, 10.0) == :ok || error("increments were lost")
    close(node)
    return median_of(ratios["increment"]), 1 / median_of(ratios["stream"])
end

function bench_xrdma(report; quick = false)
    words, turns, seconds = quick ? (1 << 12, 1, 0.01) : (1 << 24, 3, 0.25)
    depths = quick ? [1, 64] : [1 << k for k in 0:2:12]
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
    end
    quick || write_lines(joinpath(@__DIR__, "out", "xrdma.csv"), lines)
    note(report, "With more processes than cores, all sides sleep between messages, as nodes do.")
    result(report, "chase_vs_read", minimum(to_read), "ratio"; bound = "at least 1.7, over tcp on 2 and 4 nodes, from depth 64 on")
    result(report, "chase_vs_am", minimum(to_am), "ratio"; bound = "at least 0.95")
    latency, rate = increment_times(report, "shm"; turns = turns, seconds = seconds)
    result(report, "increment_latency_vs_am", latency, "ratio"; bound = "at most 1.15")
    result(report, "increment_rate_vs_am", rate, "ratio"; bound = "at least 0.9")
end

write_lines(path, lines) = (mkpath(dirname(path)); write(path, join(lines, '\n'), '\n'))
