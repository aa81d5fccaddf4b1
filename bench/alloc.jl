# Shipped functions that allocate all the time, against the same functions here: strings, dictionaries, growing vectors. Each makes
# its own data, so that nothing but the call and a number crosses.

# The next state of a small generator: the same numbers on both sides, and no memory.
step(state::UInt64) = state * 0x5851f42d4c957f2d + 0x14057b7ef767814f

# About `bytes` bytes of words, some of them frequent.
function make_text(bytes)
    out = IOBuffer()
    state = UInt64(1)
    while position(out) < bytes
        state = step(state)
        number = (state >> 33) % 20_000
        number = (number * number) ÷ 20_000
        for _ in 1:3+number%7
            write(out, UInt8('a') + UInt8(number % 26))
            number = number ÷ 3 + 7
        end
        write(out, number % 11 == 0 ? '\n' : ' ')
    end
    return String(take!(out))
end

function count_words(bytes)
    counts = Dict{String,Int}()
    for word in split(make_text(bytes))
        counts[word] = get(counts, word, 0) + 1
    end
    best = 0
    for count in values(counts)
        best = max(best, count)
    end
    return (length(counts), best)
end

function sort_strings(n)
    strings = String[]
    state = UInt64(1)
    for _ in 1:n
        state = step(state)
        push!(strings, string(state >> 20))
    end
    sort!(strings)
    return (hash(strings[1]), hash(strings[n÷2]), hash(strings[end]))
end

function fill_dictionary(n)
    counts = Dict{Int,Int}()
    state = UInt64(1)
    for i in 1:n
        state = step(state)
        counts[Int(state >> 40)] = i
    end
    total = 0
    for (key, value) in counts
        total += key ⊻ value
    end
    return (length(counts), total)
end

function bench_alloc(report; quick = false, turns = quick ? 1 : 7, scale = quick ? 100 : 1)
    node = launch(transport = "shm")
    worst = 0.0
    for (name, f, size) in [("word count, 10 MB of text", count_words, 10_000_000 ÷ scale),
                            ("sort! of a million strings", sort_strings, 1_000_000 ÷ scale),
                            ("Dict{Int,Int} of a million", fill_dictionary, 1_000_000 ÷ scale)]
        there = () -> @remote node f(size)
        here = () -> f(size)
        here() == there() || error("$name: the node and this process disagree")
        times = Dict(place => Float64[] for place in (there, here))
        for _ in 1:turns, place in (there, here)
            # Each starts as after a pause: neither pays for what the other left.
            GC.gc()
            push!(times[place], timed(place))
        end
        row(report, "$name, on the node", times[there])
        row(report, "$name, here", times[here])
        ratio = median_of(times[there]) / median_of(times[here])
        note(report, @sprintf("%s: %.2f times as long on the node", name, ratio))
        worst = max(worst, ratio)
    end
    close(node)
    result(report, "alloc_vs_local", worst, "ratio"; bound = "at most 1.5, the worst of the three")
end
