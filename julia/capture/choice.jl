# A call whose method is only known when the code runs, but which can only be one of a few: the candidates are shipped, and a function
# that tells them apart by the types of the arguments takes the place of the call.

"""
    Choice{S}()

Called with a function and its arguments, calls it for the combination of types that they turn out to have. `S` is the tuple of all combinations, each
the tuple type of a call, function first.
"""
struct Choice{S} end

# Told apart argument by argument. The last combination needs no test: there is nothing else to be.
function choose(@nospecialize(S), arguments::Vector{Symbol})
    signatures = Any[fieldtypes(T) for T in S.parameters]
    return Expr(:block, Expr(:meta, :noinline), choose(signatures, arguments, 1))
end

function choose(signatures::Vector{Any}, arguments::Vector{Symbol}, k::Int)
    if k > length(arguments)
        types = only(signatures)
        values = [is_type_type(T) ? T.parameters[1] : T isa DataType && isdefined(T, :instance) ? T.instance : Expr(:(::), a, T) for (a, T) in zip(arguments, types)]
        return Expr(:return, Expr(:call, values...))
    end
    members = unique(Any[types[k] for types in signatures])
    branch(T) = choose(Any[types for types in signatures if types[k] === T], arguments, k + 1)
    steps = Any[Expr(:if, Expr(:call, isa, arguments[k], T), branch(T)) for T in members[1:end-1]]
    return Expr(:block, steps..., branch(members[end]))
end

# With a method for each number of arguments, so that they need not be gathered in a tuple first.
const MAX_CHOICE_ARGUMENTS = 9
for n in 1:MAX_CHOICE_ARGUMENTS
    arguments = [Symbol(:a, k) for k in 1:n]
    @eval @generated (::Choice{S})($(arguments...)) where {S} = choose(S, $arguments)
end

# How many combinations of types are told apart at most.
const MAX_CHOICES = 48

# All combinations of what the parts of a call may be: a vector of tuple types, or `nothing` if there are too many.
function combinations(types::Vector{Any})
    found = Any[Any[]]
    for T in types
        members = possible_types(T)
        (isempty(members) || length(members) * length(found) > MAX_CHOICES) && return nothing
        found = Any[Any[parts; M] for parts in found for M in members]
    end
    return Any[Tuple{parts...} for parts in found]
end

# The types that a value of type `T` may have, in one fixed order.
function possible_types(@nospecialize(T))
    T isa Union || return T === Union{} ? Any[] : Any[T]
    return sort!(Any[M for M in Base.uniontypes(T)], by=type_name)
end

# The `Choice` for a call of these types and its method instance; `nothing` if there is a combination that is open itself.
function chosen(narrowing::Narrowing, types::Vector{Any})
    length(types) <= MAX_CHOICE_ARGUMENTS || return nothing
    all_of_them = combinations(types)
    (all_of_them === nothing || length(all_of_them) < 2) && return nothing
    has_candidate = false
    for signature in all_of_them
        matches = only_match(narrowing, signature)
        matches === nothing && return nothing
        isempty(matches) && continue # a `MethodError`, when it comes to that
        signature <: matches[1][1] || return nothing
        has_candidate = true
    end
    has_candidate || return nothing
    choice = Choice{Tuple{all_of_them...}}()
    target = only_method(narrowing, Tuple{typeof(choice),types...})
    (target === nothing || infer!(target, narrowing.world) === nothing) && return nothing
    return choice, target
end
