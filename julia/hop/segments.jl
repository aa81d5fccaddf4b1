# Segments as shipped code sees them: by the numbers of their nodes, and their own. (A part of the module Hop.)

using ..BitCode: BitCodeError, RemoteArray, DistributedSegment, is_plain

"""
    Hop.Segment{T,N} <: AbstractArray{T,N}

What a [`BitCode.RemoteArray`](@ref) is in shipped code: pass that as an argument, and this is what arrives. On the node that it lies on,
[`Hop.localpart`](@ref) is its memory; from any node `s[i]`, `s[i] = x`, [`Hop.get`](@ref), [`Hop.put`](@ref) and
[`Hop.fetch_add`](@ref) reach it one-sidedly.
"""
struct Segment{T,N} <: AbstractArray{T,N}
    node::Int
    number::UInt64
    dims::NTuple{N,Int}
end

# One of a Blocks's segments.
struct Part
    node::Int
    number::UInt64
end

"""
    Hop.Blocks{T,P} <: AbstractVector{T}

What a [`BitCode.DistributedSegment`](@ref) over `P` nodes is in shipped code. [`Hop.owner`](@ref) says on which node an element lies,
[`Hop.localpart`](@ref) is the block of the node that the code runs on, [`Hop.localindices`](@ref) are its indices.
"""
struct Blocks{T,P} <: AbstractVector{T}
    block::Int
    length::Int
    parts::NTuple{P,Part}
end

BitCode.as_argument(a::RemoteArray{T,N}) where {T,N} = Segment{T,N}(number(a.node), a.number, a.dims)
BitCode.as_argument(s::DistributedSegment{T,P}) where {T,P} =
    Blocks{T,P}(s.block, s.length, map(part -> Part(number(part.node), part.number), s.parts))
BitCode.argument_type(::Type{RemoteArray{T,N}}) where {T,N} = Segment{T,N}
BitCode.argument_type(::Type{DistributedSegment{T,P}}) where {T,P} = Blocks{T,P}

Base.size(s::Segment) = s.dims
Base.size(s::Blocks) = (s.length,)
Base.IndexStyle(::Type{<:Union{Segment,Blocks}}) = IndexLinear()

# --- whose memory ----------------------------------------------------------------------------------------------------------------

const OnNodes{T} = Union{Segment{T},Blocks{T}}
const AtOrigin{T} = Union{RemoteArray{T},DistributedSegment{T}}

"""
    Hop.owner(s, i) -> Int

The number of the node whose memory the `i`th element of a segment is in.
"""
owner(s::Segment, i::Integer) = (checkbounds(s, i); s.node)
owner(s::Blocks, i::Integer) = (checkbounds(s, i); s.parts[block_of(s, Int(i))].node)
owner(a::RemoteArray, i::Integer) = (checkbounds(a, i); number(a.node))
owner(s::DistributedSegment, i::Integer) = number(BitCode.owner(s, i))

block_of(s::Blocks, i::Int) = div(i - 1, s.block) + 1

# The block of the node that the code runs on; 0 if that has none.
@inline function block_here(s::Blocks{T,P}) where {T,P}
    node = node_here()
    for k in 1:P
        s.parts[k].node == node && return k
    end
    return 0
end

indices_of(s::Blocks, k::Int) = (k-1)*s.block+1:min(k * s.block, s.length)

"""
    Hop.localindices(s) -> UnitRange{Int}

The indices of the elements that are in the memory of the node that the code runs on; empty if none are, as at the origin.
"""
localindices(s::Segment) = s.node == node_here() ? (1:length(s)) : (1:0)
localindices(s::Blocks) = (k = block_here(s); k == 0 ? (1:0) : indices_of(s, k))
localindices(::AtOrigin) = 1:0

"""
    Hop.localpart(s) -> Array

The part of a segment that is in the memory of the node that the code runs on, as an array without copies: what is written to it is written to
the segment. Its `k`th element is the one of index `localindices(s)[k]`. It is empty if the node has no part of a `DistributedSegment`, as at
the origin; of a `RemoteArray` of another node it is an `ArgumentError`.

The array is there until the call ends, on this node. It cannot grow or shrink, and what is taken along or returned of it is a copy.

```julia
table = BitCode.alloc(launch(2), Int, 1000)
@remote nodes()[1] ((t) -> sum(Hop.localpart(t)))(table)
```
"""
localpart(s::Segment) = memory_of(s.number, s.node, s.dims, eltype(s))
function localpart(s::Blocks{T}) where {T}
    k = block_here(s)
    k == 0 && return T[]
    return memory_of(s.parts[k].number, s.parts[k].node, (length(indices_of(s, k)),), T)
end
localpart(::DistributedSegment{T}) where {T} = T[]
localpart(a::RemoteArray) = throw(ArgumentError("the array lies on another node ($(number(a.node))), not here"))

@inline function memory_of(segment::UInt64, node::Int, dims::NTuple{N,Int}, ::Type{T}) where {T,N}
    base = ccall("extern bc_segment", llvmcall, Int64, (UInt64, UInt64), segment, prod(dims) * sizeof(T))
    base == 0 && absent(node)
    return unsafe_wrap(Array{T,N}, Ptr{T}(base), N == 1 ? dims[1] : dims)
end

@noinline function absent(node::Int)
    node == node_here() || throw(ArgumentError("the array lies on another node ($node), not here"))
    throw(BitCodeError(:segment_gone, GONE))
end

# --- from anywhere ---------------------------------------------------------------------------------------------------------------

# The node, the segment and the byte that the `i`th element begins at.
@inline function place(s::Segment{T}, i::Int) where {T}
    checkbounds(s, i)
    return s.node, s.number, UInt64(i - 1) * sizeof(T)
end
@inline function place(s::Blocks{T}, i::Int) where {T}
    checkbounds(s, i)
    k = block_of(s, i)
    return s.parts[k].node, s.parts[k].number, UInt64(i - 1 - (k - 1) * s.block) * sizeof(T)
end

# How many elements from the `i`th on lie together.
run_from(s::Segment, i::Int) = length(s) - i + 1
run_from(s::Blocks, i::Int) = last(indices_of(s, block_of(s, i))) - i + 1

# Always checked, whatever `@inbounds` says: the memory may be another node's.
function Base.getindex(s::OnNodes{T}, i::Int) where {T}
    cell = Ref{T}()
    GC.@preserve cell fetch_bytes(place(s, i)..., Base.unsafe_convert(Ptr{T}, cell), 1)
    return cell[]
end

function Base.setindex!(s::OnNodes{T}, x, i::Int) where {T}
    cell = Ref{T}(convert(T, x))
    GC.@preserve cell send_bytes(place(s, i)..., Base.unsafe_convert(Ptr{T}, cell), 1)
    return s
end

@inline function fetch_bytes(node::Int, segment::UInt64, offset::UInt64, to::Ptr{T}, n::Int) where {T}
    status = ccall("extern bc_get", llvmcall, Int64, (Int64, UInt64, UInt64, Int64, UInt64),
                   node, segment, offset, reinterpret(Int64, to), n * sizeof(T))
    status == 0 || denied(status)
    return nothing
end

@inline function send_bytes(node::Int, segment::UInt64, offset::UInt64, from::Ptr{T}, n::Int) where {T}
    status = ccall("extern bc_put", llvmcall, Int64, (Int64, UInt64, UInt64, Int64, UInt64),
                   node, segment, offset, reinterpret(Int64, from), n * sizeof(T))
    status == 0 || denied(status)
    return nothing
end

const GONE = "the segment was freed, or its node restarted"

# What the runtime's `Denied` means (rust/runtime/src/host.rs).
@noinline function denied(status::Int64)
    status == 1 && throw(BitCodeError(:segment_gone, GONE))
    status == 2 && throw(BitCodeError(:bad_argument, "the access is not inside the segment"))
    status == 3 && throw(BitCodeError(:unreachable, "the node that the segment lies on cannot be reached"))
    throw(BitCodeError(:timeout, "the node that the segment lies on does not answer"))
end

"""
    Hop.get(s, i) -> element
    Hop.get(s, range) -> Vector

Fetch one element of a segment, or a range of them, from whatever node they lie on, with no code running there. The same as `s[i]`.
"""
get(s::Union{OnNodes,AtOrigin}, i::Integer) = s[Int(i)]
get(s::AtOrigin, range::AbstractUnitRange{<:Integer}) = s[range]
function get(s::OnNodes{T}, range::AbstractUnitRange{<:Integer}) where {T}
    to = Vector{T}(undef, length(range))
    isempty(range) && return to
    checkbounds(s, range)
    done = 0
    while done < length(range)
        i = Int(first(range)) + done
        n = min(run_from(s, i), length(range) - done)
        GC.@preserve to fetch_bytes(place(s, i)..., pointer(to, done + 1), n)
        done += n
    end
    return to
end

Base.getindex(s::OnNodes, range::AbstractUnitRange{<:Integer}) = get(s, range)

"""
    Hop.put(s, i, x) -> s
    Hop.put(s, range, xs::Array) -> s

Write one element of a segment, or a range of them, on whatever node they lie on. They are there when this returns.
"""
put(s::Union{OnNodes,AtOrigin}, i::Integer, x) = (s[Int(i)] = x; s)
put(s::AtOrigin, range::AbstractUnitRange{<:Integer}, xs::Array) = (s[range] = xs; s)
function put(s::OnNodes{T}, range::AbstractUnitRange{<:Integer}, xs::Array{T}) where {T}
    length(xs) == length(range) || throw(DimensionMismatch("as many elements as places are wanted"))
    isempty(range) && return s
    checkbounds(s, range)
    done = 0
    while done < length(range)
        i = Int(first(range)) + done
        n = min(run_from(s, i), length(range) - done)
        GC.@preserve xs send_bytes(place(s, i)..., pointer(xs, done + 1), n)
        done += n
    end
    return s
end

"""
    Hop.exclusive(s)

Have the node's own part of a segment to oneself until the call ends (or goes on to another node), among all calls that say so: what such calls do
to it, they do one after the other. Others are not kept from it, nor are one-sided accesses.
"""
exclusive(s::Segment) = exclude(s.number)
exclusive(s::Blocks) = (k = block_here(s); k == 0 ? nothing : exclude(s.parts[k].number))
exclusive(::AtOrigin) = nothing

function exclude(segment::UInt64)
    status = ccall("extern bc_exclude", llvmcall, Int64, (UInt64,), segment)
    status == 0 || denied(status)
    return nothing
end

# --- words changed at once for everybody -------------------------------------------------------------------------------------------

"""
    Hop.fetch_add(s, i, x) -> what `s[i]` was before

Add `x` to an element of 8 bytes, at once for everybody, on whatever node it lies: as [`BitCode.fetch_add`](@ref).
"""
fetch_add(s::OnNodes{T}, i::Integer, x) where {T<:Union{Int64,UInt64}} = update(s, Int(i), 0, convert(T, x), zero(T))
fetch_add(s::AtOrigin, i::Integer, x) = BitCode.fetch_add(s, i, x)

"""
    Hop.swap(s, i, x) -> what `s[i]` was before

Put `x` in the place of an element of 8 bytes, at once for everybody: as [`BitCode.swap`](@ref).
"""
swap(s::OnNodes{T}, i::Integer, x) where {T} = (y = convert(T, x); update(s, Int(i), 1, y, y))
swap(s::AtOrigin, i::Integer, x) = BitCode.swap(s, i, x)

"""
    Hop.compare_swap(s, i, expected => new) -> what `s[i]` was before

Put `new` in the place of an element of 8 bytes if that is `expected`, at once for everybody: as [`BitCode.compare_swap`](@ref).
"""
compare_swap(s::OnNodes{T}, i::Integer, (expected, new)::Pair) where {T} = update(s, Int(i), 2, convert(T, new), convert(T, expected))
compare_swap(s::AtOrigin, i::Integer, exchange::Pair) = BitCode.compare_swap(s, i, exchange)

@inline function update(s::OnNodes{T}, i::Int, how::Int, operand::T, expected::T) where {T}
    sizeof(T) == 8 || throw(ArgumentError("only elements of 8 bytes can be updated at once for everybody"))
    node, segment, offset = place(s, i)
    before = Ref{UInt64}(0)
    status = GC.@preserve before ccall("extern bc_update", llvmcall, Int64, (Int64, UInt64, UInt64, Int64, UInt64, UInt64, Int64),
                                       node, segment, offset, how, BitCode.word(operand), BitCode.word(expected),
                                       reinterpret(Int64, Base.unsafe_convert(Ptr{UInt64}, before)))
    status == 0 || denied(status)
    return BitCode.from_word(T, before[])
end
