# Starting nodes on this machine. They have a random key that only this process knows, and end with it, however that ends.

import Distributed: launch
using Random: RandomDevice

"""
    launch(; arch = nothing, transport = "auto", cache_bytes = nothing, call_memory = nothing, object_cache = nothing,
             segment_bytes = nothing, allow_library = (), jit = true, log = nothing, timeout = 30) -> Node
    launch(n; …) -> Vector{Node}

Start one node, or `n` of them, on this machine and connect to it. Each is a process of its own, without Julia, that nobody without its
fresh random key can talk to. It ends with `close`, or with this process.

`transport` is "auto", "shm", "tcp" or a list in UCX's own words; `cache_bytes` how much code it keeps; `call_memory` how many
bytes of memory one call may use (8 GiB; more is an `OutOfMemoryError`); `object_cache` a directory, of this user's alone, in which
compiled code is kept for nodes started later (they share it; unless it is given, nothing is written to disk); `segment_bytes` how many bytes of its memory others may
have ([`BitCode.alloc`](@ref); 1 GiB); `allow_library` C libraries that shipped code may call besides Julia's own, by soname, such as `["libz.so.1"]`
(see [`BitCode.allow_library`](@ref)); with `jit = false` it compiles nothing and is sent native code, which `bitcode-archive` makes here; `log` the level of what it writes to its log
(`BitCode.node_log(node)`), such as "info" or "debug"; `timeout` how long it may take to start, in seconds.

`arch` is the kind of machine: this one's own unless said otherwise, or `:aarch64`, which an x86-64 machine emulates (slowly, and over TCP
only): build it with `make node-aarch64`.

```julia
node = launch()
@remote node 1 + 1
nodes = launch(4; transport = "shm")
@remote nodes exp(1.0)
others = launch(2; arch = :aarch64)
@remote others exp(1.0)
```
"""
launch(; options...) = only_one(launch_all(1; options...))

function launch(n::Integer; options...)
    n >= 0 || throw(ArgumentError("cannot launch $n nodes"))
    return launch_all(Int(n); options...)
end

only_one(nodes::Vector{Node}) = nodes[1]

function launch_all(n::Int; arch::Union{Nothing,Symbol,AbstractString} = nothing, transport::AbstractString = "auto",
                    cache_bytes::Union{Nothing,Integer} = nothing, call_memory::Union{Nothing,Integer} = nothing,
                    object_cache::Union{Nothing,AbstractString} = nothing, segment_bytes::Union{Nothing,Integer} = nothing, allow_library = (),
                    jit::Bool = true, log = nothing, timeout::Real = 30)
    timeout > 0 || throw(ArgumentError("the timeout has to be positive, not $timeout seconds"))
    program, transport = is_foreign(arch) ? (emulated_node(arch), emulated_transport(transport)) : (`$(node_program())`, String(transport))
    client = client_for(transport)
    settings = Pair{String,Any}["--transport" => transport, "--cache-bytes" => cache_bytes, "--call-memory" => call_memory, "--segment-bytes" => segment_bytes,
                                "--log" => log, "--object-cache" => object_cache === nothing ? nothing : abspath(object_cache)]
    append!(settings, ["--allow-library" => soname for soname in (allow_library isa AbstractString ? (allow_library,) : allow_library)])
    options = [string(word) for setting in settings if setting.second !== nothing for word in setting]
    jit || push!(options, "--no-jit")
    started = NodeProcess[]
    launched = Node[]
    try
        # All at once, then one by one: they start side by side.
        foreach(_ -> push!(started, start_node(`$program $options`)), 1:n)
        for process in started
            address = await_ready(process, timeout)
            push!(launched, Node(connect_session(client, address, process.key, timeout)..., process))
        end
    catch
        # The processes end whatever becomes of the connections to them.
        try
            foreach(close, launched)
        finally
            foreach(stop, started)
        end
        rethrow()
    end
    return launched
end

function node_program()
    path = get(ENV, "BITCODE_NODE_BIN", Deps.bitcode_node)
    isempty(path) && throw(BitCodeError(:not_built, "bitcode-node has not been built yet. " * build_advice()))
    isfile(path) || throw(BitCodeError(:not_built, "bitcode-node is not at $path any more. " * build_advice()))
    return path
end

"""
    NodeProcess

A node that was started here. It lives as long as the writing end of its standard input, which only this process has.
"""
mutable struct NodeProcess
    process::Base.Process
    key::Vector{UInt8}
    keyfile::String
    log::IOStream # what it writes to standard error; the file has no name any more
end

# One key for all nodes that are launched here: code that hops takes them to each other.
const KEY = UInt8[]
const KEY_LOCK = ReentrantLock()
key_of_this_process() = lock(() -> (isempty(KEY) && append!(KEY, random_key()); copy(KEY)), KEY_LOCK)

# Letters, because the end of a key file may be trimmed.
random_key() = Vector{UInt8}(bytes2hex(rand(RandomDevice(), UInt8, 32)))

# Start a node: the daemon and its settings, to which come those that tie it to this process.
function start_node(program::Cmd)
    key = key_of_this_process()
    keyfile = private_file("key", key)
    logfile = private_file("log", UInt8[])
    try
        # Detached: a Ctrl-C in the terminal is for Julia.
        command = detach(setenv(`$program --listen 127.0.0.1:0 --key-file $keyfile --exit-on-stdin-eof`, node_environment()))
        process = open(pipeline(command; stderr = logfile), "r+")
        return NodeProcess(process, key, keyfile, open(logfile))
    catch
        rm(keyfile; force = true)
        rethrow()
    finally
        rm(logfile; force = true)
    end
end

# A file that only this user can read, even before anything is in it.
function private_file(name, bytes)
    path, io = mktemp(; cleanup = false)
    try
        chmod(path, 0o600)
        write(io, bytes)
    finally
        close(io)
    end
    return path
end

# What this package set for UCX in this process is not meant for a node.
function node_environment()
    environment = copy(ENV)
    for (name, value) in UCX_SETTINGS
        name in own_settings && get(environment, name, "") == value && delete!(environment, name)
    end
    return environment
end

"""
    await_ready(process, timeout) -> address

Wait for the line in which a node says that it is ready.
"""
function await_ready(process::NodeProcess, timeout::Real)
    late = Ref(false)
    timer = Timer(timeout) do _
        late[] = true
        kill(process.process, Base.SIGKILL)
    end
    line = readline(process.process.out)
    close(timer)
    rm(process.keyfile; force = true)
    ready = try
        parse_json(line)
    catch e
        e isa ArgumentError || rethrow()
        nothing
    end
    if !(ready isa Dict && get(ready, "bitcode_node", "") == "ready")
        late[] && throw(BitCodeError(:timeout, "bitcode-node was not ready within $timeout seconds" * last_words(process)))
        wait(process.process)
        throw(BitCodeError(:launch_failed, "bitcode-node ended before it was ready (exit code $(process.process.exitcode))" * last_words(process)))
    end
    return ready["address"]::String
end

function last_words(process::NodeProcess)
    words = strip(String(read(seekstart(process.log))))
    return isempty(words) ? "; it wrote no message" : ". It wrote:\n" * words
end

"""
    BitCode.node_log(node) -> String

What a node that was launched here has written to its log so far.
"""
function node_log(node::Node)
    node.process === nothing && throw(ArgumentError("$(node.address) was not launched here: its log is over there"))
    return String(read(seekstart(node.process.log)))
end

# Ask a launched node to end, by the end of its input; insist after a while.
function stop(process::NodeProcess; patience::Real = 5)
    rm(process.keyfile; force = true)
    close(process.process.in)
    process_running(process.process) || return nothing
    timer = Timer(_ -> kill(process.process, Base.SIGKILL), patience)
    wait(process.process)
    close(timer)
    return nothing
end

# At the end of this process: all inputs first, so that they end side by side.
function stop_all()
    left = lock(() -> copy(NODES), NODES_LOCK)
    for node in left
        API.bc_session_close(node.session)
        node.process === nothing || close(node.process.process.in)
    end
    for node in left
        node.process === nothing || stop(node.process; patience = 2)
    end
    return nothing
end
