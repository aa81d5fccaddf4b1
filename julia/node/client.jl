# One libbitcode client for each transport setting, made when first needed.

"""
    Client

An open fabric of libbitcode, for nodes of one architecture. All of them with the same transport setting share one.
"""
mutable struct Client
    handle::API.Handle
    setting::String
    arch::String # "" for this machine's
    index::Int   # the place of its code handles in a call site
    outlet::Outlet
end

const CLIENTS = Client[]
const CLIENTS_LOCK = ReentrantLock()

function client_for(setting::AbstractString)
    require_library()
    lock(CLIENTS_LOCK) do
        for client in CLIENTS
            client.setting == setting && isempty(client.arch) && return client
        end
        handle = new_client(String(setting))
        client = Client(handle, String(setting), "", length(CLIENTS) + 1, Outlet(handle))
        push!(CLIENTS, client)
        return client
    end
end

# The same fabric, for a node of the architecture `arch`: what a call site calls there has an image of its own.
function client_for(client::Client, arch)
    name = is_foreign(arch) ? architecture(arch) : ""
    client.arch == name && return client
    lock(CLIENTS_LOCK) do
        for other in CLIENTS
            other.handle == client.handle && other.arch == name && return other
        end
        other = Client(client.handle, client.setting, name, length(CLIENTS) + 1, client.outlet)
        push!(CLIENTS, other)
        return other
    end
end
