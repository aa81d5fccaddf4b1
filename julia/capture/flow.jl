# What inference did not keep. It gives up on types of many members, and forgets what comes out of a call whose method it leaves open; when
# capture settles such a call (unions.jl, choice.jl), or knows more of a value, what follows can be known too. So the types of a body
# with open calls are worked out again, with more patience: from nothing known, statement by statement, until nothing changes.
#
# Types are as Julia's inference has them: `Const` for one value, else a type.

const MAX_ROUNDS = 12
const MAX_FLOWING_MEMBERS = 40

# `left_out` says of which statements nobody has to know more.
function refine_types!(narrowing::Narrowing, body::Body, left_out::BitVector)
    narrow_boxes!(narrowing, body)
    old = body.source.ssavaluetypes
    old isa Vector && has_open_call(body, left_out) || return
    flow = Any[Union{} for _ in old]
    for round in 1:MAX_ROUNDS
        changed = false
        for i in eachindex(old)
            now = round < MAX_ROUNDS ? joined(flow[i], flowing_type(narrowing, body, flow, i), old[i]) : old[i]
            same_type(now, flow[i]) || (flow[i] = now; changed = true)
        end
        changed || break
        round == MAX_ROUNDS && return # still growing: leave everything as it was
    end
    for i in eachindex(old)
        is_const(flow[i]) && is_type_application(body, call_of(body.source.code[i])) && (body.source.code[i] = QuoteNode(flow[i].val))
        old[i] = widened(flow[i])
    end
end

function has_open_call(body::Body, left_out::BitVector)
    for (i, statement) in enumerate(body.source.code)
        left_out[i] && continue
        call = call_of(statement)
        is_call(call) && (is_dynamic(body, call) || is_splat(body, call) || is_type_application(body, call)) && return true
    end
    return false
end

same_type(@nospecialize(a), @nospecialize(b)) = a === b || (a isa Type && b isa Type && a == b) || (is_const(a) && is_const(b) && a.val === b.val)

# What may come, given what was thought so far; never more than what inference knew.
function joined(@nospecialize(before), @nospecialize(now), @nospecialize(limit))
    (is_const(limit) || limit === Union{}) && return limit
    bound = widened(limit)
    now = within(is_const(now) ? now : widened(now), bound)
    before === Union{} && return now
    is_const(before) && is_const(now) && before.val === now.val && return before
    both = Union{widened(before),widened(now)}
    return length(Base.uniontypes(both)) > MAX_FLOWING_MEMBERS ? limit : within(both, bound)
end

function within(@nospecialize(T), @nospecialize(bound))
    is_const(T) && return T.val isa bound ? T : Union{}
    T <: bound && return T
    T isa Union && return Union{(within(M, bound) for M in Base.uniontypes(T))...}
    return typeintersect(T, bound)
end

# The type of an operand, as far as it is known by now.
function flowing_operand(body::Body, flow::Vector{Any}, @nospecialize(operand))
    operand isa Core.SSAValue && return flow[operand.id]
    known = constant(body, operand)
    known === nothing || return as_const(something(known))
    return operand_type(body, operand)
end

function flowing_type(narrowing::Narrowing, body::Body, flow::Vector{Any}, i::Int)
    statement = body.source.code[i]
    limit = body.source.ssavaluetypes[i]
    call = call_of(statement)
    if statement isa Core.PhiNode
        return union_of(flowing_operand(body, flow, v) for v in operands_of(statement))
    elseif statement isa Core.PiNode
        return within(flowing_operand(body, flow, statement.val), widened(statement.typ))
    elseif statement isa Core.PhiCNode || statement isa Core.UpsilonNode
        return union_of(flowing_operand(body, flow, v) for v in operands_of(statement))
    elseif is_caught_exception(statement)
        return limit
    elseif is_call(call)
        return type_of_call(narrowing, body, flow, call, limit)
    elseif is_invoke(call)
        return type_of_invoke(narrowing, body, flow, call, limit)
    elseif statement isa Union{QuoteNode,GlobalRef}
        known = constant(body, statement)
        return known === nothing ? limit : as_const(something(known))
    elseif statement isa Union{Core.SSAValue,Parameter}
        return flowing_operand(body, flow, statement)
    end
    return limit
end

function union_of(types)
    found = Any[T for T in types if T !== Union{}]
    isempty(found) && return Union{}
    all(T -> same_type(T, found[1]), found) && return found[1]
    return Union{(widened(T) for T in found)...}
end

function type_of_call(narrowing::Narrowing, body::Body, flow::Vector{Any}, call::Expr, @nospecialize(limit))
    f, arguments = called(call)
    types = Any[flowing_operand(body, flow, a) for a in arguments]
    any(T -> T === Union{}, types) && return Union{}
    callee = flowing_operand(body, flow, f)
    callee === Union{} && return Union{}
    if is_const(callee) && callee.val isa Union{Core.Builtin,Core.IntrinsicFunction}
        return type_of_builtin(narrowing, callee.val, types, limit)
    elseif is_const(callee) && is_deferral(callee.val)
        return limit
    end
    return type_of_combinations(narrowing, Any[widened(callee); Any[widened(T) for T in types]], limit)
end

# A builtin's type for these arguments; more exactly than inference where it would give up on a union.
function type_of_builtin(narrowing::Narrowing, @nospecialize(f), types::Vector{Any}, @nospecialize(limit))
    f === Core._apply_iterate && return type_of_splat(narrowing, types, limit)
    if f === getfield && length(types) >= 2
        holder, key = widened(types[1]), types[2]
        if holder isa DataType && holder <: Tuple && isconcretetype(holder) && !is_const(key)
            return isempty(fieldtypes(holder)) ? Union{} : Union{fieldtypes(holder)...}
        elseif holder isa Union
            return union_of(type_of_builtin(narrowing, f, Any[M; types[2:end]], limit) for M in Base.uniontypes(holder))
        end
    elseif f === typeof && widened(types[1]) isa Union
        return union_of(type_of_builtin(narrowing, f, Any[M], limit) for M in Base.uniontypes(widened(types[1])))
    end
    return builtin_type(f, types, narrowing.world)
end

# Of `_apply_iterate(iterate, f, xs...)`, where all `xs` are tuples of known types.
function type_of_splat(narrowing::Narrowing, types::Vector{Any}, @nospecialize(limit))
    collections = Any[widened(T) for T in types[3:end]]
    is_const(types[2]) && all(T -> T isa DataType && T <: Tuple && isconcretetype(T), collections) || return limit
    arguments = Any[F for T in collections for F in fieldtypes(T)]
    f = types[2].val
    f isa Core.Builtin && return builtin_type(f, arguments, narrowing.world)
    return type_of_combinations(narrowing, Any[Core.Typeof(f); arguments], limit)
end

function type_of_combinations(narrowing::Narrowing, types::Vector{Any}, @nospecialize(limit))
    all_of_them = something(few_candidates(narrowing, types), Some(combinations(types)))
    all_of_them === nothing && return limit
    results = Any[]
    for signature in all_of_them
        matches = only_match(narrowing, signature)
        matches === nothing && return limit
        isempty(matches) && continue
        match, environment, method = matches[1]
        (signature <: match && !any(E -> E isa TypeVar, environment)) || return limit
        return_type(method, match, environment, narrowing.world) === nothing && return limit
        push!(results, refined_return(narrowing, Codegen.specialization(method, match, environment)))
    end
    return union_of(results)
end

# What was chosen may be replaced by what is narrower, when resolve_calls! comes to it.
function type_of_invoke(narrowing::Narrowing, body::Body, flow::Vector{Any}, call::Expr, @nospecialize(limit))
    f, arguments = called(call)
    types = Any[flowing_operand(body, flow, f); Any[flowing_operand(body, flow, a) for a in arguments]]
    any(T -> T === Union{}, types) && return Union{}
    T = within(refined_return(narrowing, invoked(call)), widened(limit))
    Base.isdispatchtuple(invoked(call).specTypes) && return T
    narrow = type_of_combinations(narrowing, Any[widened(T) for T in types], T)
    return within(narrow, widened(T))
end

is_type_application(body::Body, @nospecialize(call)) =
    is_call(call) && (f = constant(body, called(call)[1]); f !== nothing && something(f) === Core.apply_type)

# What `instance` returns: what inference says, unless that is vague; then its own body is worked out.
function refined_return(narrowing::Narrowing, instance::Core.MethodInstance)
    known = Codegen.inferred(instance, narrowing.world)
    known === nothing && return Any
    is_vague(known.rettype) || return known.rettype
    found = get(narrowing.returns, instance, nothing)
    found === nothing || return found
    narrowing.returns[instance] = known.rettype # what a recursive call is taken to return
    source = inferred_source(instance, narrowing.world)
    source === nothing && return known.rettype
    body = Body(instance, source)
    stand_in_for_globals!(narrowing, body)
    stand_in!(narrowing, body)
    refine_types!(narrowing, body, falses(length(source.code)))
    results = (operand_type(body, returned(statement)) for statement in source.code if is_return(statement))
    return narrowing.returns[instance] = within(union_of(results), known.rettype)
end

is_vague(@nospecialize(T)) = !(T isa Union ? all(M -> isconcretetype(M), Base.uniontypes(T)) : T === Union{} || isconcretetype(T) || is_type_type(T))
