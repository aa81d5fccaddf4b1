# What a call can end in besides its value.

"""
    RemoteException(node, exception, backtrace)

A shipped function threw on `node`. `exception` is what it threw, an object of the same type as a local call would throw, and shows
as it would; `backtrace` is where, as far as the node could tell. `e.captured` gives both as a `CapturedException`, as
`Distributed.RemoteException` does.

```julia
try
    @remote node sqrt(-1.0)
catch e
    e.exception isa DomainError # true
end
```
"""
struct RemoteException <: Exception
    node::Any
    exception::Any
    backtrace::Vector{Any}
end

function Base.getproperty(e::RemoteException, name::Symbol)
    name === :captured && return CapturedException(e.exception, e.backtrace)
    return getfield(e, name)
end

function Base.showerror(io::IO, e::RemoteException)
    println(io, "On node ", e.node.address, ":")
    showerror(io, e.exception)
    isempty(e.backtrace) || Base.show_backtrace(io, e.backtrace)
end

# Throws what a finished call ended in, unless that is a value.
@noinline function throw_outcome(node, shipped, call::API.Handle, state::Cint)
    if state == API.THROW
        place, length = call_bytes(call)
        bytes = copy(unsafe_wrap(Array, place, length))
        throw(RemoteException(node, remote_exception(bytes, shipped), Any[]))
    end
    throw(call_error(call))
end

function remote_exception(bytes::Vector{UInt8}, shipped)
    try
        return decode_graph(bytes, shipped.objects, shipped.deferrable)
    catch e
        e isa MalformedGraph || rethrow()
        return OpaqueValue("an exception that could not be read ($(e.message))")
    end
end
