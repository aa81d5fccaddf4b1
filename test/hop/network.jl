# A network of its own for a few processes: network namespaces, which see each other through a bridge and nothing else. Needs the right to make them.

struct Network
    name::String
    places::Vector{String} # namespaces, each with the device eth0
end

address(k) = "10.77.0.$k"

ip(arguments...) = run(pipeline(`ip $(collect(arguments))`; stdout = devnull, stderr = devnull))

# What is in the way of making one, or `nothing`.
function no_network()
    Sys.which("ip") === nothing && return "there is no `ip` (Debian's iproute2)"
    probe = "bitcode-$(getpid())-probe"
    success(pipeline(`ip netns add $probe`; stdout = devnull, stderr = devnull)) || return "this user may not make network namespaces"
    ip("netns", "delete", probe)
    return nothing
end

# `f(network)` with so many places; whatever was made is removed afterwards.
function with_network(f, count)
    network = Network("bitcode-$(getpid())", ["bitcode-$(getpid())-$k" for k in 1:count])
    try
        ip("netns", "add", network.name)
        ip("-n", network.name, "link", "add", "bridge", "type", "bridge")
        ip("-n", network.name, "link", "set", "bridge", "up")
        for (k, place) in enumerate(network.places)
            ip("netns", "add", place)
            ip("-n", place, "link", "add", "eth0", "type", "veth", "peer", "name", "port$k", "netns", network.name)
            ip("-n", place, "address", "add", "$(address(k))/24", "dev", "eth0")
            foreach(device -> ip("-n", place, "link", "set", device, "up"), ("lo", "eth0"))
            ip("-n", network.name, "link", "set", "port$k", "master", "bridge", "up")
        end
        return f(network)
    finally
        for place in [network.places; network.name]
            success(pipeline(`ip netns delete $place`; stdout = devnull, stderr = devnull))
        end
    end
end

# The command, run at a place.
at_place(network, k, command) = `ip netns exec $(network.places[k]) $command`
