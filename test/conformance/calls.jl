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
