# A counter on a node that shipped Julia adds to, against a handler that is compiled into the server (bench/src/xrdma): by bytes of payload, one call
# after the other and in a stream of which only the last is answered, with code that the node has and with code that comes along.

# Atomic, because calls without an answer may run on several of a node's threads.
increment_here!(counter) = (BitCode.Hop.fetch_add(counter, 1, 1); nothing)
increment_with!(counter, payload) = (BitCode.Hop.fetch_add(counter, 1, length(payload) > 0); nothing)

# Calls in a stream.
const STREAM = 1000

function stream_of(start, last)
    for _ in 2:STREAM
        start()
    end
    last()
end

# The last call of a stream need not be the last to run.
function check_stream(counter, stream)
    settled() = (before = counter[1]; sleep(0.05); counter[1] == before)
    timedwait(settled, 10.0)
    before = counter[1]
    stream()
    timedwait(() -> counter[1] == before + STREAM, 10.0) == :ok || error("increments were lost")
end

# (what, bytes) => what one call takes, in nanoseconds, once for each turn; natively and shipped. With so few bytes as a counter has, nothing but the counter
# is passed.
function increment_times(transport, sizes; turns, seconds)
    node = launch(transport = transport)
    counter = BitCode.alloc(node, Int, 1)
    native, shipped = Dict{Tuple{String,Int},Vector{Float64}}(), Dict{Tuple{String,Int},Vector{Float64}}()
    note!(times, what, bytes, time) = push!(get!(() -> Float64[], times, (what, bytes)), time)
    for _ in 1:turns
        for ((what, bytes), time) in native_times(transport, 1, 1024, seconds, ["increment", "stream"], sizes)
            note!(native, what, bytes, time)
        end
        for bytes in sizes
            one, some = increment_calls(node, counter, bytes)
            note!(shipped, "increment", bytes, repeated(one, seconds))
            note!(shipped, "stream", bytes, repeated(some, seconds) / STREAM)
        end
    end
    foreach(bytes -> check_stream(counter, () -> increment_calls(node, counter, bytes)[2](0)), sizes)
    close(node)
    return native, shipped
end

function increment_calls(node, counter, bytes)
    bytes == sizeof(Int) &&
        return (k -> @remote(node, increment_here!(counter)),
                k -> stream_of(() -> remote_do(increment_here!, node, counter), () -> @remote(node, increment_here!(counter))))
    payload = zeros(UInt8, bytes)
    return (k -> @remote(node, increment_with!(counter, payload)),
            k -> stream_of(() -> remote_do(increment_with!, node, counter, payload), () -> @remote(node, increment_with!(counter, payload))))
end

# A function that increments and that no node has seen, and a caller of it.
function new_increment(k)
    f, start = Symbol("increment_", k), Symbol("start_increment_", k)
    @eval Main $f(counter) = (BitCode.Hop.fetch_add(counter, 1, $k); nothing)
    @eval Main $start(node, counter) = remotecall($f, node, counter)
    return getfield(Main, start)
end

# What the first call of code takes that the origin has captured and the node has not seen; and, of that, the node's stages.
function uncached_times(transport; rounds)
    nodes = launch(2; transport = transport)
    counters = [BitCode.alloc(node, Int, 1) for node in nodes]
    totals, compiling, bytes = Float64[], Float64[], Int[]
    for k in 1:rounds
        start = new_increment(k)
        fetch(Base.invokelatest(start, nodes[1], counters[1])) # captured here
        before = BitCode.statistics(nodes[2])["bytes_sent"]
        begun = time_ns()
        future = Base.invokelatest(start, nodes[2], counters[2])
        BitCode.wait_for(future.flight)
        push!(totals, time_ns() - begun)
        push!(compiling, sum(last(stage) for stage in node_stages(future) if !(first(stage) in ("node: queue", "node: run"))))
        push!(bytes, BitCode.statistics(nodes[2])["bytes_sent"] - before)
        fetch(future)
    end
    foreach(close, nodes)
    return totals, compiling, bytes
end

function bench_increments(report; quick, turns, seconds)
    sizes = quick ? [8, 512] : [8, 64, 512, 4096, 32768]
    lines = ["transport,what,bytes,mode,ns"]
    bars = Dict{String,Float64}()
    for transport in (quick ? ("shm",) : ("shm", "tcp"))
        native, shipped = increment_times(transport, sizes; turns = turns, seconds = seconds)
        note(report, "increments over $transport: ns one way, and ns for each of a stream, natively and shipped, by bytes of payload")
        for bytes in sizes
            row = [median_of(times[(what, bytes)]) / (what == "increment" ? 2 : 1) for what in ("increment", "stream") for times in (native, shipped)]
            note(report, lpad(bytes, 8) * join([@sprintf("%10.0f", time) for time in row]))
            for (k, (what, mode)) in enumerate((("one_way", "native"), ("one_way", "shipped"), ("stream", "native"), ("stream", "shipped")))
                push!(lines, @sprintf("%s,%s,%d,%s,%.1f", transport, what, bytes, mode, row[k]))
            end
        end
        ratio(what) = median_of([own / other for (own, other) in zip(shipped[(what, 8)], native[(what, 8)])])
        transport == "shm" && (bars["latency"] = ratio("increment"); bars["rate"] = 1 / ratio("stream"))
        totals, compiling, bytes = uncached_times(transport; rounds = quick ? 2 : 15)
        there, cached = median_of(native[("increment", 8)]), median_of(shipped[("increment", 8)])
        note(report, "a call and its answer, split: to and fro $(time_text(there)), lookup and execution $(time_text(max(0.0, cached - there)))")
        note(report, "the same with code that the node has not seen, $(median_of(bytes)) bytes: $(time_text(median_of(totals))), of that compiling $(time_text(median_of(compiling)))")
        push!(lines, @sprintf("%s,one_way,8,uncached,%.1f", transport, median_of(totals) - cached / 2))
    end
    quick || write_lines(joinpath(@__DIR__, "out", "xrdma_increment.csv"), lines)
    result(report, "increment_latency_vs_am", bars["latency"], "ratio"; bound = "at most 1.15")
    result(report, "increment_rate_vs_am", bars["rate"], "ratio"; bound = "at least 0.9")
end
