# The conformance table against a node of another architecture that compiles what it is sent, emulated (make node-aarch64). Emulation makes compilation
# fifty times slower, so that this takes some calls of each group; BITCODE_TEST_FULL=1 takes them all. The other files send it native code.

using BitCode, Test

include("compare.jl")
include("table.jl")
include("calls.jl")

const FULL = get(ENV, "BITCODE_TEST_FULL", "") == "1"
const EVERY = 50

# The first call of each group, and each fiftieth after it.
function sample(table)
    groups = unique(case.group for case in table)
    return vcat([filter(case -> case.group == group, table)[1:(FULL ? 1 : EVERY):end] for group in groups]...)
end

# What is refused for every node is the business of the other files here.
is_refused_everywhere(outcome) =
    outcome isa Thrown && outcome.exception isa CaptureError && all(reason -> reason.kind != :target, outcome.exception.reasons)

if EMULATES
    shared = SharedNode("aarch64", () -> launch(; arch = :aarch64, timeout = 120))
    chosen = sample(TABLE)
    @testset "on aarch64: $group" for group in unique(case.group for case in chosen)
        for case in filter(case -> case.group == group, chosen)
            there = run_there(case, shared)
            is_refused_everywhere(there) && (println("not shipped anywhere: ", case.text); continue)
            wrong = difference(case, run_here(case), there)
            wrong === nothing || println(stderr, case.group, ": ", case.text, "\n    ", wrong)
            @test wrong === nothing
        end
    end
    @test shared.lost == 0
    close(shared)
    println("\nConformance on aarch64: ", length(chosen), " of ", length(TABLE), " calls")
else
    println("SKIPPED: conformance on aarch64 (make node-aarch64)")
end
