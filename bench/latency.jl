# Warm calls: an Int there, an Int back. Against the bare ping-pong of the same library, and against Distributed.

import Distributed

increment(x) = x + 1

function warm_times(node, rounds)
    times = Vector{UInt64}(undef, rounds)
    for i in 1:rounds
        start = time_ns()
        answer = @remote node increment(i)
        times[i] = time_ns() - start
        answer == i + 1 || error("increment($i) answered $answer")
    end
    return times
end

function distributed_times(worker, rounds)
    times = Vector{UInt64}(undef, rounds)
    for i in 1:rounds
        start = time_ns()
        answer = Distributed.remotecall_fetch(increment, worker, i)
        times[i] = time_ns() - start
        answer == i + 1 || error("increment($i) answered $answer")
    end
    return times
end

# Rivals take turns, so that a noisy minute meets all of them.
function against_raw(report, transport; turns, raw_rounds, rounds)
    node = launch(transport = transport)
    warm_times(node, 200)
    raw = RawTimes[]
    warm = Vector{UInt64}[]
    for _ in 1:turns
        push!(raw, raw_am(transport, sizeof(Int), raw_rounds))
        GC.gc()
        push!(warm, warm_times(node, rounds))
    end
    row(report, "UCX active messages, $transport", median_of([times.median for times in raw]), median_of([times.p99 for times in raw]),
        turns * raw_rounds)
    row(report, "@remote node increment(x), $transport", reduce(vcat, warm))
    ratios = [median_of(times) / bare.median for (times, bare) in zip(warm, raw)]
    return node, reduce(vcat, warm), median_of(ratios)
end

# What a warm call's frame carries besides the one word of its argument, by the connection's own counters.
function header_bytes(node; rounds = 1000)
    before = BitCode.statistics(node)
    warm_times(node, rounds)
    after = BitCode.statistics(node)
    after["calls"] - before["calls"] == rounds || error("another call was under way")
    return (after["bytes_sent"] - before["bytes_sent"]) ÷ rounds - sizeof(Int)
end

function bench_latency(report; quick = false)
    node, warm, ratio = against_raw(report, "shm"; turns = 5, raw_rounds = quick ? 1000 : 100_000, rounds = quick ? 1000 : 50_000)
    result(report, "header_bytes", header_bytes(node), "bytes"; bound = "at most 64")
    close(node)

    worker = only(Distributed.addprocs(1))
    Distributed.remotecall_eval(Main, [worker], :(increment(x) = x + 1))
    distributed_times(worker, 200)
    rival = distributed_times(worker, quick ? 100 : 5_000)
    Distributed.rmprocs(worker)
    row(report, "Distributed.remotecall_fetch", rival)

    result(report, "warm_vs_raw_am", ratio, "ratio"; bound = "at most 2.0 over shared memory")
    result(report, "distributed_vs_warm", median_of(rival) / median_of(warm), "ratio"; bound = "at least 20")

    over_tcp, _, tcp_ratio = against_raw(report, "tcp"; turns = 3, raw_rounds = quick ? 100 : 10_000, rounds = quick ? 100 : 10_000)
    close(over_tcp)
    result(report, "warm_vs_raw_am_tcp", tcp_ratio, "ratio")
end
