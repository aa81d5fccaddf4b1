# The conformance table against a real node: each call here and there.

using BitCode, Test
using Dates, LinearAlgebra

include("compare.jl")
include("table.jl")

# Arguments are copied for each side: a call may change them.
run_here(case) = outcome(() -> case.f(deepcopy(case.arguments)...; case.keywords...))
run_there(case, node) = outcome(() -> remotecall_fetch(case.f, node, deepcopy(case.arguments)...; case.keywords...))

function check(case, node)
    wrong = difference(case, run_here(case), run_there(case, node))
    wrong === nothing || println(stderr, case.tier, ": ", case.text, "\n    ", wrong)
    return wrong === nothing
end

# Values that a macro cannot tell from names: two cases of one text would be one case.
@testset "the table itself" begin
    @test length(TABLE) >= 150
    @test allunique([case.text for case in TABLE])
end

node = launch(; transport = get(ENV, "BITCODE_TEST_TRANSPORT", "auto"))
tiers = unique(case.tier for case in TABLE)
passes = Dict(tier => 0 for tier in tiers)
totals = Dict(tier => 0 for tier in tiers)
@testset "$tier" for tier in tiers
    for case in TABLE
        case.tier == tier || continue
        passed = check(case, node)
        @test passed
        passes[tier] += passed
        totals[tier] += 1
    end
end
@testset "known limits are refused" begin
    for (f, arguments, keywords) in REFUSED
        @test !(outcome(() -> f(deepcopy(arguments)...; keywords...)) isa Thrown)
        @test_throws CaptureError remotecall_fetch(f, node, deepcopy(arguments)...; keywords...)
    end
end
@test isopen(node)
close(node)

println("\nConformance: passes per tier")
for tier in tiers
    println("  ", rpad(tier, 32), lpad(passes[tier], 4), " of ", totals[tier])
end
println("  ", rpad("known limits, refused", 32), lpad(length(REFUSED), 4))
println("  ", rpad("all", 32), lpad(sum(values(passes)), 4), " of ", sum(values(totals)))
