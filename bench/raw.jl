# The bare UCX ping-pong of bench/src/raw_am.rs, as a function.

struct RawTimes
    median::Float64
    p99::Float64
    rounds::Int
end

# Beside bitcode-node, where cargo put both.
raw_program() = joinpath(dirname(BitCode.node_program()), "raw-am")

"""
    raw_am(transport, bytes, rounds) -> RawTimes

Round trips of one active message of `bytes` bytes and an answer of eight, in nanoseconds.
"""
function raw_am(transport, bytes, rounds)
    program = raw_program()
    isfile(program) || exit_with("$program is missing: run `make bench`, which builds it")
    line = readchomp(`$program $transport $bytes $rounds`)
    number(name) = parse(Float64, match(Regex("$(name)=([0-9.]+)"), line)[1])
    return RawTimes(number("median_ns"), number("p99_ns"), Int(number("rounds")))
end
