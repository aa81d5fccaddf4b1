# The conformance table against a node of another architecture, emulated (make node-aarch64). Emulation makes compilation fifty times slower, so
# that this takes some calls of each group; BITCODE_TEST_FULL=1 takes them all.

using BitCode, Test

include("compare.jl")
include("table.jl")
include("calls.jl")

const EMULATES = Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
const FULL = get(ENV, "BITCODE_TEST_FULL", "") == "1"
const EVERY = 20

# The first call of each group, and each twentieth after it.
function sample(table)
    groups = unique(case.group for case in table)
    return vcat([filter(case -> case.group == group, table)[1:(FULL ? 1 : EVERY):end] for group in groups]...)
end

# What is refused for every node is the business of the other files here.
is_refused_everywhere(outcome) =
    outcome isa Thrown && outcome.exception isa CaptureError && all(reason -> reason.kind != :target, outcome.exception.reasons)

if EMULATES
    shared = SharedNode(launch(; arch = :aarch64, timeout = 120), 0)
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
