# From a function and its argument types to the method instance that a call would run, and whether what was captured of it is still
# what a call would run now.

# The method instance of `f(::types...)` in `world`, or the reason why there is none.
function find_instance(@nospecialize(f), @nospecialize(types), world::UInt)
    signature = Tuple{Core.Typeof(f),types.parameters...}
    matches = methods_for(signature, -1, world)
    if matches === nothing || isempty(matches)
        return Offence(:method, "no method matches $(call_in_words(f, types))", "define one, or convert the arguments")
    elseif length(matches) > 1
        return Offence(:method, "$(length(matches)) methods may be meant by $(call_in_words(f, types))", "call it with arguments of concrete types")
    end
    match, environment, method = matches[1]
    return Codegen.specialization(method, match, environment)
end

call_in_words(@nospecialize(f), @nospecialize(types)) = string(f, "(", join(("::$T" for T in types.parameters), ", "), ")")

# Julia compiles some methods for wider types than they are called with, and decides inside of them when the code runs. What is shipped
# is compiled for exactly the types that inference knows at the call, so that less is left to decide; and a call that inference left
# open is closed here when the types of its arguments leave no choice.

# A call whose method is only known when the code runs: in words, and where.
struct OpenCall
    callee::Any # `nothing` if that is open, too
    words::String
    file::String
    line::Int
end

function open_call(body::Body, i::Int, call::Expr)
    f, arguments = called(call)
    known = constant(body, f)
    callee = known === nothing ? string("(::", operand_type(body, f), ")") : callable_words(something(known))
    file, line = line_of(body, i)
    words = string(callee, "(", join((string("::", operand_type(body, a)) for a in arguments), ", "), ")")
    return OpenCall(known === nothing ? nothing : something(known), words, file, line)
end

callable_words(@nospecialize(f)) = f isa Function ? string(nameof(f)) : string(f)

# For how many combinations of types one method may be narrowed in one capture: types may grow for ever on the way through a recursion.
const MAX_NARROWINGS = 32
const MAX_CHOSEN = 1000 # of our own methods, which stand for many calls

# How many methods were asked for at most => the types of calls => the methods that they had.
const Settled = Dict{Int,IdDict{Any,Any}}

# What the boxes of variables are taken to hold (boxes.jl).
struct Boxes
    enabled::Bool
    held::IdDict{Any,Any}     # where a box is, see `box_place` => type of what that box holds, `nothing` if it is not known
    spoiled::Base.RefValue{Bool}
end
Boxes(enabled::Bool) = Boxes(enabled, IdDict{Any,Any}(), Ref(false))

mutable struct Narrowing
    world::UInt
    narrowed::IdDict{Method,Base.IdSet{Core.MethodInstance}}
    left_open::Union{Nothing,Vector{OpenCall}} # noted if somebody wants to know
    handlers::Handlers
    returns::IdDict{Core.MethodInstance,Any}   # what bodies with open calls return (flow.jl)
    numbered::Vector{Any}                      # what NUMBERING has numbered, from 0 (standins.jl)
    settled::Settled                           # what was settled here
    boxes::Boxes                               # what variables that closures assign hold
    growth::Growth                             # the way to each method instance (bounds.jl)
end
Narrowing(world::UInt, numbered::Vector{Any}; note::Bool=false, unwatched=nothing, boxes::Bool=true) =
    Narrowing(world, IdDict{Method,Base.IdSet{Core.MethodInstance}}(), note ? OpenCall[] : nothing, Handlers(unwatched), IdDict{Core.MethodInstance,Any}(), numbered, Settled(), Boxes(boxes), Growth())

# `doomed` says which statements only lead to a throw, `deferrable` which of them may leave that to the origin.
function resolve_calls!(narrowing::Narrowing, body::Body, doomed::BitVector, deferrable::BitVector)
    for i in eachindex(body.source.code)
        call = call_of(body.source.code[i])
        if is_invoke(call)
            target = narrowed(narrowing, body, call)
            infer!(target, narrowing.world)
            target === invoked(call) || replace_call!(body, i, Expr(:invoke, target, view(call.args, 2:length(call.args))...))
        elseif is_splat(body, call)
            replacement = resolved_splat(narrowing, body, call)
            if replacement !== nothing
                replace_call!(body, i, replacement)
            elseif !makes_tuple(body, call)
                leave_open!(narrowing, body, i, call, doomed[i], deferrable[i])
            end
        elseif is_call(call) && is_dynamic(body, call)
            settled = settled_call(narrowing, body, i, call, deferrable[i])
            if settled !== nothing
                replace_call!(body, i, settled)
            else
                leave_open!(narrowing, body, i, call, doomed[i], deferrable[i])
            end
        end
    end
end

# A call that is only decided when the code runs. On the way to a throw the exception takes its place, unless a handler may look into it: it would
# look into another one than it does locally.
function leave_open!(narrowing::Narrowing, body::Body, i::Int, call::Expr, doomed::Bool, deferrable::Bool)
    if deferrable
        defer_open_call!(body, i, call)
        return
    end
    narrowing.handlers.blocked |= doomed
    narrowing.left_open === nothing || is_splat(body, call) || push!(narrowing.left_open, open_call(body, i, call))
    return
end

call_types(body::Body, call::Expr) =
    (parts = called(call); Tuple{operand_type(body, parts[1]),(operand_type(body, a) for a in parts[2])...})

# The method instance for the types at this call, where the one that was chosen is for wider ones.
function narrowed(narrowing::Narrowing, body::Body, call::Expr)
    target = invoked(call)
    method = target.def
    (method isa Method && !Base.isdispatchtuple(target.specTypes)) || return target
    types = call_types(body, call)
    types <: target.specTypes && !(target.specTypes <: types) || return target
    return something(specialised(narrowing, method, types), target)
end

function is_splat(body::Body, @nospecialize(call))
    is_call(call) || return false
    f = constant(body, called(call)[1])
    return f !== nothing && something(f) === Core._apply_iterate
end

# The runtime has `tuple(xs...)`.
makes_tuple(body::Body, call::Expr) = (splat = splatted(body, call); splat !== nothing && splat[1] === tuple)

# `f(xs...)` where all `xs` are tuples of known types is a call with so many arguments.
function resolved_splat(narrowing::Narrowing, body::Body, call::Expr)
    splat = splatted(body, call)
    splat === nothing && return nothing
    f, collections = splat
    arguments, types = Any[], Any[]
    for collection in collections
        T = operand_type(body, collection)
        T isa DataType && T <: Tuple && isconcretetype(T) || return spread_call(narrowing, body, f, collections)
        append!(arguments, (Expr(:call, getfield, collection, k) for k in 1:fieldcount(T)))
        append!(types, fieldtypes(T))
    end
    f === tuple && return Expr(:call, f, arguments...)
    f isa Core.Builtin && return nothing
    signature = Tuple{Core.Typeof(f),types...}
    Base.isdispatchtuple(signature) || return nothing
    target = only_method(narrowing, signature)
    (target === nothing || infer!(target, narrowing.world) === nothing) && return nothing
    return Expr(:invoke, target, f, arguments...)
end

# What `methods_for` says of a call with arguments of these types; `nothing` if it can mean more than one method. Julia's inference did not ask, so no
# definition ends the validity of inferred code on account of this answer: it is noted, to be asked for again.
only_match(narrowing::Narrowing, @nospecialize(types)) = few_matches(narrowing, types, 1)

# The same where it may be one of so many.
function few_matches(narrowing::Narrowing, @nospecialize(types), limit::Int)
    matches = methods_for(types, limit, narrowing.world)
    get!(IdDict{Any,Any}, narrowing.settled, limit)[types] = methods_of(matches)
    return matches
end

methods_of(matches) = matches === nothing ? nothing : Any[match[3] for match in matches]

# Would everything that was settled be settled in the same way now?
still_settled(settled::Settled, world::UInt) =
    all(((limit, answers),) -> all(((types, methods),) -> methods_of(methods_for(types, limit, world)) == methods, answers), settled)

# The method instance of the only method that a call with arguments of these types can mean.
function only_method(narrowing::Narrowing, @nospecialize(types))
    matches = only_match(narrowing, types)
    (matches === nothing || length(matches) != 1) && return nothing
    match, environment, method = matches[1]
    types <: match || return nothing
    return specialised(narrowing, method, types)
end

function specialised(narrowing::Narrowing, method::Method, @nospecialize(types))
    match, environment = Codegen.intersection(types, method.sig)
    match <: types || return nothing
    any(E -> E isa TypeVar, environment) && return nothing
    instance = Codegen.specialization(method, types, environment)
    known = get!(Base.IdSet{Core.MethodInstance}, narrowing.narrowed, method)
    if !(instance in known)
        length(known) < (is_own_method(instance) ? MAX_CHOSEN : MAX_NARROWINGS) || return nothing
        push!(known, instance)
    end
    return instance
end

# What is known of every captured method instance, to see later whether a definition has changed any of them.
function code_instances(instances::Vector{Core.MethodInstance}, world::UInt)
    codes = Core.CodeInstance[]
    for instance in instances
        code = Codegen.inferred(instance, world)
        code === nothing || push!(codes, code)
    end
    return codes
end

# Julia ends the validity of inferred code when a method that it relies on is redefined, or a better one appears.
still_valid(codes::Vector{Core.CodeInstance}, world::UInt) = all(code -> code.min_world <= world <= code.max_world, codes)
