# One libbitcode client for each transport setting, made when first needed.

"""
    Client

An open fabric of libbitcode, for nodes that take the same images. All of them with the same transport setting share one.
"""
mutable struct Client
    handle::API.Handle
    setting::String
    arch::String # "" for this machine's
    native::String # the target of native code, for nodes that compile nothing; "" for others, which get bitcode
    index::Int   # the place of its code handles in a call site
    seen::Bool   # there has been a node of it
    outlet::Outlet
end

const CLIENTS = Client[]
const CLIENTS_LOCK = ReentrantLock()

function client_for(setting::AbstractString)
    require_library()
    lock(CLIENTS_LOCK) do
        for client in CLIENTS
            client.setting == setting && isempty(client.arch) && isempty(client.native) && return client
        end
        handle = new_client(String(setting))
        client = Client(handle, String(setting), "", "", next_index(), false, Outlet(handle))
        push!(CLIENTS, client)
        return client
    end
end

# The same fabric, for the node that said this of itself: what a call site calls there has images of its own.
function client_for(client::Client, info::Dict)
    arch = get(info, "arch", nothing)
    name = is_foreign(arch) ? architecture(arch) : ""
    # A node that has no compiler says so by having no version of it.
    native = isempty(get(info, "llvm", "")) ? join((architecture(arch), info["cpu"], info["features"]), ':') : ""
    lock(CLIENTS_LOCK) do
        k = findfirst(other -> other.handle == client.handle && other.arch == name && other.native == native, CLIENTS)
        kind = k === nothing ? Client(client.handle, client.setting, name, native, next_index(), false, client.outlet) : CLIENTS[k]
        k === nothing && push!(CLIENTS, kind)
        kind.seen || expect_kind(kind)
        return kind
    end
end

# From now on code that moves may come to such a node: call sites make it anew, for they find nothing at new numbers.
function expect_kind(kind::Client)
    kind.seen = true
    foreach(client -> client.index = next_index(), filter(client -> client.handle == kind.handle, CLIENTS))
    return nothing
end

const LAST_INDEX = Ref(0)
next_index() = LAST_INDEX[] += 1

# The kinds of nodes that code called on nodes of `client` can come to, in an order that does not depend on who came first.
kinds_reached(client::Client) =
    lock(() -> sort!(filter(other -> other.handle == client.handle && (other.seen || other === client), CLIENTS); by = kind -> (kind.arch, kind.native)), CLIENTS_LOCK)

