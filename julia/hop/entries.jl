# Shipped code with several entries: the one that the origin calls, and one for each function that the code goes on to on other nodes. All of them
# are in one archive, so that code that moves brings along where it may move to, and names it by a number.

"""
    Entries{E<:Tuple}

The entry of code that hops: calls the one of the entries `E` (their types) that the node says, counted from 0.
"""
struct Entries{E<:Tuple} end

@generated function (::Entries{E})(payload::Ptr{UInt8}, length::Int64, call::Ptr{Cvoid}) where {E}
    entries = fieldtypes(E)
    chain = :($(entries[1].instance)(payload, length, call))
    for n in 1:Base.length(entries)-1
        chain = :(number == $n ? $(entries[n+1].instance)(payload, length, call) : $chain)
    end
    # Code that runs on the same node says a number itself (`bc_run_special`).
    return :(number = length < 0 ? -length : ccall("extern bc_entry", llvmcall, Int64, ()); $chain)
end

# Of code that is specialised while it runs, an entry is numbered that is called on the same node, with arguments as they are: for the type `Inside{H}` of the
# specialised function (julia/hop/specialize.jl).
struct Inside{H} end

is_inside(@nospecialize(S)) = S.parameters[1] <: Inside

# What `Hop.forward` numbers: the types of a function and of the tuple of its arguments.
signature_of(::Entry{F,A,W}) where {F,A,W} = W === NamedTuple{(),Tuple{}} ? Tuple{F,A} : nothing

# What `Hop.spawn` and `Hop.call` number has a third type, that of the result: not the call's, but `Nothing`, or what `call` waits for.
result_of(@nospecialize(S), @nospecialize(R)) = length(S.parameters) == 3 ? S.parameters[3] : R

# The entry for a function that is gone on to in a call whose entry is the first argument: whatever it returns, it is packed as the result of that.
function further_entry(::Entry{F,A,W,R}, @nospecialize(S)) where {F,A,W,R}
    G, B = S.parameters
    is_inside(S) && return Hop.InsideEntry{G.parameters[1],B}()
    return Entry{G,B,NamedTuple{(),Tuple{}},result_of(S, R)}()
end

# How many entries the code of one call may have. Code whose arguments get other types with each hop would want more of them without end.
const MAX_ENTRIES = 16

const TOO_MANY_ENTRIES = Obstacle("it goes on to other nodes with arguments of more than $MAX_ENTRIES combinations of types",
                                  "let the arguments have the same types each time: a Vector in place of a tuple that grows")

# What is in the way of going on to the functions that `signatures` name after the first `known`, from a call that returns an `R`.
function further_obstacles(@nospecialize(R), signatures::Vector{Any}, known::Int)
    length(signatures) > MAX_ENTRIES && return [TOO_MANY_ENTRIES]
    further = filter(!is_inside, signatures[known+1:end])
    asked = filter(S -> length(S.parameters) == 3, further)
    unanswerable = Obstacle[obstacle for S in asked for obstacle in obstacles(S.parameters[3], string("the result of `", callable_name(S.parameters[1]), "`, which `Hop.call` waits for"))]
    isempty(unanswerable) || return unanswerable
    # What is spawned may go on, too, and what that returns is no result of this call.
    any(S -> length(S.parameters) == 3, signatures[2:end]) && return Obstacle[]
    found = Obstacle[]
    for S in further
        G, B = S.parameters
        T = Core.Compiler.return_type(call_here, Tuple{G,B,NamedTuple{(),Tuple{}}})
        # `finally` does not run where a call goes on, and so what the compiler knows of the call's result is not true there.
        (T === Union{} || typeintersect(T, R) !== Union{}) && continue
        push!(found, Obstacle("it goes on to `$(callable_name(G))`, which returns a $T, but itself $(R === Union{} ? "always throws" : "returns a $R")",
                              "let nothing that decides about the result stand around `forward`: its value is what the call returns, and `finally` does not run"))
    end
    return found
end

# All entries, in order of their numbers.
function entries_of(@nospecialize(entry), signatures::Vector{Any})
    length(signatures) == 1 && return entry
    further = Any[further_entry(entry, S) for S in signatures[2:end]]
    return Entries{Tuple{typeof(entry),map(typeof, further)...}}()
end

# The types that the archive describes for the payloads of those entries.
graph_types_of(signatures::Vector{Any}) =
    foldl(append!, (graph_types(S.parameters[1], S.parameters[2], NamedTuple{(),Tuple{}}, result_of(S, Nothing))[1] for S in signatures[2:end] if !is_inside(S)); init = Any[])
