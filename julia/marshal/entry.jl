# The entry of a shipped function: the one function of an archive that a node calls. It is Julia like any other code, so it
# specialises with the function it calls, and it is the only place where code that runs on a node meets the node's C ABI (docs/ABI.md).

"""
    Entry{F,A,W,R}

Calls a function of type `F` with the arguments of the tuple type `A` and the keyword arguments of the NamedTuple type `W`, and packs its result
as an `R`. A value of the type has no fields: everything is in the type, and so in the code.

    (::Entry)(payload::Ptr{UInt8}, length::Int64, call::Ptr{Cvoid}) -> Int32

0: the result was packed (or takes no bytes); 1: the exception was handed over.
"""
struct Entry{F,A<:Tuple,W<:NamedTuple,R} end

function (::Entry{F,A,W,R})(payload::Ptr{UInt8}, length::Int64, call::Ptr{Cvoid}) where {F,A,W,R}
    try
        answer(call, R, call_unpacked(F, A, W, Arrived(payload, length, call)))
    catch exception
        ccall("extern bc_throw", llvmcall, Cvoid, (Int64, Any), reinterpret(Int64, call), exception)
        return Int32(1)
    end
    return Int32(0)
end

# --- the payload of a call ---------------------------------------------------------------------------------------------------

# A payload holds three things: the function (what it has captured, that is), the tuple of its arguments, the tuple of its keyword arguments.
# Functions and the like, whose type says it all, take no bytes, and are left out of the type of the payload too: then calls of different
# functions with arguments of the same types are packed by the same compiled code.

"""
    payload(f, arguments, keywords) -> Tuple

What is written for a call: as a value of its own type, by `write_value`.
"""
@inline payload(f::F, arguments::Tuple, keywords::NamedTuple) where {F} =
    Base.issingletontype(F) ? (arguments, values(keywords)) : (f, arguments, values(keywords))

# What the node gives the entry.
struct Arrived
    base::Ptr{UInt8}
    length::Int64
    call::Ptr{Cvoid}
end

# The payload as a value of the type `T`.
@inline function unpacked(::Type{T}, from::Arrived) where {T}
    is_graph(T) || return read_value(InPlace(), T, from.base, 0)
    value = ccall("extern bc_unpack", llvmcall, Any, (Int64, Int64, Int64), reinterpret(Int64, from.base), from.length, reinterpret(Int64, from.call))::T
    hash_tables_anew(T, from)
    return value
end

@inline @generated function hash_tables_anew(::Type{T}, from::Arrived) where {T}
    block = Expr(:block)
    for D in identity_tables(T)
        push!(block.args, quote
            while true
                table = ccall("extern bc_table", llvmcall, Any, (Int64, Any), reinterpret(Int64, from.call), $D)
                table === nothing && break
                hash_anew!(table::$D)
            end
        end)
    end
    push!(block.args, nothing)
    return block
end

# What the entry calls for a function that it has unpacked: most often that function.
@inline as_called(f) = f

@inline function call_unpacked(::Type{F}, ::Type{A}, ::Type{NamedTuple{K,V}}, from::Arrived) where {F,A,K,V}
    if Base.issingletontype(F)
        f = from_argument(F.instance)
        arguments, keywords = unpacked(Tuple{A,V}, from)
    else
        called, arguments, keywords = unpacked(Tuple{F,A,V}, from)
        f = as_called(called)
    end
    K === () && return f(from_arguments(arguments)...)
    return Core.kwfunc(f)(NamedTuple{K}(from_arguments(keywords)), f, from_arguments(arguments)...)
end

@inline function answer(call::Ptr{Cvoid}, ::Type{R}, value) where {R}
    # Code that another function went on to may return what the compiler has not seen in that one (julia/hop).
    R === Nothing || value isa R || throw(TypeError(:forward, "what the call returns", R, value))
    takes_bytes(R) || return nothing
    if is_graph(R)
        ccall("extern bc_return", llvmcall, Cvoid, (Int64, Any), reinterpret(Int64, call), value)
        return nothing
    end
    base = ccall("extern bc_result", llvmcall, Int64, (Int64, Int64), reinterpret(Int64, call), tail_end(R, value, head_bytes(R)))
    base == 0 && throw(OutOfMemoryError())
    write_value(Flat(Ptr{UInt8}(base)), R, value, 0, head_bytes(R))
    return nothing
end
