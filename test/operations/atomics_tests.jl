# User-defined updates of one element by four origins at once, 100,000 each: none is lost and none is made twice.

using BitCode, Test

include("../node/waiting.jl")
include("tally.jl")

const ORIGINS = 4
const UPDATES = 100_000
const WIDE_UPDATES = 500

function hammer(node, transport, tally, wide, origin)
    script = joinpath(@__DIR__, "hammer.jl")
    arguments = string.([node.address, transport, tally.number, wide.number, origin, UPDATES, WIDE_UPDATES])
    process = open(pipeline(`$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) $script $arguments`; stderr = stderr), "w")
    write(process, node.process.key)
    close(process.in)
    return process
end

expected(updates) = reduce(xor, [sample(o, k) for o in 1:ORIGINS for k in 1:updates])

node = launch(; transport = "shm")
tally, wide = BitCode.alloc(node, Tally, 3), BitCode.alloc(node, Wide, 2)
origins = [hammer(node, "shm", tally, wide, o) for o in 1:ORIGINS]
foreach(wait, origins)
@test all(success, origins)
# Nobody waited for them: the last may still be running.
@test eventually(() -> tally[2].count == ORIGINS * UPDATES)
@test tally[2] === Tally(ORIGINS * UPDATES, expected(UPDATES))
@test tally[1] === tally[3] === Tally(0, 0)
@test (wide[2].count, wide[2].check) == (ORIGINS * WIDE_UPDATES, UInt(expected(WIDE_UPDATES)))
@test wide[1] === Wide(0, 0, (0, 0, 0, 0, 0, 0))
close(node)
