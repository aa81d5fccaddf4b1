# The origin of networks.jl: chases a table on the nodes at the addresses in ARGS, once for each line that it reads, and prints a line for each depth.

using BitCode

include("report.jl")
include("shipped_chase.jl")

const KEY, WORDS, SECONDS, DEPTHS = ARGS[1], parse(Int, ARGS[2]), parse(Float64, ARGS[3]), parse.(Int, split(ARGS[4], ','))

nodes = [connect(address; keyfile = KEY, transport = "tcp") for address in ARGS[5:end]]
table = BitCode.alloc(nodes, Int, WORDS)
@remote nodes fill_part!(table)
for _ in eachline(stdin), depth in DEPTHS
    println("mode=shipped depth=$depth median_ns=$(shipped_chase(table, depth, SECONDS))")
    flush(stdout)
end
