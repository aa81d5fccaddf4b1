# Functions of arrays that work out types when they run, written so that all types are known when they are captured: for the
# arguments that most calls have. Other calls are left as they are. What these give, and throw, is what Julia's give and throw.

# `splice!` without a replacement has an empty `Vector{Any}` for one.
function cut_out!(v::Vector, i::Integer)
    item = v[i]
    deleteat!(v, i)
    return item
end
function cut_out!(v::Vector, r::UnitRange{<:Integer})
    items = v[r]
    deleteat!(v, r)
    return items
end

# Is the call `splice!(v, i)`?
function is_cutting(body::Body, @nospecialize(f), operands)
    f === splice! && length(operands) == 3 || return false
    replacement = constant(body, operands[3])
    return replacement !== nothing && something(replacement) === Base._default_splice
end

# The size of `a` after it was reduced along `dims`.
function reduced_size(a::AbstractArray{T,N}, dims) where {T,N}
    for d in dims
        1 <= d <= N || throw(BoundsError(Int[size(a)...], (Int(d),)))
    end
    return ntuple(k -> k in dims ? 1 : size(a, k), Val(N))
end

function extrema_along(f, a::Array{T,N}, dims::Union{Integer,Tuple{Vararg{Integer}}}) where {T,N}
    R = Base.promote_op(f, T)
    return Base.extrema!(f, Array{Tuple{R,R},N}(undef, reduced_size(a, dims)), a)
end

# What is left of `reverse(a; dims)` once its keyword is known.
function reversed_along(dims::Integer, ::typeof(reverse), a::Array{T,N}) where {T,N}
    1 <= dims <= N || throw(ArgumentError("dimension $dims is not 1 ≤ $dims ≤ $N"))
    reversed, last = similar(a), size(a, dims) + 1
    for I in CartesianIndices(a)
        reversed[CartesianIndex(ntuple(k -> k == dims ? last - I[k] : I[k], Val(N)))] = a[I]
    end
    return reversed
end

# What is left of `accumulate(op, a; dims)`, `cumsum(a; dims)`… Along columns the values between are what `op` gives, else what the array makes of it: so does Julia.
function accumulated_along(op, to::Array, from::Array, dims::Integer, init::Union{Nothing,Some})
    dims > 0 || throw(ArgumentError("dims must be a positive integer"))
    axes(to) == axes(from) || throw(DimensionMismatch("shape of B must match A"))
    dims > ndims(from) && return copyto!(to, from)
    isempty(from) && return to
    n, step = size(from, dims), 1
    for d in 1:dims-1
        step *= size(from, d)
    end
    for first in 1:step*n:length(from), i in first:first+step-1
        value = init === nothing ? Base.reduce_first(op, from[i]) : op(something(init), from[i])
        to[i] = value
        dims == 1 ? accumulate_column!(op, to, from, value, i+1:i+n-1) : accumulate_row!(op, to, from, i+step:step:i+step*(n-1), step)
    end
    return to
end
function accumulate_column!(op, to, from, value, places)
    for i in places
        value = op(value, from[i])
        to[i] = value
    end
end
function accumulate_row!(op, to, from, places, step)
    for i in places
        to[i] = op(to[i-step], from[i])
    end
end
