# Which Julia types can cross between an origin and a node, and why the others cannot.
#
# Everything here looks at the structure of a type only, never at a method a user could define: the answer for a type
# is the same for as long as the process lives, so that generated code (layout.jl, pack.jl) may rest on it.

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
"""
crossing(@nospecialize(T)) = crossing(T, Any[])

function crossing(@nospecialize(T), within::Vector{Any})
    T === Union{} && return NOTHING_TO_SEND
    is_type_constant(T) && return NOTHING_TO_SEND
    if T isa Union
        all(M -> M isa DataType && crossing(M, within) != NEVER, Base.uniontypes(T)) || return NEVER
        return length(Base.uniontypes(T)) <= 255 ? CHOICE : NEVER
    end
    is_loose_tuple(T) && return all(F -> crossing(F, within) != NEVER, fieldtypes(T)) ? RECORD : NEVER
    T isa DataType && isconcretetype(T) || return NEVER
    is_plain(T) && return sizeof(T) == 0 ? NOTHING_TO_SEND : BITS
    isbitstype(T) && return NEVER
    T <: Array && return is_plain(eltype(T)) ? ARRAY : NEVER
    T.mutable && return NEVER
    is_opaque(T) && return NEVER
    any(W -> W === T, within) && return NEVER
    push!(within, T)
    crosses = all(F -> crossing(F, within) != NEVER, fieldtypes(T))
    pop!(within)
    crosses || return NEVER
    return isdefined(T, :instance) ? NOTHING_TO_SEND : RECORD
end

# Immutable in Julia's eyes, but with contents that are not fields.
is_opaque(@nospecialize(T)) = T <: Union{String,Symbol,Core.SimpleVector,Type,Module,Task,Core.TypeName}

"""
    crossable(T::Type) -> Bool

Can a value of type `T` be an argument, a captured variable or a result of a shipped function?

Numbers, `Char`, `Bool`, enums, `nothing` and `missing`, ranges, dates, structs, tuples and named tuples of these; arrays whose
elements are such plain values; small unions of them; and immutable structs and closures that hold any of these.

```jldoctest
julia> BitCode.crossable(Vector{Float64}), BitCode.crossable(Union{Int,Nothing}), BitCode.crossable(IOStream)
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

const PASS_FIELDS = "pass its fields, or an immutable struct of them"
const MAKE_IT_THERE = "make it in the function itself, from plain values"
const PASS_THE_TYPE = "pass the type as an argument of its own, or as a static parameter (`where {T}`)"

# `path`: the words that lead to this type, outermost first. `within`: the structs it lies in.
function obstacles!(found::Vector{Obstacle}, @nospecialize(T), path::Vector{String}, within::Vector{Any})
    crossing(T, within) == NEVER || return found
    inner(@nospecialize(F), words) = obstacles!(found, F, push!(copy(path), words), within)
    say(why, advice) = push!(found, Obstacle(string(join(path, ", "), length(path) > 1 ? ", " : " ", why), advice))
    if T isa Union
        members = Base.uniontypes(T)
        length(members) > 255 && return say("is a Union of $(length(members)) types", "at most 255 can be told apart")
        foreach(M -> inner(M, "when it is a `$M`"), members)
        return found
    end
    T === DataType && return say("is a type as a value", PASS_THE_TYPE)
    if !(T isa DataType) || !(isconcretetype(T) || is_loose_tuple(T))
        T === Any && return say("could be anything: the compiler could not infer its type", "make the function type-stable (`@code_warntype` shows where it is not)")
        return say("has the type `$T`, which is not concrete, so that its values have no layout of their own", "declare or compute it as one concrete type, or a small Union of them")
    end
    any(W -> W === T, within) && return say("is a `$T`, which refers to itself: its size is not known beforehand", "use an array and indices into it")
    T === Core.Box && return say("is boxed, because the variable is assigned after a closure has captured it", "give the closure a variable of its own with `let x = x`")
    T <: Ptr && return say("is a pointer (`$T`), which means nothing in another process", "pass what it points to")
    T <: Union{String,Symbol} && return say("is a `$T`, and strings and symbols do not cross yet", "pass its code units (a `Vector{UInt8}`)")
    if T <: Array
        E = eltype(T)
        isbitstype(E) && return say("is a `$T`, whose elements hold pointers, which mean nothing in another process", "pass what they point to")
        return say("is a `$T`, whose elements (`$E`) are not plain values", "only arrays of isbits types cross: use one, or several")
    end
    (T <: Union{IO,Base.AbstractLock} || is_opaque(T)) && return say("is a `$T`, which lives in this process only", MAKE_IT_THERE)
    T.mutable && return say("is a `$T`, which is mutable: it would be a copy over there", PASS_FIELDS)
    fieldcount(T) == 0 && return say("is a `$T`, which has no layout that could be sent", MAKE_IT_THERE)
    push!(within, T)
    for (i, F) in enumerate(fieldtypes(T))
        inner(F, field_words(T, i))
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
