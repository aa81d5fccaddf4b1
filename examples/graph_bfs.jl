# Breadth-first search on a graph that lies on several nodes: each has a block of the vertices, with their edges. A level of the search is one call to
# each node, which claims vertices wherever they lie by an exchange of one word, with no code running over there.

using BitCode
using BitCode.Hop: compare_swap, localindices, localpart

# An RMAT graph, as Graph500 has it: edges fall into a quadrant of the matrix with probabilities 0.57, 0.19, 0.19, 0.05, then into one of that…
# The numbers come from a generator of our own, so that the graph is the same everywhere.
function rmat(scale, edges_per_vertex)
    state = 0x0123456789abcdef
    function random()
        state ⊻= state << 13
        state ⊻= state >> 7
        state ⊻= state << 17
        return (state >> 11) / 2.0^53
    end
    pairs = Tuple{Int,Int}[]
    for _ in 1:edges_per_vertex*2^scale
        a = b = 0
        for _ in 1:scale
            r = random()
            a, b = 2a + (r >= 0.76), 2b + (0.57 <= r < 0.76 || r >= 0.95)
        end
        push!(pairs, (a + 1, b + 1))
    end
    return pairs
end

# Compressed rows of an undirected graph: the edges of vertex v are neighbours[offsets[v]:offsets[v+1]-1].
function compressed(pairs, n)
    lists = [Int[] for _ in 1:n]
    for (a, b) in pairs
        a == b && continue
        push!(lists[a], b)
        push!(lists[b], a)
    end
    return cumsum([1; length.(lists)]), reduce(vcat, lists)
end

# Runs on a node: goes through those of its own vertices that have been reached at `level - 1`, and claims their neighbours, which may lie on any
# node. Returns how many there were that nobody had claimed.
function expand(levels, offsets, edges, level)
    mine, here = localpart(levels), localindices(levels)
    begins, near = localpart(offsets), localpart(edges)
    claimed = 0
    for k in 1:length(mine)
        mine[k] == level - 1 || continue
        for e in begins[k]:begins[k+1]-1
            v = near[e]
            # Most have been reached before, and those that are here are seen without asking.
            v in here && mine[v-first(here)+1] >= 0 && continue
            claimed += compare_swap(levels, v, -1 => level) == -1
        end
    end
    return claimed
end

function search(levels, parts, source)
    levels[source] = 0
    sizes = [1]
    while sizes[end] > 0
        found = [remotecall(expand, node, levels, offsets, edges, length(sizes)) for (node, offsets, edges) in parts]
        push!(sizes, sum(fetch, found))
    end
    return sizes[1:end-1]
end

# The same in this process.
function search_here(offsets, neighbours, source)
    levels = fill(-1, length(offsets) - 1)
    levels[source] = 0
    frontier = [source]
    while !isempty(frontier)
        next = Int[]
        for v in frontier, w in neighbours[offsets[v]:offsets[v+1]-1]
            levels[w] == -1 || continue
            levels[w] = levels[v] + 1
            push!(next, w)
        end
        frontier = next
    end
    return levels
end

cluster = launch(3)
n = 2^9
offsets, neighbours = compressed(rmat(9, 4), n)
levels = BitCode.alloc(cluster, Int, n)
fill!(levels, -1)
parts = map(cluster) do node
    own = findall(v -> BitCode.owner(levels, v) === node, 1:n)
    first_edge, last_edge = offsets[first(own)], offsets[last(own)+1] - 1
    there = BitCode.alloc(node, Int, length(own) + 1), BitCode.alloc(node, Int, max(1, last_edge - first_edge + 1))
    copyto!(there[1], offsets[first(own):last(own)+1] .- (first_edge - 1))
    copyto!(there[2], 1, neighbours, first_edge, last_edge - first_edge + 1)
    return (node, there...)
end

source = argmax(diff(offsets))
sizes = search(levels, parts, source)
println("From vertex $source with $(diff(offsets)[source]) edges, $(sum(sizes)) of $n vertices are reached; by distance: $(join(sizes, ", ")).")
Array(levels) == search_here(offsets, neighbours, source) || error("a search in this process finds other distances")
println("A search in this process finds the same distances.")
foreach(close, cluster)
