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

# What is left of `[1; v; 2]`, `hcat(v, A)`, `cat(a, b; dims = Val(2))`… with pieces of different types, once their place is made. `along` says along which
# dimensions the pieces lie one behind the other.
function placed_pieces(to::Array{T,N}, shape::NTuple{N,Int}, along::Tuple{Vararg{Bool}}, pieces...) where {T,N}
    place_pieces!(to, shape, ntuple(d -> d <= length(along) && along[d], Val(N)), ntuple(d -> 0, Val(N)), pieces...)
    return to
end
place_pieces!(to::Array, shape, along, offsets) = nothing
function place_pieces!(to::Array{T,N}, shape, along, offsets, piece, rest...) where {T,N}
    places = ntuple(d -> along[d] ? offsets[d] .+ Base.cat_indices(piece, d) : 1:shape[d], Val(N))
    piece isa AbstractArray ? (to[places...] = piece) : fill!(view(to, places...), piece)
    place_pieces!(to, shape, along, ntuple(d -> along[d] ? offsets[d] + Base.cat_size(piece, d) : offsets[d], Val(N)), rest...)
    return nothing
end

# What is left of `repeat(a; inner, outer)` once its keywords are known.
function repeated(a::AbstractArray{T,N}, inner::Tuple{Vararg{Integer}}, outer::Tuple{Vararg{Integer}}) where {T,N}
    any(<(0), inner) && Base._negreperr("inner")
    any(<(0), outer) && Base._negreperr("outer")
    shape = Base.rep_shapes(a, inner, outer)[1]
    made = similar(a, shape)
    # Julia 1.5 cannot do these, and says so.
    lacking = 1 < length(inner) < length(shape) && !isempty(made) && any(!isequal(1), inner)
    lacking && any(d -> shape[d] > 1, length(inner)+1:length(shape)) && throw(BoundsError(made, map(n -> 1:n, inner)))
    for I in CartesianIndices(shape)
        from = ntuple(d -> mod(div(I[d] - 1, d <= length(inner) ? inner[d] : 1), size(a, d)) + 1, Val(N))
        made[I] = a[CartesianIndex(from)]
    end
    return made
end
