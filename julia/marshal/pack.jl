# Flat values to bytes and back, as layout.jl lays them out. Each function here is written once and used twice: compiled in the calling
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

# --- the code for a type -------------------------------------------------------------------------------------------------------

# The code for a type with all that is in it is made in one piece, not by functions that call each other for the fields: inference
# gives up on such recursion sooner than types get deep, and then the calls would be dispatched on the node.
#
# Each of these makes the code for a value of the type `T` that the expression `x` holds, at byte `at` of what is at `place`; `tail` is a variable
# of that code. They come before the functions that are made by them, because a generator sees only what is older than itself.

# The same array may be there twice: then its elements lie in the tail once, and the second time its place is −k, for the k-th array. `arrays`
# are the variables of the arrays so far, with their types.
const Arrays = Vector{Tuple{Any,Symbol}}

# `twin(k, variable)` for each array so far that may be the one at hand, combined: the first that holds; `otherwise` if none does.
function unless_twin(twin, arrays::Arrays, @nospecialize(T), otherwise)
    chain = otherwise
    for k in length(arrays):-1:1
        arrays[k][1] === T || continue
        condition, result = twin(k, arrays[k][2])
        chain = Expr(:if, condition, result, chain)
    end
    return chain
end

function measuring(@nospecialize(T), x, arrays::Arrays)
    array_count(T) == 0 && return nothing
    kind = crossing(T)
    if kind == ARRAY
        array = gensym(:array)
        more = unless_twin((_, twin) -> (:($array === $twin), nothing), arrays, T,
                           :(tail = align_up(tail, TAIL_ALIGNMENT) + length($array) * $(Base.elsize(T))))
        push!(arrays, (T, array))
        return Expr(:block, :($array = $x::$T), more)
    end
    kind == RECORD && return for_fields((F, field, _) -> measuring(F, field, arrays), T, x)
    return for_members((M, member, _) -> measuring(M, member, arrays), T, x)
end

function writing(@nospecialize(T), x, at::Int, arrays::Arrays)
    kind = crossing(T)
    kind == NOTHING_TO_SEND && return nothing
    kind == BITS && return :(store_bits(place + $at, $x::$T))
    if kind == ARRAY
        array = gensym(:array)
        N = ndims(T)
        elements = quote
            tail = align_up(tail, TAIL_ALIGNMENT)
            unsafe_store!(Ptr{Int}(place + $at), tail, $(N + 1))
            GC.@preserve $array put_run!(to, tail, Ptr{UInt8}(pointer($array)), length($array) * $(Base.elsize(T)))
            tail += length($array) * $(Base.elsize(T))
        end
        stored = unless_twin((k, twin) -> (:($array === $twin), :(unsafe_store!(Ptr{Int}(place + $at), $(-k), $(N + 1)))), arrays, T, elements)
        push!(arrays, (T, array))
        return quote
            $array = $x::$T
            $((:(unsafe_store!(Ptr{Int}(place + $at), size($array, $i), $i)) for i in 1:N)...)
            $stored
        end
    end
    if kind == RECORD
        places = field_places(fieldtypes(T))
        return for_fields((F, field, i) -> writing(F, field, at + places[i], arrays), T, x)
    end
    return for_members(T, x) do M, member, tag
        Expr(:block, :(unsafe_store!(place + $at, $tag)), writing(M, member, at + choice_place(T), arrays))
    end
end

# `code(type, variable, index)` for each field that takes bytes.
function for_fields(code, @nospecialize(T), x)
    block = Expr(:block)
    for (i, F) in enumerate(fieldtypes(T))
        crossing(F) == NOTHING_TO_SEND && continue
        field = gensym(:field)
        push!(block.args, :($field = getfield($x, $i)), code(F, field, i))
    end
    return block
end

# `if x isa M₁ … elseif x isa M₂ … else … end` over the members of a Union, with `code(type, variable, tag)` in the branches.
function for_members(code, @nospecialize(T), x)
    members = Base.uniontypes(T)
    chain = nothing
    for tag in length(members):-1:1
        member = gensym(:member)
        branch = Expr(:block, :($member = $x::$(members[tag])), code(members[tag], member, UInt8(tag)))
        chain = chain === nothing ? branch : Expr(:if, :($x isa $(members[tag])), branch, chain)
    end
    return chain
end

function reading(@nospecialize(T), at::Int, arrays::Arrays)
    kind = crossing(T)
    kind == NOTHING_TO_SEND && return QuoteNode(is_type_constant(T) ? T.parameters[1] : T.instance)
    kind == BITS && return :(load_bits($T, place + $at))
    if kind == ARRAY
        N = ndims(T)
        dims = Expr(:tuple, (:(unsafe_load(Ptr{Int}(place + $at), $i)) for i in 1:N)...)
        array, start = gensym(:array), gensym(:start)
        taken = unless_twin((k, twin) -> (:($start == $(-k)), twin), arrays, T, :(take_run(from, $T, base, $start, $dims)))
        push!(arrays, (T, array))
        return :($start = unsafe_load(Ptr{Int}(place + $at), $(N + 1)); $array = $taken)
    end
    if kind == RECORD
        places = field_places(fieldtypes(T))
        fields = [reading(F, at + places[i], arrays) for (i, F) in enumerate(fieldtypes(T))]
        return T <: Tuple ? Expr(:tuple, fields...) : Expr(:new, T, fields...)
    end
    members = Base.uniontypes(T)
    chain = reading(members[end], at + choice_place(T), arrays)
    for tag in length(members)-1:-1:1
        chain = Expr(:if, :(unsafe_load(place + $at) == $(UInt8(tag))), reading(members[tag], at + choice_place(T), arrays), chain)
    end
    return chain
end

# --- reading and writing --------------------------------------------------------------------------------------------------------

"""
    tail_end(T, x, tail) -> Int

Where the tail ends once `x` is written, when it has reached `tail` before.
"""
@inline @generated tail_end(::Type{T}, x, tail::Int) where {T} = Expr(:block, measuring(T, :x, Arrays()), :tail)

"""
    write_value(to, T, x, at, tail) -> Int

Write `x` at `at` in the head of `to`, its arrays from `tail` on; returns where the tail ends then.
"""
@inline @generated write_value(to, ::Type{T}, x, at::Int, tail::Int) where {T} =
    Expr(:block, :(place = head(to) + at), writing(T, :x, 0, Arrays()), :tail)

"""
    read_value(from, T, base, at)

The value of type `T` whose head lies at `base + at`; `base` is where the payload or the result begins.
"""
@inline @generated read_value(from, ::Type{T}, base::Ptr{UInt8}, at::Int) where {T} = Expr(:block, :(place = base + at), reading(T, 0, Arrays()))
