# RemoteArray: memory of a node as an array. Every access is one-sided: the node's memory is read and written through UCX, and no code runs there.

"""
    RemoteArray{T,N} <: AbstractArray{T,N}

An array in the memory of a node, from [`BitCode.alloc`](@ref) or [`BitCode.attach`](@ref). `a[i]` and `a[i] = x` are one transfer each,
and so are `a[2:100]` and `a[2:100] = xs`; `Array(a)`, `copyto!`, `fill!`, [`get!`](@ref Base.get!(::Array, ::BitCode.RemoteArray)) and
[`put!`](@ref Base.put!(::BitCode.RemoteArray, ::Array)) move many elements at once. Anything else that works on an `AbstractArray` works,
too, but goes element by element: fetch first what you compute with.

Indices are checked here, before anything is sent. `close(a)` frees the memory; it also ends with the connection of whoever allocated it.
After that every access is a `BitCodeError` with code `:segment_gone`.
"""
mutable struct RemoteArray{T,N} <: AbstractArray{T,N}
    node::Node
    remote::API.Handle
    number::UInt64
    dims::NTuple{N,Int}

    function RemoteArray{T,N}(node::Node, remote::API.Handle, dims::NTuple{N,Int}) where {T,N}
        array = new{T,N}(node, remote, API.bc_remote_number(remote), dims)
        # The handle only: a finalizer must not wait for a node.
        finalizer(a -> API.bc_remote_free(a.remote), array)
        return array
    end
end

"""
    BitCode.alloc(node, T, dims...) -> RemoteArray{T}

Memory on `node` for an array of `T`, all its bytes zero. `T` must be a plain bits type. How much memory a node gives is limited
(`launch(segment_bytes = …)`, `bitcode-node --segment-bytes`).

```julia
node = launch()
a = BitCode.alloc(node, Float64, 1000)
a[1:3] = [1.0, 2.0, 3.0]
sum(a[1:10])                            # 6.0
BitCode.fetch_add(BitCode.alloc(node, Int, 1), 1, 5)
close(a)
```
"""
alloc(node::Node, ::Type{T}, dims::Integer...) where {T} = alloc(node, T, map(Int, dims))

function alloc(node::Node, ::Type{T}, dims::Dims{N}) where {T,N}
    bytes = segment_length(T, dims)
    remote = new_handle((out, error) -> API.bc_remote_new(node.session, bytes, out, error))
    return RemoteArray{T,N}(node, remote, dims)
end

"""
    BitCode.attach(node, number, T, dims...) -> RemoteArray{T}

The array with this `number` on `node`, which somebody else has allocated: `number` is the `number` of their [`RemoteArray`](@ref). It
stays theirs: it goes when they close it, or go themselves, and `close` here only ends the use of it.
"""
attach(node::Node, number::Integer, ::Type{T}, dims::Integer...) where {T} = attach(node, number, T, map(Int, dims))

function attach(node::Node, number::Integer, ::Type{T}, dims::Dims{N}) where {T,N}
    bytes = segment_length(T, dims)
    remote = new_handle((out, error) -> API.bc_remote_attach(node.session, UInt64(number), out, error))
    array = RemoteArray{T,N}(node, remote, dims)
    there = API.bc_remote_length(remote)
    if there < bytes
        close(array)
        throw(ArgumentError("segment $number has $there bytes, fewer than the $bytes of an array of $T with size $dims"))
    end
    return array
end

function segment_length(::Type{T}, dims::Dims) where {T}
    isconcretetype(T) && is_plain(T) && sizeof(T) > 0 ||
        throw(ArgumentError("only plain bits types can lie in a node's memory, and $T is none"))
    # Julia's arrays have gaps between such elements, a node's memory has none.
    sizeof(T) == Base.elsize(Vector{T}) ||
        throw(ArgumentError("a $T has $(sizeof(T)) bytes, but $(Base.elsize(Vector{T})) in an array: such elements cannot lie in a node's memory"))
    all(d -> d >= 0, dims) || throw(ArgumentError("an array cannot have the size $dims"))
    bytes = prod(BigInt[dims...]) * sizeof(T)
    bytes <= typemax(Int) || throw(ArgumentError("an array of $T with size $dims is too large"))
    return UInt64(bytes)
end

# --- as an array -------------------------------------------------------------------------------------------------------------

Base.size(a::RemoteArray) = a.dims
Base.IndexStyle(::Type{<:RemoteArray}) = IndexLinear()

# Elements are moved in pieces of so many bytes, between which other tasks run.
const TRANSFER = 4 << 20

offset_of(a::RemoteArray{T}, i::Int) where {T} = UInt64((i - 1) * sizeof(T))

# Fetches `n` elements from the `i`th on; `to` points to room for them, and somebody keeps it.
function fetch_elements!(to::Ptr{T}, a::RemoteArray{T}, i::Int, n::Int) where {T}
    step = max(1, TRANSFER ÷ sizeof(T))
    for k in 0:step:n-1
        bytes = min(step, n - k) * sizeof(T)
        k > 0 && yield()
        must(error -> API.bc_remote_read(a.remote, offset_of(a, i + k), Ptr{UInt8}(to + k * sizeof(T)), bytes, error))
    end
    n == 0 && require_open(a)
    return nothing
end

# Sends `n` elements to the `i`th place and the next ones.
function send_elements!(a::RemoteArray{T}, i::Int, from::Ptr{T}, n::Int) where {T}
    step = max(1, TRANSFER ÷ sizeof(T))
    for k in 0:step:n-1
        bytes = min(step, n - k) * sizeof(T)
        k > 0 && yield()
        must(error -> API.bc_remote_write(a.remote, offset_of(a, i + k), Ptr{UInt8}(from + k * sizeof(T)), bytes, error))
    end
    n == 0 && require_open(a)
    return nothing
end

require_open(a::RemoteArray) = isopen(a) ? nothing : throw(BitCodeError(:segment_gone, "the array was closed, or its node is gone"))

# Always checked, whatever `@inbounds` says: the memory is another process's.
function Base.getindex(a::RemoteArray{T}, i::Int) where {T}
    checkbounds(a, i)
    place = Ref{T}()
    GC.@preserve place fetch_elements!(Base.unsafe_convert(Ptr{T}, place), a, i, 1)
    return place[]
end

function Base.setindex!(a::RemoteArray{T}, x, i::Int) where {T}
    checkbounds(a, i)
    place = Ref{T}(convert(T, x))
    GC.@preserve place send_elements!(a, i, Base.unsafe_convert(Ptr{T}, place), 1)
    return a
end

Base.getindex(a::RemoteArray{T}, range::AbstractUnitRange{<:Integer}) where {T} = fetch_range(a, range)
Base.getindex(a::RemoteArray{T}, ::Colon) where {T} = vec(Array(a))

function fetch_range(a::RemoteArray{T}, range::AbstractUnitRange) where {T}
    checkbounds(a, range)
    return get!(Vector{T}(undef, length(range)), a, first(range))
end

function Base.setindex!(a::RemoteArray{T}, xs::AbstractArray, range::AbstractUnitRange{<:Integer}) where {T}
    checkbounds(a, range)
    length(xs) == length(range) || throw(DimensionMismatch("tried to assign $(length(xs)) elements to $(length(range)) places"))
    Base.put!(a, convert(Array{T}, xs), first(range))
    return a
end

"""
    get!(to::Array{T}, a::RemoteArray{T}, from = 1) -> to

Fill `to` with the elements of `a` from the index `from` on.
"""
Base.get!(to::Array{T}, a::RemoteArray{T}, from::Integer = 1) where {T} = copyto!(to, 1, a, from, length(to))

"""
    put!(a::RemoteArray{T}, xs::Array{T}, to = 1) -> a

Write the elements `xs` to `a`, from the index `to` on. They are there when this returns.
"""
Base.put!(a::RemoteArray{T}, xs::Array{T}, to::Integer = 1) where {T} = copyto!(a, to, xs, 1, length(xs))

Base.copyto!(to::Array{T}, a::RemoteArray{T}) where {T} = copyto!(to, 1, a, 1, length(a))
Base.copyto!(a::RemoteArray{T}, xs::Array{T}) where {T} = copyto!(a, 1, xs, 1, length(xs))

function Base.copyto!(to::Array{T}, i::Integer, a::RemoteArray{T}, k::Integer, n::Integer) where {T}
    check_copy(to, i, a, k, n)
    GC.@preserve to fetch_elements!(pointer(to, Int(i)), a, Int(k), Int(n))
    return to
end

function Base.copyto!(a::RemoteArray{T}, i::Integer, xs::Array{T}, k::Integer, n::Integer) where {T}
    check_copy(a, i, xs, k, n)
    GC.@preserve xs send_elements!(a, Int(i), pointer(xs, Int(k)), Int(n))
    return a
end

function check_copy(to, i::Integer, from, k::Integer, n::Integer)
    n >= 0 || throw(ArgumentError("cannot copy $n elements"))
    n == 0 && return nothing
    checkbounds(to, i:i+n-1)
    checkbounds(from, k:k+n-1)
    return nothing
end

function Base.fill!(a::RemoteArray{T}, x) where {T}
    step = min(length(a), max(1, TRANSFER ÷ sizeof(T)))
    same = fill(convert(T, x), step)
    for i in 1:max(1, step):length(a)
        copyto!(a, i, same, 1, min(step, length(a) - i + 1))
    end
    return a
end

# --- words changed at once for everybody -----------------------------------------------------------------------------------------

"""
    BitCode.fetch_add(a::RemoteArray, i, x) -> what `a[i]` was before

Add `x` to the `i`th element, an `Int64` or `UInt64`, at once for everybody: no addition of any process is lost. It wraps around, as `+` does.
"""
fetch_add(a::RemoteArray{T}, i::Integer, x) where {T<:Union{Int64,UInt64}} = update!(a, i, UInt32(0), convert(T, x), zero(T))

"""
    BitCode.swap(a::RemoteArray, i, x) -> what `a[i]` was before

Put `x` in the `i`th element's place, at once for everybody. Elements have 8 bytes.
"""
swap(a::RemoteArray{T}, i::Integer, x) where {T} = (y = convert(T, x); update!(a, i, UInt32(1), y, y))

"""
    BitCode.compare_swap(a::RemoteArray, i, expected => new) -> what `a[i]` was before

Put `new` in the `i`th element's place if that is `expected`, bit by bit, at once for everybody. Elements have 8 bytes.

```julia
BitCode.compare_swap(a, 1, 0 => 7) == 0 # then a[1] is 7 now
```
"""
compare_swap(a::RemoteArray{T}, i::Integer, (expected, new)::Pair) where {T} =
    update!(a, i, UInt32(2), convert(T, new), convert(T, expected))

function update!(a::RemoteArray{T}, i::Integer, what::UInt32, operand::T, expected::T) where {T}
    sizeof(T) == 8 || throw(ArgumentError("only elements of 8 bytes can be updated at once for everybody, and $T has $(sizeof(T))"))
    checkbounds(a, i)
    before = Ref{UInt64}(0)
    must(error -> API.bc_remote_update(a.remote, offset_of(a, Int(i)), what, word(operand), word(expected), before, error))
    return from_word(T, before[])
end

# A value of 8 bytes as a number, and back; `reinterpret` would not take structures.
function word(x::T) where {T}
    place = Ref(x)
    GC.@preserve place unsafe_load(Ptr{UInt64}(Base.unsafe_convert(Ptr{T}, place)))
end

function from_word(::Type{T}, bits::UInt64) where {T}
    place = Ref(bits)
    GC.@preserve place unsafe_load(Ptr{T}(Base.unsafe_convert(Ptr{UInt64}, place)))
end

# --- the end -----------------------------------------------------------------------------------------------------------------

"""
    isopen(a::RemoteArray) -> Bool

Can the array be used? Not after `close`, nor once its owner has freed it, nor once its node is gone.
"""
Base.isopen(a::RemoteArray) = API.bc_remote_is_open(a.remote) == 1

"""
    close(a::RemoteArray)

Free the array's memory on its node, if it was allocated here; else end the use of it. Closing again does nothing.
"""
Base.close(a::RemoteArray) = must(error -> API.bc_remote_close(a.remote, error))

# Never the elements: showing something should not fetch it.
Base.show(io::IO, a::RemoteArray) = print(io, summary(a), isopen(a) ? "" : ", closed")
Base.show(io::IO, ::MIME"text/plain", a::RemoteArray) = show(io, a)
Base.summary(io::IO, a::RemoteArray{T,N}) where {T,N} =
    print(io, Base.dims2string(size(a)), " RemoteArray{", T, ",", N, "} on ", a.node.address)
