# The first call of a new small function, from the keyboard's point of view: capture, ship, compile, run. Julia itself is warm: other
# functions have been captured and called before. Then its first call on a node that was restarted, and finds on its disk what the
# one before had compiled.

# A function that nobody has seen, and a caller of it, as if typed in just now. Only the call is timed.
function new_call(i)
    f = Symbol("fresh_", i)
    call = Symbol("call_fresh_", i)
    @eval Main $f(x) = x > 0 ? muladd(x, $i, 1) : x - $i
    @eval Main $call(node, x) = @remote node $f(x)
    @eval Main $(Symbol("start_fresh_", i))(node, x) = remotecall($f, node, x)
    return getfield(Main, call), getfield(Main, Symbol("start_fresh_", i))
end

# Stages of one first call in nanoseconds, those of capture first, then the node's, then what is left.
function stages(node, start)
    begun = time_ns()
    future = Base.invokelatest(start, node, 3)
    BitCode.wait_for(future.flight)
    total = Float64(time_ns() - begun)
    captured = [String(name) => seconds * 1e9 for (name, seconds) in future.code.shipped.timings]
    found = [captured; node_stages(future)]
    fetch(future)
    return [found; "Julia's inference, wire, rest" => total - sum(last, found); "total" => total]
end

function bench_cold(report; quick = false, warm_up = quick ? 1 : 10, rounds = quick ? 2 : 40)
    mktempdir() do directory
        cold(report, joinpath(directory, "objects"), warm_up, rounds)
    end
end

function cold(report, objects, warm_up, rounds)
    totals = Float64[]
    split = Split()
    starts = Any[]
    node = launch(transport = "shm", object_cache = objects)
    for i in 1:warm_up+rounds
        call, _ = new_call(2i)
        total = timed(() -> Base.invokelatest(call, node, 3))
        _, start = new_call(2i + 1)
        found = stages(node, start)
        push!(starts, start)
        i > warm_up || continue
        push!(totals, total)
        push!(split, found)
    end
    close(node)
    row(report, "first call of a new function", totals)
    note(report, "the stages of others like it:")
    rows(report, split)
    result(report, "cold_ms", median_of(totals) / 1e6, "ms"; bound = "at most 60")

    # The same functions, on a node that has not compiled them.
    node = launch(transport = "shm", object_cache = objects)
    split = Split()
    foreach(start -> push!(split, first_call(() -> Base.invokelatest(start, node, 3))), starts)
    close(node)
    check_nothing_compiled(split)
    note(report, "a restarted node's stages for what its disk holds:")
    rows(report, split)
    result(report, "disk_cached_ms", median_of(split.samples[ALL_STAGES]) / 1e6, "ms"; bound = "at most 3")
end
