# Captures end. Julia compiles a function for the types of its arguments when it is called; what is shipped is compiled for all types that it may be called
# with, before it runs. A function that calls itself with a value wrapped once more, or with one argument more, would want more code without end,
# which inference stops by widening types and capture, which narrows them again (method.jl), has to stop, too.
#
# So each method instance is noted with the one that was first seen to call it: the way to it from the entry. What has the same method over and over
# on this way, for larger types each time, grows.

# How often a method may be called on the way from itself: with larger types each time (fewer than MAX_NARROWINGS, whose breach leaves calls
# open), and with other types at all.
const MAX_GROWTH = 30
const MAX_RETURNS = 250
# For types of so many parts, so often. (A value in two places of a tuple doubles them.)
const LARGE_TYPE = 2000
const MAX_LARGE_GROWTH = 4
# How many method instances one capture may have: far more than code that people write reaches.
const MAX_BODIES = 10_000

# The call of a method instance that was seen first: the body that it is in, and the place in the source.
struct FirstCall
    caller::Core.MethodInstance
    frames::Vector{Frame} # outermost first
end

# The calls on the way to each method instance, and how many parts types have.
struct Growth
    calls::IdDict{Core.MethodInstance,FirstCall}
    parts::IdDict{Any,Float64}
end
Growth() = Growth(IdDict{Core.MethodInstance,FirstCall}(), IdDict{Any,Float64}())

# A capture that would not end: why.
struct Unbounded <: Exception
    reason::Reason
end

# Throws `Unbounded` if the way to `body` is one that goes on for ever.
function check_growth(growth::Growth, body::Body)
    instance = body.instance
    length(growth.calls) > MAX_BODIES && throw(unbounded(growth, instance, too_much_code(instance)))
    size = parts_of(growth, instance.specTypes)
    grown, returns, last = 0, 0, size
    at = instance
    while haskey(growth.calls, at)
        at = growth.calls[at].caller
        at.def === instance.def || continue
        returns += 1
        parts = parts_of(growth, at.specTypes)
        parts < last || continue
        grown, last = grown + 1, parts
    end
    limit = size > LARGE_TYPE ? MAX_LARGE_GROWTH : MAX_GROWTH
    (grown > limit || returns > MAX_RETURNS) && throw(unbounded(growth, instance, endless_types(instance)))
    return
end

# Notes which method instances `body` calls.
function note_callers!(growth::Growth, body::Body)
    for (i, statement) in enumerate(body.source.code)
        call = call_of(statement)
        is_invoke(call) || continue
        get!(() -> FirstCall(body.instance, frames_at(body, i)), growth.calls, invoked(call))
    end
end

# How many types a type is put together of.
function parts_of(growth::Growth, @nospecialize(T))
    T isa Union && return parts_of(growth, T.a) + parts_of(growth, T.b)
    T isa UnionAll && return parts_of(growth, T.body)
    T isa DataType || return 1.0
    known = get(growth.parts, T, 0.0)
    known > 0.0 && return known
    return growth.parts[T] = sum(Float64[parts_of(growth, P) for P in T.parameters]) + 1.0
end

# With the last line of the user's on the way.
function unbounded(growth::Growth, instance::Core.MethodInstance, offence::Offence)
    frames, at = Frame[], instance
    while haskey(growth.calls, at)
        first_call = growth.calls[at]
        prepend!(frames, first_call.frames)
        any(is_own_code, first_call.frames) && break
        at = first_call.caller
    end
    return Unbounded(Reason(offence, frames))
end

endless_types(instance::Core.MethodInstance) = Offence(:growth,
    "`$(method_name(instance))` calls itself with other types again and again: $(brief_types(instance))",
    "let the arguments keep their types from call to call: a `Vector` in place of a tuple that grows, a number in place of a `Val`, a structure with a field of an abstract type in place of one type inside another")

too_much_code(instance::Core.MethodInstance) = Offence(:growth,
    "more than $MAX_BODIES functions are reached, of which `$(method_name(instance))` is one: $(brief_types(instance))",
    "ship less at a time; or look for types that grow from call to call")

method_name(instance::Core.MethodInstance) = instance.def isa Method ? string(instance.def.name) : "top level"

function brief_types(instance::Core.MethodInstance)
    text = string("(", join(("::$T" for T in Base.unwrap_unionall(instance.specTypes).parameters[2:end]), ", "), ")")
    return length(text) > 100 ? string(first(text, 100), "…") : text
end
