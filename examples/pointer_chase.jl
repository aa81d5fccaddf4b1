# A pointer chase over several nodes, three ways: the code goes to the data; the data comes here word by word; everything comes here first.
#
# The same table, the same steps, the same end; only what crosses the network differs. No node knew the code beforehand.

using BitCode
using BitCode.Hop: forward, localindices, localpart, owner

# One cycle through all of 1:n, in an order that jumps about.
function one_cycle(n)
    order = sortperm([hash(i) for i in 1:n])
    table = zeros(Int, n)
    for k in 1:n
        table[order[k]] = order[mod1(k + 1, n)]
    end
    return table
end

# Runs on the node that has the `i`th word, for as long as the next one is there, too; then it goes on to the one that has it.
function follow(table, i, steps, hops)
    part, here = localpart(table), localindices(table)
    while steps > 0
        i in here || return forward(owner(table, i), follow, table, i, steps, hops + 1)
        i = part[i-first(here)+1]
        steps -= 1
    end
    return i, hops
end

# Runs in this process: a one-sided get for each word.
function fetch_along(table, i, steps)
    for _ in 1:steps
        i = table[i]
    end
    return i
end

cluster = launch(4)
n, steps = 10_000, 1000
words = one_cycle(n)
table = BitCode.alloc(cluster, Int, n)
copyto!(table, words)

i, hops = @remote BitCode.owner(table, 1) follow(table, 1, steps, 0)
println("The code went from node to node $hops times in $steps steps, and ended at word $i.")
i == fetch_along(words, 1, steps) || error("a walk here ends elsewhere")
i == BitCode.chase(table, 1, steps) || error("BitCode.chase, which does the same, ends elsewhere")
short = 50
@remote(BitCode.owner(table, 1), follow(table, 1, short, 0))[1] == fetch_along(table, 1, short) || error("one-sided gets end elsewhere")
println("Walks in this process, by one-sided gets and by BitCode.chase ended there, too.")
foreach(close, cluster)
