# A call: pack, `bc_call`, unpack. `call_and_wait` does it all at once, and is the way that has to be fast; `start` only sends, for those who
# do not wait at once (future.jl).

# How long the calling thread itself drives the transport before it lets other tasks run. A warm call is over by then.
const SPIN_NS = UInt64(30_000)

# Payloads up to this size are copied together; larger ones go out from where their arrays lie.
const FLAT_PAYLOAD = 4096

# Hides a value's type from inference. What is rarely called takes its arguments so: otherwise it would be inferred anew for the types of each
# caller, which is what most of the time of a first call would go to.
const Hidden = Base.RefValue{Any}

"""
    call_and_wait(node, f, arguments, keywords)

Call and return the value. The arguments have gone through `as_argument`.

All that is compiled anew for each function is here; the rest is shared by those with the same types of arguments and of results.
"""
@inline function call_and_wait(node::Node, f, arguments::Tuple, keywords::NamedTuple)
    site = call_site(f, arguments, keywords)
    R = Core.Compiler.return_type(call_here, typeof((f, arguments, keywords)))
    code = code_handle(site, node.client)
    code == C_NULL && (code = prepare(site, node.client, Hidden((f, arguments, keywords))))
    # If the call was inferred in a world that is not the newest, what was captured may return something else.
    site.result === R || return call_of_another_world(node, site, code, Hidden(payload(f, arguments, keywords)))::R
    return call_with(node, site, code, payload(f, arguments, keywords), R)
end

@noinline call_of_another_world(node::Node, site::CallSite, code::API.Handle, values::Hidden) =
    call_with(node, site, code, values[], site.result)

@noinline function call_with(node::Node, site::CallSite, code::API.Handle, values::T, ::Type{R}) where {T<:Tuple,R}
    buffer = take_buffer()
    GC.@preserve values buffer begin
        if is_graph(T)
            segments, code = pack_graph!(buffer, Hidden(values), node, site, code)
        else
            segments = pack!(buffer, values)
        end
        status = API.bc_call(node.session, code, pointer(buffer.segments), segments, UInt32(0), UInt32(0), SPIN_NS, pointer(buffer.result),
                             BUFFER_SIZE, pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        if status == API.VALUE && buffer.pending[] == C_NULL
            result = read_result(pointer(buffer.result), buffer.result_length[] % Int, R, site.shipped)
            give_back(buffer)
            return result
        end
        return settle(node, site, buffer, Hidden(values), status, Hidden(R))::R
    end
end

@inline pointer_from_ref(ref::Base.RefValue{T}) where {T} = Ptr{T}(pointer_from_objref(ref))

# --- packing -----------------------------------------------------------------------------------------------------------------

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
@noinline function settle(node::Node, site::CallSite, buffer::CallBuffer, values::Hidden, status::Cint, R::Hidden)
    # Another call may change the site while this one waits.
    shipped = site.shipped
    flight = flight_of(buffer, values, status)
    try
        wait_for(flight)
        return take_outcome(node, shipped, flight, R)
    finally
        # Interrupted, or the transport is not quite done with the arguments: they stay until it is.
        try_release(flight) || (flight.abandoned = true; keep(flight))
    end
end

function take_outcome(node::Node, shipped, flight::Flight, R::Hidden)
    show_output(node.client.outlet)
    state = API.bc_call_state(flight.call)
    state == API.VALUE || throw_outcome(node, shipped, flight.call, state)
    place, length = call_bytes(flight.call)
    return read_result(place, length, R[], shipped)
end

@inline function read_result(place::Ptr{UInt8}, length::Int, ::Type{R}, shipped) where {R}
    is_graph(R) && return read_graph_result(place, length, shipped)::R
    length >= head_bytes(R) || malformed()
    return read_value(Copied(length), R, place, 0)
end

# --- values with references (julia/marshal/graph_write.jl) -----------------------------------------------------------------------

# One writer for each thread at least: writing does not yield.
const FREE_WRITERS = Vector{GraphWriter}[]

# What a writer that waits writes into: not the last call's memory, which it would keep.
const NO_BYTES = UInt8[]

"""
    pack_graph!(buffer, Ref{Any}(values), node, site, code) -> (Int, API.Handle)

As `pack!`, for values with references; and the code to call, which is another one if the values hold types that the code at hand did not know.
"""
@noinline function pack_graph!(buffer::CallBuffer, values::Hidden, node::Node, site::CallSite, code::API.Handle)
    writers = FREE_WRITERS[Threads.threadid()]
    writer = isempty(writers) ? GraphWriter() : pop!(writers)
    length = try
        write_graph!(writer, buffer.head, plans_of(site), values)
    catch e
        e isa Unsendable || rethrow()
        newer = e.new_type === nothing ? API.Handle(C_NULL) : relearn(site, node.client, values)
        newer == C_NULL && throw(refusal(site.job, e))
        code = newer
        write_graph!(writer, buffer.head, plans_of(site), values)
    end
    segments = graph_segments!(buffer, writer, length)
    writer.bytes = NO_BYTES
    push!(writers, writer)
    return segments, code
end

function graph_segments!(buffer::CallBuffer, writer::GraphWriter, length::Int)
    segments = buffer.segments
    base = pointer(buffer.head)
    if isempty(writer.pieces)
        segments[1] = API.Segment(base, length)
        return 1
    end
    empty!(segments)
    push!(segments, API.Segment(base, length))
    start = align_up(length, TAIL_ALIGNMENT)
    reached = length
    for (at, place, bytes) in writer.pieces
        start + at > reached && push!(segments, API.Segment(pointer(ZEROS), start + at - reached))
        push!(segments, API.Segment(place, bytes))
        reached = start + at + bytes
    end
    return Base.length(segments)
end

function plans_of(site::CallSite)
    shipped = site.shipped
    shipped.plans === nothing && (shipped.plans = Plans(shipped.numbers, nothing, site.job.tables))
    return shipped.plans::Plans
end

@noinline function read_graph_result(place::Ptr{UInt8}, length::Int, shipped)
    try
        return decode_result(place, length, shipped.objects, shipped.deferrable)
    catch e
        e isa MalformedGraph ? malformed() : rethrow()
    end
end

"""
    start(node, f, arguments, keywords; no_result = false) -> (Flight, Shipped, result type)

Send the call and return while it is under way.
"""
function start(node::Node, f, arguments::Tuple, keywords::NamedTuple; no_result::Bool = false)
    site = call_site(f, arguments, keywords)
    code = code_handle(site, node.client)
    code == C_NULL && (code = prepare(site, node.client, Hidden((f, arguments, keywords))))
    flight = start_with(node, site, code, payload(f, arguments, keywords), no_result ? API.NO_RESULT : UInt32(0))
    return flight, site.shipped, site.result
end

@noinline function start_with(node::Node, site::CallSite, code::API.Handle, values::T, flags::UInt32) where {T<:Tuple}
    buffer = take_buffer()
    GC.@preserve values buffer begin
        if is_graph(T)
            segments, code = pack_graph!(buffer, Hidden(values), node, site, code)
        else
            segments = pack!(buffer, values)
        end
        status = API.bc_call(node.session, code, pointer(buffer.segments), segments, flags, UInt32(0), UInt64(0), Ptr{UInt8}(C_NULL), 0,
                             pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        return keep(flight_of(buffer, Hidden(values), status))
    end
end

@noinline function flight_of(buffer::CallBuffer, values::Hidden, status::Cint)
    call = buffer.pending[]
    call == C_NULL && throw(BitCodeError(code_name(status), "the call could not be made"))
    return Flight(call, buffer, values[], nothing, false)
end
