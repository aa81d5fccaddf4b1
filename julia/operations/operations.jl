# Ready-made operations on memory of several nodes: what a user could write with `Hop`, and no more. Each has two halves, the one that is called
# here and the one that runs on the nodes, which comes second. (Type parameters of functions' arguments, such as `F`, have Julia compile the
# call for the very function; without them it would be looked up anew each time, which takes longer than the call.)

"""
    BitCode.chase(table::DistributedSegment, i, steps; next = identity) -> Int

Follow the indices in `table` from the `i`th element on: `steps` times `i = next(table[i])`. The code goes from node to node, to whichever has
the next element, and the last node answers: about half the messages that fetching each element would take.

```julia
table = BitCode.alloc(launch(2), Int, 1000)
copyto!(table, [mod1(7i, 1000) for i in 1:1000])
BitCode.chase(table, 1, 100)
```

A call may hop a million times unless its budget is another; an element that is no index of the table is a `BoundsError`.
"""
chase(table::DistributedSegment, i::Integer, steps::Integer; next::F = identity) where {F} =
    @remote owner(table, i) chase_on(next, table, Int(i), Int(steps))

function chase_on(next, table, i, steps)
    part, range = Hop.localpart(table), Hop.localindices(table)
    while steps > 0
        i in range || return Hop.forward(Hop.owner(table, i), chase_on, next, table, i, steps)
        i = Int(next(@inbounds part[i-first(range)+1]))
        steps -= 1
    end
    return i
end

"""
    BitCode.gather(s::DistributedSegment{T}, indices) -> Vector{T}

The elements of `s` at `indices`: one call to each node that has some of them, all at once.

```julia
BitCode.gather(table, [1, 999, 500])
```
"""
function gather(s::DistributedSegment{T}, indices::AbstractVector{<:Integer}) where {T}
    places = places_by_part(s, indices)
    asked = [(remotecall(gather_on, s.parts[k].node, s, Int[indices[p] for p in places[k]]), places[k]) for k in eachindex(places)
             if !isempty(places[k])]
    xs = Vector{T}(undef, length(indices))
    for (future, place) in asked
        xs[place] = fetch(future)
    end
    return xs
end

function gather_on(s, indices)
    part, before = Hop.localpart(s), first(Hop.localindices(s)) - 1
    return [part[i-before] for i in indices]
end

# For each part the places in `indices` of the elements that lie there.
function places_by_part(s::DistributedSegment, indices)
    checkbounds(s, indices)
    places = [Int[] for _ in s.parts]
    foreach(p -> push!(places[place(s, Int(indices[p]))[1]], p), eachindex(indices))
    return places
end

"""
    BitCode.scatter!(s::DistributedSegment, indices, xs; combine = (old, new) -> new) -> s

Write `xs[k]` to `s[indices[k]]` for each `k`, or what `combine` makes of what is there and `xs[k]`: one call to each node, all at once.

An index that is there several times is written to in order. What others write to the same elements meanwhile may be lost; see
[`BitCode.fetch_update!`](@ref).

```julia
BitCode.scatter!(counts, bins, ones(Int, length(bins)); combine = +)
```
"""
function scatter!(s::DistributedSegment{T}, indices::AbstractVector{<:Integer}, xs::AbstractVector; combine::F = replaced) where {T,F}
    length(xs) == length(indices) || throw(DimensionMismatch("$(length(indices)) indices for $(length(xs)) elements"))
    places = places_by_part(s, indices)
    asked = [remotecall(scatter_on!, s.parts[k].node, combine, s, Int[indices[p] for p in places[k]], T[xs[p] for p in places[k]])
             for k in eachindex(places) if !isempty(places[k])]
    foreach(fetch, asked)
    return s
end

replaced(old, new) = new

function scatter_on!(combine, s, indices, xs)
    part, before = Hop.localpart(s), first(Hop.localindices(s)) - 1
    for (i, x) in zip(indices, xs)
        part[i-before] = combine(part[i-before], x)
    end
    return nothing
end

"""
    BitCode.fetch_update!(f, s::DistributedSegment, i, arguments...) -> what `s[i]` was before

Put `f(s[i], arguments...)` in the place of the `i`th element, at once for everybody: no update by this function is lost, whoever else
makes one. With elements of 8 bytes that includes `fetch_add`, `swap` and `compare_swap`; then `f` may be called more than once. Elements have
64 bytes at most.

```julia
best = BitCode.alloc(launch(2), Float64, 10)
BitCode.fetch_update!(max, best, 3, 2.5)
```
"""
function fetch_update!(f::F, s::DistributedSegment{T}, i::Integer, arguments...) where {F,T}
    sizeof(T) <= 64 || throw(ArgumentError("elements of $T have $(sizeof(T)) bytes, and at most 64 can be updated at once for everybody"))
    return @remote owner(s, i) update_on(f, s, Int(i), arguments...)
end

function update_on(f, s, i, arguments...)
    part, k = Hop.localpart(s), i - first(Hop.localindices(s)) + 1
    if sizeof(eltype(s)) == 8
        while true
            old = part[k]
            same(Hop.compare_swap(s, i, old => convert(eltype(s), f(old, arguments...))), old) && return old
        end
    end
    Hop.exclusive(s)
    old = part[k]
    part[k] = f(old, arguments...)
    return old
end

# Bit by bit, as the exchange compares.
same(a::T, b::T) where {T} = word(a) == word(b)

"""
    findfirst(f::Function, s::DistributedSegment) -> Int or nothing

The first index of an element for which `f` is true. Each node looks in its own block.
"""
function Base.findfirst(f::Function, s::DistributedSegment)
    found = map(fetch, [remotecall(find_on, part.node, f, s) for part in s.parts])
    k = findfirst(!isnothing, found)
    return k === nothing ? nothing : found[k]
end

function find_on(f, s)
    i = findfirst(f, Hop.localpart(s))
    return i === nothing ? nothing : i + first(Hop.localindices(s)) - 1
end

"""
    mapreduce(f, op, s::DistributedSegment; [init])

As for an array; `sum(s)`, `maximum(s)`, `count(f, s)` and their like come down to it. Each node reduces its own block, and what they make of them is
combined here, in order: `op` has to be associative, as for `reduce`.
"""
function Base.mapreduce(f, op, s::DistributedSegment; kw...)
    haskey(kw, :dims) && throw(ArgumentError("a DistributedSegment has one dimension, and is reduced as a whole"))
    isempty(s) && return mapreduce(f, op, eltype(s)[]; kw...)
    nodes = [part.node for part in s.parts if !isempty(part)]
    return reduce(op, map(fetch, [remotecall(reduce_on, node, f, op, s) for node in nodes]); kw...)
end

reduce_on(f, op, s) = mapreduce(f, op, Hop.localpart(s))

"""
    BitCode.replicate!(s::DistributedSegment{T}, xs::Vector{T}) -> s

Make every block of `s` equal to `xs`, which has as many elements as a block. Each node that has them passes them on to one that has not, so that
their number doubles from round to round, and each element is sent to each node once.

```julia
nodes = launch(4)
weights = BitCode.alloc(nodes, Float64, 4 * 100)
BitCode.replicate!(weights, rand(100))
```
"""
function replicate!(s::DistributedSegment{T}, xs::Vector{T}) where {T}
    require_equal_blocks(s)
    length(xs) == s.block || throw(DimensionMismatch("$(length(xs)) elements for blocks of $(s.block)"))
    put!(s.parts[1], xs)
    have = 1
    while have < length(s.parts)
        asked = [remotecall(pass_on, s.parts[k].node, s, have + k) for k in 1:min(have, length(s.parts) - have)]
        foreach(fetch, asked)
        have += length(asked)
    end
    return s
end

pass_on(s, k) = (Hop.put(s, (k-1)*s.block+1:k*s.block, Hop.localpart(s)); nothing)

require_equal_blocks(s::DistributedSegment) = s.length == s.block * length(s.parts) ||
    throw(DimensionMismatch("the blocks of $(s.length) elements over $(length(s.parts)) nodes are not equal"))

"""
    BitCode.allreduce!(op, s::DistributedSegment) -> s

Combine the blocks of `s`, which have to be equally long, element by element by `op`, in the order of the nodes; then every block holds the result. The
code goes round the nodes, first gathering, then leaving the result behind.

```julia
gradients = BitCode.alloc(nodes, Float64, 4 * 100)
BitCode.allreduce!(+, gradients)
```
"""
function allreduce!(op, s::DistributedSegment)
    require_equal_blocks(s)
    remotecall_fetch(reduce_around, s.parts[1].node, op, s, 1, eltype(s)[])
    return s
end

function reduce_around(op, s, k, sofar)
    part, n = Hop.localpart(s), length(s.parts)
    result = k == 1 ? copy(part) : k <= n ? map!(op, sofar, sofar, part) : sofar
    k >= n && copyto!(part, result)
    k == 2n - 1 && return nothing
    return Hop.forward(s.parts[mod1(k + 1, n)].node, reduce_around, op, s, k + 1, result)
end

"""
    BitCode.barrier(counter, n)

For calls that run at the same time, on nodes or here: return once `n` of them have come here. `counter` is a `RemoteArray{Int}`, zero at first,
that all of them are given; it may be used again and again by the same `n`.

```julia
counter = BitCode.alloc(nodes[1], Int, 1)
foreach(wait, [remotecall(BitCode.barrier, node, counter, length(nodes)) for node in nodes])
```
"""
function barrier(counter, n::Integer)
    enough = (div(Hop.fetch_add(counter, 1, 1), n) + 1) * n
    while Hop.get(counter, 1) < enough
        sleep(0.001)
    end
    return nothing
end
