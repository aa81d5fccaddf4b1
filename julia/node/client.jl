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
        client = Client(handle, String(setting), "", "", length(CLIENTS) + 1, Outlet(handle))
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
    client.arch == name && client.native == native && return client
    lock(CLIENTS_LOCK) do
        for other in CLIENTS
            other.handle == client.handle && other.arch == name && other.native == native && return other
        end
        other = Client(client.handle, client.setting, name, native, length(CLIENTS) + 1, client.outlet)
        push!(CLIENTS, other)
        return other
    end
end
