# The origin of namespaces_tests.jl, in a network namespace of its own: connects to the nodes at the addresses in ARGS, with the key in the first of them, and prints
# what calls that move between them gave, a line each.

using BitCode
using BitCode: Hop

include("cycle.jl")

worm(visited, left) = (push!(visited, Hop.here()); isempty(left) ? visited : Hop.forward(left[1], worm, visited, left[2:end]))
fails(n) = n == 0 ? error("at the end") : Hop.forward(mod1(Hop.here() + 1, Hop.nnodes()), fails, n - 1)

key, addresses = ARGS[1], ARGS[2:end]
nodes = [connect(address; keyfile = key, transport = "tcp") for address in addresses]
table = BitCode.alloc(nodes, Int, 300)
copyto!(table, one_cycle(300))
for steps in (0, 1, 2, 64, 300), start in (1, 150, 300)
    println("chase ", start, ' ', steps, ' ', BitCode.chase(table, start, steps))
end
println("worm ", join((@remote nodes[1] worm(Int[], [3, 2])), ' '))
println("specialised ", @remote nodes[1] ((k, x) -> Hop.forward(2, BitCode.specialize(*, k), x))(6, 7))
try
    @remote nodes[1] fails(5)
catch e
    println("trail ", join(e.trail, ' '))
end
