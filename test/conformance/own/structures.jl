# Dictionaries, growing arrays and mutable types of a user's own, for the conformance table.

vector_keys(lists) = (d = Dict{Vector{Int},Int}(); foreach(list -> d[list] = get(d, list, 0) + 1, lists); d)
struct Nobody end
singletons_are_equal(n) = (x = n > 0 ? n : Nobody(); (x,) === (Nobody(),))

squares(n) = (d = Dict{Int,Int}(); for i in 1:n; d[i] = i^2; end; sum(values(d)))
invert(d) = Dict(v => k for (k, v) in d)
function group_by_length(words)
    groups = Dict{Int,Vector{String}}()
    for word in words
        push!(get!(() -> String[], groups, length(word)), word)
    end
    return groups
end
nested_dictionary(n) = Dict(i => Dict(string(j) => i * j for j in 1:i) for i in 1:n)
update_all!(d) = (for k in keys(d); d[k] += 1; end; d)
tuple_keys(n) = (d = Dict{Tuple{Int,Int},Float64}(); for i in 1:n, j in 1:n; d[(i, j)] = i / j; end; d[(n, 1)])
memo_fib(n, memo = Dict{Int,Int}()) = n < 2 ? n : get!(() -> memo_fib(n - 1, memo) + memo_fib(n - 2, memo), memo, n)
function two_sum(numbers, target)
    seen = Dict{Int,Int}()
    for (i, x) in enumerate(numbers)
        haskey(seen, target - x) && return (seen[target-x], i)
        seen[x] = i
    end
    return nothing
end
function most_common(v)
    counts = Dict{eltype(v),Int}()
    foreach(x -> counts[x] = get(counts, x, 0) + 1, v)
    return first(sort!(collect(counts); by = last, rev = true))
end
function dictionary_of_sets(edges)
    neighbours = Dict{Int,Set{Int}}()
    for (a, b) in edges
        push!(get!(Set{Int}, neighbours, a), b)
        push!(get!(Set{Int}, neighbours, b), a)
    end
    return neighbours
end
delete_odd(n) = (d = Dict(i => string(i) for i in 1:n); for i in 1:2:n; delete!(d, i); end; (length(d), haskey(d, 3), d[4]))
iddict_get(key) = (d = IdDict{Symbol,Int}(); d[:a] = 1; d[:b] = 2; d[key])
distinct_words(text) = length(Set(split(text)))
pop_all(set) = (n = 0; while !isempty(set); n += pop!(set); end; n)
isdisjoint_sets(a, b) = isempty(intersect(Set(a), Set(b)))

partition_collect(v, n) = [collect(part) for part in Iterators.partition(v, n)]
skip_sum(v) = sum(skipmissing(v))
similar_filled(v) = (w = similar(v, Int, length(v) + 1); fill!(w, 7); w)
row_sums(m) = [sum(row) for row in eachrow(m)]
function grow_and_shrink(n)
    v = Int[]
    for i in 1:n
        push!(v, i)
        i % 3 == 0 && popfirst!(v)
        i % 5 == 0 && pushfirst!(v, -i)
        i % 7 == 0 && deleteat!(v, length(v) ÷ 2)
    end
    return v
end
primes_below(n) = (p = Int[]; for i in 2:n; all(q -> i % q != 0, p) && push!(p, i); end; p)
transpose_lists(lists) = [[list[i] for list in lists] for i in eachindex(lists[1])]
flatten_deep(lists) = (out = Int[]; for list in lists; append!(out, list); end; out)
running_mean(v, n) = [sum(@view v[i-n+1:i]) / n for i in n:length(v)]
function merge_sorted(a, b)
    out, i, j = similar(a, 0), 1, 1
    while i <= length(a) || j <= length(b)
        if j > length(b) || (i <= length(a) && a[i] <= b[j])
            push!(out, a[i])
            i += 1
        else
            push!(out, b[j])
            j += 1
        end
    end
    return out
end
quicksort(v) = length(v) <= 1 ? v : [quicksort(filter(<(v[1]), v)); filter(==(v[1]), v); quicksort(filter(>(v[1]), v))]
function permutations_of(v)
    length(v) <= 1 && return [copy(v)]
    out = typeof(v)[]
    for i in eachindex(v), rest in permutations_of(v[[1:i-1; i+1:length(v)]])
        push!(out, [v[i]; rest])
    end
    return out
end
pascal(n) = (rows = [[1]]; for i in 2:n; push!(rows, [1; [rows[i-1][j] + rows[i-1][j+1] for j in 1:i-2]; 1]); end; rows)
function spiral(m)
    out = eltype(m)[]
    while !isempty(m)
        append!(out, m[1, :])
        m = rotl90(m[2:end, :])
    end
    return out
end
function game_of_life(board)
    next = similar(board)
    rows, columns = size(board)
    for j in 1:columns, i in 1:rows
        around = sum(board[x, y] for x in max(1, i - 1):min(rows, i + 1), y in max(1, j - 1):min(columns, j + 1)) - board[i, j]
        next[i, j] = around == 3 || (around == 2 && board[i, j] == 1)
    end
    return next
end
chunks(v, n) = [v[i:min(i + n - 1, end)] for i in 1:n:length(v)]
histogram_of(v, n) = (bins = zeros(Int, n); for x in v; bins[clamp(ceil(Int, x * n), 1, n)] += 1; end; bins)
function sieve_bits(n)
    prime = trues(n)
    prime[1] = false
    for i in 2:isqrt(n)
        prime[i] && (prime[i*i:i:n] .= false)
    end
    return findall(prime)
end

mutable struct Counter
    name::String
    count::Int
end
increment!(c, by) = (c.count += by; c)

mutable struct Account
    owner::String
    balance::Float64
    history::Vector{String}
end
function deposit!(account, amount)
    account.balance += amount
    push!(account.history, "deposit")
    return account
end
accounts_total(accounts) = sum(a -> a.balance, accounts)
keyword_account(; owner, balance = 0.0) = Account(owner, balance, ["opened"])

# A list that ends in `nothing`, a search tree, and a ring.
struct Link
    value::Int
    next::Union{Nothing,Link}
end
leaf_list(values) = foldr((value, rest) -> Link(value, rest), values; init = nothing)
list_sum(list) = (s = 0; while list !== nothing; s += list.value; list = list.next; end; s)
list_reverse(list) = (out = nothing; while list !== nothing; out = Link(list.value, out); list = list.next; end; out)

mutable struct Tree
    key::Int
    left::Union{Nothing,Tree}
    right::Union{Nothing,Tree}
end
tree_insert!(::Nothing, key) = Tree(key, nothing, nothing)
function tree_insert!(tree::Tree, key)
    if key < tree.key
        tree.left = tree_insert!(tree.left, key)
    else
        tree.right = tree_insert!(tree.right, key)
    end
    return tree
end
tree_of(keys) = (tree = tree_insert!(nothing, keys[1]); for key in keys[2:end]; tree_insert!(tree, key); end; tree)
in_order(::Nothing, out = Int[]) = out
in_order(tree::Tree, out = Int[]) = (in_order(tree.left, out); push!(out, tree.key); in_order(tree.right, out))
depth(::Nothing) = 0
depth(tree::Tree) = 1 + max(depth(tree.left), depth(tree.right))

mutable struct RingNode
    value::Int
    next::RingNode
    RingNode(value) = (node = new(value); node.next = node)
end
function ring(n)
    first = last = RingNode(1)
    for i in 2:n
        node = RingNode(i)
        node.next = first
        last.next = node
        last = node
    end
    return first
end
ring_length(node) = (n = 1; at = node.next; while at !== node; n += 1; at = at.next; end; n)

twice_the_same(v) = [v, v]
still_the_same(v) = (p = [v, v]; push!(p[1], 9); (p[1] === p[2], p[2]))
same_twice(v) = (v, v)
mutable struct SelfHolder
    items::Vector{SelfHolder}
end
self_holder() = (h = SelfHolder(SelfHolder[]); push!(h.items, h); h)
holds_itself(h) = h.items[1] === h

struct Stack{T}
    items::Vector{T}
end
Stack{T}() where {T} = Stack(T[])
make_stack(n) = (s = Stack{Int}(); for i in 1:n; push!(s.items, i); end; s)
push_pop!(s) = (push!(s.items, 10); (pop!(s.items), pop!(s.items), length(s.items)))
queue_order(n) = (q = collect(1:n); out = Int[]; while !isempty(q); x = popfirst!(q); push!(out, x); x == 1 && push!(q, 99); end; out)

function graph_bfs(graph, start)
    seen, queue, order = Set([start]), [start], Int[]
    while !isempty(queue)
        at = popfirst!(queue)
        push!(order, at)
        for next in graph[at]
            next in seen && continue
            push!(seen, next)
            push!(queue, next)
        end
    end
    return order
end
function topological(graph)
    done, order = Set{String}(), String[]
    function visit(name)
        name in done && return
        push!(done, name)
        foreach(visit, graph[name])
        pushfirst!(order, name)
        return
    end
    foreach(visit, sort!(collect(keys(graph))))
    return order
end
function shortest_paths(weights, from)
    n = size(weights, 1)
    distance = fill(typemax(Int), n)
    distance[from] = 0
    open = Set(1:n)
    while !isempty(open)
        at = reduce((a, b) -> distance[a] <= distance[b] ? a : b, open)
        delete!(open, at)
        for to in 1:n
            distance[to] = min(distance[to], distance[at] + weights[at, to])
        end
    end
    return distance
end
matrix_power(m, n) = m^n
polynomial_product(a, b) = (c = zeros(Int, length(a) + length(b) - 1); for i in eachindex(a), j in eachindex(b); c[i+j-1] += a[i] * b[j]; end; c)
struct Polynomial{T}
    coefficients::Vector{T}
end
Base.:*(a::Polynomial, b::Polynomial) = Polynomial(polynomial_product(a.coefficients, b.coefficients))
evaluate(p::Polynomial, x) = foldr((c, rest) -> c + x * rest, p.coefficients)

abstract type Shape end
struct Circle <: Shape
    radius::Float64
end
struct Square <: Shape
    side::Float64
end
area(c::Circle) = π * c.radius^2
area(s::Square) = s.side^2
total_area(a, b) = area(a) + area(b)
total_area_of(shapes) = sum(area, shapes)
largest_shape(shapes) = (best = 0.0; for s in shapes; area(s) > best && (best = area(s)); end; best)
sorted_areas(shapes) = sort([area(s) for s in shapes])
struct Drawing
    shapes::Vector{Shape}
    frame::Shape
end
scaled_areas(drawing, k) = [k * area(s) for s in drawing.shapes], area(drawing.frame)
describe(shape::Shape) = string(typeof(shape) === Circle ? "circle" : "square", " of area ", round(area(shape); digits = 2))
bump_ref!(r) = (r[] += 1; r)
nfields_of(x) = nfields(x)
struct Named{Name,T}
    value::T
end
Named{Name}(value) where {Name} = Named{Name,typeof(value)}(value)

function evaluate_rpn(text)
    stack = Float64[]
    for token in split(text)
        if token in ("+", "-", "*", "/")
            b, a = pop!(stack), pop!(stack)
            push!(stack, token == "+" ? a + b : token == "-" ? a - b : token == "*" ? a * b : a / b)
        else
            push!(stack, parse(Float64, token))
        end
    end
    return only(stack)
end
function tokenise(text)
    tokens = Tuple{Symbol,String}[]
    i = firstindex(text)
    while i <= lastindex(text)
        j = i
        kind = isdigit(text[i]) ? :number : isletter(text[i]) ? :name : :operator
        if kind != :operator
            while nextind(text, j) <= lastindex(text) && isletter(text[nextind(text, j)]) + isdigit(text[nextind(text, j)]) > 0
                j = nextind(text, j)
            end
        end
        push!(tokens, (kind, text[i:j]))
        i = nextind(text, j)
    end
    return tokens
end
function knapsack(items, capacity)
    best = zeros(Int, capacity + 1)
    for (value, weight) in items, c in capacity:-1:weight
        best[c+1] = max(best[c+1], best[c-weight+1] + value)
    end
    return best[end]
end
function lru_trace(keys, size)
    cache, trace = String[], Bool[]
    for key in keys
        at = findfirst(==(key), cache)
        push!(trace, at !== nothing)
        at === nothing || deleteat!(cache, at)
        push!(cache, key)
        length(cache) > size && popfirst!(cache)
    end
    return trace, cache
end
closure_counter(n) = (count = 0; step = () -> (count += 1; count); for _ in 1:n; step(); end; count)
boxed_total(v) = (total = 0; foreach(x -> total += x, v); total)
function boxed_means(rows)
    total, n, means = 0.0, 0, Float64[]
    foreach(rows) do row
        foreach(x -> (total += x; n += 1), row)
        push!(means, total / n)
    end
    return means
end
function boxed_words(text)
    longest, count = "", 0
    foreach(split(text)) do word
        count += 1
        length(word) > length(longest) && (longest = String(word))
    end
    return (count, longest)
end
function boxed_or_unset(x)
    local found
    look(y) = (found = 2y)
    x > 0 && look(x)
    return found
end
make_matrix_text(m) = [string(x) for x in m]
objectid_stable(x) = objectid(x) == objectid(x)
identity_equal(s) = s === String(codeunits(s))
function union_find(links, n)
    parent = collect(1:n)
    root(x) = parent[x] == x ? x : (parent[x] = root(parent[x]))
    for (a, b) in links
        parent[root(a)] = root(b)
    end
    return length(unique(root(x) for x in 1:n))
end
function huffman_lengths(text)
    weights = Dict{Char,Int}()
    for c in text
        weights[c] = get(weights, c, 0) + 1
    end
    groups = [(w, [c]) for (c, w) in sort!(collect(weights); by = first)]
    lengths = Dict(c => 0 for c in keys(weights))
    while length(groups) > 1
        sort!(groups; by = g -> (g[1], length(g[2])))
        (wa, a), (wb, b) = popfirst!(groups), popfirst!(groups)
        for c in [a; b]
            lengths[c] += 1
        end
        push!(groups, (wa + wb, [a; b]))
    end
    return sum(weights[c] * lengths[c] for c in keys(weights))
end
function bank_run(transactions)
    accounts = Dict{String,Counter}()
    for (name, amount) in transactions
        account = get!(() -> Counter(name, 0), accounts, name)
        account.count += amount
    end
    return [(name, accounts[name].count) for name in sort!(collect(keys(accounts)))]
end

# Constant arrays and dictionaries whose elements are structs that hold references.
struct Tagged
    name::String
    tags::Vector{Symbol}
    weight::Float64
end
const LIST = [("a", 1), ("b", 20), ("c", 300)]
const NUMERALS = Dict("x" => (1, "one"), "y" => (2, "two"))
const TAGGED = [Tagged("p", [:a, :b], 1.5), Tagged("longer", Symbol[], 2.5)]
entry_of_list(k) = LIST[k]
entry_of_table(key) = NUMERALS[key]
total_of_list(without) = sum(pair[2] for pair in LIST if pair[1] != without)
tags_of_structs(k) = (TAGGED[k].name, TAGGED[k].tags, TAGGED[k].weight)
longest_of_structs(least) = maximum(t -> max(least, length(t.name)), TAGGED)
between_numbers(v) = [1; v; 2]
beside_row(v) = [1 v' 2.5]
ends_with_range(v, n) = vcat(v, 1:n, view(v, 1:1), 'a')
texts_after(text, texts) = vcat(text, texts)
beside_matrix(v, A) = hcat(v, A)
in_the_corner(A, B) = cat(A, B; dims = Val((1, 2)))
each_twice(v) = repeat(v; inner = 2, outer = 2)
tiled(A, n) = repeat(A; outer = (n, 1, 2))
largest_eigenvalue(A) = eigmax(A)
