# Looking without calling: whether a call could be shipped, and what that would be.

"""
    Explanation

What [`BitCode.explain`](@ref) found: `name`, the call; `reasons`, what is in the way of shipping it (empty if it can be shipped).
"""
struct Explanation
    name::String
    reasons::Vector{Reason}
end

Base.show(io::IO, e::Explanation) = print(io, "BitCode.Explanation(", repr(e.name), ", ", length(e.reasons), " reasons)")

function Base.show(io::IO, ::MIME"text/plain", e::Explanation)
    isempty(e.reasons) ? print(io, e.name, " can be shipped") : showerror(io, CaptureError(e.name, e.reasons))
end

"""
    BitCode.explain(f, types; keywords = NamedTuple{(),Tuple{}}) -> Explanation

Can `f` be shipped for arguments of `types`, and if not, why? The same report as the `CaptureError` of a call, without a call or a node.

```julia
julia> counter = 0;

julia> count_up(x) = x + counter;

julia> BitCode.explain(count_up, Tuple{Int})
CaptureError: count_up(::Int64) cannot be shipped: …
```
"""
function explain(f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}})
    job = Job(f, types; keywords = keywords)
    try
        capture(job)
        return Explanation(job.name, Reason[])
    catch e
        e isa CaptureError || rethrow()
        return Explanation(e.name, e.reasons)
    end
end

"""
    BitCode.code_llvm([io,] f, types; keywords = NamedTuple{(),Tuple{}})

Print the code that would be shipped for calling `f` with arguments of `types`, as LLVM's text: portable, without an address of this process.

```julia
BitCode.code_llvm(x -> x + 1, Tuple{Int})
```
"""
function code_llvm(io::IO, f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}})
    shipped = capture(Job(f, types; keywords = keywords))
    for image in read_archive(shipped.archive).images
        portable = Capture.Portable(image.code)
        print(io, Capture.text_of(portable))
        close(portable)
    end
    return nothing
end
code_llvm(f, types::Type{<:Tuple}; options...) = code_llvm(stdout, f, types; options...)

"""
    BitCode.code_llvm([io,] node, f, types; keywords = NamedTuple{(),Tuple{}})

Print what `node` makes of the code for calling `f` with arguments of `types`: LLVM's text, optimised for the node's CPU. Nothing is run.

```julia
BitCode.code_llvm(launch(), x -> x + 1, Tuple{Int})
```
"""
code_llvm(io::IO, node::Node, f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}}) =
    write_code(io, node, LLVM_VIEW, Job(f, types; keywords = keywords))
code_llvm(node::Node, f, types::Type{<:Tuple}; options...) = code_llvm(stdout, node, f, types; options...)

"""
    BitCode.code_native([io,] node, f, types; keywords = NamedTuple{(),Tuple{}})

Print the machine instructions that `node` makes of the code for calling `f` with arguments of `types`, for its own CPU; names of what is linked in
stand behind the instructions. Nothing is run.

```julia
BitCode.code_native(launch(), v -> sum(v), Tuple{Vector{Float64}})
```
"""
code_native(io::IO, node::Node, f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}}) =
    write_code(io, node, NATIVE_VIEW, Job(f, types; keywords = keywords))
code_native(node::Node, f, types::Type{<:Tuple}; options...) = code_native(stdout, node, f, types; options...)

# In which form a node shows code (docs/WIRE.md, the flag SHOW).
const LLVM_VIEW = 0x01
const NATIVE_VIEW = 0x02

function write_code(io::IO, node::Node, view::UInt8, job::Job)
    shipped = capture(job)
    code, _ = new_code(node.client.handle, archive_for(shipped, job.name, node.client))
    try
        write(io, shown_code(node, code, view))
    finally
        API.bc_code_free(code)
    end
    return nothing
end

# The bytes of the text with which the node answers.
function shown_code(node::Node, code::API.Handle, view::UInt8)
    buffer = take_buffer()
    buffer.head[1] = view
    buffer.segments[1] = API.Segment(pointer(buffer.head), 1)
    status = GC.@preserve buffer node API.bc_call(node.session, code, pointer(buffer.segments), 1, API.SHOW, pointer_from_ref(node.limits), UInt64(0), Ptr{UInt8}(C_NULL), 0,
                                             pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
    flight = depart!(buffer, status)
    try
        wait_for(flight)
        API.bc_call_state(flight.call) == API.VALUE || throw(call_error(flight.call))
        place, length = call_bytes(flight.call)
        return copy(unsafe_wrap(Array, place, length))
    finally
        abandon!(flight)
    end
end

"""
    ArchiveInfo

What [`BitCode.archive_info`](@ref) tells of an archive: `name`; `id`, the code id in hexadecimal digits (empty where libbitcode is not built);
`bytes`; `images`, with their `kind`, `triple` and `bytes`; `symbols` of the node's runtime that the code uses; `dependencies`, C libraries with the symbols
used from them; `objects`, how many Julia objects it refers to; `timings`, the seconds of each stage of the capture.
"""
struct ArchiveInfo
    name::String
    id::String
    bytes::Int
    images::Vector{NamedTuple{(:kind, :triple, :bytes),Tuple{Symbol,String,Int}}}
    symbols::Vector{String}
    dependencies::Vector{Pair{String,Vector{String}}}
    objects::Int
    timings::Vector{Pair{Symbol,Float64}}
end

Base.show(io::IO, info::ArchiveInfo) = print(io, "BitCode.ArchiveInfo(", repr(info.name), ", ", info.bytes, " bytes)")

function Base.show(io::IO, ::MIME"text/plain", info::ArchiveInfo)
    line(what, words) = print(io, "\n  ", rpad(what * ":", 14), words)
    print(io, "Archive of ", info.name)
    line("code id", isempty(info.id) ? "unknown (libbitcode is not built)" : info.id)
    line("bytes", info.bytes)
    line("images", join(["$(image.kind) for $(image.triple), $(image.bytes) bytes" for image in info.images], "; "))
    line("symbols", isempty(info.symbols) ? "none" : join(info.symbols, ", "))
    line("dependencies", isempty(info.dependencies) ? "none" : join(["$library ($(join(symbols, ", ")))" for (library, symbols) in info.dependencies], "; "))
    line("objects", info.objects)
end

"""
    BitCode.archive_info(f, types; keywords = NamedTuple{(),Tuple{}}) -> ArchiveInfo

What would be shipped for calling `f` with arguments of `types`: code id, bytes, images, symbols, dependencies.

```julia
BitCode.archive_info(x -> x + 1, Tuple{Int}).bytes
```
"""
function archive_info(f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}})
    job = Job(f, types; keywords = keywords)
    return archive_info(job.name, capture(job))
end

function archive_info(name::String, shipped::Shipped)
    id = library_trouble[] === nothing ? bytes2hex(blake3(shipped.archive)) : ""
    images = [(kind = image_kind(image), triple = image.triple, bytes = length(image.code)) for image in read_archive(shipped.archive).images]
    dependencies = [library.soname => library.symbols for library in shipped.dependencies]
    return ArchiveInfo(name, id, length(shipped.archive), images, shipped.imports, dependencies, length(shipped.objects), shipped.timings)
end

image_kind(image::Capture.Image) = image.kind == Capture.IMAGE_BITCODE ? :bitcode : image.kind == Capture.IMAGE_OBJECT ? :object : :unknown
