# Values to bytes and back, as layout.jl lays them out. Each function here is written once and used twice: compiled in the calling
# process, and captured with the shipped function for the node. So all of it is statically dispatched, allocates nothing but
# arrays, and is generated from the type alone.

# --- where the bytes go ------------------------------------------------------------------------------------------------------

# One stretch of memory that takes head and tail: a result on the node, a small payload.
struct Flat
    base::Ptr{UInt8}
end

head(to::Flat) = to.base

@inline function put_run!(to::Flat, start::Int, from::Ptr{UInt8}, bytes::Int)
    unsafe_copyto!(to.base + start, from, bytes)
    return nothing
end

# A list of pieces: the head, then the arrays where they are, with zeros between them. Nothing is copied.
mutable struct Gather
    top::Ptr{UInt8}
    reached::Int
    pieces::Vector{Tuple{Ptr{UInt8},Int}}
end

head(to::Gather) = to.top

const ZEROS = zeros(UInt8, TAIL_ALIGNMENT)

function put_run!(to::Gather, start::Int, from::Ptr{UInt8}, bytes::Int)
    bytes == 0 && return nothing
    start > to.reached && push!(to.pieces, (pointer(ZEROS), start - to.reached))
    push!(to.pieces, (from, bytes))
    to.reached = start + bytes
    return nothing
end

# --- where they come from ----------------------------------------------------------------------------------------------------

# Arrays stay where they arrived: on the node, where the payload lives as long as the call.
struct InPlace end

@inline function take_run(::InPlace, ::Type{Array{T,N}}, base::Ptr{UInt8}, start::Int, dims::NTuple{N,Int}) where {T,N}
    return unsafe_wrap(Array{T,N}, Ptr{T}(base + start), N == 1 ? dims[1] : dims)
end

# Arrays become Julia's own: at the origin. `length` bytes are there; a result that claims more is refused.
struct Copied
    length::Int
end

@inline function take_run(from::Copied, ::Type{Array{T,N}}, base::Ptr{UInt8}, start::Int, dims::NTuple{N,Int}) where {T,N}
    bytes = Base.elsize(Array{T,N})
    for d in dims
        d >= 0 || malformed()
        bytes, overflow = Base.mul_with_overflow(bytes, d)
        overflow && malformed()
    end
    0 <= start <= from.length && bytes <= from.length - start || malformed()
    array = Array{T,N}(undef, dims)
    GC.@preserve array unsafe_copyto!(Ptr{UInt8}(pointer(array)), base + start, bytes)
    return array
end

@noinline malformed() = throw(ArgumentError("a result does not have the layout of its type; this is a bug in BitCode.jl, please report it"))

# --- plain values ------------------------------------------------------------------------------------------------------------

# Above this many bytes a value is moved as memory, not as one (huge) LLVM value.
const LARGE_VALUE = 128

@inline function store_bits(p::Ptr{UInt8}, x::T) where {T}
    if sizeof(T) <= LARGE_VALUE
        unsafe_store!(Ptr{T}(p), x)
    else
        cell = Ref{T}(x)
        GC.@preserve cell unsafe_copyto!(p, Ptr{UInt8}(pointer_from_objref(cell)), sizeof(T))
    end
    return nothing
end

@inline function load_bits(::Type{T}, p::Ptr{UInt8}) where {T}
    sizeof(T) <= LARGE_VALUE && return unsafe_load(Ptr{T}(p))
    cell = Ref{T}()
    GC.@preserve cell unsafe_copyto!(Ptr{UInt8}(pointer_from_objref(cell)), p, sizeof(T))
    return cell[]
end

# --- writing -----------------------------------------------------------------------------------------------------------------

# `if x isa M₁ … elseif x isa M₂ … else … end` over the members of the Union `T`.
function choose(@nospecialize(T), branch)
    members = Base.uniontypes(T)
    chain = branch(members[end], UInt8(length(members)))
    for i in length(members)-1:-1:1
        chain = Expr(:if, :(x isa $(members[i])), branch(members[i], UInt8(i)), chain)
    end
    return chain
end

"""
    tail_end(T, x, tail) -> Int

Where the tail ends once `x` is written, when it has reached `tail` before.
"""
@inline @generated function tail_end(::Type{T}, x, tail::Int) where {T}
    array_count(T) == 0 && return :tail
    kind = crossing(T)
    kind == ARRAY && return :(align_up(tail, TAIL_ALIGNMENT) + length(x) * $(Base.elsize(T)))
    if kind == RECORD
        body = Expr(:block)
        for (i, F) in enumerate(fieldtypes(T))
            array_count(F) == 0 || push!(body.args, :(tail = tail_end($F, getfield(x, $i), tail)))
        end
        push!(body.args, :tail)
        return body
    end
    return choose(T, (M, _) -> :(tail_end($M, x, tail)))
end

"""
    write_value(to, T, x, at, tail) -> Int

Write `x` at `at` in the head of `to`, its arrays from `tail` on; returns where the tail ends then.
"""
@inline @generated function write_value(to, ::Type{T}, x, at::Int, tail::Int) where {T}
    kind = crossing(T)
    kind == NOTHING_TO_SEND && return :tail
    kind == BITS && return :(store_bits(head(to) + at, x::T); tail)
    if kind == ARRAY
        N = ndims(T)
        return quote
            place = Ptr{Int}(head(to) + at)
            $((:(unsafe_store!(place, size(x, $i), $i)) for i in 1:N)...)
            start = align_up(tail, TAIL_ALIGNMENT)
            unsafe_store!(place, start, $(N + 1))
            bytes = length(x) * $(Base.elsize(T))
            GC.@preserve x put_run!(to, start, Ptr{UInt8}(pointer(x)), bytes)
            start + bytes
        end
    end
    if kind == RECORD
        places = field_places(fieldtypes(T))
        steps = [:(tail = write_value(to, $F, getfield(x, $i), at + $(places[i]), tail)) for (i, F) in enumerate(fieldtypes(T))]
        return Expr(:block, steps..., :tail)
    end
    return choose(T, (M, tag) -> quote
        unsafe_store!(head(to) + at, $tag)
        write_value(to, $M, x::$M, at + $(choice_place(T)), tail)
    end)
end

# --- reading -----------------------------------------------------------------------------------------------------------------

"""
    read_value(from, T, base, at)

The value of type `T` whose head lies at `base + at`; `base` is where the payload or the result begins.
"""
@inline @generated function read_value(from, ::Type{T}, base::Ptr{UInt8}, at::Int) where {T}
    kind = crossing(T)
    kind == NOTHING_TO_SEND && return QuoteNode(is_type_constant(T) ? T.parameters[1] : T.instance)
    kind == BITS && return :(load_bits(T, base + at))
    if kind == ARRAY
        N = ndims(T)
        return quote
            place = Ptr{Int}(base + at)
            take_run(from, T, base, unsafe_load(place, $(N + 1)), ($((:(unsafe_load(place, $i)) for i in 1:N)...),))
        end
    end
    if kind == RECORD
        places = field_places(fieldtypes(T))
        fields = [:(read_value(from, $F, base, at + $(places[i]))) for (i, F) in enumerate(fieldtypes(T))]
        return T <: Tuple ? Expr(:tuple, fields...) : Expr(:new, T, fields...)
    end
    members = Base.uniontypes(T)
    value(M) = :(read_value(from, $M, base, at + $(choice_place(T))))
    chain = value(members[end])
    for i in length(members)-1:-1:1
        chain = Expr(:if, :(tag == $(UInt8(i))), value(members[i]), chain)
    end
    return Expr(:block, :(tag = unsafe_load(base + at)), chain)
end
