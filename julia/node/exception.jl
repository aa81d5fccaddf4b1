# What a call can end in besides its value.

"""
    RemoteException(node, exception, backtrace, trail)

A shipped function threw on `node`. `exception` is what it threw, an object of the same type as a local call would throw, and shows
as it would; `backtrace` is where: pairs of a `StackFrame` and how often it repeats, innermost first, inlined functions too. `e.captured`
gives both as a `CapturedException`, as `Distributed.RemoteException` does. `trail` holds the numbers of the nodes that a call went by which moved ([`BitCode.Hop.forward`](@ref)),
the last of them `node`'s; 0 stands for hops that nobody remembers.

```julia
try
    @remote node sqrt(-1.0)
catch e
    e.exception isa DomainError # true
end
```
"""
struct RemoteException <: Exception
    node::Any
    exception::Any
    backtrace::Vector{Any}
    trail::Vector{Int}
end

function Base.getproperty(e::RemoteException, name::Symbol)
    name === :captured && return CapturedException(e.exception, e.backtrace)
    return getfield(e, name)
end

function Base.showerror(io::IO, e::RemoteException)
    println(io, "On node ", e.node.address, length(e.trail) > 1 ? ", after hops from node $(way_in_words(e.trail)):" : ":")
    showerror(io, e.exception)
    isempty(e.backtrace) && return nothing
    print(io, "\nStacktrace on the node:")
    Base.show_backtrace(io, e.backtrace)
end

# Throws what a finished call ended in, unless that is a value.
@noinline function throw_outcome(node, shipped, call::API.Handle, state::Cint)
    trail = call_trail(call)
    if state == API.THROW
        place, length = call_bytes(call)
        bytes = copy(unsafe_wrap(Array, place, length))
        backtrace = remote_backtrace!(bytes, shipped)
        places = trail === nothing ? Int[] : places_of(trail)
        throw(RemoteException(last_node(node, trail), remote_exception(bytes, shipped), backtrace, places))
    end
    error = call_error(call)
    trail === nothing || isempty(places_of(trail)) || (error = BitCodeError(error.code, error.message * ". " * trail_in_words(trail), places_of(trail)))
    throw(error)
end

# --- where a call went -----------------------------------------------------------------------------------------------------------

places_of(trail) = convert(Vector{Int}, trail["places"])

# How many places of a way are shown: the last ones.
const PLACES_SHOWN = 12

function way_in_words(places::Vector{Int})
    shown = places[max(1, end - PLACES_SHOWN + 1):end]
    words = [k == 0 ? "…" : string(k) for k in shown]
    length(shown) < length(places) && shown[1] != 0 && pushfirst!(words, "…")
    return join(words, " → ")
end

function trail_in_words(trail)
    places, silent, addresses = places_of(trail), convert(Vector{Int}, trail["silent"]), trail["addresses"]
    with_address(k) = "node $k ($(get(addresses, k, "unknown")))"
    went = length(places) == 1 ? "It did not leave $(with_address(places[1]))" : "It went from node $(way_in_words(places)), the last of which is $(with_address(places[end]))"
    isempty(silent) && return went
    return "$went; $(join(map(with_address, silent), ", ", " and ")) did not say where it went from there"
end

# The node that a call was on in the end, if it is still open.
function last_node(node, trail)
    (trail === nothing || isempty(trail["places"]) || trail["places"][end] == 0) && return node
    address = trail["addresses"][trail["places"][end]]
    node.address == address && return node
    others = filter(other -> other.address == address && other.client.handle == node.client.handle, nodes())
    return isempty(others) ? node : others[1]
end

function remote_exception(bytes::Vector{UInt8}, shipped)
    try
        return decode_graph(bytes, shipped.objects, shipped.deferrable)
    catch e
        e isa MalformedGraph || rethrow()
        return OpaqueValue("an exception that could not be read ($(e.message))")
    end
end

const SITES_OF_A_LINK = 1 << 20

# Takes the backtrace, the numbers of sites and their count, from the end of `bytes`. What makes no sense is left out.
function remote_backtrace!(bytes::Vector{UInt8}, shipped)
    backtrace = Any[]
    word(at) = ltoh(only(reinterpret(UInt32, bytes[at:at+3])))
    length(bytes) >= 4 || return backtrace
    count = Int(word(length(bytes) - 3))
    start = length(bytes) - 4 - 4count
    start >= 0 || return backtrace
    for k in 1:count
        number = Int(word(start + 4k - 3))
        # Code that is linked to has numbers of its own, from 2^20 on for the first (docs/ABI.md).
        link, number = divrem(number, SITES_OF_A_LINK)
        link <= length(shipped.linked) || continue
        sites = link == 0 ? shipped.sites : shipped.linked[link].sites
        1 <= number <= length(sites) && push_frames!(backtrace, sites[number])
    end
    resize!(bytes, start)
    return backtrace
end

function push_frames!(backtrace::Vector{Any}, site::Capture.Site)
    for (i, frame) in enumerate(site)
        shown = StackTraces.StackFrame(Symbol(frame.name), Symbol(source_file(frame.file)), frame.line, nothing, false, i < length(site), 0)
        if !isempty(backtrace) && backtrace[end][1] == shown
            backtrace[end] = (shown, backtrace[end][2] + 1)
        else
            push!(backtrace, (shown, 1))
        end
    end
end

# As Julia shows the files of Base.
source_file(file::String) = endswith(file, ".jl") && !isabspath(file) && !startswith(file, ".") ? joinpath(".", file) : file
