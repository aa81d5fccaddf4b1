# A large array as an argument, against the bare ping-pong with a message of the same size.

ends(x) = x[1] + x[end]

function bench_bandwidth(report; quick = false, bytes = 64 << 20, turns = 5, rounds = quick ? 1 : 8)
    node = launch(transport = "shm")
    x = ones(bytes ÷ sizeof(Float64))
    (@remote node ends(x)) == 2.0 || error("the array did not arrive")
    warm = Float64[]
    raw = RawTimes[]
    ratios = Float64[]
    for _ in 1:turns
        bare = raw_am("shm", bytes, rounds)
        mine = [timed(() -> @remote node ends(x)) for _ in 1:rounds]
        push!(raw, bare)
        append!(warm, mine)
        push!(ratios, bare.median / median_of(mine))
    end
    close(node)
    bare = median_of([times.median for times in raw])
    row(report, "UCX active message, $(bytes >> 20) MB, shm", bare, median_of([times.p99 for times in raw]), turns * rounds)
    row(report, "@remote node ends(x), $(bytes >> 20) MB, shm", warm)
    note(report, @sprintf("%.2f GB/s bare, %.2f GB/s as an argument", bytes / bare, bytes / median_of(warm)))
    result(report, "array_bandwidth_vs_raw", median_of(ratios), "ratio"; bound = "at least 0.7")
end
