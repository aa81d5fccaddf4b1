# Call sites: what is known about calling a function of one type with arguments of certain types. A warm call finds it as a constant
# of the calling code, compares one number, and goes.

"""
    CallSite

The shipped function for one combination of function type, argument types and keyword names, however many places call it so, and
whatever values the function has captured.
"""
mutable struct CallSite
    world::UInt                  # when `shipped` was last known to be what Julia would run
    process::UInt                # where that was: a site in precompiled code comes from another process
    result::Any                  # type that the shipped function returns
    shipped::Union{Nothing,Shipped}
    codes::Vector{API.Handle}    # by client
    id::Vector{UInt8}            # the code id, once a client has computed it
    job::Any                     # what was captured
    types::Vector{Any}           # types that its values turned out to hold, beyond what their declarations say
end

CallSite() = CallSite(0, 0, Union{}, nothing, API.Handle[], UInt8[], nothing, Any[])

# By identity, which types of the same parameters share; a `Dict` would have its functions compiled for each type that is a key.
const SITES = IdDict{Any,CallSite}()
const SITES_LOCK = Threads.SpinLock()

# Capturing goes through the compiler, which is not for two tasks at once.
const CAPTURE_LOCK = ReentrantLock()

# Never zero, and another number in each process.
const THIS_PROCESS = Ref{UInt}(0)

function site_for(@nospecialize(key))
    lock(SITES_LOCK)
    site = get(SITES, key, nothing)
    site === nothing && (site = SITES[key] = CallSite())
    unlock(SITES_LOCK)
    return site::CallSite
end

"""
    call_site(f, arguments, keywords) -> CallSite

The site of a call: a constant of the code that asks for it, because the generator runs once for each combination of types.
"""
@generated call_site(f, arguments::Tuple, keywords::NamedTuple) = site_for(Tuple{f,arguments,keywords})

"""
    call_here(f, arguments, keywords)

What the call means, said in Julia: its inferred type is the type of the result.
"""
@inline call_here(f, arguments::Tuple, keywords::NamedTuple{()}) = from_argument(f)(map(from_argument, arguments)...)
@inline call_here(f, arguments::Tuple, keywords::NamedTuple) =
    from_argument(f)(map(from_argument, arguments)...; map(from_argument, keywords)...)

"""
    code_handle(site, client) -> API.Handle

The code to call at this site over this client, or C_NULL if `prepare` has to see to it first.
"""
@noinline function code_handle(site::CallSite, client::Client)
    site.world == world_counter() && site.process == THIS_PROCESS[] || return C_NULL
    client.index <= length(site.codes) || return C_NULL
    return @inbounds site.codes[client.index]
end

# No world is this one.
const NO_WORLD = typemax(UInt)

"""
    prepare(site, client, Ref{Any}((f, arguments, keywords))) -> API.Handle

Make the site's code the one that a local call would run now: capture it if it never was or is not valid any more. Throws `CaptureError`.
"""
@noinline function prepare(site::CallSite, client::Client, call::Base.RefValue{Any})
    lock(CAPTURE_LOCK) do
        world = world_counter()
        if site.process != THIS_PROCESS[]
            forget(site)
            site.process = THIS_PROCESS[]
        elseif site.world != world && site.shipped !== nothing && !isvalid(site.shipped)
            retire(site)
        end
        if site.shipped === nothing
            site.job = job_of(call[]...)
            learn_types!(site, Ref{Any}(payload(call[]...)), IdDict{Any,Int}(T => 1 for T in site.job.types))
            site.shipped, site.result = capture(site.job, site.types), site.job.result
        end
        # Code that goes by variables of this process is looked at before each call.
        site.world = site.shipped.settings === nothing ? world : NO_WORLD
        return code_for(site, client)
    end
end

function code_for(site::CallSite, client::Client)
    while length(site.codes) < client.index
        push!(site.codes, C_NULL)
    end
    if site.codes[client.index] == C_NULL
        site.codes[client.index], site.id = new_code(client.handle, archive_for(site.shipped, site.job.name, client.arch))
    end
    return site.codes[client.index]
end

function forget(site::CallSite)
    site.shipped = nothing
    site.result = Union{}
    empty!(site.codes)
    return nothing
end

# Its code is not current any more. With one thread nobody can be about to call it; with several it stays, a few kilobytes.
function retire(site::CallSite)
    Threads.nthreads() == 1 && foreach(API.bc_code_free, site.codes)
    return forget(site)
end

# The job of a call, which is checked to be one.
function job_of(@nospecialize(f), @nospecialize(arguments), @nospecialize(keywords))
    check_method(from_argument(f), map(from_argument, arguments), map(from_argument, keywords))
    return Job(typeof(f), typeof(arguments), typeof(keywords))
end

# No sane program has so many types in one place; each time they are captured anew.
const MAX_RELEARNED = 1000

# Remember what types the payload `values` holds besides those in `known`.
function learn_types!(site::CallSite, values::Base.RefValue{Any}, known::IdDict{Any,Int})
    crossing(typeof(values[])) == GRAPH && length(site.types) <= MAX_RELEARNED || return false
    foreach(T -> known[T] = 1, site.types)
    found = try
        unknown_types(values, known)
    catch e
        throw(e isa Unsendable ? refusal(site.job, e) : e)
    end
    append!(site.types, found)
    return !isempty(found)
end

"""
    relearn(site, client, Ref{Any}(values)) -> API.Handle

The code that also knows the types that the payload `values` holds, captured again; C_NULL if that would change nothing.
"""
@noinline function relearn(site::CallSite, client::Client, values::Base.RefValue{Any})
    lock(CAPTURE_LOCK) do
        # Of an archive (archives.jl) there is no function to capture.
        (site.shipped === nothing || site.job.entry === nothing) && return API.Handle(C_NULL)
        learn_types!(site, values, copy(site.shipped.numbers)) || return API.Handle(C_NULL)
        # The old code may still be called by others: it stays.
        shipped = capture(site.job, site.types)
        empty!(site.codes)
        site.shipped = shipped
        return code_for(site, client)
    end
end

# A call that has no method fails here as it would locally, and so does one with a keyword that the method does not know.
function check_method(@nospecialize(f), @nospecialize(arguments), @nospecialize(keywords))
    g, call = isempty(keywords) ? (f, arguments) : (Base.invokelatest(Core.kwfunc, f), (keywords, f, arguments...))
    (Base.invokelatest(applicable, g, call...) && knows_keywords(f, arguments, keys(keywords))) || throw(MethodError(g, call))
    return nothing
end

# Are all of `names` keywords of the method that is called? (The function that sorts keywords takes any; locally it finds out when it runs.)
function knows_keywords(@nospecialize(f), @nospecialize(arguments), names::Tuple)
    isempty(names) && return true
    known = Base.invokelatest(Base.kwarg_decl, Base.invokelatest(which, f, Tuple{map(Core.Typeof, arguments)...}))
    # A method that only fills in defaults of arguments, such as `round(x::Real)`, says nothing of the keywords that it passes on.
    isempty(known) && return true
    return all(name -> name in known, names) || any(name -> endswith(string(name), "..."), known)
end
