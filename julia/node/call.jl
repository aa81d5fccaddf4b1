# A call: pack, `bc_call`, unpack. `start` and `finish` are the halves for those who do not wait at once (future.jl); `call_and_wait`
# is both in one, and the only way that has to be fast.

# How long the calling thread itself drives the transport before it lets other tasks run. A warm call is over by then.
const SPIN_NS = UInt64(30_000)

# Payloads up to this size are copied together; larger ones go out from where their arrays lie.
const FLAT_PAYLOAD = 4096

"""
    call_and_wait(node, f, arguments, keywords)

Call and return the value. The arguments have gone through `as_argument`.
"""
@inline function call_and_wait(node::Node, f, arguments::Tuple, keywords::NamedTuple)
    site = call_site(f, arguments, keywords)
    R = Core.Compiler.return_type(call_here, typeof((f, arguments, keywords)))
    code = code_handle(site, node.client)
    code == C_NULL && (code = prepare(site, node.client, f, arguments, keywords))
    # The call was inferred in a world that is not the newest: what was captured returns something else.
    site.result === R || return call_of_another_world(node, site, code, f, arguments, keywords, R)
    return call_with(node, site, code, (f, arguments..., values(keywords)...), R)
end

@noinline function call_of_another_world(node::Node, site::CallSite, code::API.Handle, f, arguments, keywords, ::Type{R}) where {R}
    return call_with(node, site, code, (f, arguments..., values(keywords)...), site.result)::R
end

@inline function call_with(node::Node, site::CallSite, code::API.Handle, values::Tuple, ::Type{R}) where {R}
    buffer = take_buffer()
    GC.@preserve values buffer begin
        segments = pack!(buffer, values)
        status = API.bc_call(node.session, code, pointer(buffer.segments), segments, UInt32(0), UInt32(0), SPIN_NS, pointer(buffer.result),
                             BUFFER_SIZE, pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        if status == API.VALUE && buffer.pending[] == C_NULL
            buffer.result_length[] >= head_bytes(R) || malformed()
            result = read_value(Copied(buffer.result_length[] % Int), R, pointer(buffer.result), 0)
            give_back(buffer)
            return result
        end
        return settle(node, site, buffer, values, status, R)
    end
end

@inline pointer_from_ref(ref::Base.RefValue{T}) where {T} = Ptr{T}(pointer_from_objref(ref))

# --- packing -----------------------------------------------------------------------------------------------------------------

@generated head_bytes(::Type{T}) where {T} = head_size(T)
@generated has_arrays(::Type{T}) where {T} = array_count(T) > 0

"""
    pack!(buffer, values::Tuple) -> Int

Make the payload of `values`: the first so many segments of the buffer. They point into the buffer and into the values' arrays.
"""
@inline function pack!(buffer::CallBuffer, values::T) where {T<:Tuple}
    bytes = head_bytes(T)
    bytes <= BUFFER_SIZE || length(buffer.head) >= bytes || resize!(buffer.head, bytes)
    has_arrays(T) && return pack_arrays!(buffer, values)
    base = pointer(buffer.head)
    write_value(Flat(base), T, values, 0, bytes)
    unsafe_store!(pointer(buffer.segments), API.Segment(base, bytes))
    return 1
end

@noinline function pack_arrays!(buffer::CallBuffer, values::T) where {T<:Tuple}
    total = tail_end(T, values, head_bytes(T))
    if total <= FLAT_PAYLOAD
        base = pointer(buffer.head)
        write_value(Flat(base), T, values, 0, head_bytes(T))
        unsafe_store!(pointer(buffer.segments), API.Segment(base, total))
        return 1
    end
    gather = buffer.gather
    gather.top = pointer(buffer.head)
    gather.reached = head_bytes(T)
    empty!(gather.pieces)
    push!(gather.pieces, (gather.top, gather.reached))
    write_value(gather, T, values, 0, head_bytes(T))
    resize!(buffer.segments, max(length(buffer.segments), length(gather.pieces)))
    for (i, (place, bytes)) in enumerate(gather.pieces)
        buffer.segments[i] = API.Segment(place, bytes)
    end
    return length(gather.pieces)
end

# --- the slower half ---------------------------------------------------------------------------------------------------------

# The call did not end with a small value at once: wait if it is under way, then take its outcome.
@noinline function settle(node::Node, site::CallSite, buffer::CallBuffer, values::Tuple, status::Cint, ::Type{R}) where {R}
    # Another call may change the site while this one waits.
    shipped = site.shipped
    flight = Flight(buffer.pending[], buffer, values, nothing, false)
    flight.call == C_NULL && throw(BitCodeError(code_name(status), "the call could not be made"))
    try
        wait_for(flight)
        return take_outcome(node, shipped, flight, R)
    finally
        # Interrupted, or the transport is not quite done with the arguments: they stay until it is.
        try_release(flight) || (flight.abandoned = true; keep(flight))
    end
end

function take_outcome(node::Node, shipped, flight::Flight, ::Type{R}) where {R}
    state = API.bc_call_state(flight.call)
    state == API.VALUE || throw_outcome(node, shipped, flight.call, state)
    place, length = call_bytes(flight.call)
    length >= head_bytes(R) || malformed()
    return read_value(Copied(length), R, place, 0)
end

"""
    start(node, f, arguments, keywords; no_result = false) -> (Flight, Shipped, result type)

Send the call and return while it is under way.
"""
function start(node::Node, f, arguments::Tuple, keywords::NamedTuple; no_result::Bool = false)
    site = call_site(f, arguments, keywords)
    code = code_handle(site, node.client)
    code == C_NULL && (code = prepare(site, node.client, f, arguments, keywords))
    buffer = take_buffer()
    values = (f, arguments..., Base.values(keywords)...)
    flags = no_result ? API.NO_RESULT : UInt32(0)
    GC.@preserve values buffer begin
        segments = pack!(buffer, values)
        status = API.bc_call(node.session, code, pointer(buffer.segments), segments, flags, UInt32(0), UInt64(0), Ptr{UInt8}(C_NULL), 0,
                             pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        call = buffer.pending[]
        call == C_NULL && status != API.VALUE && throw(BitCodeError(code_name(status), "the call could not be made"))
        return keep(Flight(call, buffer, values, nothing, false)), site.shipped, site.result
    end
end
