# A call whose argument is one of a few types is split by Julia's inliner: `isa(x, A) ? f(x::A) : isa(x, B) ? f(x::B) : f(x)`. The last
# of these looks open, with the type that `x` had at first; but most often nothing is left for `x` to be, or just one type, or one for
# which `f` has no method. What the tests before it exclude is worked out here.

# The types of the arguments of the call in statement `i`, without what cannot be any more.
function remaining_types(body::Body, i::Int, call::Expr)
    parts = called(call)
    types = Any[operand_type(body, parts[1])]
    for operand in parts[2]
        T = operand_type(body, operand)
        if T isa Union && operand isa Union{Core.SSAValue,Parameter}
            excluded = excluded_types(body, i, operand)
            T = Union{(M for M in Base.uniontypes(T) if !any(E -> M <: E, excluded))...}
        end
        push!(types, T)
    end
    return types
end

# The types that `operand` was found not to have on the only way to statement `i`.
function excluded_types(body::Body, i::Int, @nospecialize(operand))
    excluded = Any[]
    for _ in 1:MAX_TESTS
        start = block_start(body, i)
        test = only_entry(body, start)
        # A branch to the very next statement tells nothing: both ways lead there.
        (test == 0 || branch_target(body.source.code[test]) == test + 1) && break
        if branch_target(body.source.code[test]) == start
            T = tested_type(body, branch_condition(body.source.code[test]), operand)
            T === nothing || push!(excluded, T)
        end
        i = test
    end
    return excluded
end
const MAX_TESTS = 16

is_jump(@nospecialize(statement)) = goto_target(statement) > 0 || branch_target(statement) > 0 || is_return(statement) || is_unreachable(statement)

# The first statement of the straight run of statements that `i` is in.
function block_start(body::Body, i::Int)
    while i > 1 && !is_jump(body.source.code[i-1]) && !is_target(body, i)
        i -= 1
    end
    return i
end

is_target(body::Body, i::Int) =
    any(s -> goto_target(s) == i || branch_target(s) == i || handler_target(s) == i, body.source.code)

# The one jump, or the one branch before it, that leads to statement `start`; 0 if there are several or none.
function only_entry(body::Body, start::Int)
    start == 1 && return 0
    code = body.source.code
    entries = Int[k for k in eachindex(code) if goto_target(code[k]) == start || branch_target(code[k]) == start]
    any(s -> handler_target(s) == start, code) && return 0
    previous = code[start-1]
    falls = goto_target(previous) == 0 && !is_return(previous) && !is_unreachable(previous)
    falls && push!(entries, start - 1)
    return length(unique(entries)) == 1 ? entries[1] : 0
end

# `T` if the condition is `isa(operand, T)`.
function tested_type(body::Body, @nospecialize(condition), @nospecialize(operand))
    condition isa Core.SSAValue || return nothing
    call = call_of(body.source.code[condition.id])
    is_call(call) || return nothing
    f, arguments = called(call)
    known = constant(body, f)
    (known !== nothing && something(known) === isa && arguments[1] === operand) || return nothing
    T = constant(body, arguments[2])
    return T === nothing ? nothing : something(T)
end

# A call for which too many types were allowed, made into a call of the one method that is left, or into the `MethodError` that a call
# without a method is; or of one of a few, told apart when the code runs. `nothing` if nothing of this is certain.
function settled_call(narrowing::Narrowing, body::Body, i::Int, call::Expr, doomed::Bool)
    types = remaining_types(body, i, call)
    any(T -> T === Union{}, types) && return nothing
    matches = only_match(narrowing, Tuple{types...})
    matches !== nothing && isempty(matches) && return deferred_call(body, call, deferred_throw, MethodError)
    target = only_method(narrowing, Tuple{types...})
    f, arguments = called(call)
    certain = Any[operand_type(body, a) === T ? a : Core.PiNode(a, T) for (a, T) in zip(arguments, types[2:end])]
    if target !== nothing
        infer!(target, narrowing.world) === nothing && return nothing
        return Expr(:invoke, target, f, certain...)
    end
    doomed && return nothing
    choice = chosen(narrowing, types)
    choice === nothing && return nothing
    callee = operand_type(body, f) === types[1] ? f : Core.PiNode(f, types[1])
    return Expr(:invoke, choice[2], choice[1], callee, certain...)
end
