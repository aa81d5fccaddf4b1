# DistributedSegment: one vector in blocks, a block on each of several nodes.

"""
    DistributedSegment{T,P} <: AbstractVector{T}

A vector in equal blocks over `P` nodes (the last ones may be shorter, or empty): `BitCode.alloc(nodes, T, n)`. Indexing, ranges,
`Array`, `copyto!`, `fill!` and `close` are as for a [`RemoteArray`](@ref); a range that spans blocks is one transfer for each.

[`BitCode.owner`](@ref) says where an element lies, [`BitCode.localpart`](@ref) gives a node's block.
"""
struct DistributedSegment{T,P} <: AbstractVector{T}
    parts::NTuple{P,RemoteArray{T,1}}
    block::Int
    length::Int
end

"""
    BitCode.alloc(nodes, T, n) -> DistributedSegment{T}

Memory for `n` elements in blocks over `nodes`, all bytes zero.

```julia
nodes = launch(4)
table = BitCode.alloc(nodes, Int, 1000)
table[251] = 7
BitCode.owner(table, 251) === nodes[2]
```
"""
function alloc(nodes::AbstractVector{Node}, ::Type{T}, n::Integer) where {T}
    isempty(nodes) && throw(ArgumentError("a segment needs a node to lie on"))
    allunique(nodes) || throw(ArgumentError("a node can have one block of a segment"))
    n >= 0 || throw(ArgumentError("a segment cannot have $n elements"))
    block = max(1, cld(Int(n), length(nodes)))
    parts = RemoteArray{T,1}[]
    try
        for k in 1:length(nodes)
            push!(parts, alloc(nodes[k], T, clamp(Int(n) - (k - 1) * block, 0, block)))
        end
    catch
        foreach(close, parts)
        rethrow()
    end
    return DistributedSegment{T,length(parts)}(Tuple(parts), block, Int(n))
end

Base.size(s::DistributedSegment) = (s.length,)
Base.IndexStyle(::Type{<:DistributedSegment}) = IndexLinear()

# Which part an index is in, and its index there.
place(s::DistributedSegment, i::Int) = (fld(i - 1, s.block) + 1, mod(i - 1, s.block) + 1)

"""
    BitCode.owner(s::DistributedSegment, i) -> Node

The node whose memory the `i`th element is in.
"""
function owner(s::DistributedSegment, i::Integer)
    checkbounds(s, i)
    return s.parts[place(s, Int(i))[1]].node
end

"""
    BitCode.localpart(s::DistributedSegment, node) -> RemoteArray

The block of `s` that is in the memory of `node`.
"""
function localpart(s::DistributedSegment, node::Node)
    k = findfirst(part -> part.node === node, s.parts)
    k === nothing && throw(ArgumentError("no part of the segment is on $node"))
    return s.parts[k]
end

function Base.getindex(s::DistributedSegment, i::Int)
    checkbounds(s, i)
    k, j = place(s, i)
    return s.parts[k][j]
end

function Base.setindex!(s::DistributedSegment, x, i::Int)
    checkbounds(s, i)
    k, j = place(s, i)
    s.parts[k][j] = x
    return s
end

function Base.getindex(s::DistributedSegment{T}, range::AbstractUnitRange{<:Integer}) where {T}
    checkbounds(s, range)
    return copyto!(Vector{T}(undef, length(range)), 1, s, first(range), length(range))
end

Base.getindex(s::DistributedSegment, ::Colon) = s[1:end]

function Base.setindex!(s::DistributedSegment{T}, xs::AbstractArray, range::AbstractUnitRange{<:Integer}) where {T}
    checkbounds(s, range)
    length(xs) == length(range) || throw(DimensionMismatch("tried to assign $(length(xs)) elements to $(length(range)) places"))
    return copyto!(s, first(range), convert(Array{T}, xs), 1, length(xs))
end

Base.copyto!(to::Array{T}, s::DistributedSegment{T}) where {T} = copyto!(to, 1, s, 1, length(s))
Base.copyto!(s::DistributedSegment{T}, xs::Array{T}) where {T} = copyto!(s, 1, xs, 1, length(xs))

function Base.copyto!(to::Array{T}, i::Integer, s::DistributedSegment{T}, from::Integer, n::Integer) where {T}
    check_copy(to, i, s, from, n)
    foreach_piece((part, j, at, count) -> copyto!(to, i + at, part, j, count), s, Int(from), Int(n))
    return to
end

function Base.copyto!(s::DistributedSegment{T}, i::Integer, xs::Array{T}, from::Integer, n::Integer) where {T}
    check_copy(s, i, xs, from, n)
    foreach_piece((part, j, at, count) -> copyto!(part, j, xs, from + at, count), s, Int(i), Int(n))
    return s
end

# Calls `f(part, first index there, elements before it, elements)` for each part that `n` elements from the `i`th on lie in.
function foreach_piece(f, s::DistributedSegment, i::Int, n::Int)
    at = 0
    while at < n
        k, j = place(s, i + at)
        count = min(n - at, s.block - j + 1)
        f(s.parts[k], j, at, count)
        at += count
    end
    return nothing
end

Base.fill!(s::DistributedSegment, x) = (foreach(part -> fill!(part, x), s.parts); s)

for update in (:fetch_add, :swap, :compare_swap)
    @eval function $update(s::DistributedSegment, i::Integer, x)
        checkbounds(s, i)
        k, j = place(s, Int(i))
        return $update(s.parts[k], j, x)
    end
end

Base.isopen(s::DistributedSegment) = all(isopen, s.parts)
Base.close(s::DistributedSegment) = foreach(close, s.parts)

Base.show(io::IO, s::DistributedSegment) = print(io, summary(s), isopen(s) ? "" : ", closed")
Base.show(io::IO, ::MIME"text/plain", s::DistributedSegment) = show(io, s)
Base.summary(io::IO, s::DistributedSegment{T}) where {T} =
    print(io, s.length, "-element DistributedSegment{", T, "} over ", length(s.parts), " nodes")
