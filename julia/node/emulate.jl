# Nodes of another kind of machine than this one: which there are, and what runs them here.

# Where `make node-aarch64` puts the node and the libraries that it is linked with.
aarch64_directory() = get(ENV, "BITCODE_AARCH64", joinpath(PACKAGE_ROOT, ".aarch64"))

const EMULATOR = "qemu-aarch64-static"

# One name for each kind of machine.
function architecture(arch)
    name = lowercase(String(arch))
    return name == "amd64" ? "x86_64" : name == "arm64" ? "aarch64" : name
end

"""
    is_foreign(arch) -> Bool

Is `arch` (`nothing`: not said, not known) another kind of machine than this one?
"""
is_foreign(::Nothing) = false
is_foreign(arch) = architecture(arch) != String(Sys.ARCH)

# The command that starts a node for `arch`.
function emulated_node(arch)
    name = architecture(arch)
    name == "aarch64" && Sys.ARCH === :x86_64 || throw(ArgumentError(
        "nodes that can be launched on this $(Sys.ARCH) machine are $(Sys.ARCH)" * (Sys.ARCH === :x86_64 ? " and aarch64" : "") * ", not $name"))
    directory = aarch64_directory()
    node = joinpath(directory, "bitcode-node")
    emulator = Sys.which(EMULATOR)
    missing_parts = String[]
    emulator === nothing && push!(missing_parts, "$EMULATOR, which is not on the PATH (Debian's package qemu-user-static)")
    isfile(node) || push!(missing_parts, "bitcode-node for aarch64, which is not at $node")
    isempty(missing_parts) || throw(BitCodeError(:not_built, "an aarch64 node on this machine needs " * join(missing_parts, ", and ") *
        ". `make node-aarch64` in $PACKAGE_ROOT installs and builds it (on Debian 12); " *
        "a node on an aarch64 machine is reached with `connect(\"bitcode://host:port\")`."))
    return `$emulator -L $(joinpath(directory, "root")) $node`
end

# Memory is not shared with a machine that is emulated: what one side takes for atomic, the other may not.
function emulated_transport(transport)
    transport in ("auto", "tcp") && return "tcp"
    throw(ArgumentError("an emulated node is reached over \"tcp\", not \"$transport\""))
end
