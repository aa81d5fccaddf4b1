# A call whose method is only known when the code runs, but which can only be one of a few: the candidates are shipped, and a function
# that tells them apart by the types of the arguments takes the place of the call.

"""
    Choice{S}()

Called with a function and its arguments, calls it for the combination of types that they turn out to have. `S` is the tuple of all combinations, each
the tuple type of a call, function first.
"""
struct Choice{S} end

"""
    OpenChoice{S}()

The same where the arguments may turn out to have other types, too. For these there is no method.
"""
struct OpenChoice{S} end

# Told apart argument by argument. The last combination needs no test where there is nothing else to be.
function choose(@nospecialize(S), arguments::Vector{Symbol}, open::Bool)
    signatures = Any[fieldtypes(T) for T in S.parameters]
    return Expr(:block, Expr(:meta, :noinline), choose(signatures, arguments, open, 1))
end

function choose(signatures::Vector{Any}, arguments::Vector{Symbol}, open::Bool, k::Int)
    if k > length(arguments)
        types = only(signatures)
        values = [is_type_type(T) ? T.parameters[1] : T isa DataType && isdefined(T, :instance) ? T.instance : Expr(:(::), a, T) for (a, T) in zip(arguments, types)]
        return Expr(:return, Expr(:call, values...))
    end
    members = unique(Any[types[k] for types in signatures])
    branch(T) = choose(Any[types for types in signatures if types[k] === T], arguments, open, k + 1)
    tested = open ? members : members[1:end-1]
    steps = Any[Expr(:if, Expr(:call, isa, arguments[k], T), branch(T)) for T in tested]
    rest = open ? :(throw(MethodError($(arguments[1]), ($(arguments[2:end]...),)))) : branch(members[end])
    return Expr(:block, steps..., rest)
end

# With a method for each number of arguments, so that they need not be gathered in a tuple first.
const MAX_CHOICE_ARGUMENTS = 9
for n in 1:MAX_CHOICE_ARGUMENTS
    arguments = [Symbol(:a, k) for k in 1:n]
    @eval @generated (::Choice{S})($(arguments...)) where {S} = choose(S, $arguments, false)
    @eval @generated (::OpenChoice{S})($(arguments...)) where {S} = choose(S, $arguments, true)
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
    candidates = few_candidates(narrowing, types)
    candidates === nothing || return with_method(narrowing, OpenChoice{Tuple{candidates...}}(), types)
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
    return with_method(narrowing, Choice{Tuple{all_of_them...}}(), types)
end

function with_method(narrowing::Narrowing, choice, types::Vector{Any})
    target = only_method(narrowing, Tuple{typeof(choice),types...})
    (target === nothing || infer!(target, narrowing.world) === nothing) && return nothing
    return choice, target
end

# How many methods are told apart where an argument may be of any type.
const MAX_CANDIDATES = 8

# The tuple types of all calls that can be meant, where arguments are of abstract types, such as elements of a `Vector{Shape}`, but all methods that come
# into question are for concrete ones. What has a type that none of them takes is a `MethodError`, here as there.
function few_candidates(narrowing::Narrowing, types::Vector{Any})
    (isconcretetype(types[1]) && any(T -> T isa DataType && isabstracttype(T), types[2:end])) || return nothing
    matches = few_matches(narrowing, Tuple{types...}, MAX_CANDIDATES)
    (matches === nothing || isempty(matches)) && return nothing
    found = Any[match[1] for match in matches]
    return all(Base.isdispatchtuple, found) ? sort!(found, by=type_name) : nothing
end
