# Which Julia types can cross between an origin and a node, and why the others cannot.
#
# Everything here looks at the structure of a type only, never at a method a user could define: the answer for a type
# is the same for as long as the process lives, so that generated code (layout.jl, pack.jl, entry.jl) may rest on it.

"""
    TypeArgument{T}()

Stands for the type `T` where `T` itself is an argument (`remotecall_fetch(zero, node, Int)`): the type is then part of
the shipped code and takes no byte of the payload.
"""
struct TypeArgument{T} end

# An argument as it is packed: itself, but for a type.
@inline as_argument(x) = x
@inline as_argument(::Type{T}) where {T} = TypeArgument{T}()

# The reverse, on the node.
@inline from_argument(x) = x
@inline from_argument(::TypeArgument{T}) where {T} = T

# (`map` is for short tuples; few have types among them.)
Base.@pure has_types(A) = any(T -> T <: TypeArgument, fieldtypes(A))
@inline from_arguments(arguments::A) where {A<:Tuple} = has_types(A) ? map(from_argument, arguments) : arguments

# How a type crosses.
@enum Crossing begin
    NOTHING_TO_SEND  # one possible value: the type says it all
    BITS             # the bytes of the value
    ARRAY            # dimensions in the head, elements in the tail
    RECORD           # field by field
    CHOICE           # a tag, then one of a few
    GRAPH            # with references: as objects that refer to each other (graph.jl)
    NEVER            # see `obstacles`
end

is_type_constant(@nospecialize(T)) =
    T isa DataType && T.name === Type.body.name && !(T.parameters[1] isa TypeVar)

has_pointer(@nospecialize(T)) =
    T isa DataType && (T <: Ptr || (isbitstype(T) && fieldcount(T) > 0 && any(has_pointer, fieldtypes(T))))

is_plain(@nospecialize(T)) = isbitstype(T) && !has_pointer(T)

# A tuple whose elements may be of one type or another, as inference knows some results: `Tuple{Int,Union{Int,Nothing}}`.
is_loose_tuple(@nospecialize(T)) =
    T isa DataType && T <: Tuple && !isconcretetype(T) && !Base.isvatuple(T) && !any(P -> P isa TypeVar, T.parameters)

"""
    crossing(T) -> Crossing

How values of type `T` travel. `NEVER` comes with its reasons from [`obstacles`](@ref).

All but `GRAPH` are laid out by the type alone, *flat*, which is quicker. Something flat inside something that is not travels in the graph.
"""
function crossing(@nospecialize(T))
    flat = flat_crossing(T, Any[])
    flat == GRAPH || return twin_arrays(T) ? GRAPH : flat
    return is_never(T, Any[]) ? NEVER : GRAPH
end

# As `crossing`, but GRAPH for all that is not flat, whether it can cross or not.
function flat_crossing(@nospecialize(T), within::Vector{Any})
    T === Union{} && return NOTHING_TO_SEND
    is_type_constant(T) && return NOTHING_TO_SEND
    if T isa Union
        members = Base.uniontypes(T)
        length(members) <= 255 || return GRAPH
        return all(M -> M isa DataType && flat_crossing(M, within) != GRAPH, members) ? CHOICE : GRAPH
    end
    is_loose_tuple(T) && return all(F -> flat_crossing(F, within) != GRAPH, fieldtypes(T)) ? RECORD : GRAPH
    T isa DataType && isconcretetype(T) || return GRAPH
    is_plain(T) && return sizeof(T) == 0 ? NOTHING_TO_SEND : BITS
    isbitstype(T) && return GRAPH
    T <: Array && return is_plain(eltype(T)) ? ARRAY : GRAPH
    Codegen.is_mutable_type(T) && return GRAPH
    is_opaque(T) && return GRAPH
    any(W -> W === T, within) && return GRAPH
    may_lack_fields(T) && return GRAPH
    push!(within, T)
    flat = all(F -> flat_crossing(F, within) != GRAPH, fieldtypes(T))
    pop!(within)
    flat || return GRAPH
    return isdefined(T, :instance) ? NOTHING_TO_SEND : RECORD
end

# Does `T` have references that its constructors may leave undefined (the second superdiagonal of a `Tridiagonal`)? Only the graph knows UNDEF.
may_lack_fields(@nospecialize(T)) = any(i -> !Base.allocatedinline(fieldtype(T, i)), Codegen.initialised_fields(T)+1:fieldcount(T))

# May an array in a flat `T` that is there or not, by the member of a union, be the same as another? That is a matter for the graph, which
# keeps all identities; those of arrays that are always there `pack.jl` keeps.
function twin_arrays(@nospecialize(T))
    certain, uncertain = Any[], Any[]
    note_arrays!(certain, uncertain, T)
    return any(i -> uncertain[i] in certain || uncertain[i] in uncertain[1:i-1], eachindex(uncertain))
end

# (Members of one union are different types, so that no type is there twice by it alone.)
function note_arrays!(certain::Vector{Any}, uncertain::Vector{Any}, @nospecialize(T))
    T isa Union && return foreach(M -> note_arrays!(uncertain, uncertain, M), Base.uniontypes(T))
    T isa DataType || return nothing
    T <: Array && return (push!(certain, T); nothing)
    isconcretetype(T) && (isbitstype(T) || is_type_constant(T)) && return nothing
    isconcretetype(T) || is_loose_tuple(T) || return nothing
    foreach(F -> note_arrays!(certain, uncertain, F), fieldtypes(T))
end

# Immutable in Julia's eyes, but with contents that are not fields.
is_opaque(@nospecialize(T)) = T <: Union{String,Symbol,Core.SimpleVector,Type,Module,Task,Core.TypeName}

# What belongs to the process that made it, whatever its fields say.
is_of_process(@nospecialize(T)) =
    T <: Union{Task,Module,Method,Core.MethodInstance,Core.CodeInfo,Core.TypeName,WeakRef,Base.AbstractLock,Timer,Base.GenericCondition,Channel,Base.Process} ||
    (T <: IO && !(T <: Base.GenericIOBuffer || T <: IOContext))

# Their pointers lead to memory of their own, and the graph knows how to bring that along.
has_own_pointers(@nospecialize(T)) = T === BigInt || T === BigFloat || T === Regex

# No value of type `T` can cross. Where a type leaves it open (`Any`, a union), the value decides.
function is_never(@nospecialize(T), within::Vector{Any})
    T isa Union && return all(M -> is_never(M, within), Base.uniontypes(T))
    T isa DataType || return false
    T <: Ptr && return true
    isconcretetype(T) && is_of_process(T) && return true
    isconcretetype(T) || is_loose_tuple(T) || return false
    (is_opaque(T) || has_own_pointers(T) || any(W -> W === T, within)) && return false
    push!(within, T)
    T <: Array && return is_never(eltype(T), within)
    return any(F -> is_never(F, within), fieldtypes(T))
end

"""
    crossable(T::Type) -> Bool

Can a value of type `T` be an argument, a captured variable or a result of a shipped function?

All but what belongs to this process: pointers, tasks, locks, open files, modules. Where a type leaves open what a value holds (`Any`), the value
decides when it is sent.

```jldoctest
julia> BitCode.crossable(Vector{Float64}), BitCode.crossable(Dict{String,Any}), BitCode.crossable(IOStream)
(true, true, false)
```
"""
crossable(@nospecialize(T)) = crossing(T) != NEVER

"""
    Obstacle

Why values of a type cannot cross: `message`, a sentence that names the place, and `advice`, what to do about it.
"""
struct Obstacle
    message::String
    advice::String
end

"""
    obstacles(T, what) -> Vector{Obstacle}

What is in the way of values of type `T`: one for each field that is; empty if they can cross. `what` opens each sentence ("argument 2").
"""
function obstacles(@nospecialize(T), what::AbstractString)
    found = Obstacle[]
    obstacles!(found, T, String[what], Any[])
    return unique(found)
end

const MAKE_IT_THERE = "make it in the function itself, from plain values"

# `path`: the words that lead to this type, outermost first. `within`: the types it lies in.
function obstacles!(found::Vector{Obstacle}, @nospecialize(T), path::Vector{String}, within::Vector{Any})
    crossing(T) == NEVER || return found
    inner(@nospecialize(F), words) = obstacles!(found, F, push!(copy(path), words), within)
    say(why, advice) = push!(found, Obstacle(string(join(path, ", "), length(path) > 1 ? ", " : " ", why), advice))
    if T isa Union
        foreach(M -> inner(M, "when it is a `$M`"), Base.uniontypes(T))
        return found
    end
    T <: Ptr && return say("is a pointer (`$T`), which means nothing in another process", "pass what it points to")
    is_of_process(T) && return say("is a `$T`, which lives in this process only", MAKE_IT_THERE)
    any(W -> W === T, within) && return found
    push!(within, T)
    if T <: Array
        inner(eltype(T), "elements (`$(eltype(T))`)")
    else
        for (i, F) in enumerate(fieldtypes(T))
            inner(F, field_words(T, i))
        end
    end
    pop!(within)
    return found
end

# "field `x` of `P`", "captured variable `x`", "element 2".
function field_words(@nospecialize(T), i::Int)
    T <: Tuple && return "element $i"
    name = fieldname(T, i)
    T <: Function && return "captured variable `$name`"
    T <: NamedTuple && return "entry `$name`"
    return "field `$name` of `$T`"
end

# --- what a graph may name -----------------------------------------------------------------------------------------------------

"""
    reachable_types(types...) -> Vector{Any}

The concrete types that values of `types` may hold, as far as the declarations of fields and elements tell: those that a graph of such a
value may name, and that an archive therefore describes.
"""
function reachable_types(@nospecialize(types...))
    found = Any[]
    seen = Base.IdSet{Any}()
    foreach(T -> reach!(found, seen, T), types)
    return found
end

function reach!(found::Vector{Any}, seen::Base.IdSet{Any}, @nospecialize(T))
    T isa Union && return foreach(M -> reach!(found, seen, M), Base.uniontypes(T))
    T isa DataType || return nothing
    T in seen && return nothing
    push!(seen, T)
    is_loose_tuple(T) && return foreach(F -> reach!(found, seen, F), fieldtypes(T))
    (isconcretetype(T) && !is_of_process(T) && !(T <: Ptr)) || return nothing
    push!(found, T)
    T <: Array && return reach!(found, seen, eltype(T))
    is_opaque(T) && return nothing
    foreach(F -> reach!(found, seen, F), fieldtypes(T))
end
