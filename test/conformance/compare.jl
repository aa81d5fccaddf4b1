# When a value that came back is the one that a local call gives: same type, same bits, and the same objects where one is referred to twice.
# Only the sign and payload of a NaN may differ, which Julia does not define.

same(a, b) = same(a, b, IdDict{Any,Any}())

function same(a, b, seen)
    typeof(a) === typeof(b) || return false
    identical(a) && return a === b
    if ismutable(a)
        # Met before: then its counterpart is the same as then.
        haskey(seen, a) && return seen[a] === b
        seen[a] = b
    end
    return same_value(a, b, seen)
end

# What is one object in any process: `===` compares it.
identical(x) = x isa Union{Symbol,String,Type,Module,Nothing,Missing} || (fieldcount(typeof(x)) == 0 && !(x isa Union{Array,AbstractFloat}))

same_value(a::T, b::T, seen) where {T<:Union{Float16,Float32,Float64}} = a === b || (isnan(a) && isnan(b))
same_value(a::BigInt, b::BigInt, seen) = a == b
same_value(a::BigFloat, b::BigFloat, seen) = precision(a) == precision(b) && isequal(a, b)
same_value(a::Regex, b::Regex, seen) = a == b
same_value(a::T, b::T, seen) where {T<:BitArray} = size(a) == size(b) && all(a .== b)
# What lies in a buffer beyond its end is nobody's business.
same_value(a::T, b::T, seen) where {T<:Base.GenericIOBuffer} =
    a.data[1:a.size] == b.data[1:b.size] && (a.ptr, a.readable, a.writable, a.append) == (b.ptr, b.readable, b.writable, b.append)
same_value(a::T, b::T, seen) where {T<:Array} = size(a) == size(b) && all(eachindex(a)) do i
    isassigned(a, i) == isassigned(b, i) && (!isassigned(a, i) || same(a[i], b[i], seen))
end
same_value(a::T, b::T, seen) where {T<:Union{Dict,Base.ImmutableDict}} =
    length(a) == length(b) && all(same(p.first, q.first, seen) && same(p.second, q.second, seen) for (p, q) in zip(a, b))
same_value(a::T, b::T, seen) where {T<:IdDict} =
    length(a) == length(b) && all(haskey(b, k) && same(v, b[k], seen) for (k, v) in a)
same_value(a::T, b::T, seen) where {T<:Core.SimpleVector} = length(a) == length(b) && all(same(a[i], b[i], seen) for i in 1:length(a))
function same_value(a::T, b::T, seen) where {T}
    return all(1:nfields(a)) do i
        isdefined(a, i) == isdefined(b, i) && (!isdefined(a, i) || same(getfield(a, i), getfield(b, i), seen))
    end
end

# What a call ends in: its value, or the exception that it throws.
struct Thrown
    exception::Any
end

outcome(call) =
    try
        call()
    catch e
        e isa InterruptException && rethrow()
        Thrown(e isa RemoteException ? e.exception : e)
    end

message(e) = sprint(showerror, e)

# As much of a value or a text as fits a report.
brief(text) = length(text) > 600 ? first(text, 600) * "…" : text
shown(value) = brief(string(sprint(show, value; context = :limit => true), "::", typeof(value)))
shown(thrown::Thrown) = brief(string("throws ", typeof(thrown.exception), ": ", message(thrown.exception)))

# `nothing` if the remote outcome is as the local one, else what is wrong.
function difference(case, here, there)
    if here isa Thrown && there isa Thrown
        typeof(here.exception) === typeof(there.exception) && message(here.exception) == message(there.exception) && return nothing
    elseif !(here isa Thrown) && !(there isa Thrown)
        case.compare(here, there) && return nothing
    end
    return string("locally:  ", shown(here), "\n    remotely: ", shown(there))
end
