# Call sites: what is known about calling a function of one type with arguments of certain types. A warm call finds it as a constant
# of the calling code, compares one number, and goes.

"""
    Code

What a call over one client goes by: the handle of the code, and the archive and the types by which arguments are packed and a result is read. It is
replaced as a whole and never changed, so that a call ends with what it began with, whatever other tasks and threads do to its site.
"""
mutable struct Code
    handle::API.Handle
    shipped::Shipped
    job::Any
    result::Any # type that the shipped function returns

    function Code(handle::API.Handle, shipped::Shipped, job)
        code = new(handle, shipped, job, job.result)
        # Nobody is about to call it any more; calls under way keep what they need.
        finalizer(code -> API.bc_code_free(code.handle), code)
        return code
    end
end

"""
    CallSite

The shipped function for one combination of function type, argument types and keyword names, however many places call it so, and
whatever values the function has captured.
"""
mutable struct CallSite
    world::UInt                          # when `shipped` was last known to be what Julia would run
    process::UInt                        # where that was: a site in precompiled code comes from another process
    job::Any                             # what was captured
    shipped::Union{Nothing,Shipped}
    codes::Vector{Union{Nothing,Code}}   # by client; this vector is never changed, either
    types::Vector{Any}                   # types that its values turned out to hold, beyond what their declarations say
end

CallSite() = CallSite(0, 0, nothing, nothing, Union{Nothing,Code}[], Any[])

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
    current_code(site, client) -> Code or nothing

The code to call at this site over this client; `nothing` if `prepare` has to see to it first.
"""
@noinline function current_code(site::CallSite, client::Client)
    site.world == world_counter() && site.process == THIS_PROCESS[] || return nothing
    codes, index = site.codes, client.index
    return index <= length(codes) ? @inbounds(codes[index]) : nothing
end

# No world is this one.
const NO_WORLD = typemax(UInt)

"""
    prepare(site, client, Ref{Any}((f, arguments, keywords))) -> Code

Make the site's code the one that a local call would run now: capture it if it never was or is not valid any more. Throws `CaptureError`.
"""
@noinline function prepare(site::CallSite, client::Client, call::Base.RefValue{Any})
    lock(CAPTURE_LOCK) do
        world = world_counter()
        if site.process != THIS_PROCESS[]
            forget(site)
            site.process = THIS_PROCESS[]
        elseif site.world != world && site.shipped !== nothing && !isvalid(site.shipped)
            forget(site)
        end
        if site.shipped === nothing
            job = job_of(call[]...)
            types = new_types(job, Ref{Any}(payload(call[]...)), IdDict{Any,Int}(T => 1 for T in job.types), 0)
            site.shipped = capture(job, types)
            site.job, site.types = job, types
        end
        code = code_for(site, client)
        # Code that goes by variables of this process is looked at before each call.
        site.world = site.shipped.settings === nothing ? world : NO_WORLD
        return code
    end
end

code_for(site::CallSite, client::Client) = code_for(() -> code_of(site.shipped, site.job, client), site, client)

function code_for(make, site::CallSite, client::Client)
    codes, index = site.codes, client.index
    known = index <= length(codes) ? codes[index] : nothing
    known === nothing || return known
    code = make()::Code
    codes = Union{Nothing,Code}[k <= length(codes) ? codes[k] : nothing for k in 1:max(length(codes), index)]
    codes[index] = code
    site.codes = codes
    return code
end

code_of(shipped::Shipped, job, client::Client) = Code(first(new_code(client.handle, archive_for(shipped, job.name, client))), shipped, job)

function forget(site::CallSite)
    site.job = site.shipped = nothing
    site.codes = Union{Nothing,Code}[]
    site.types = Any[]
    return nothing
end

# The job of a call, which is checked to be one.
function job_of(@nospecialize(f), @nospecialize(arguments), @nospecialize(keywords))
    check_method(from_argument(f), map(from_argument, arguments), map(from_argument, keywords))
    return Job(typeof(f), typeof(arguments), typeof(keywords))
end

# What types the payload `values` holds besides those in `known`, which are `learnt` more than at first.
function new_types(job, values::Base.RefValue{Any}, known::IdDict{Any,Int}, learnt::Int)
    crossing(typeof(values[])) == GRAPH || return Any[]
    try
        return unknown_types(values, known, MOST_TYPES - learnt)
    catch e
        e isa Unsendable || rethrow()
        throw(refusal(job, e))
    end
end

"""
    relearn(site, client, code, Ref{Any}(values)) -> Code or nothing

Code that also knows the types that the payload `values` holds, which those of `code` do not cover: captured again, unless somebody else has
done so meanwhile. `nothing` if that would change nothing.
"""
@noinline function relearn(site::CallSite, client::Client, code::Code, values::Base.RefValue{Any})
    lock(CAPTURE_LOCK) do
        # Of an archive (archives.jl) there is no function to capture.
        code.job.entry === nothing && return nothing
        is_current = site.shipped === code.shipped
        is_current || site.job !== code.job || return code_for(site, client)
        learnt = is_current ? site.types : Any[]
        found = new_types(code.job, values, copy(code.shipped.numbers), length(learnt))
        isempty(found) && return nothing
        types = [learnt; found]
        shipped = capture(code.job, types)
        # Redefined since this call began: it ends as it began, and the next one sees to the site.
        is_current || return code_of(shipped, code.job, client)
        site.shipped, site.types, site.codes = shipped, types, Union{Nothing,Code}[]
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
