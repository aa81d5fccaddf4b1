# From a call to what has to be captured: the entry, its types in words, and what is in the way.

"""
    Job

One call, by its types alone: `F` the function, `A` a tuple type of arguments, `W` a NamedTuple type of keyword arguments.
"""
struct Job
    entry::Any                 # a value of an `Entry` type
    result::Any                # the type that inference gives
    name::String               # "f(::Int64; k::Bool)"
    arguments::String          # "(Int64; k::Bool)"
    obstacles::Vector{Obstacle} # arguments and captured variables that cannot cross
    losses::Vector{Obstacle}    # why the result cannot
    method::Union{Nothing,Method} # what the call would run; it has the user's line
    types::Vector{Any}            # what graphs of its values may name
    tables::Vector{Any}           # the types of tables that its entry hashes anew

    # One constructor for all: Julia would compile a new one for each type of entry.
    Job(@nospecialize(entry), @nospecialize(result), name, arguments, obstacles, losses, method, types, tables) =
        new(entry, result, name, arguments, obstacles, losses, method, types, tables)
end

function Job(@nospecialize(F), @nospecialize(A), @nospecialize(W))
    R = Base.invokelatest(Core.Compiler.return_type, call_here, Tuple{F,A,W})
    found = obstacles(F, "the function `$(callable_name(F))`")
    for (i, T) in enumerate(A.parameters)
        append!(found, obstacles(T, "argument $i"))
    end
    for (name, T) in zip(fieldnames(W), fieldtypes(W))
        append!(found, obstacles(T, "keyword argument `$name`"))
    end
    losses = obstacles(R, "the result")
    # With a result that cannot cross, the entry serves to find out why the compiler thinks that it is of such a type.
    entry = Entry{F,A,W,isempty(losses) ? R : Nothing}()
    words = signature_words(A, W)
    return Job(entry, R, callable_name(F) * words, words, found, losses, method_of(F, A), graph_types(F, A, W, R)...)
end

# The types that the archive describes for graphs' sake, and those of tables that the entry hashes anew.
function graph_types(@nospecialize(F), @nospecialize(A), @nospecialize(W), @nospecialize(R))
    V = Tuple{fieldtypes(W)...}
    payload = Base.issingletontype(F) ? Tuple{A,V} : Tuple{F,A,V}
    wanted = Any[]
    crossing(payload) == GRAPH && push!(wanted, payload)
    tables = isempty(wanted) ? Any[] : identity_tables(payload)
    crossing(R) == GRAPH && push!(wanted, R)
    return reachable_types(wanted...), tables
end

"""
    Job(f, types::Type{<:Tuple}; keywords = NamedTuple{(),Tuple{}})

The job of calling `f` with arguments of `types`, as `explain` and its like ask for it.
"""
function Job(f, types::Type{<:Tuple}; keywords::Type{<:NamedTuple} = NamedTuple{(),Tuple{}})
    return Job(typeof(as_argument(f)), Tuple{map(argument_type, types.parameters)...}, keywords)
end

# `Type{Int}` in a signature stands for the argument `Int`.
argument_type(@nospecialize(T)) = is_type_constant(T) ? TypeArgument{T.parameters[1]} : T

# The method with the arguments of types `A`, if there is exactly one.
function method_of(@nospecialize(F), @nospecialize(A))
    here(@nospecialize(T)) = T <: TypeArgument ? Type{T.parameters[1]} : T
    found = Codegen.methods_for(Tuple{here(F),map(here, A.parameters)...}, 2, world_counter())
    return found !== nothing && length(found) == 1 ? found[1][3]::Method : nothing
end

function callable_name(@nospecialize(F))
    F <: TypeArgument && return string(F.parameters[1])
    name = F <: Function ? F.name.mt.name : nothing
    name === nothing && return string("(::", F, ")")
    return string(name)
end

function signature_words(@nospecialize(A), @nospecialize(W))
    word(T) = string("::", T <: TypeArgument ? Type{T.parameters[1]} : T)
    positional = join(map(word, A.parameters), ", ")
    isempty(fieldnames(W)) && return string("(", positional, ")")
    return string("(", positional, "; ", join([string(name, word(T)) for (name, T) in zip(fieldnames(W), fieldtypes(W))], ", "), ")")
end

const ENTRY_ARGUMENTS = Tuple{Ptr{UInt8},Int64,Ptr{Cvoid}}

"""
    capture(job::Job, types = Any[], linking = Capture.NO_LINKING) -> Shipped

The archive of the job, which also describes `types` and has to do with other archives as `linking` says, or a `CaptureError` with every reason why there is none.
"""
function capture(job::Job, types::Vector{Any} = Any[], linking = Capture.NO_LINKING)
    isempty(job.obstacles) || throw(CaptureError(job.name, reasons(job, job.obstacles)))
    isempty(job.losses) && return capture_entry(job, types, linking)
    try
        capture_entry(job, types, linking)
    catch e
        e isa CaptureError || rethrow()
        # What is in the way of the code is most often the reason for an uncertain result, too; a certain one is another matter.
        isconcretetype(job.result) && append!(e.reasons, reasons(job, job.losses))
        rethrow()
    end
    throw(CaptureError(job.name, reasons(job, job.losses)))
end

# Code that hops may have to be captured again, with what it was found to go on to: entries that may go on to more.
function capture_entry(job::Job, types::Vector{Any}, linking)
    signatures = Any[signature_of(job.entry)]
    while true
        known = length(signatures)
        described = Any[job.types; types; graph_types_of(signatures)]
        shipped = capture(entries_of(job.entry, signatures), ENTRY_ARGUMENTS, job.name, job.arguments, string(job.result),
                          Capture.allowed_libraries(), described, signatures, linking)
        length(signatures) == known && return shipped
        found = further_obstacles(isempty(job.losses) ? job.result : Any, signatures, known)
        isempty(found) || throw(CaptureError(job.name, reasons(job, found)))
    end
end

# Obstacles as reasons, at the line where the function is defined.
function reasons(job::Job, found::Vector{Obstacle})
    method = job.method
    name, file, line = method === nothing ? (job.name, "", 0) : (string(method.name), string(method.file), Int(method.line))
    return [Reason(:type, obstacle.message, obstacle.advice, name, file, line, Capture.Frame[]) for obstacle in found]
end

# A value that cannot cross, though its type did not say so.
refusal(job::Job, e::Unsendable) = CaptureError(job.name, reasons(job, [Obstacle(string(e.place, " ", e.message), MAKE_IT_THERE)]))
