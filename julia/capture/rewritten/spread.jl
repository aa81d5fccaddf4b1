# `f(xs...)` where `xs` is an array: how many arguments that makes is only known when the code runs. Some functions mean the same by going from
# element to element.

"How a function of any number of arguments is called with the elements of an array as the last of them."
struct Spread{F} end

const Folded = Union{typeof(+),typeof(*),typeof(max),typeof(min),typeof(&),typeof(|),typeof(xor)}

# Calls with many arguments go from left to right.
function (::Spread{F})(v::Array) where {F<:Folded}
    isempty(v) && throw(MethodError(F.instance, ()))
    length(v) == 1 && return F.instance(v[1])
    return onwards(F.instance, v[1], v, 2)
end
function (::Spread{F})(first::Tuple{Any,Vararg{Any}}, v::Array) where {F<:Folded}
    start = length(first) == 1 && isempty(v) ? F.instance(first[1]) : foldl(F.instance, first)
    return onwards(F.instance, start, v, 1)
end
@inline function onwards(f, result, v::Array, from::Int)
    for k in from:length(v)
        result = f(result, v[k])
    end
    return result
end

# (The arguments are there before anything is pushed, even if they come from what is pushed to.)
(::Spread{typeof(push!)})(first::Tuple{Union{Vector,Set}}, v::Array) = (foreach(item -> push!(first[1], item), copy(v)); first[1])
(::Spread{typeof(string)})(v::Array{<:Union{String,Char,Int,Float64}}) = join(v)

# The call of one of these that `f(collections...)` is, or `nothing`.
function spread_call(narrowing::Narrowing, body::Body, @nospecialize(f), collections)
    isdefined(typeof(f), :instance) || return nothing
    spread = Spread{typeof(f)}()
    types = Tuple{typeof(spread),(operand_type(body, c) for c in collections)...}
    Base.isdispatchtuple(types) || return nothing
    target = only_method(narrowing, types)
    (target === nothing || infer!(target, narrowing.world) === nothing) && return nothing
    return Expr(:invoke, target, spread, collections...)
end
