"""
    BitCode

Run Julia functions on other machines, without installing the functions, or Julia, there.

```julia
using BitCode
node = launch()                  # or connect("bitcode://host:13337"; keyfile = "cluster.key")
f(x) = sin(x)^2 + 1
@remote node f(2.0)              # capture f, ship it once, run it there, return its value
```

A function is captured as LLVM bitcode from Julia's own compiler, with everything it calls, and shipped over UCX to a
`bitcode-node`, which links it, optimises it for its own CPU, keeps it and runs it. Exceptions come back as
[`RemoteException`](@ref); what cannot be shipped is refused with a [`CaptureError`](@ref) before anything is sent.

  - nodes: [`launch`](@ref), [`connect`](@ref), [`nodes`](@ref), [`Node`](@ref), `isopen`, `close`
  - calls: [`@remote`](@ref), [`remotecall_fetch`](@ref), [`remotecall`](@ref), [`remotecall_wait`](@ref), [`remote_do`](@ref), `pmap`
  - printing in shipped functions: [`BitCode.print`](@ref), [`BitCode.println`](@ref), [`BitCode.@show`](@ref)
  - code that moves from node to node: [`BitCode.Hop`](@ref); code that makes code: [`BitCode.specialize`](@ref)
  - without calling: [`BitCode.explain`](@ref), [`BitCode.code_llvm`](@ref), [`BitCode.archive_info`](@ref)
  - functions in files: [`BitCode.archive`](@ref), [`BitCode.save`](@ref), [`BitCode.load`](@ref)
  - memory of nodes: [`BitCode.alloc`](@ref), [`BitCode.attach`](@ref), [`BitCode.RemoteArray`](@ref), [`BitCode.DistributedSegment`](@ref)
  - operations on it: [`BitCode.chase`](@ref), [`BitCode.gather`](@ref), [`BitCode.scatter!`](@ref), [`BitCode.fetch_update!`](@ref), `findfirst`, `mapreduce`,
    [`BitCode.replicate!`](@ref), [`BitCode.allreduce!`](@ref), [`BitCode.barrier`](@ref)

Names and argument order are Distributed's, and its functions are extended, not replaced: both can be loaded. The two types that both
export, `RemoteException` and `Future`, are told apart by their module.
"""
module BitCode

export launch, connect, nodes, Node
export @remote, pmap, remotecall, remotecall_fetch, remotecall_wait, remote_do
export RemoteException, CaptureError

include("../julia/abi/version.jl")

# `print`, `println` and `@show` are ours from here on.
include("../julia/node/printing.jl")

# abi: libbitcode, the LLVM inside Julia, Julia's code generator, objects as memory.
include("../julia/abi/libbitcode.jl")
include("../julia/abi/json.jl")
include("../julia/abi/objects.jl")
include("../julia/abi/llvm.jl")
include("../julia/abi/codegen.jl")

# capture: method → portable bitcode → archive.
include("../julia/capture/capture.jl")
using .Capture: Capture, CaptureError, Reason, Shipped, archive_for, isvalid, read_archive
import .Capture: capture, allow_library

# marshal: values ↔ bytes.
include("../julia/marshal/crossable.jl")
include("../julia/marshal/layout.jl")
include("../julia/marshal/pack.jl")
include("../julia/marshal/tables.jl")
include("../julia/marshal/entry.jl")
include("../julia/marshal/graph.jl")
include("../julia/marshal/graph_write.jl")
include("../julia/marshal/graph_read.jl")
include("../julia/marshal/typenames.jl")

# node: what users call.
include("../julia/node/output.jl")
include("../julia/node/emulate.jl")
include("../julia/node/client.jl")
include("../julia/node/node.jl")
include("../julia/node/launch.jl")
include("../julia/node/exception.jl")
include("../julia/hop/entries.jl")
include("../julia/node/job.jl")
include("../julia/node/buffers.jl")
include("../julia/node/site.jl")
include("../julia/node/call.jl")
include("../julia/node/future.jl")
include("../julia/node/remote.jl")
include("../julia/node/introspect.jl")
include("../julia/node/archives.jl")

# segments: memory of nodes.
include("../julia/segments/remote_array.jl")
include("../julia/segments/distributed.jl")

# hop: code that moves.
include("../julia/hop/hop.jl")
using .Hop: Specialized, specialize

# operations: what is often wanted of memory on several nodes.
include("../julia/operations/operations.jl")

# UCX reads its environment when it is opened, so this comes first. Julia needs SIGSEGV for itself (its collector stops threads with it):
# UCX must not take it for a crash. The memory-type cache hooks the allocator, for GPUs that nothing here uses.
const UCX_SETTINGS = ("UCX_ERROR_SIGNALS" => "SIGILL,SIGBUS", "UCX_MEMTYPE_CACHE" => "no")

# Those of them that the user had not set.
const own_settings = String[]

function __init__()
    for (name, value) in UCX_SETTINGS
        haskey(ENV, name) && continue
        ENV[name] = value
        push!(own_settings, name)
    end
    THIS_PROCESS[] = hash((getpid(), time_ns())) | 1
    init_collector()
    init_buffers()
    init_graphs()
    open_library()
    atexit(stop_all)
    return nothing
end

end # module BitCode
