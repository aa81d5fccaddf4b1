# The first call of a new small function, from the keyboard's point of view: capture, ship, compile, run. Julia itself is warm: other
# functions have been captured and called before.

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
    captured = [String(name) => seconds * 1e9 for (name, seconds) in future.shipped.timings]
    timings = Ref{BitCode.API.Timings}()
    BitCode.API.bc_call_timings(future.flight.call, timings) == 0 || error("the call has no timings")
    times = timings[]
    fetch(future)
    node_stages = ["node: " * String(name)[1:end-3] => Float64(getfield(times, name))
                   for name in (:queue_ns, :decode_ns, :parse_ns, :link_ns, :optimise_ns, :emit_ns, :run_ns)]
    found = [captured; node_stages]
    return [found; "Julia's inference, wire, rest" => total - sum(last, found); "total" => total]
end

function bench_cold(report; quick = false, warm_up = quick ? 1 : 10, rounds = quick ? 2 : 40)
    node = launch(transport = "shm")
    totals = Float64[]
    split = Dict{String,Vector{Float64}}()
    order = String[]
    for i in 1:warm_up+rounds
        call, _ = new_call(2i)
        total = timed(() -> Base.invokelatest(call, node, 3))
        _, start = new_call(2i + 1)
        found = stages(node, start)
        i > warm_up || continue
        push!(totals, total)
        for (name, time) in found
            name in order || push!(order, name)
            push!(get!(Vector{Float64}, split, name), time)
        end
    end
    close(node)
    row(report, "first call of a new function", totals)
    note(report, "the stages of others like it:")
    for name in order
        row(report, "  " * name, split[name])
    end
    result(report, "cold_ms", median_of(totals) / 1e6, "ms"; bound = "at most 60")
end
