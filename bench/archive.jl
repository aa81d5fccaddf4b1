# How much is shipped, once, for a small function.

function bench_archive(report; quick = false)
    info = BitCode.archive_info(x -> x + 1, Tuple{Int})
    result(report, "archive_bytes", info.bytes, "bytes"; bound = "at most 4096 for x -> x + 1")
    for (name, f, types) in [("exp", exp, Tuple{Float64}), ("sort!(::Vector{Int})", sort!, Tuple{Vector{Int}}),
                             ("powermod", powermod, Tuple{Int,Int,Int})]
        note(report, @sprintf("%-24s %6d bytes", name, BitCode.archive_info(f, types).bytes))
    end
end
