# Code that moves: what shipped functions say to the node that they run on. Each word has two meanings, both written here: the one that it has in
# this process, and the one that is shipped in its place (capture's stand-ins).

"""
    BitCode.Hop

What a shipped function can do with the nodes of its origin. Nodes have numbers from 1, in the order of `nodes()`; the origin is 0. The words mean the
same on both sides: here, where no shipped function runs, everything happens in this process.

  - [`here`](@ref Hop.here), [`nnodes`](@ref Hop.nnodes), [`origin`](@ref Hop.origin): where the code runs
  - [`forward`](@ref Hop.forward): go on, on another node; [`spawn`](@ref Hop.spawn): start something there, and stay;
    [`call`](@ref Hop.call): have something done there, and wait for the result
  - [`number`](@ref Hop.number): a node's number
  - [`localpart`](@ref Hop.localpart), [`localindices`](@ref Hop.localindices), [`owner`](@ref Hop.owner),
    [`exclusive`](@ref Hop.exclusive): segments, where they lie
  - [`get`](@ref Hop.get), [`put`](@ref Hop.put), [`fetch_add`](@ref Hop.fetch_add), [`swap`](@ref Hop.swap),
    [`compare_swap`](@ref Hop.compare_swap): segments, from anywhere

```julia
using BitCode
using BitCode.Hop: forward, here, nnodes
launch(3)
around(visited) = here() == nnodes() ? (visited..., here()) : forward(here() + 1, around_from, visited..., here())
```
"""
module Hop

export here, nnodes, origin, forward, number, localpart, localindices, owner

using ..BitCode: BitCode, API, Capture, Node
using ..BitCode: payload, as_argument, is_graph, tail_end, head_bytes, write_value, read_value, malformed, Flat, Copied, InPlace, Inside, unpacked, Arrived

# Not constants, and not inlined: the compiler must leave the calls in the code, where capture finds them.
const ORIGIN = Ref(0)

# Since 1.8 the compiler leaves out calls, and computes them beforehand, if what they call has no effect: the words below have one, whatever is called.
@inline acts() = (ORIGIN[] = 0; nothing)

"""
    Hop.here() -> Int

The number of the node that the code runs on; 0 at the origin.
"""
@noinline here() = ORIGIN[]

"""
    Hop.nnodes() -> Int

How many nodes the origin had when it made the call.
"""
@noinline nnodes() = length(BitCode.nodes())::Int

"""
    Hop.origin() -> Int

The number of the process that made the call: 0.
"""
@noinline origin() = ORIGIN[]

"""
    Hop.number(node::Node) -> Int

The number by which shipped functions know the node: its place among the open nodes of its transport, from 1.
"""
function number(node::Node)
    n = Int(API.bc_session_number(node.session))
    n > 0 || throw(ArgumentError("$(node.address) is closed: it has no number"))
    return n
end

"""
    Hop.forward(node, g, args...)

A remote tail call: the function that runs here ends, `g(args...)` runs on the node with the number `node`, and what it returns or throws is what the
origin's call returns or throws. Nothing that comes after it runs, `finally` neither. `g` may be the running function itself; it is part of the same shipped code, which goes along to
nodes that do not have it. The node that says `forward` is done with the call.

At the origin, `forward(node, g, args...)` is `g(args...)`.

```julia
# Follows the pointers of a table of which each node has a part.
function chase(table, i, steps)
    steps == 0 && return i
    return Hop.forward(mod1(i, Hop.nnodes()), chase, table, table[i], steps - 1)
end
@remote node chase([3, 1, 2], 1, 10)
```
"""
@noinline forward(node::Integer, g::G, args::Vararg{Any,N}) where {G,N} = (acts(); g(args...))

"""
    Hop.spawn(node, g, args...)

Start `g(args...)` on the node with the number `node` and go on. Its value goes nowhere; what it throws is written into that node's log. `g` is part of
the same shipped code, as with [`Hop.forward`](@ref), and may itself spawn and forward. It is on the origin's call's account: it ends with that call's deadline, it may
make one hop less than the code that started it, and of all calls that one call of the origin starts in this way, directly or not, each node starts so many as [`BitCode.within`](@ref) says. A call that
wants to start more ends with a `BitCodeError`.

At the origin, `spawn(node, g, args...)` calls `g(args...)`, logs what it throws, and returns `nothing`.

```julia
# Counts visits, on this node and on all nodes behind it, by a tree: each node is told once.
function visit(counts, first, last)
    Hop.fetch_add(counts, Hop.here(), 1)
    first > last && return nothing
    middle = (first + last) ÷ 2
    Hop.spawn(first, visit, counts, first + 1, middle)
    middle < last && Hop.spawn(middle + 1, visit, counts, middle + 2, last)
    return nothing
end
```
"""
@noinline function spawn(node::Integer, g::G, args::Vararg{Any,N}) where {G,N}
    acts()
    # Never throws, and so the compiler finds that it always returns: what is shipped in its place does.
    try
        g(args...)
    catch exception
        log_unheard(exception)
    end
    return nothing
end

"""
    Hop.call(node, g, args...)

Call `g(args...)` on the node with the number `node`, wait for it, and return what it returns. `g` is part of the same shipped code, as with
[`Hop.forward`](@ref). It may call and spawn in turn, but not forward: its result comes back to the code that waits. What the compiler
finds that `g` returns must be a type that can cross. On the node that the code runs on already, it is `g(args...)`.

What `g` throws on another node ends the whole call, and arrives at the origin: code that waits cannot catch it, and its `finally` does
not run. So do a node that cannot be reached, and the end of the call's deadline (`BitCodeError`). The call may make one hop less than the code that
makes it.

At the origin, `call(node, g, args...)` is `g(args...)`.

```julia
# The largest element of all parts, each found where it lies.
largest(table) = maximum(k -> Hop.call(k, t -> maximum(Hop.localpart(t)), table), 1:Hop.nnodes())
```
"""
@noinline call(node::Integer, g::G, args::Vararg{Any,N}) where {G,N} = (acts(); g(args...))

@noinline log_unheard(@nospecialize(exception)) = @error "what was spawned has thrown" exception

# --- on a node ------------------------------------------------------------------------------------------------------------------------

@noinline node_here() = ccall("extern bc_here", llvmcall, Int64, ())
@noinline node_nnodes() = ccall("extern bc_nodes", llvmcall, Int64, ())
@noinline node_origin() = 0

@noinline function node_forward(node::Integer, g::G, args::Vararg{Any,N}) where {G,N}
    f, arguments = as_argument(g), map(as_argument, args)
    go_on_with(g)
    leave(Int64(node), entry_number(Tuple{typeof(f),typeof(arguments)}), payload(f, arguments, NamedTuple()))
    return g(args...) # Never reached: for the compiler, which so knows what the call returns.
end

@noinline function node_spawn(node::Integer, g::G, args::Vararg{Any,N}) where {G,N}
    f, arguments = as_argument(g), map(as_argument, args)
    go_on_with(g)
    start(Int64(node), entry_number(Tuple{typeof(f),typeof(arguments),Nothing}), payload(f, arguments, NamedTuple()))
    return nothing
end

@noinline function node_call(node::Integer, g::G, args::Vararg{Any,N}) where {G,N}
    node == node_here() && return g(args...)
    T = Core.Compiler.return_type(g, typeof(args))
    R = T === Union{} ? Nothing : T # It always throws: nothing comes back.
    f, arguments = as_argument(g), map(as_argument, args)
    go_on_with(g)
    return ask(Int64(node), entry_number(Tuple{typeof(f),typeof(arguments),R}), payload(f, arguments, NamedTuple()), R)
end

# The number of the entry for a function and a tuple of arguments, of types that the tuple type `S` names: capture puts it in.
@noinline entry_number(::Type{S}) where {S} = ORIGIN[]

# What is sent is laid out as the payload of a call by the origin is.
@inline function leave(node::Int64, entry::Int64, values::T) where {T<:Tuple}
    if is_graph(T)
        ccall("extern bc_forward_graph", llvmcall, Cvoid, (Int64, Int64, Any), node, entry, values)
    else
        write_room(values)
        ccall("extern bc_forward", llvmcall, Cvoid, (Int64, Int64), node, entry)
    end
    return nothing
end

@inline function start(node::Int64, entry::Int64, values::T) where {T<:Tuple}
    if is_graph(T)
        ccall("extern bc_spawn_graph", llvmcall, Cvoid, (Int64, Int64, Any), node, entry, values)
    else
        write_room(values)
        ccall("extern bc_spawn", llvmcall, Cvoid, (Int64, Int64), node, entry)
    end
    return nothing
end

@inline function ask(node::Int64, entry::Int64, values::T, ::Type{R}) where {T<:Tuple,R}
    bytes = Ref{Int64}(0)
    if is_graph(T)
        base = ccall("extern bc_ask_graph", llvmcall, Int64, (Int64, Int64, Any, Ptr{Int64}), node, entry, values, bytes)
    else
        write_room(values)
        base = ccall("extern bc_ask", llvmcall, Int64, (Int64, Int64, Ptr{Int64}), node, entry, bytes)
    end
    # It lies in memory of the call, for as long as anything refers to it.
    arrived = Arrived(Ptr{UInt8}(base), bytes[], Ptr{Cvoid}(ccall("extern bc_running", llvmcall, Int64, ())))
    is_graph(R) && return unpacked(R, arrived)
    arrived.length >= head_bytes(R) || malformed()
    return read_value(Copied(arrived.length), R, arrived.base, 0)
end

@inline function write_room(values::T) where {T<:Tuple}
    room = ccall("extern bc_forward_room", llvmcall, Int64, (Int64,), tail_end(T, values, head_bytes(T)))
    write_value(Flat(Ptr{UInt8}(room)), T, values, 0, head_bytes(T))
    return nothing
end

include("segments.jl")
include("specialize.jl")

for (word, stand_in) in (here => node_here, nnodes => node_nnodes, origin => node_origin, forward => node_forward, spawn => node_spawn, call => node_call,
                         run_specialized => node_run_specialized)
    Capture.FUNCTION_STAND_INS[word] = stand_in
end
Capture.NUMBERING[] = entry_number

end # module Hop
