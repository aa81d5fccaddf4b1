# When a value that came back is the one that a local call gives: same type, same bits. Only the sign and payload of a NaN may differ,
# which Julia does not define.

same(a, b) = typeof(a) === typeof(b) && same_value(a, b)

same_value(a::T, b::T) where {T<:AbstractFloat} = a === b || (isnan(a) && isnan(b))
same_value(a::T, b::T) where {T<:Array} = size(a) == size(b) && all(i -> same(a[i], b[i]), eachindex(a))
function same_value(a::T, b::T) where {T}
    (fieldcount(T) == 0 || T <: Type) && return a === b
    return all(1:fieldcount(T)) do i
        isdefined(a, i) == isdefined(b, i) && (!isdefined(a, i) || same(getfield(a, i), getfield(b, i)))
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

# `nothing` if the remote outcome is as the local one, else what is wrong.
function difference(case, here, there)
    if here isa Thrown
        there isa Thrown || return "locally it throws $(typeof(here.exception)); remotely it gave $(repr(there))"
        typeof(here.exception) === typeof(there.exception) && message(here.exception) == message(there.exception) && return nothing
        return "locally: $(typeof(here.exception)): $(message(here.exception)); remotely: $(typeof(there.exception)): $(message(there.exception))"
    end
    there isa Thrown && return "remotely it throws $(typeof(there.exception)): $(message(there.exception))"
    case.compare(here, there) && return nothing
    return "locally: $(repr(here))::$(typeof(here)); remotely: $(repr(there))::$(typeof(there))"
end
