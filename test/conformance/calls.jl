# A call here, and the same call on a node.

const LONGEST = 120 # seconds that one call may take, before its node is given up

# A node that the calls of this process share; a new one after it died.
mutable struct SharedNode
    kind::String
    start::Any
    node::Node
    lost::Int # nodes that did not live to the end
end

SharedNode(kind::String, start) = SharedNode(kind, start, start(), 0)
SharedNode() = SharedNode("bitcode", () -> launch(; transport = get(ENV, "BITCODE_TEST_TRANSPORT", "auto")))
Base.close(shared::SharedNode) = close(shared.node)

const EMULATES = Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing

# One node of each kind: one that compiles bitcode for its processor; one that compiles nothing, so that the origin makes native code for it; and one of
# another architecture that compiles nothing either, since emulation makes compilation fifty times slower (aarch64_tests.jl has one that does).
function nodes_of_all_kinds()
    nodes = [SharedNode(), SharedNode("native code", () -> launch(; jit = false))]
    EMULATES || println("SKIPPED: conformance on aarch64 (make node-aarch64)")
    EMULATES && push!(nodes, SharedNode("aarch64", () -> launch(; arch = :aarch64, jit = false, timeout = 120)))
    return nodes
end

function living!(shared::SharedNode)
    if !isopen(shared.node)
        shared.lost += 1
        shared.node = shared.start()
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

check(case, shared) = is_right(case, run_here(case), shared)

function is_right(case, here, shared)
    wrong = difference(case, here, run_there(case, shared))
    wrong === nothing || println(stderr, case.group, ", ", shared.kind, ": ", case.text, "\n    ", wrong)
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

# Every call of the tables here and on a node of each kind, then the passes of each group. The lines that begin with CONFORMANCE are runtests.jl's.
function run_tables()
    # Values that a macro cannot tell from names: two cases of one text would be one case.
    @testset "the tables themselves" begin
        @test duplicates([case.text for case in [TABLE; REFUSED; MISTAKEN]]) == []
    end
    nodes = nodes_of_all_kinds()
    groups = unique(case.group for case in TABLE)
    passes = Dict((group, shared.kind) => 0 for group in groups, shared in nodes)
    @testset "$group" for group in groups
        for case in TABLE
            case.group == group || continue
            here = run_here(case)
            for shared in nodes
                passed = is_right(case, here, shared)
                @test passed
                passes[group, shared.kind] += passed
            end
        end
    end
    shared = first(nodes)
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
    for shared in nodes
        @test shared.lost == 0
        @test isopen(shared.node)
        close(shared)
    end
    report_passes(groups, passes, [shared.kind for shared in nodes])
end

function report_passes(groups, passes, kinds)
    total(group) = count(case -> case.group == group, TABLE)
    println("\n  ", rpad("", 56), join(lpad.(kinds, 13)), lpad("of", 13))
    for group in groups
        println("  ", rpad(group, 56), join(lpad(passes[group, kind], 13) for kind in kinds), lpad(total(group), 13))
    end
    for t in unique(map(tier, [TABLE; REFUSED; MISTAKEN]))
        of_tier = filter(group -> startswith(group, t * ":"), groups)
        passed = join((string(kind, " ", sum(Int[passes[g, kind] for g in of_tier])) for kind in kinds), ", ")
        println("CONFORMANCE ", t, ": ", passed, " of ", sum(Int[total(g) for g in of_tier]), "; ", count(case -> tier(case) == t, REFUSED), " refused, ",
                count(case -> tier(case) == t, MISTAKEN), " known to be mistaken")
    end
end
