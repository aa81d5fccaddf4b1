# A node as its origin sees it: a session of libbitcode, what the node said of itself, and, if we started it, its process.

"""
    Node

A process that runs shipped functions, from [`launch`](@ref) or [`connect`](@ref). Pass it to [`@remote`](@ref) or
[`remotecall_fetch`](@ref); `isopen(node)` tells whether it can be called, `close(node)` ends the connection (and the process, if it was
launched here).

`node.address`, `node.pid`, `node.hostname`, `node.arch`, `node.cpu`, `node.transport` say what it is.
"""
mutable struct Node
    session::API.Handle
    client::Client
    address::String
    info::Dict{String,Any}
    process::Any # of a node that was launched here; `nothing` otherwise
    limits::Base.RefValue{API.Limits} # of the calls that are made with this
    whole::Any   # the Node that this one has its connection from (`within`); `nothing` for most

    function Node(session::API.Handle, client::Client, address::String, process)
        try
            info = session_info(session)
            node = new(session, client_for(client, info), address, info, process, Ref(DEFAULT_LIMITS), nothing)
            lock(() -> push!(NODES, node), NODES_LOCK)
            # It is closed by then: an open node is never collected.
            finalizer(free_session, node)
            return node
        catch
            API.bc_session_free(session)
            rethrow()
        end
    end

    # The same node with other limits.
    function Node(node::Node, limits::API.Limits)
        whole = node.whole === nothing ? node : node.whole
        return new(node.session, node.client, node.address, node.info, node.process, Ref(limits), whole)
    end
end

const DEFAULT_LIMITS = API.Limits(0, 1_000_000, 10_000)

free_session(node) = (API.bc_session_free(getfield(node, :session)); nothing)

# Nodes that are not closed, oldest first. They stay until `close` or the end of the process: a connection does not end by a collection.
const NODES = Node[]
const NODES_LOCK = ReentrantLock()

const INFO_PROPERTIES = (:pid, :hostname, :arch, :cpu, :features, :llvm, :version, :transport, :abis)

Base.propertynames(::Node) = (:address, INFO_PROPERTIES...)

# A chain of comparisons, because the compiler sees through it: a warm call reads `node.session`.
@inline function Base.getproperty(node::Node, name::Symbol)
    if name === :session || name === :client || name === :address || name === :info || name === :process || name === :limits || name === :whole
        return getfield(node, name)
    end
    return said(node, name)
end

@noinline function said(node::Node, name::Symbol)
    name in INFO_PROPERTIES || throw(ArgumentError("a Node has no property `$name`, but " * join(propertynames(node), ", ", " and ")))
    return get(node.info, String(name), nothing)
end

"""
    nodes() -> Vector{Node}

The nodes that are open, in the order in which they were launched or connected.

```julia
launch(2)
length(nodes()) # 2
```
"""
nodes() = lock(() -> filter(isopen, NODES), NODES_LOCK)

"""
    isopen(node::Node) -> Bool

Can the node be called? Not after `close`, and not once its process has died.
"""
Base.isopen(node::Node) = API.bc_session_is_open(node.session) == 1

"""
    close(node::Node)

End the connection. Calls under way fail; a node that was launched here ends with it. Closing again does nothing.
"""
function Base.close(node::Node)
    node.whole === nothing || return close(node.whole)
    API.bc_session_close(node.session)
    lock(() -> filter!(n -> n !== node, NODES), NODES_LOCK)
    node.process === nothing || stop(node.process)
    return nothing
end

"""
    BitCode.within(node; deadline = Inf, hops = 1_000_000, fan_out = 10_000) -> Node

The same node, by the same connection, for calls that are limited: to so many seconds, and, of use for code that moves ([`BitCode.Hop`](@ref)), to so many hops from
node to node on each path that the call takes, and so many calls that it starts on each node. What a call does on other nodes can only take from its limits, never add to them.

A call that is over one of them fails with a [`BitCode.BitCodeError`](@ref) whose `code` is `:timeout` or `:deadline`, `:hop_budget`, `:fan_out`.

```julia
node = launch()
remotecall_fetch(sum, BitCode.within(node; deadline = 2.5), [1, 2, 3]) # 6
```
"""
function within(node::Node; deadline::Real = Inf, hops::Integer = DEFAULT_LIMITS.hop_budget, fan_out::Integer = DEFAULT_LIMITS.fan_out)
    deadline > 0 || throw(ArgumentError("a deadline has to be positive, not $deadline seconds"))
    1 <= hops <= typemax(UInt32) || throw(ArgumentError("a call may make 1 to $(typemax(UInt32)) hops, not $hops"))
    0 <= fan_out <= typemax(UInt16) || throw(ArgumentError("a call may start 0 to $(typemax(UInt16)) calls on each node, not $fan_out"))
    milliseconds = deadline == Inf ? 0 : clamp(ceil(1000 * Float64(deadline)), 1, typemax(UInt32))
    return Node(node, API.Limits(UInt32(milliseconds), hops, fan_out))
end

"""
    BitCode.statistics(node) -> Dict{String,Any}

Counters of the connection: calls, bytes sent and received, archives sent, how often the node asked for code…
"""
statistics(node::Node) = session_stats(node.session)

"""
    connect(address; key = nothing, keyfile = nothing, transport = "auto", timeout = 10) -> Node

Connect to a node that runs at `address`: "host:port", or "bitcode://host:port". `key` (a string or bytes) or the contents of the file
`keyfile` must be the node's own key; a node on this machine may have none. `transport` is "auto", "shm", "tcp" or a list in UCX's own
words; `timeout` is in seconds.

```julia
node = connect("bitcode://host:13337"; keyfile = "cluster.key")
```
"""
function connect(address::AbstractString; key = nothing, keyfile = nothing, transport::AbstractString = "auto", timeout::Real = 10)
    return Node(connect_session(client_for(transport), address, connection_key(key, keyfile), timeout)..., nothing)
end

function connect_session(client::Client, address::AbstractString, key::Vector{UInt8}, timeout::Real)
    place = host_and_port(address)
    timeout > 0 || throw(ArgumentError("the timeout has to be positive, not $timeout seconds"))
    return new_session(client.handle, place, key, ceil(Int, 1000 * timeout)), client, place
end

function host_and_port(address::AbstractString)
    place = startswith(address, "bitcode://") ? address[ncodeunits("bitcode://")+1:end] : address
    place = String(rstrip(place, '/'))
    m = match(r"^(\[[^\]]+\]|[^:/]+):([0-9]+)$", place)
    port = m === nothing ? nothing : tryparse(UInt16, m[2])
    (port === nothing || port == 0) && throw(ArgumentError("\"$address\" is no address of a node: \"host:port\" or \"bitcode://host:port\" is"))
    return place
end

function connection_key(key, keyfile)
    key === nothing || keyfile === nothing || throw(ArgumentError("give either `key` or `keyfile`, not both"))
    keyfile === nothing || return trim_newline(read_key(keyfile))
    key === nothing && return UInt8[]
    return key isa AbstractString ? Vector{UInt8}(key) : convert(Vector{UInt8}, key)
end

function read_key(path)
    isfile(path) || throw(ArgumentError("there is no key file at $path"))
    return read(path)
end

# One newline at the end is the editor's, not the key's: exactly what bitcode-node drops (rust/node/src/key.rs).
function trim_newline(bytes::Vector{UInt8})
    !isempty(bytes) && bytes[end] == UInt8('\n') && pop!(bytes)
    return bytes
end

# --- showing -----------------------------------------------------------------------------------------------------------------

state(node::Node) = isopen(node) ? "open" : "closed"

# The architecture only where it is another one than here.
Base.show(io::IO, node::Node) =
    print(io, "Node(", repr(node.address), ", ", is_foreign(node.arch) ? "$(node.arch), " : "", state(node), ")")

# What there is to say, as pairs of words.
function description(node::Node)
    machine = join(filter(!isnothing, [node.cpu, node.arch === nothing ? nothing : "($(node.arch))"]), " ")
    launched = node.process === nothing ? nothing : is_foreign(node.arch) ? "(launched here, emulated)" : "(launched here)"
    process = join(filter(!isnothing, ["$(node.pid)", node.hostname === nothing ? nothing : "on $(node.hostname)", launched]), " ")
    return ["state" => state(node), "transport" => string(node.transport), "cpu" => machine, "process" => process]
end

function Base.show(io::IO, ::MIME"text/plain", node::Node)
    print(io, "Node at ", node.address)
    for (what, words) in description(node)
        print(io, "\n  ", rpad(what * ":", 11), words)
    end
end

function Base.show(io::IO, ::MIME"text/html", node::Node)
    print(io, "<table><thead><tr><th colspan=\"2\">Node at ", escape_html(node.address), "</th></tr></thead><tbody>")
    for (what, words) in description(node)
        print(io, "<tr><td>", what, "</td><td>", escape_html(words), "</td></tr>")
    end
    print(io, "</tbody></table>")
end

escape_html(text::AbstractString) =
    replace(replace(replace(replace(text, '&' => "&amp;"), '<' => "&lt;"), '>' => "&gt;"), '"' => "&quot;")
