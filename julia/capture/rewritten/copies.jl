# `deepcopy`, which dispatches on whatever it finds.

# Later versions compile `deepcopy` itself for arguments of any type (`@nospecialize`), and nothing is known in it.
deepcopy_of(x::T) where {T} = isbitstype(T) ? x : deep_copy(x, IdDict())::T

# `deepcopy_internal`, by the types that objects are declared to hold. Methods that somebody else has for it are asked as ever.
function deep_copy(v::Array{T}, seen::IdDict) where {T}
    haskey(seen, v) && return seen[v]::typeof(v)
    isbitstype(T) && return (seen[v] = copy(v))::typeof(v)
    new = similar(v)
    seen[v] = new
    for i in 1:length(v)
        isassigned(v, i) && (new[i] = deep_copy(v[i], seen))
    end
    return new
end

function deep_copy(d::Dict, seen::IdDict)
    haskey(seen, d) && return seen[d]::typeof(d)
    isbitstype(eltype(d)) && return (seen[d] = copy(d))::typeof(d)
    new = empty(d)
    seen[d] = new
    for (key, value) in d
        new[deep_copy(key, seen)] = deep_copy(value, seen)
    end
    return new
end

# What is left of it for an array.
deep_copy(v::Array, ::Type, seen::IdDict) = deep_copy(v, seen)

# A copy of a text can be told from the text by nothing but its address.
deep_copy(x::Union{String,Symbol,Type,Nothing,Missing}, seen::IdDict) = x
deep_copy(t::Tuple, seen::IdDict) = map(item -> deep_copy(item, seen), t)

function deep_copy(n::BigInt, seen::IdDict)
    haskey(seen, n) && return seen[n]::BigInt
    return (seen[n] = Base.GMP.MPZ.set(n))::BigInt
end

@generated function deep_copy(x::T, seen::IdDict) where {T}
    has_own_copy(T) && return :(Base.inferencebarrier(Base.deepcopy_internal)(x, seen)::T)
    n = fieldcount(T)
    (isbitstype(T) || n == 0 && !is_mutable_type(T)) && return :x
    part(k) = isbitstype(fieldtype(T, k)) ? :(getfield(x, $k)) : :(deep_copy(getfield(x, $k), seen))
    if is_mutable_type(T)
        parts = (:(isdefined(x, $k) && setfield!(new, $k, $(part(k)))) for k in 1:n)
        return quote
            haskey(seen, x) && return seen[x]::T
            new = $(Expr(:new, T))
            seen[x] = new
            $(parts...)
            return new
        end
    end
    # What is undefined is at the end.
    return foldr(1:n; init=Expr(:new, T, (part(k) for k in 1:n)...)) do k, whole
        isbitstype(fieldtype(T, k)) ? whole : :(isdefined(x, $k) ? $whole : $(Expr(:new, T, (part(j) for j in 1:k-1)...)))
    end
end

# Is there a method of `deepcopy_internal` that is not the one for all types?
has_own_copy(@nospecialize(T)) = Codegen.method_for(Tuple{typeof(Base.deepcopy_internal),T,IdDict}) !== GENERAL_COPY
const GENERAL_COPY = which(Base.deepcopy_internal, Tuple{Any,IdDict})
