# What users write: `@remote`, and Distributed's names with a `Node` where Distributed has a number.
#
# The life of a call starts here: `remotecall_fetch` → `call_and_wait` (call.jl) → the call site (site.jl), captured if need be
# (julia/capture) → packed (julia/marshal) → libbitcode (julia/abi) → the node.

import Distributed: pmap, remotecall, remotecall_fetch, remotecall_wait, remote_do

"""
    remotecall_fetch(f, node::Node, args...; kw...)

Run `f(args...; kw...)` on `node` and return its value. The first call of a function with arguments of new types captures it and ships its
code; later calls send the arguments alone.

Large arrays are sent from where they lie: another task must not change them while the call is under way ([`remotecall`](@ref) copies them).

```julia
node = launch()
remotecall_fetch(+, node, 1, 2)              # 3
remotecall_fetch(sort, node, [3, 1, 2]; rev = true)
```
"""
remotecall_fetch(f::F, node::Node, args::Vararg{Any,N}; kw...) where {F,N} =
    call_and_wait(node, as_argument(f), map(as_argument, args), map(as_argument, values(kw)))

# Most calls have few arguments and no keywords: these forms are the same, with less to compile for each function. (With a type parameter for each argument, because Julia
# does not compile anew for a function that is only passed on, and would look for the call's site each time.)
remotecall_fetch(f::F, node::Node) where {F} = call_and_wait(node, as_argument(f), (), NamedTuple())
remotecall_fetch(f::F, node::Node, a::A) where {F,A} = call_and_wait(node, as_argument(f), (as_argument(a),), NamedTuple())
remotecall_fetch(f::F, node::Node, a::A, b::B) where {F,A,B} = call_and_wait(node, as_argument(f), (as_argument(a), as_argument(b)), NamedTuple())
remotecall_fetch(f::F, node::Node, a::A, b::B, c::C) where {F,A,B,C} =
    call_and_wait(node, as_argument(f), (as_argument(a), as_argument(b), as_argument(c)), NamedTuple())

"""
    remotecall(f, node::Node, args...; kw...) -> BitCode.Future

Start `f(args...; kw...)` on `node` and return at once. See [`BitCode.Future`](@ref). The arguments are sent as they are now: they may be changed
while the call is under way.

```julia
futures = [remotecall(sum, node, rand(1000)) for node in launch(4)]
fetch.(futures)
```
"""
remotecall(f::F, node::Node, args::Vararg{Any,N}; kw...) where {F,N} =
    Future(node, as_argument(f), map(as_argument, args), map(as_argument, values(kw)))

"""
    remotecall_wait(f, node::Node, args...; kw...) -> BitCode.Future

Run `f(args...; kw...)` on `node` and wait for its end, not for its value; an exception is thrown here.

```julia
future = remotecall_wait(sum, node, rand(1000))
fetch(future)
```
"""
function remotecall_wait(f::F, node::Node, args::Vararg{Any,N}; kw...) where {F,N}
    future = wait(Future(node, as_argument(f), map(as_argument, args), map(as_argument, values(kw)); waits = true))
    future.outcome isa Exception && throw(future.outcome)
    return future
end

"""
    remote_do(f, node::Node, args...; kw...)

Run `f(args...; kw...)` on `node`; neither its value nor its exception comes back. The arguments may be changed at once, as with [`remotecall`](@ref).

```julia
remote_do(sort!, node, rand(1000))
```
"""
function remote_do(f::F, node::Node, args::Vararg{Any,N}; kw...) where {F,N}
    post(node, as_argument(f), map(as_argument, args), map(as_argument, values(kw)))
    return nothing
end

"""
    pmap(f, nodes::AbstractVector{<:Node}, xs, ys...; on_error = nothing) -> Array

`map(f, xs, ys...)`, with each call on whichever of `nodes` is free. The first exception of a call is thrown here, a [`RemoteException`](@ref) or
a [`BitCode.BitCodeError`](@ref); with `on_error`, what this returns for it takes the place of the value. Nodes that die are given nothing more.

```julia
pmap(binomial, launch(2), [10, 20, 30], [2, 3, 4]) # [45, 1140, 27405]
pmap(sqrt, launch(2), [4.0, -1.0]; on_error = e -> NaN) # [2.0, NaN]
```
"""
function pmap(f, nodes::AbstractVector{<:Node}, xs, more...; on_error = nothing)
    isempty(nodes) && throw(ArgumentError("pmap wants a node or more"))
    free = Channel{Node}(length(nodes))
    foreach(node -> put!(free, node), nodes)
    function call_one(arguments...)
        node = take!(free)
        try
            remotecall_fetch(f, node, arguments...)
        catch e
            (on_error === nothing || e isa InterruptException) && rethrow()
            on_error(e)
        finally
            if isopen(node)
                put!(free, node)
            elseif !any(isopen, nodes)
                close(free, BitCodeError(:connection_lost, "none of the $(length(nodes)) nodes of this `pmap` is left"))
            end
        end
    end
    try
        return asyncmap(call_one, xs, more...; ntasks = length(nodes))
    catch e
        # Since 1.6 what a task has thrown comes in a wrapper.
        e isa CapturedException ? throw(e.ex) : rethrow()
    end
end

# --- @remote -----------------------------------------------------------------------------------------------------------------

# Where `@remote` goes: one node, or several at once.
@inline on(node::Node, f::F, arguments::Tuple, keywords::NamedTuple) where {F} =
    call_and_wait(node, as_argument(f), map(as_argument, arguments), map(as_argument, keywords))

function on(nodes::Union{AbstractVector{<:Node},Tuple{Vararg{Node}}}, f, arguments::Tuple, keywords::NamedTuple)
    futures = [Future(node, as_argument(f), map(as_argument, arguments), map(as_argument, keywords); waits = true) for node in nodes]
    foreach(wait, futures)
    failures = [future.outcome for future in futures if future.outcome isa Exception]
    length(failures) > 1 && throw(CompositeException(failures))
    return [fetch(future) for future in futures]
end

on(other, f, arguments, keywords) =
    throw(ArgumentError("@remote wants a node or a vector of nodes (from `launch` or `connect`), not a $(typeof(other))"))

"""
    @remote node f(x, y; k = v)
    @remote node begin … end
    @remote nodes f(x)

Run a call, or a block, on a node and return its value.

The function and its arguments are evaluated here; only the call itself happens over there. A block becomes a function without
arguments: the variables that it uses travel with it, by value. With a vector of nodes it runs on all of them at once, and
the values come back in the order of the nodes.

```julia
node = launch()
@remote node sqrt(2.0)
n = 10
@remote node begin
    s = 0
    for i in 1:n
        s += i^2
    end
    s
end
@remote launch(4) binomial(20, 10)
```
"""
macro remote(node, expression)
    return esc(remote_expression(__module__, node, expression))
end

function remote_expression(scope::Module, node, expression)
    if expression isa Expr && expression.head == :(=)
        throw(ArgumentError("@remote cannot assign a variable of this process: write `$(expression.args[1]) = @remote $node $(expression.args[2])`"))
    end
    expression isa Expr && expression.head == :do && return remote_do_block(node, expression)
    is_plain_call(expression) && return remote_call(node, expression.args)
    return Expr(:call, on, node, block_function(scope, expression), (), NamedTuple())
end

is_plain_call(@nospecialize(e)) = e isa Expr && e.head == :call && e.args[1] !== :ccall && !is_dotted(e.args[1])

# `.+` is syntax, not a function.
is_dotted(@nospecialize(f)) = f isa Symbol && startswith(string(f), '.')

function remote_call(node, call::Vector{Any})
    positional, keywords = sort_arguments(call[2:end])
    return Expr(:call, on, node, call[1], Expr(:tuple, positional...), isempty(keywords) ? NamedTuple() : Expr(:tuple, Expr(:parameters, keywords...)))
end

# Keyword arguments stand after a semicolon (`:parameters`), or among the others (`:kw`).
function sort_arguments(arguments)
    positional = filter(a -> !(a isa Expr && a.head in (:parameters, :kw)), arguments)
    keywords = Any[]
    for a in arguments
        a isa Expr || continue
        a.head == :kw && push!(keywords, a)
        a.head == :parameters && append!(keywords, a.args)
    end
    return positional, keywords
end

# `f(x) do y … end` is `f(y -> …, x)`.
function remote_do_block(node, expression::Expr)
    call, block = expression.args
    call isa Expr && call.head == :call || throw(ArgumentError("@remote does not understand `$expression`"))
    return remote_call(node, Any[call.args[1], block, call.args[2:end]...])
end

# The block as a function. Variables of the module that are not constant, such as those typed at the REPL, would be looked up when it
# runs: each becomes a variable of the function, with the value that it has now.
function block_function(scope::Module, block)
    names = sort!(collect(filter(name -> is_variable(scope, name), setdiff(names_read(block), names_assigned(block)))))
    return Expr(:let, Expr(:block, (Expr(:(=), name, name) for name in names)...), Expr(:block, Expr(:->, Expr(:tuple), block)))
end

is_variable(scope::Module, name::Symbol) = isdefined(scope, name) && !isconst(scope, name)

names_read(@nospecialize(e), names = Set{Symbol}()) = names
names_read(e::Symbol, names = Set{Symbol}()) = push!(names, e)
function names_read(e::Expr, names = Set{Symbol}())
    e.head in (:quote, :inert, :macrocall) && e.head != :macrocall && return names
    first = e.head in (:kw, :macrocall) ? 2 : 1
    foreach(a -> names_read(a, names), e.args[first:end])
    return names
end

const ASSIGNMENTS = (:(=), :(+=), :(-=), :(*=), :(/=), :(^=), :(÷=), :(%=), :(|=), :(&=), :(⊻=), :(\=), :(<<=), :(>>=), :(>>>=))

# Names that the block itself gives a value: assigned, declared, or arguments of functions in it.
names_assigned(@nospecialize(e), names = Set{Symbol}()) = names
function names_assigned(e::Expr, names = Set{Symbol}())
    e.head in (:quote, :inert) && return names
    e.head in ASSIGNMENTS && targets(e.args[1], names)
    e.head in (:local, :function, :->) && targets(e.args[1], names)
    foreach(a -> names_assigned(a, names), e.args)
    return names
end

targets(@nospecialize(e), names) = names
targets(e::Symbol, names) = push!(names, e)
function targets(e::Expr, names)
    e.head in (:ref, :.) && return names
    foreach(a -> targets(a, names), e.head == :(::) ? e.args[1:1] : e.args)
    return names
end
