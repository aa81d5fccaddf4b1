# Shipped functions by themselves: made without a call, kept in files, called by who did not make them.

"""
    BitCode.Archive

A shipped function by itself, from [`BitCode.archive`](@ref) or [`BitCode.load`](@ref). It is called as a function is:

```julia
smooth = BitCode.load("signal.bclib", "smooth")
@remote node smooth([1.0, 2.0, 4.0])
```

`archive.name` says what it is, `archive.id` is its code id in hexadecimal digits, `archive.bytes` are what is sent.
"""
struct Archive
    name::String
    bytes::Vector{UInt8}
    id::String
    arguments::Any  # the tuple type of the arguments; or why they cannot be given here, in words
    keywords::Any
    site::CallSite
    notes::Union{Nothing,Capture.Notes}
    exported::Union{Nothing,Core.MethodInstance} # what others may link to
    links::Vector{Archive}
end

Base.show(io::IO, archive::Archive) = print(io, "BitCode.Archive(", repr(archive.name), ", ", length(archive.bytes), " bytes)")

function Base.show(io::IO, ::MIME"text/plain", archive::Archive)
    print(io, "Archive of ", archive.name, "\n  code id: ", isempty(archive.id) ? "unknown (libbitcode is not built)" : archive.id)
    for image in read_archive(archive.bytes).images
        needs = isempty(image.cpu) ? "" : " ($(image.cpu))"
        print(io, "\n  ", image_kind(image), " for ", image.triple, needs, ", ", length(image.code), " bytes")
    end
    foreach(link -> print(io, "\n  links to ", link.name, ", ", link.id), archive.links)
end

"""
    BitCode.archive(f, types; keywords = NamedTuple{(),Tuple{}}, images = [:bitcode], linkable = false, links = []) -> BitCode.Archive

The archive of `f` for arguments of `types`, to be kept with [`BitCode.save`](@ref), or called on any node.

`images` says for which machines it holds code:

  - `:bitcode`, for this machine's architecture; `:x86_64`, `:aarch64`: bitcode for that one. A node compiles it for its own CPU.
  - `"x86_64:x86-64-v3"`, `"aarch64:neoverse-n1"`, …: native code for that CPU and all that can do as much; `"native"`: for this machine's. A node
    links it and compiles nothing. The form is `ARCHITECTURE[:CPU[:FEATURES]]`, in LLVM's words.

Types have to be concrete, and `f` must not capture variables: what varies is an argument.

Archives may link to each other: with `linkable = true` other archives may call this function by its code id, and `links` are archives whose functions
`f` calls: it does not carry these itself. A node that has them already takes them from there, and is given them otherwise. What Julia inlines
is carried all the same, and so is everything where `f` goes on to other nodes, or looks into exceptions that it catches. An archive is linked to as it is: with
the images that it has.

```julia
BitCode.archive(sin, Tuple{Float64}; images = [:bitcode, "x86_64:x86-64-v3"])

@noinline step(x::Float64) = x > 0 ? sqrt(x) : throw(DomainError(x))
twice(x) = step(step(x))
shared = BitCode.archive(step, Tuple{Float64}; linkable = true)
BitCode.archive(twice, Tuple{Float64}; links = [shared])
```

Throws an `ArgumentError` where a linked archive cannot be linked to: it was not made so, or came from a file, or its function was redefined since.
"""
function archive(f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}}, images = [:bitcode], linkable::Bool = false, links = Archive[])
    F = typeof(as_argument(f))
    Base.issingletontype(F) || throw(ArgumentError("$f holds values, which an archive does not: make them arguments"))
    A = Tuple{map(argument_type, types.parameters)...}
    for T in Any[A.parameters...; fieldtypes(keywords)...]
        isconcretetype(T) || throw(ArgumentError("an archive is for arguments of concrete types, and $T is none"))
    end
    job = Job(F, A, keywords)
    exported = linkable ? instance_for_others(f, types, keywords) : nothing
    shipped = capture(job, Any[], Capture.Linking(exported, Capture.Link[link_to(link) for link in links]))
    bytes = archive_with_images(shipped, job.name, images)
    linked = Archive[link for part in shipped.linked for link in links if link.site.shipped === part]
    return Archive(job.name, bytes, id_of(bytes), A, keywords, callable_site(job.name, A, keywords, job.result, shipped), notes_of(job, A, keywords, shipped), exported, linked)
end

function instance_for_others(@nospecialize(f), @nospecialize(types), @nospecialize(keywords))
    keywords === NamedTuple{(),Tuple{}} || throw(ArgumentError("a function that is called with keywords cannot be linked to"))
    instance = Capture.find_instance(f, types, world_counter())
    instance isa Core.MethodInstance || throw(ArgumentError("there is no method $f for $types"))
    return instance
end

function link_to(archive::Archive)
    archive.exported === nothing && throw(ArgumentError("$(archive.name) cannot be linked to: it was not made with `linkable = true` in this process"))
    isvalid(archive.site.shipped) || throw(ArgumentError("$(archive.name) cannot be linked to: it was redefined since its archive was made"))
    isempty(archive.id) && throw(ArgumentError("$(archive.name) cannot be linked to: its code id is unknown, because libbitcode is not built"))
    return Capture.Link(archive.exported, archive.id, archive.site.shipped)
end

id_of(archive::Vector{UInt8}) = library_trouble[] === nothing ? bytes2hex(blake3(archive)) : ""

function notes_of(job::Job, @nospecialize(A), @nospecialize(W), shipped::Shipped)
    deferrable = UInt32[i - 1 for (i, object) in enumerate(shipped.objects) if object in shipped.deferrable]
    return Capture.Notes(Capture.type_name(A), Capture.type_name(W), Capture.type_name(job.result), deferrable, shipped.sites)
end

# What a call needs to know of the archive: a site without a function, whose code is never captured again.
function callable_site(name::String, @nospecialize(A), @nospecialize(W), @nospecialize(R), shipped::Shipped)
    types, tables = graph_types(NoFunction, A, W, R)
    site = CallSite()
    site.shipped = shipped
    site.job = Job(nothing, R, name, signature_words(A, W), Obstacle[], Obstacle[], nothing, types, tables)
    return site
end

struct NoFunction end

# --- images ------------------------------------------------------------------------------------------------------------------

"""
    archive_with_images(shipped, name, images) -> Vector{UInt8}

The archive of a captured function with code for the machines that `images` names.
"""
function archive_with_images(shipped::Shipped, name::String, images)
    wanted = unique(images isa Union{Symbol,AbstractString} ? [images] : collect(images))
    isempty(wanted) && throw(ArgumentError("an archive needs an image"))
    foreach(check_image, wanted)
    bitcode = Dict{String,Capture.Image}()
    for image in wanted
        get!(() -> only(read_archive(archive_for(shipped, name, image_arch(image))).images), bitcode, image_arch(image))
    end
    made = Capture.with_images(shipped.archive, collect(values(bitcode)))
    targets = String[image for image in wanted if image isa AbstractString]
    native = isempty(targets) ? Capture.Image[] : filter(image -> image.kind == Capture.IMAGE_OBJECT, read_archive(compiled_archive(made, targets)).images)
    return Capture.with_images(shipped.archive, [[bitcode[image_arch(image)] for image in wanted if image isa Symbol]; native])
end

# What nodes of this client take; of code that moves, what all nodes take that it can come to.
function Capture.archive_for(shipped::Shipped, name::String, client::Client)
    kinds = any(word -> word in shipped.imports, MOVING) ? kinds_reached(client) : [client]
    kinds == [client] && isempty(client.native) && return archive_for(shipped, name, client.arch)
    return archive_with_images(shipped, name, map(image_of, kinds))
end

# What code imports that goes on to other nodes.
const MOVING = ("bc_ask", "bc_ask_graph", "bc_forward", "bc_forward_graph", "bc_spawn", "bc_spawn_graph")

image_of(client::Client) = isempty(client.native) ? (isempty(client.arch) ? :bitcode : Symbol(client.arch)) : client.native

check_image(image) = image isa Union{Symbol,AbstractString} ||
    throw(ArgumentError("an image is :bitcode, an architecture such as :aarch64, or a target such as \"x86_64:x86-64-v3\", not $image"))

# The architecture that an image is for; "" for this machine's, as `archive_for` has it.
function image_arch(image)
    image in (:bitcode, "native") && return ""
    arch = architecture(first(split(String(image), (':', '-'))))
    return is_foreign(arch) ? arch : ""
end

# LLVM is the command's: the one inside Julia does not know what nodes do with bitcode, and is older.
function compiled_archive(archive::Vector{UInt8}, targets::Vector{String})
    out, errors = IOBuffer(), IOBuffer()
    options = Iterators.flatten(("--target", target) for target in targets)
    command = `$(archive_program()) compile - --output - $options`
    process = run(pipeline(ignorestatus(command); stdin = IOBuffer(archive), stdout = out, stderr = errors))
    success(process) || throw(ArgumentError(String(strip(String(take!(errors))))))
    return only(Capture.read_library(take!(out))).archive
end

function archive_program()
    path = get(ENV, "BITCODE_ARCHIVE_BIN", Deps.bitcode_archive)
    isfile(path) || throw(BitCodeError(:not_built, "bitcode-archive, which makes native code, has not been built. " * build_advice()))
    return path
end

# --- files -------------------------------------------------------------------------------------------------------------------

"""
    BitCode.save(path, archives...)

Write [`BitCode.Archive`](@ref)s to a file, a library of functions: [`BitCode.load`](@ref) reads it, the command `bitcode-archive` shows and changes
it, and programs without Julia call what is in it (`bc_code_load` of libbitcode; see `examples/c` and `examples/rust`).

What an archive links to is written with it. Besides the code the file holds names of functions, source files and lines, for backtraces: `bitcode-archive strip` takes them away.

```julia
BitCode.save("signal.bclib", BitCode.archive(smooth, Tuple{Vector{Float64}}), BitCode.archive(sum, Tuple{Vector{Float64}}))
```
"""
function save(path::AbstractString, archives::Archive...)
    isempty(archives) && throw(ArgumentError("there is nothing to save"))
    bytes = Capture.library_bytes([Capture.Saved(a.bytes, a.notes) for a in with_links(archives)])
    # Who reads the file finds the old one or the new one.
    beside, io = mktemp(dirname(abspath(path)); cleanup = false)
    try
        write(io, bytes)
        close(io)
        chmod(beside, 0o644)
        mv(beside, path; force = true)
    catch
        rm(beside; force = true)
        rethrow()
    end
    return nothing
end

# What they link to comes after them, unless it is among them.
function with_links(archives)
    all = collect(Archive, archives)
    for archive in all, link in archive.links # grows as it goes
        any(known -> known.id == link.id, all) || push!(all, link)
    end
    return all
end

"""
    BitCode.load(path) -> Vector{BitCode.Archive}
    BitCode.load(path, name) -> BitCode.Archive

The functions of a library that [`BitCode.save`](@ref) wrote, or the one that is called `name`: `"f"`, or `"f(::Int64)"` where there are several.

Types of arguments and results are looked up by their names when a function is loaded; a call says which one is not defined here. Nothing of the file is
run in this process.

```julia
smooth = BitCode.load("signal.bclib", "smooth")
@remote node smooth([1.0, 2.0, 4.0])
```
"""
function load(path::AbstractString)
    saved = try
        Capture.read_library(read(path))
    catch e
        e isa ArgumentError || rethrow()
        throw(ArgumentError("$path: $(e.msg)"))
    end
    archives = Archive[loaded(function_) for function_ in saved]
    foreach(archive -> find_links!(archive, archives), archives)
    return archives
end

# What it links to, if the file holds it. (A call says what is missing.)
function find_links!(archive::Archive, archives::Vector{Archive})
    shipped = archive.site.shipped
    shipped === nothing && return nothing
    for dependency in shipped.dependencies, link in archives
        dependency.soname == Capture.link_library(link.id) || continue
        push!(archive.links, link)
        link.site.shipped === nothing || push!(shipped.linked, link.site.shipped)
    end
end

function load(path::AbstractString, name::AbstractString)
    all = load(path)
    found = filter(a -> a.name == name || first(split(a.name, '(')) == name, all)
    length(found) == 1 && return found[1]
    throw(ArgumentError("$path holds $(isempty(found) ? "no function" : "several functions") called `$name`, but: $(join((a.name for a in all), ", "))"))
end

function loaded(saved::Capture.Saved)
    manifest = Capture.read_manifest(read_archive(saved.archive).manifest)
    objects = objects_named(manifest.objects)
    notes = saved.notes
    numbers = IdDict{Any,Int}(object => i for (i, object) in enumerate(objects) if !(object isa OpaqueValue))
    deferrable = Base.IdSet{Any}()
    notes === nothing || foreach(i -> push!(deferrable, objects[i+1]), filter(i -> i < length(objects), notes.deferrable))
    shipped = Shipped(saved.archive, objects, deferrable, manifest.imports, manifest.dependencies, 0, Core.CodeInstance[], IdDict{Any,Any}(), UInt(0), Pair{Symbol,Float64}[],
        numbers, nothing, notes === nothing ? Capture.Site[] : notes.sites, nothing, Shipped[])
    A, W, site = signature_named(manifest, notes, shipped)
    return Archive(manifest.name, saved.archive, id_of(saved.archive), A, W, site, notes, nothing, Archive[])
end

# The types of a call, or why there can be none from here.
function signature_named(manifest::Capture.Manifest, notes, shipped::Shipped)
    abi = Capture.ABI_NAME
    manifest.abi == abi || return "it was made for $(manifest.abi), and this Julia lays out values as $abi says", nothing, CallSite()
    notes === nothing && return "its notes, which say how arguments are laid out, were stripped", nothing, CallSite()
    try
        A, W, R = type_named(notes.arguments), type_named(notes.keywords), type_named(notes.result)
        return A, W, callable_site(manifest.name, A, W, R, shipped)
    catch e
        e isa NoSuchType || rethrow()
        return "it takes or returns a $(e.name), and `$(e.part)` is not defined here", nothing, CallSite()
    end
end

# --- the objects of a manifest -------------------------------------------------------------------------------------------------

# What this process has of them, by name or by value. The rest is needed only where an exception or a result refers to it.
function objects_named(descriptors::Vector{Capture.Descriptor})
    objects = Any[]
    # Types first: values refer to them, in either direction.
    for descriptor in descriptors
        push!(objects, descriptor isa Capture.TypeDescriptor ? type_described(descriptor) : OpaqueValue("an object of the archive"))
    end
    for (i, descriptor) in enumerate(descriptors)
        descriptor isa Capture.TypeDescriptor || (objects[i] = value_described(descriptor, objects))
    end
    return objects
end

# A type of that name may look otherwise here.
function type_described(descriptor::Capture.TypeDescriptor)
    T = try
        type_named(descriptor.name)
    catch e
        e isa NoSuchType || rethrow()
        return OpaqueValue(descriptor.name)
    end
    T isa DataType || return OpaqueValue(descriptor.name)
    table = Capture.ObjectTable(true)
    Capture.describe!(table, T)
    return same_layout(table.descriptors[1], descriptor) ? T : OpaqueValue("$(descriptor.name), which is laid out in another way here")
end

same_layout(a::Capture.TypeDescriptor, b::Capture.TypeDescriptor) =
    all(what -> getfield(a, what) == getfield(b, what), (:flags, :size, :align, :pointers, :element_size, :element_flags, :ndims))

value_described(d::Capture.SymbolDescriptor, objects) = Symbol(d.name)
value_described(d::Capture.StringDescriptor, objects) = String(copy(d.bytes))
value_described(d::Capture.OpaqueDescriptor, objects) = something(type_or_nothing(d.name), OpaqueValue(d.name))

function value_described(d::Capture.InstanceDescriptor, objects)
    T = objects[d.type+1]
    return T isa DataType && isdefined(T, :instance) ? T.instance : OpaqueValue("the instance of $T")
end

function value_described(d::Capture.DataDescriptor, objects)
    T = objects[d.type+1]
    T isa DataType && isbitstype(T) && sizeof(T) == length(d.bytes) && isempty(d.relocations) || return OpaqueValue("a constant $T")
    bytes = d.bytes
    return isempty(bytes) ? OpaqueValue("a constant $T") : GC.@preserve bytes unsafe_load(Ptr{T}(pointer(bytes)))
end

function value_described(d::Capture.ArrayDescriptor, objects)
    T = objects[d.type+1]
    T isa DataType && T <: Array && isbitstype(eltype(T)) || return OpaqueValue("a constant $T")
    array = T(undef, Int.(d.dims)...)
    sizeof(array) == length(d.bytes) || return OpaqueValue("a constant $T")
    bytes = d.bytes
    GC.@preserve array bytes unsafe_copyto!(Ptr{UInt8}(pointer(array)), pointer(bytes), length(bytes))
    return array
end

function type_or_nothing(name::String)
    try
        return type_named(name)
    catch e
        e isa NoSuchType || rethrow()
        return nothing
    end
end

# --- calls -------------------------------------------------------------------------------------------------------------------

# An archive takes the place of a function: in `@remote`, `remotecall_fetch` and the others.

function call_and_wait(node::Node, archive::Archive, arguments::Tuple, keywords::NamedTuple)
    values = checked_payload(archive, arguments, keywords)
    code = code_of(archive, node.client)
    return call_with(node, archive.site, code, values, code.result)
end

function start(node::Node, archive::Archive, arguments::Tuple, keywords::NamedTuple; waits::Bool = false)
    values = checked_payload(archive, arguments, keywords)
    return start_with(node, archive.site, code_of(archive, node.client), values, waits)
end

function post(node::Node, archive::Archive, arguments::Tuple, keywords::NamedTuple)
    values = checked_payload(archive, arguments, keywords)
    return post_with(node, archive.site, code_of(archive, node.client), values)
end

# The code reads its payload as laid out for these types and no others.
function checked_payload(archive::Archive, arguments::Tuple, keywords::NamedTuple)
    archive.arguments isa Type || throw(ArgumentError("$(archive.name) cannot be called from here: $(archive.arguments)"))
    ordered = issetequal(keys(keywords), fieldnames(archive.keywords)) ? NamedTuple{fieldnames(archive.keywords)}(keywords) : keywords
    (arguments isa archive.arguments && ordered isa archive.keywords) || throw(ArgumentError(
        "$(archive.name) was archived for just these types; it was called with $(signature_words(typeof(arguments), typeof(keywords)))"))
    return (arguments, values(ordered))
end

function code_of(archive::Archive, client::Client)
    site = archive.site
    lock(CAPTURE_LOCK) do
        code_for(site, client) do
            links = Code[code_of(link, client) for link in archive.links]
            GC.@preserve links Code(first(new_code(client.handle, archive.bytes, API.Handle[link.handle for link in links])), site.shipped, site.job)
        end
    end
end
