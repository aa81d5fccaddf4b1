# The chase by shipped code, and its table: for the origin of xrdma.jl, and for that of networks.jl (far.jl).

# The table of bench/src/xrdma/main.rs, with indices from 0 in its words.
successor(i, words) = (i * 1_664_525 + 1_013_904_223) & (words - 1)

function fill_part!(table)
    part, range = BitCode.Hop.localpart(table), BitCode.Hop.localindices(table)
    for i in range
        part[i-first(range)+1] = successor(i - 1, length(table))
    end
    return nothing
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
