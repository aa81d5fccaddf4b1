# Archives: how much is shipped, once, for which target; and what native code saves a node, against bitcode that it compiles itself.

small(x) = x > 0 ? muladd(x, 3, 1) : x - 3
middle(x) = sum(sort!([i * 7919 % 1009 for i in 1:x]))
large(x) = length(join(sort!(collect(keys(Dict(string(i) => [i] for i in 1:x))), rev = true), ", "))

function bench_archive(report; quick = false)
    info = BitCode.archive_info(x -> x + 1, Tuple{Int})
    result(report, "archive_bytes", info.bytes, "bytes"; bound = "at most 4096 for x -> x + 1")
    sizes(report)
    loads(report, quick ? 1 : 15)
end

# --- bytes -------------------------------------------------------------------------------------------------------------------

function sizes(report)
    targets = [:bitcode, :aarch64, "x86_64:x86-64", "x86_64:x86-64-v3", "aarch64:generic"]
    note(report, rpad("bytes of an archive with", 28) * join(lpad.(string.(targets), 18)))
    for (name, f, types) in [("x -> x + 1", x -> x + 1, Tuple{Int}), ("exp", exp, Tuple{Float64}), ("powermod", powermod, Tuple{Int,Int,Int}),
                             ("sort!(::Vector{Int})", sort!, Tuple{Vector{Int}}), ("keys of a Dict, joined", large, Tuple{Int})]
        bytes = [length(BitCode.archive(f, types; images = [target]).bytes) for target in targets]
        note(report, rpad(name, 28) * join(lpad.(string.(bytes), 18)))
    end
end

# --- loading -----------------------------------------------------------------------------------------------------------------

# Each round has nodes of its own: a node links what it knows no second time.
function loads(report, rounds)
    speedups = Float64[]
    for f in (small, middle, large)
        bitcode = loading(report, f, :bitcode, true, rounds)
        native = loading(report, f, "native", false, rounds)
        push!(speedups, median_of(bitcode.samples[LOADING]) / median_of(native.samples[LOADING]))
        note(report, @sprintf("%s: native code is ready %.1f times as fast", f, last(speedups)))
    end
    result(report, "object_load_speedup", minimum(speedups), "ratio"; bound = "at least 5, and this is the least of the three")
end

function loading(report, f, image, jit, rounds)
    archive = BitCode.archive(f, Tuple{Int}; images = [image])
    other = BitCode.archive(identity, Tuple{Int}; images = [image])
    split = Split()
    for _ in 1:rounds
        node = launch(transport = "shm", jit = jit)
        # What a node sets up for the first code of all, whatever it is, is none of this function's.
        remotecall_fetch(other, node, 1)
        push!(split, first_call(() -> remotecall(archive, node, 3)))
        close(node)
    end
    jit || check_nothing_compiled(split)
    note(report, "$f, $(length(archive.bytes)) bytes with $(jit ? "bitcode" : "native code, on a node that compiles nothing"):")
    rows(report, split)
    return split
end
