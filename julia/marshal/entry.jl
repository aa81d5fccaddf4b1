# The entry of a shipped function: the one function of an archive that a node calls. It is Julia like any other code, so it
# specialises with the function it calls, and it is the only place where code that runs on a node meets the node's C ABI (docs/ABI.md).

"""
    Entry{F,A,K,R}

Calls a function of type `F` with the arguments of the tuple type `A`, the last of which are the keyword arguments named by the tuple
`K` of symbols, and packs its result as an `R`. A value of the type has no fields: everything is in the type, and so in the code.

    (::Entry)(payload::Ptr{UInt8}, length::Int64, call::Ptr{Cvoid}) -> Int32

0: the result was packed (or takes no bytes); 1: the exception was handed over.
"""
struct Entry{F,A<:Tuple,K,R} end

function (::Entry{F,A,K,R})(payload::Ptr{UInt8}, length::Int64, call::Ptr{Cvoid}) where {F,A,K,R}
    try
        answer(call, R, call_unpacked(F, A, Val(K), payload))
    catch exception
        ccall("extern bc_throw", llvmcall, Cvoid, (Int64, Any), reinterpret(Int64, call), exception)
        return Int32(1)
    end
    return Int32(0)
end

# Types of everything in a payload, in order: the function, its arguments, its keyword arguments.
packed_types(@nospecialize(F), @nospecialize(A)) = Any[F, A.parameters...]

@inline @generated function call_unpacked(::Type{F}, ::Type{A}, ::Val{K}, payload::Ptr{UInt8}) where {F,A,K}
    types = packed_types(F, A)
    places = field_places(types)
    values = [:(from_argument(read_value(InPlace(), $T, payload, $place))) for (T, place) in zip(types, places)]
    positional = values[2:end-length(K)]
    isempty(K) && return :(f = $(values[1]); f($(positional...)))
    keywords = values[end-length(K)+1:end]
    return quote
        f = $(values[1])
        Core.kwfunc(f)(NamedTuple{$K}(($(keywords...),)), f, $(positional...))
    end
end

@inline @generated function answer(call::Ptr{Cvoid}, ::Type{R}, value) where {R}
    crossing(R) == NOTHING_TO_SEND && return nothing
    size = head_size(R)
    return quote
        base = ccall("extern bc_result", llvmcall, Int64, (Int64, Int64), reinterpret(Int64, call), tail_end(R, value, $size))
        base == 0 && throw(OutOfMemoryError())
        write_value(Flat(Ptr{UInt8}(base)), R, value, 0, $size)
        nothing
    end
end
