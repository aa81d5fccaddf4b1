# One libbitcode client for each transport setting, made when first needed.

"""
    Client

An open fabric of libbitcode. All nodes with the same transport setting share one.
"""
mutable struct Client
    handle::API.Handle
    setting::String
    index::Int # the place of its code handles in a call site
    outlet::Outlet
end

const CLIENTS = Client[]
const CLIENTS_LOCK = ReentrantLock()

function client_for(setting::AbstractString)
    require_library()
    lock(CLIENTS_LOCK) do
        for client in CLIENTS
            client.setting == setting && return client
        end
        handle = new_client(String(setting))
        client = Client(handle, String(setting), length(CLIENTS) + 1, Outlet(handle))
        push!(CLIENTS, client)
        return client
    end
end
