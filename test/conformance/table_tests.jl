# The conformance table against a real node: each call here and there.

using BitCode, Test

include("compare.jl")
include("table.jl")
include("calls.jl")

# Values that a macro cannot tell from names: two cases of one text would be one case.
@testset "the table itself" begin
    @test length(TABLE) >= 400
    @test allunique([case.text for case in [TABLE; REFUSED]])
end

shared = SharedNode()
tiers = unique(tier(case) for case in TABLE)
groups = unique(case.group for case in TABLE)
passes = Dict(group => 0 for group in groups)
totals = Dict(group => 0 for group in groups)
@testset "$group" for group in groups
    for case in TABLE
        case.group == group || continue
        passed = check(case, shared)
        @test passed
        passes[group] += passed
        totals[group] += 1
    end
end
@testset "known limits are refused" begin
    for case in REFUSED
        @test !(run_here(case) isa Thrown && run_here(case).exception isa MethodError)
        there = run_there(case, shared)
        refused = there isa Thrown && there.exception isa CaptureError
        refused || println(stderr, "not refused (", case.group, "): ", case.text, "\n    remotely: ", shown(there))
        @test refused
    end
end
@test shared.lost == 0
@test isopen(shared.node)
close(shared)

row(what, passed, of) = println("  ", rpad(what, 52), lpad(passed, 5), " of ", of)
println("\nConformance: passes per tier")
for t in tiers
    of_tier = filter(group -> first(split(group, ':')) == t, groups)
    row(t, sum(passes[g] for g in of_tier), sum(totals[g] for g in of_tier))
    for group in of_tier
        row("  " * strip(group[length(t)+2:end]), passes[group], totals[group])
    end
end
row("all", sum(values(passes)), sum(values(totals)))
println("  ", rpad("known limits, refused", 52), lpad(length(REFUSED), 5))
