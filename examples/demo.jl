# The demonstration (`make demo`): four nodes without Julia, a Mandelbrot set computed on all of them, and what is special about it.

using BitCode
using Printf: @printf, @sprintf

include("image/png.jl")

const OUT = joinpath(@__DIR__, "out")

headline(text) = println("\n", text, "\n", repeat('─', length(text)))
milliseconds(seconds) = @sprintf("%.2f ms", 1e3 * seconds)
microseconds(seconds) = @sprintf("%.2f µs", 1e6 * seconds)
median(values) = sort(values)[cld(length(values), 2)]

# What it costs to call `f` on `node`: the first time, and then.
function measure(f, node, arguments...)
    cold = @elapsed remotecall_fetch(f, node, arguments...)
    warm = median([@elapsed(remotecall_fetch(f, node, arguments...)) for _ in 1:500])
    return cold, warm
end

# --- four nodes --------------------------------------------------------------------------------------------------------------

headline("Four nodes: separate processes, no Julia in them")
started = @elapsed four = launch(4)
foreach(node -> println("  ", node, ", process ", node.pid, ", ", node.transport), four)
println("  started in ", milliseconds(started), "; libraries of bitcode-node that are Julia's: ", count("julia", read(`ldd $(BitCode.node_program())`, String)))

# --- a picture ---------------------------------------------------------------------------------------------------------------

# An ordinary Julia function. The nodes have never heard of it.
function mandelbrot_row(row, width, height, limit)
    escapes = Vector{Int32}(undef, width)
    for column in 1:width
        c = complex(-2.2 + 3.2 * (column - 0.5) / width, -1.2 + 2.4 * (row - 0.5) / height)
        z = zero(c)
        n = 0
        while n < limit && abs2(z) < 16
            z = z * z + c
            n += 1
        end
        escapes[column] = n
    end
    return escapes
end

const WIDTH, HEIGHT, LIMIT = 960, 720, 500

# Each node takes the next row as soon as it is done with one.
function picture(nodes)
    escapes = Matrix{Int32}(undef, WIDTH, HEIGHT)
    counts = Dict(node => 0 for node in nodes)
    rows = Iterators.Stateful(1:HEIGHT)
    @sync for node in nodes
        @async while !isempty(rows)
            row = popfirst!(rows)
            escapes[:, row] = @remote node mandelbrot_row(row, WIDTH, HEIGHT, LIMIT)
            counts[node] += 1
        end
    end
    return escapes, counts
end

function print_picture(escapes; columns = 78, lines = 30)
    shades = " .:-=+*%#@"
    for line in 1:lines
        for column in 1:columns
            n = escapes[cld(column * WIDTH, columns), cld(line * HEIGHT, lines)]
            print(n == LIMIT ? ' ' : shades[clamp(floor(Int, 1.4 * log2(1 + n)), 1, 10)])
        end
        println()
    end
end

function colours(escapes)
    pixels = zeros(UInt8, 3, size(escapes)...)
    for i in CartesianIndices(escapes)
        escapes[i] == LIMIT && continue
        t = sqrt(escapes[i] / 60)
        pixels[:, i] = [round(UInt8, 255 * (0.5 - 0.5 * cos(6.3 * (t * f + shift)))) for (f, shift) in ((0.5, 0.1), (0.5, 0.2), (0.5, 0.45))]
    end
    return pixels
end

headline("A Mandelbrot set, $HEIGHT rows of $WIDTH points, on all of them")
seconds = @elapsed escapes, counts = picture(four)
print_picture(escapes)
println("  rows by node: ", join([counts[node] for node in four], ", "), "; ", milliseconds(seconds), " with shipping and compiling")
mkpath(OUT)
println("  written to ", relpath(write_png(joinpath(OUT, "mandelbrot.png"), colours(escapes))))
local_row = mandelbrot_row(360, WIDTH, HEIGHT, LIMIT)
escapes[:, 360] == local_row || error("the nodes computed something else than this process")

# --- what is special ---------------------------------------------------------------------------------------------------------

# Show some lines as if they were typed, run them, show their value.
function typed(text)
    println("julia> ", replace(text, "\n" => "\n       "))
    value = include_string(Main, text, "demo")
    println(value === nothing ? "" : repr("text/plain", value) * "\n")
end

node = four[1]

headline("A function typed in just now")
typed(raw"collatz(n) = n == 1 ? 0 : 1 + collatz(iseven(n) ? n ÷ 2 : 3n + 1)")
typed(raw"@remote node collatz(27)")
typed(raw"@remote four maximum(collatz(n) for n in 1:10_000)")

headline("A closure, with what it captured")
typed(raw"weights = [0.5, 0.25, 0.25]")
typed(raw"weighted = let w = weights; v -> sum(w .* v) end")
typed(raw"@remote node weighted([10.0, 20.0, 30.0])")

headline("An exception is the real one")
typed(raw"portion(v, i) = v[i] / sum(v)")
typed(raw"""
try
    @remote node portion([1, 2, 3], 7)
catch e
    showerror(stdout, e)
    println()
end""")

headline("A redefinition: the next call runs the new code")
typed(raw"@remote node portion([1, 2, 3], 3)")
typed(raw"portion(v, i) = v[mod1(i, length(v))] / sum(v)")
typed(raw"@remote node portion([1, 2, 3], 7)")

headline("What cannot be shipped says so here, before anything is sent")
typed(raw"limit = 10")
typed(raw"below_limit(x) = x < limit")
typed(raw"BitCode.explain(below_limit, Tuple{Int})")

# --- what was shipped --------------------------------------------------------------------------------------------------------

headline("What was shipped")
increment(x) = x + 1
wave(x) = sin(x)^2 + exp(-x)
@printf("  %-44s %9s %12s %12s\n", "function", "archive", "first call", "then")
for (f, arguments) in ((increment, (1,)), (wave, (0.5,)), (portion, ([1, 2, 3], 2)), (sort, (rand(1000),)), (mandelbrot_row, (360, 100, 720, 50)))
    info = BitCode.archive_info(f, Tuple{map(typeof, arguments)...})
    cold, warm = measure(f, four[2], arguments...)
    @printf("  %-44s %6d B %12s %12s\n", first(info.name, 44), info.bytes, milliseconds(cold), microseconds(warm))
end
sent = [BitCode.statistics(node) for node in four]
@printf("  in all: %d calls, %d archives, %.1f kB sent, %.1f kB received\n", sum(s -> s["calls"], sent), sum(s -> s["archives_sent"], sent),
        sum(s -> s["bytes_sent"], sent) / 1e3, sum(s -> s["bytes_received"], sent) / 1e3)

foreach(close, four)
