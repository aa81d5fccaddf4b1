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
    return :(number = ccall("extern bc_entry", llvmcall, Int64, ()); $chain)
end

# What `Hop.forward` numbers: the types of a function and of the tuple of its arguments.
signature_of(::Entry{F,A,W}) where {F,A,W} = W === NamedTuple{(),Tuple{}} ? Tuple{F,A} : nothing

# The entry for a function that is gone on to in a call whose entry is the first argument: whatever it returns, it is packed as the result of that.
further_entry(::Entry{F,A,W,R}, ::Type{Tuple{G,B}}) where {F,A,W,R,G,B} = Entry{G,B,NamedTuple{(),Tuple{}},R}()

# All entries, in order of their numbers.
function entries_of(@nospecialize(entry), signatures::Vector{Any})
    length(signatures) == 1 && return entry
    further = Any[further_entry(entry, S) for S in signatures[2:end]]
    return Entries{Tuple{typeof(entry),map(typeof, further)...}}()
end

# The types that the archive describes for the payloads of those entries.
graph_types_of(signatures::Vector{Any}) =
    foldl(append!, (graph_types(S.parameters[1], S.parameters[2], NamedTuple{(),Tuple{}}, Nothing)[1] for S in signatures[2:end]); init = Any[])
