# Capture: a Julia function and its argument types → an archive that a node can run.
#
# The story: the method instance that a call would run (method.jl) is given to Julia's own code generator with all that it calls
# (versions/), after the way to every throw was shortened (errorpaths.jl). The LLVM module is taken into a context of our own
# (module.jl). Addresses become symbols (addresses.jl, ccalls.jl), Julia's own calling convention becomes C's (jlcalls.jl), the code is
# tidied up (passes.jl). What no node could do is looked for in what is left (offences.jl) and reported (diagnosis.jl). Otherwise the
# constants are described (objects.jl) and everything is written down (archive.jl).
#
# It may know Julia's internals and LLVM, through julia/abi. It must never know what the arguments mean, what a node is, or how bytes
# travel.

module Capture

# Code that runs once for each shipped function: to be compiled soon matters more than to run fast.
if isdefined(Base, :Experimental) && isdefined(Base.Experimental, Symbol("@optlevel"))
    @eval Base.Experimental.@optlevel 1
end

using ..BitCode: BUILTIN_TYPES
using ..BitCode: PACKAGE_VERSION, without_collector
using ..LLVM: LLVM
using ..Codegen: Codegen, methods_for, has_layout, type_size, is_mutable_type, is_abstract_type, zero_initialised, has_type_variables
using LinearAlgebra: LinearAlgebra
using Random: Random

export capture, archive_for, Shipped, isvalid, CaptureError, Reason

include("reasons.jl")
include("layouts.jl")
include(VERSION < v"1.9-" ? "versions/julia15.jl" : "versions/julia110.jl")
include("inferred.jl")
include("module.jl")
include("objects.jl")
include("addresses.jl")
include("ccalls.jl")
include("jlcalls.jl")
VERSION < v"1.9-" || include("versions/normalise110.jl")
include("references.jl")
include("invariance.jl")
include("sites.jl")
include("passes.jl")
include("links.jl")
include("errorpaths.jl")
include("handlers.jl")
include("bounds.jl")
include("method.jl")
include("boxes.jl")
include("unions.jl")
include("choice.jl")
include("flow.jl")
include("output.jl")
include("fields.jl")
include("standins.jl")
include("identities.jl")
include("libraries.jl")
include("rounding.jl")
include("ordinary.jl")
include("rewritten/arrays.jl")
include("rewritten/spread.jl")
include("rewritten/copies.jl")
include("rewritten/texts.jl")
include("rewritten/streams.jl")
include("rewritten/dates.jl")
include("rewritten/weekdays.jl")
include("rewritten/serialization.jl")
include("rewritten/register.jl")
include("names.jl")
include("showing.jl")
include("eqtable.jl")
include("diagnosis.jl")
include("offences.jl")
include("archive.jl")
include("library.jl")

"""
    Shipped

A captured function: `archive` is what goes to a node, `objects` the Julia objects that it refers to (number `i` of the manifest is
`objects[i+1]`; they are kept alive here), `deferrable` those of them that may be called at home for the text of an exception.
"""
mutable struct Shipped
    archive::Vector{UInt8}
    objects::Vector{Any}
    deferrable::Base.IdSet{Any}
    imports::Vector{String}
    dependencies::Vector{Dependency}
    functions::Int
    codes::Vector{Core.CodeInstance}
    settled::Any              # calls whose methods capture chose itself (`Settled` of method.jl)
    checked::UInt             # the world in which `codes` were last seen to be valid
    timings::Vector{Pair{Symbol,Float64}} # seconds by stage
    numbers::IdDict{Any,Int}  # the places of `objects` (from 1), by identity
    plans::Any                # what julia/marshal makes of them, once it is asked
    sites::Vector{Site}       # places in the source, by the numbers that the code has for them (from 1)
    settings::Any             # those of `BigFloat`s that the code was captured with, if it goes by them
    linked::Vector{Shipped}   # what it links to, in the manifest's order
end

# Precision and rounding of `BigFloat`s are variables of this process: constants of the code, which starts with what they are here. (Asked for
# each time: in a constant of our own precompilation would keep copies.)
settings() = (Base.MPFR.DEFAULT_PRECISION, Base.MPFR.ROUNDING_MODE)
settings_for(objects::Vector{Any}) = any(object -> any(setting -> setting === object, settings()), objects) ? map(getindex, settings()) : nothing

"""
    isvalid(shipped) -> Bool

Would a call now still run what was captured? False once a method that the code relies on was redefined, or `setprecision` or `setrounding` changed
what its `BigFloat`s start with.
"""
function isvalid(shipped::Shipped)
    shipped.settings === nothing || shipped.settings === map(getindex, settings()) || return false
    world = Base.get_world_counter()
    world == shipped.checked && return true
    still_valid(shipped.codes, world) && still_settled(shipped.settled, world) || return false
    shipped.checked = world
    return true
end

# A capture under way.
mutable struct Work
    portable::Portable
    constants::Vector{Constant}
    by_address::Dict{UInt64,Int}
    libraries::Dict{String,String}       # C symbol => library that the node needs for it
    allowed_libraries::Set{String}
    deferrable::Base.IdSet{Any}
    table::ObjectTable
    sites::Vector{Site}
end
Work(portable::Portable, allowed) =
    Work(portable, Constant[], Dict{UInt64,Int}(), Dict{String,String}(), allowed, Base.IdSet{Any}(), ObjectTable(), Site[])

"""
    capture(f, types; name, arguments, result, libraries, extra) -> Shipped

Captures the singleton function `f` for arguments of the tuple type `types`: `f` becomes the entry of the archive, called by C's rules
with its arguments as they are. `name`, `arguments` and `result` are written into the manifest for people to read. `libraries` are the
C libraries that the node may be asked for, `extra` objects that the manifest describes after those that the code refers to. `linking` says what of it is for
other archives to link to, and which of those it may link to itself; code that is to look into exceptions that they throw, and code that goes on to
other nodes, holds all that it calls.

Throws a [`CaptureError`](@ref) with every reason if the function cannot be shipped.
"""
capture(@nospecialize(f), @nospecialize(types::Type{<:Tuple}); name::String=string(f), arguments::String="", result::String="",
        libraries::Set{String}=allowed_libraries(), extra::Vector{Any}=Any[]) = capture(f, types, name, arguments, result, libraries, extra, Any[])

# Without keywords, whose handling Julia would compile anew for each type of `f`. `numbered` begins with what has numbers already, and what the code wants to
# be numbered besides is added to it (see `NUMBERING`).
function capture(@nospecialize(f), @nospecialize(types::Type{<:Tuple}), name::String, arguments::String, result::String,
                 libraries::Set{String}, extra::Vector{Any}, numbered::Vector{Any}, linking::Linking=NO_LINKING)
    instance = find_instance(f, types, Base.get_world_counter())
    instance isa Offence && throw(CaptureError(name, [Reason(instance)]))
    finished(work, finish) = isempty(offences!(work)) ? finish(name, arguments, result, extra) : nothing
    try
        linked = isempty(linking.links) ? nothing : capture_linked(finished, instance, numbered, libraries, linking)
        return linked === nothing ? capture_whole(finished, instance, name, numbered, libraries, Linking(linking.exported, Link[])) : linked
    catch e
        e isa Unbounded || rethrow()
        throw(CaptureError(name, [e.reason]))
    end
end

# With calls of what it may link to; `nothing` if it has to hold all that it calls.
function capture_linked(finished, instance::Core.MethodInstance, numbered::Vector{Any}, libraries::Set{String}, linking::Linking)
    numbers = copy(numbered)
    narrowing = Narrowing(Base.get_world_counter(), numbers)
    shipped = attempt(finished, instance, narrowing, libraries, linking)
    plain = unwatched(narrowing.handlers) === nothing && !is_spoiled(narrowing.boxes) && length(numbers) == length(numbered)
    return plain ? shipped : nothing
end

# Attempt after attempt, as each finds out what the next has to go by.
function capture_whole(finished, instance::Core.MethodInstance, name::String, numbered::Vector{Any}, libraries::Set{String}, linking::Linking)
    world = Base.get_world_counter()
    narrowing = Narrowing(world, numbered)
    shipped = attempt(finished, instance, narrowing, libraries, linking)
    boxes = !is_spoiled(narrowing.boxes)
    if !boxes
        narrowing = Narrowing(world, numbered; boxes=false)
        shipped = attempt(finished, instance, narrowing, libraries, linking)
    end
    home = nothing
    if shipped !== nothing
        home = unwatched(narrowing.handlers)
        home === nothing && return shipped
        narrowing = Narrowing(world, numbered; unwatched=home, boxes=boxes)
        with_texts = attempt(finished, instance, narrowing, libraries, linking)
        with_texts === nothing || narrowing.handlers.blocked || return with_texts
    end
    # Once more with the lines of the source, to say where. (A handler that looks into an exception must not find a text that is yet to be
    # made: then it is the code of the texts that cannot be shipped.)
    narrowing = Narrowing(world, numbered; note=true, unwatched=home, boxes=boxes)
    reasons = attempt(instance, narrowing, libraries, linking; debug=true) do work, finish
        locate(work, offences!(work, narrowing.handlers.blocked), narrowing.left_open)
    end
    isempty(reasons) && throw(InternalCaptureError("offences came and went"))
    throw(CaptureError(name, reasons))
end

# From the method instance to finished code, and then `action(work, finish)`; `finish` makes the `Shipped`.
function attempt(action, instance::Core.MethodInstance, narrowing::Narrowing, libraries::Set{String}, linking::Linking; debug::Bool=false)
    world = narrowing.world
    clock = Clock()
    # Objects that are only addresses in the code are not rooted until they are in the table.
    return without_collector() do
        emitted = emit(roots(instance, linking), world, body -> prepare!(narrowing, body))
        lap!(clock, :emit)
        work = Work(Portable(emitted.bitcode), copy(libraries))
        try
            link_out!(work, emitted, linking.links)
            make_portable!(work, emitted.names[1][2], exported_name(emitted, linking), clock, debug)
            return action(work, (name, arguments, result, extra) -> finish(work, emitted, narrowing, linking, clock, name, arguments, result, extra))
        finally
            close(work.portable)
        end
    end
end

# What is done to every inferred body before it is emitted.
function prepare!(narrowing::Narrowing, body::Body)
    check_growth(narrowing.growth, body)
    doomed = doomed_statements(body)
    watched = watched_statements(body)
    deferrable = doomed .& may_defer(narrowing.handlers, body, watched)
    infer_throws!(body, doomed, narrowing.world)
    defer_messages!(narrowing, body, doomed, deferrable)
    stand_in!(narrowing, body)
    stand_in_for_globals!(narrowing, body)
    keep_rounding!(body)
    refine_types!(narrowing, body, deferrable)
    resolve_calls!(narrowing, body, doomed, deferrable)
    check_boxes!(narrowing.boxes, body)
    note_calls!(narrowing.handlers, body, watched)
    note_callers!(narrowing.growth, body)
end

function make_portable!(work::Work, entry::String, exported::String, clock, debug::Bool)
    portable = work.portable
    isempty(entry) && throw(InternalCaptureError("the entry has no specialised function"))
    keep_reachable!(portable, entry, exported)
    number_names!(portable)
    debug || (work.sites = mark_sites!(portable))
    normalise!(work)
    lap!(clock, :link)
    name_lookups!(work)
    symbolise!(work)
    settle_pools!(work.portable)
    lower_deferrals!(work)
    forget_invariance!(portable)
    lap!(clock, :symbols)
    call_openlibm!(portable)
    optimise!(portable)
    lap!(clock, :optimise)
end

# What no node can do, after everything of it that leads to a throw anyway was cut off (unless that is not to be, because of a handler).
function offences!(work::Work, whole::Bool=false)
    offences = find_offences(work)
    while !isempty(offences) && !whole && cut_error_paths!(work, offences)
        prune!(work.portable)
        offences = find_offences(work)
    end
    return offences
end

function finish(work::Work, emitted::Emitted, narrowing::Narrowing, linking::Linking, clock, name::String, arguments::String, result::String, extra::Vector{Any})
    lower_jlcalls!(call -> true, work)
    tell_identities!(work.portable)
    strip_bundles!(work.portable)
    forget_address_spaces!(work.portable)
    optimised, work.portable = work.portable, Portable(bitcode_of(work.portable.mod); lasting=true)
    close(optimised)
    portable = work.portable
    finish!(portable)
    work.sites = settle_sites!(portable, work.sites)
    number_objects!(work, extra)
    imports, dependencies = externals(work)
    links = used_links(dependencies, linking.links)
    describe_links!(work, links)
    functions = count(is_definition, LLVM.Functions(portable.mod))
    lap!(clock, :finish)
    image = Image(IMAGE_BITCODE, triple_of(portable), "", "", bitcode_of(portable.mod))
    manifest = Manifest(ABI_NAME, PRODUCER, ENTRY_SYMBOL, name, arguments, result, imports, dependencies, Descriptor[d for d in work.table.descriptors])
    bytes = archive_bytes(manifest, [image])
    lap!(clock, :write)
    return Shipped(bytes, work.table.objects, work.deferrable, imports, dependencies, functions,
        code_instances(emitted.instances, narrowing.world), narrowing.settled, narrowing.world, clock.laps, work.table.index, nothing, work.sites, settings_for(work.table.objects),
        Shipped[link.shipped for link in links])
end

const ABI_NAME = "julia-$(VERSION.major).$(VERSION.minor)-$(8sizeof(Int))le"
const PRODUCER = "BitCode.jl $PACKAGE_VERSION, Julia $VERSION"

# Describes the constants that are still used; their symbols get the numbers of the manifest. Two addresses may hold the same value.
# Then `extra`: what the code does not name, but its arguments or its result may hold.
function number_objects!(work::Work, extra::Vector{Any})
    mod = work.portable.mod
    work.table = ObjectTable(takes_fields_by_number(mod))
    for g in LLVM.Globals(mod)
        k = constant_position(g)
        k == 0 && continue
        if is_used(g)
            symbol = string("bc.obj.", describe!(work.table, work.constants[k].object) - 1)
            twin = LLVM.GetNamedGlobal(mod, symbol)
            LLVM.isnull(twin) && (LLVM.rename!(g, symbol); continue)
            LLVM.ReplaceAllUsesWith(g, twin)
        end
        LLVM.DeleteGlobal(g)
    end
    foreach(object -> describe!(work.table, object), extra)
end

# Does the code take apart what it knows no type of? Then the runtime has to know where the fields are.
takes_fields_by_number(mod::LLVM.ModuleRef) = any(("jl_get_nth_field_checked", "jl_f_getfield", "bc_splat_tuple")) do symbol
    f = LLVM.GetNamedFunction(mod, symbol)
    return !LLVM.isnull(f) && is_used(f)
end

# External symbols of the finished module: those of the runtime, and those of libraries.
function externals(work::Work)
    imports, libraries = String[], Dict{String,Vector{String}}()
    for walk in (LLVM.Functions, LLVM.Globals), value in walk(work.portable.mod)
        (is_definition(value) || !is_used(value)) && continue
        symbol = LLVM.name_of(value)
        any(prefix -> startswith(symbol, prefix), ("llvm.", "julia.", "bc.obj.")) && continue
        library = get(work.libraries, symbol, "")
        push!(isempty(library) || symbol in SUPPORTED ? imports : get!(Vector{String}, libraries, library), symbol)
    end
    return sort!(imports), [Dependency(library, sort!(symbols)) for (library, symbols) in sort!(collect(libraries))]
end

# Seconds by stage.
mutable struct Clock
    last::UInt64
    laps::Vector{Pair{Symbol,Float64}}
end
Clock() = Clock(time_ns(), Pair{Symbol,Float64}[])
function lap!(clock::Clock, stage::Symbol)
    now = time_ns()
    push!(clock.laps, stage => (now - clock.last) / 1e9)
    clock.last = now
    nothing
end

include("retarget.jl")

# Julia keeps what it inferred while the package was precompiled: capturing something then makes the first real capture quicker.
struct Rehearsal end
(::Rehearsal)(x::Float64, table::Vector{Float64}) = x < 0 ? throw(DomainError(x, string("negative: ", x))) : table[1] + sin(x)

function rehearse()
    capture(Rehearsal(), Tuple{Float64,Vector{Float64}})
    # Nothing of this process may be kept.
    LASTING_CONTEXT[] = LLVM.ContextRef(C_NULL)
    empty!(SUPPORTED_ADDRESSES)
end
# One that fails must not keep the package from loading; a real capture will say what is wrong.
if Codegen.is_precompiling()
    try
        rehearse()
    catch exception
        @debug "the rehearsal of a capture failed" exception
    end
end

end # module Capture
