# Code that makes code: a running function fixes some arguments of another one, and the node's compiler folds them through it.

"""
    BitCode.Specialized

A function some of whose first arguments are fixed, from [`BitCode.specialize`](@ref): `h.g` and `h.constants`. It is called as a function is.
"""
struct Specialized{G,C<:Tuple}
    g::G
    constants::C

    function Specialized(g::G, constants::C) where {G,C<:Tuple}
        # Bits are what a compiler can fold, and what is the same on every node.
        isbitstype(Specialized{G,C}) ||
            throw(ArgumentError("only plain data can be fixed (numbers, characters, tuples and immutable structs of them), and so only such may `g` have captured; pass what else it needs when it is called"))
        return new{G,C}(g, constants)
    end
end

"""
    BitCode.specialize(g, constants...) -> h

The function `h` for which `h(args...)` is `g(constants..., args...)`, by code of its own: the first shipped function that calls it on a node has the node's LLVM
compile `g`, and all that it calls, once more with the constants as such, so that branches on them vanish, loops unroll and multiplications become shifts. That takes as
long as any compilation; the result is kept in the node's cache under a code id of its own, and on its disk as other code is, so that whoever calls `h` there later finds it.

`h` is a value like any other: it can be an argument and a result, and [`Hop.forward`](@ref), [`Hop.spawn`](@ref) and [`Hop.call`](@ref) take it as a function. Then what
goes along is the specialised code, to nodes that lack it. The constants are plain data, else `ArgumentError`. With more than 64 KiB of them, on a node without a compiler (`--no-jit`), and at the origin,
`h(args...)` is `g(constants..., args...)`, no quicker.

```julia
power(n, x) = (y = one(x); for _ in 1:n y *= x end; y)
function powers(n, xs)
    h = BitCode.specialize(power, n) # n is known only here
    return map(h, xs)
end
@remote node powers(3, [1.0, 2.0])   # [1.0, 8.0]
```
"""
specialize(g, constants...) = Specialized(g, constants)

@inline (h::Specialized)(args::Vararg{Any,N}) where {N} = run_specialized(h, args...)

@noinline run_specialized(h::Specialized, args::Vararg{Any,N}) where {N} = h.g(h.constants..., args...)

# --- on a node ------------------------------------------------------------------------------------------------------------------------

@noinline function node_run_specialized(h::H, args::Vararg{Any,N}) where {H<:Specialized,N}
    fixed_bytes!(h)
    code = ccall("extern bc_special", llvmcall, Int64, ())
    code == 0 && return h.g(h.constants..., args...)
    T = Core.Compiler.return_type(h.g, Tuple{map(typeof, h.constants)...,map(typeof, args)...})
    R = T === Union{} ? Any : T
    number = entry_number(Tuple{Inside{H},typeof(args)})
    return ccall("extern bc_run_special", llvmcall, Any, (Int64, Int64, Any), code, number, args)::R
end

# Into the room: what the code is specialised for. The same values are the same bytes.
@inline function fixed_bytes!(h::H) where {H<:Specialized}
    bytes = head_bytes(H)
    room = Ptr{UInt8}(ccall("extern bc_forward_room", llvmcall, Int64, (Int64,), bytes))
    for k in 1:bytes
        unsafe_store!(room, 0x00, k)
    end
    write_value(Flat(room), H, h, 0, bytes)
    return nothing
end

# The code for the next call that leaves this node.
@inline go_on_with(f) = nothing

@inline function go_on_with(h::Specialized)
    fixed_bytes!(h)
    ccall("extern bc_fix", llvmcall, Cvoid, ())
    return nothing
end

# What the entry of specialised code calls. Where the code is not, it is `h` that finds some.
struct Folded{H}
    h::H
end

BitCode.as_called(h::Specialized) = Folded(h)

@inline function (it::Folded{H})(args::Vararg{Any,N}) where {H,N}
    place = ccall("extern bc_fixed", llvmcall, Int64, ())
    place == 0 && return it.h(args...)
    h = read_value(InPlace(), H, Ptr{UInt8}(place), 0)
    return h.g(h.constants..., args...)
end

"""
    InsideEntry{H,A}

The entry of specialised code for code that runs on the same node: calls an `H` with the arguments of the tuple type `A`, as they are.
"""
struct InsideEntry{H,A<:Tuple} end

function (::InsideEntry{H,A})(payload::Ptr{UInt8}, length::Int64, call::Ptr{Cvoid}) where {H,A}
    arguments = ccall("extern bc_given", llvmcall, Any, ())::A
    place = ccall("extern bc_fixed", llvmcall, Int64, ())
    place == 0 && throw(ArgumentError("code that is not specialised was called as if it were"))
    h = read_value(InPlace(), H, Ptr{UInt8}(place), 0)
    ccall("extern bc_give", llvmcall, Cvoid, (Any,), h.g(h.constants..., arguments...))
    return Int32(0)
end
