# A call here, and the same call on a node.

const LONGEST = 120 # seconds that one call may take, before its node is given up

# The node that the calls of this process share; a new one after it died.
mutable struct SharedNode
    node::Node
    lost::Int # nodes that did not live to the end
end

start_node() = launch(; transport = get(ENV, "BITCODE_TEST_TRANSPORT", "auto"))
SharedNode() = SharedNode(start_node(), 0)
Base.close(shared::SharedNode) = close(shared.node)

function living!(shared::SharedNode)
    if !isopen(shared.node)
        shared.lost += 1
        shared.node = start_node()
    end
    return shared.node
end

# Arguments are copied for each side: a call may change them.
run_here(case) = outcome(() -> case.f(deepcopy(case.arguments)...; case.keywords...))
function run_there(case, shared)
    node = living!(shared)
    late = Timer(_ -> close(node), LONGEST)
    result = outcome(() -> remotecall_fetch(case.f, node, deepcopy(case.arguments)...; case.keywords...))
    close(late)
    return result
end

function check(case, shared)
    wrong = difference(case, run_here(case), run_there(case, shared))
    wrong === nothing || println(stderr, case.group, ": ", case.text, "\n    ", wrong)
    return wrong === nothing
end

# A limit holds if the call is refused. One that was lifted is no failure, but the call then belongs to the table.
function check_refused(case, shared)
    here, there = run_here(case), run_there(case, shared)
    there isa Thrown && there.exception isa CaptureError && return true
    wrong = difference(case, here, there)
    println(stderr, wrong === nothing ? "no longer refused (" : "not refused (", case.group, "): ", case.text, "\n    ", something(wrong, ""))
    return wrong === nothing
end

# What stands in `texts` more than once.
duplicates(texts) = filter(text -> count(isequal(text), texts) > 1, unique(texts))

# Every call of the tables here and on a node, then the passes of each group. The lines that begin with CONFORMANCE are runtests.jl's.
function run_tables()
    # Values that a macro cannot tell from names: two cases of one text would be one case.
    @testset "the tables themselves" begin
        @test duplicates([case.text for case in [TABLE; REFUSED; MISTAKEN]]) == []
    end
    shared = SharedNode()
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
            @test check_refused(case, shared)
        end
    end
    isempty(MISTAKEN) || @testset "known mistakes" begin
        for case in MISTAKEN
            right = difference(case, run_here(case), run_there(case, shared)) === nothing
            right ? println(stderr, "no longer mistaken: ", case.text) : @test_broken false
        end
    end
    @test shared.lost == 0
    @test isopen(shared.node)
    close(shared)
    println()
    foreach(group -> println("  ", rpad(group, 56), lpad(passes[group], 5), " of ", totals[group]), groups)
    for t in unique(map(tier, [TABLE; REFUSED; MISTAKEN]))
        of_tier = filter(group -> startswith(group, t * ":"), groups)
        println("CONFORMANCE ", t, ": ", sum(Int[passes[g] for g in of_tier]), " of ", sum(Int[totals[g] for g in of_tier]), ", ",
                count(case -> tier(case) == t, REFUSED), " refused, ", count(case -> tier(case) == t, MISTAKEN), " known to be mistaken")
    end
end
