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
    code = current_code(site, node.client)
    code === nothing && (code = prepare(site, node.client, Hidden((f, arguments, keywords))))
    # If the call was inferred in a world that is not the newest, what was captured may return something else.
    code.result === R || return call_of_another_world(node, site, code, Hidden(payload(f, arguments, keywords)))::R
    return call_with(node, site, code, payload(f, arguments, keywords), R)
end

@noinline call_of_another_world(node::Node, site::CallSite, code::Code, values::Hidden) =
    call_with(node, site, code, values[], code.result)

@noinline function call_with(node::Node, site::CallSite, code::Code, values::T, ::Type{R}) where {T<:Tuple,R}
    buffer = take_buffer()
    GC.@preserve values buffer node begin
        if is_graph(T)
            segments, code = pack_graph!(buffer, Hidden(values), node, site, code)
        else
            segments = pack!(buffer, values)
        end
        status = API.bc_call(node.session, code.handle, pointer(buffer.segments), segments, UInt32(0), pointer_from_ref(node.limits), SPIN_NS, pointer(buffer.result),
                             BUFFER_SIZE, pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        if status == API.VALUE && buffer.pending[] == C_NULL
            result = read_result(pointer(buffer.result), buffer.result_length[] % Int, R, code.shipped)
            give_back(buffer)
            return result
        end
        return settle(node, code, depart!(buffer, status), Hidden(R))::R
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
    buffer.arguments = values
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
@noinline function settle(node::Node, code::Code, flight::Flight, R::Hidden)
    try
        wait_for(flight)
        return take_outcome(node, code.shipped, flight, R)
    finally
        abandon!(flight)
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

# What a writer that waits writes into: not the last call's memory, which it would keep.
const NO_BYTES = UInt8[]

"""
    pack_graph!(buffer, Ref{Any}(values), node, site, code) -> (Int, Code)

As `pack!`, for values with references; and the code to call, which is another one if the values hold types that the code at hand did not know.
"""
@noinline function pack_graph!(buffer::CallBuffer, values::Hidden, node::Node, site::CallSite, code::Code)
    writer = take(FREE_WRITERS[Threads.threadid()])
    while true
        try
            length = write_graph!(writer, buffer.head, plans_of(code), values)
            isempty(writer.pieces) || (buffer.arguments = values)
            segments = graph_segments!(buffer, writer, length)
            writer.bytes = NO_BYTES
            give_back(FREE_WRITERS[Threads.threadid()], writer)
            return segments, code
        catch e
            e isa Unsendable || rethrow()
            newer = e.new_type === nothing ? nothing : relearn(site, node.client, code, values)
            newer === nothing && throw(refusal(code.job, e))
            code = newer
        end
    end
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

function plans_of(code::Code)
    shipped = code.shipped
    shipped.plans === nothing && (shipped.plans = Plans(shipped.numbers, nothing, code.job.tables))
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
    start(node, f, arguments, keywords; waits = false) -> (Flight, Code)

Send the call and return while it is under way. The arguments may change as soon as this has returned, unless the caller `waits` for the end of the
call: then they are not copied.
"""
function start(node::Node, f::F, arguments::Tuple, keywords::NamedTuple; waits::Bool = false) where {F}
    site = call_site(f, arguments, keywords)
    code = current_code(site, node.client)
    code === nothing && (code = prepare(site, node.client, Hidden((f, arguments, keywords))))
    return start_with(node, site, code, payload(f, arguments, keywords), waits)
end

@noinline function start_with(node::Node, site::CallSite, code::Code, values::T, waits::Bool) where {T<:Tuple}
    buffer = take_buffer()
    GC.@preserve values buffer node begin
        if is_graph(T)
            segments, code = pack_graph!(buffer, Hidden(values), node, site, code)
        else
            segments = pack!(buffer, values)
        end
        waits || (segments = own!(buffer, segments))
        status = API.bc_call(node.session, code.handle, pointer(buffer.segments), segments, UInt32(0), pointer_from_ref(node.limits), UInt64(0), Ptr{UInt8}(C_NULL), 0,
                             pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        return depart!(buffer, status), code
    end
end

"""
    post(node, f, arguments, keywords)

Send a call that nobody waits for. Short ones are copied by libbitcode, which sends several in one frame, and there is nothing left to keep here.
"""
function post(node::Node, f::F, arguments::Tuple, keywords::NamedTuple) where {F}
    site = call_site(f, arguments, keywords)
    code = current_code(site, node.client)
    code === nothing && (code = prepare(site, node.client, Hidden((f, arguments, keywords))))
    return post_with(node, site, code, payload(f, arguments, keywords))
end

@noinline function post_with(node::Node, site::CallSite, code::Code, values::T) where {T<:Tuple}
    buffer = take_buffer()
    GC.@preserve values buffer node begin
        if is_graph(T)
            segments, code = pack_graph!(buffer, Hidden(values), node, site, code)
        else
            segments = pack!(buffer, values)
        end
        segments = own!(buffer, segments)
        status = API.bc_call(node.session, code.handle, pointer(buffer.segments), segments, API.NO_RESULT, pointer_from_ref(node.limits), UInt64(0),
                             pointer(buffer.result), 0, pointer_from_ref(buffer.result_length), pointer_from_ref(buffer.pending))
        status == API.VALUE && buffer.pending[] == C_NULL ? give_back(buffer) : (depart!(buffer, status).abandoned = true)
    end
    return nothing
end

# Copies what the segments point to, arrays of the arguments among it, into the buffer's head, where the first one is.
@noinline function own!(buffer::CallBuffer, segments::Int)
    segments == 1 && return 1
    head, reached = buffer.head, Int(buffer.segments[1].length)
    total = sum(segment -> Int(segment.length), view(buffer.segments, 1:segments))
    length(head) < total && resize!(head, total)
    for k in 2:segments
        segment = buffer.segments[k]
        GC.@preserve head unsafe_copyto!(pointer(head, reached + 1), segment.base, segment.length)
        reached += Int(segment.length)
    end
    buffer.segments[1] = API.Segment(pointer(head), total)
    buffer.arguments = nothing
    return 1
end
