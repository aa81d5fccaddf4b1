# Memory of calls in flight: where a payload is put together, where a small result arrives, and what keeps both alive while libbitcode
# reads them, whatever becomes of the task that made the call.
#
# What is used again lies on stacks, and what is in flight on a list, one of each for every thread, linked through fields of what lies
# there. To put something there or to take it is a matter of a few loads and stores, without an allocation: so nothing can come in
# between, neither another task, nor an interrupt, nor a finalizer (which may make calls itself: `remote_do` is there for that). A lock would not
# keep a finalizer of its own thread out; it would wait for itself.

const BUFFER_SIZE = 4096

"""
    Flight

A call that was sent and has not been settled: its handle, and the buffer with all that libbitcode may still read.
"""
mutable struct Flight
    call::API.Handle # C_NULL once it is freed
    buffer::Any      # a `CallBuffer`, until then
    abandoned::Bool  # nobody will ask for its outcome
    next::Union{Nothing,Flight}
end

Flight() = Flight(C_NULL, nothing, false, nothing)

"""
    CallBuffer

Everything that one `bc_call` needs besides its arguments, made once and used again, so that a warm call allocates nothing.
"""
mutable struct CallBuffer
    head::Vector{UInt8}
    result::Vector{UInt8}
    segments::Vector{API.Segment}
    result_length::Base.RefValue{Csize_t}
    pending::Base.RefValue{API.Handle}
    gather::Gather
    arguments::Any                              # what segments point into, if they do not all point into the buffer
    flight::Flight                              # that of the next call
    waker::Union{Nothing,Base.AsyncCondition}   # for the task that waits, once one had to
    next::Union{Nothing,CallBuffer}
end

CallBuffer() = CallBuffer(Vector{UInt8}(undef, BUFFER_SIZE), Vector{UInt8}(undef, BUFFER_SIZE), Vector{API.Segment}(undef, 1),
                          Ref{Csize_t}(0), Ref{API.Handle}(C_NULL), Gather(C_NULL, 0, Tuple{Ptr{UInt8},Int}[]), nothing, Flight(), nothing, nothing)

# A stack of what can be used again.
mutable struct Free{T}
    top::Union{Nothing,T}
end

@inline function take(free::Free{T}) where {T}
    item = free.top
    item === nothing && return T()
    free.top = item.next
    item.next = nothing
    return item
end

@inline function give_back(free::Free{T}, item::T) where {T}
    setfield!(item, :next, free.top) # Julia 1.5 does not inline `item.next = …` here: it looks the field up by name at every call
    free.top = item
    return nothing
end

# Every flight that was not settled at once. What is in here is not collected; `sweep!` takes out what is over.
mutable struct Flights
    first::Union{Nothing,Flight}
    count::Int
    sweep_at::Int
end

# For each thread. (A task does not change its thread while it takes or puts.)
const FREE_BUFFERS = Free{CallBuffer}[]
const FREE_WRITERS = Free{GraphWriter}[]
const FLIGHTS = Flights[]

const SWEEP_AT_LEAST = 64

function init_buffers()
    for _ in 1:Threads.nthreads()
        push!(FREE_BUFFERS, Free{CallBuffer}(nothing))
        push!(FREE_WRITERS, Free{GraphWriter}(nothing))
        push!(FLIGHTS, Flights(nothing, 0, SWEEP_AT_LEAST))
    end
    return nothing
end

@noinline take_buffer() = take(@inbounds FREE_BUFFERS[Threads.threadid()])

# What a buffer keeps of a large call's memory.
const LARGEST_KEPT = 1 << 20

@noinline function give_back(buffer::CallBuffer)
    buffer.arguments = nothing
    length(buffer.head) > LARGEST_KEPT || give_back(@inbounds(FREE_BUFFERS[Threads.threadid()]), buffer)
    return nothing
end

# --- calls in flight ---------------------------------------------------------------------------------------------------------

"""
    depart!(buffer, status) -> Flight

The flight of the call that was just made with `buffer`, on the list from here on. `status` is what `bc_call` said.
"""
@inline function depart!(buffer::CallBuffer, status::Cint)
    call = buffer.pending[]
    call == C_NULL && throw(BitCodeError(code_name(status), "the call could not be made"))
    flight = buffer.flight
    flight.call = call
    flight.buffer = buffer
    flights = @inbounds FLIGHTS[Threads.threadid()]
    flight.next = flights.first
    flights.first = flight
    flights.count += 1
    flights.count < flights.sweep_at || sweep!(flights)
    return flight
end

"""
    sweep_flights() -> Int

Free what belongs to abandoned calls of this thread that have ended since; how many are still in flight.
"""
sweep_flights() = sweep!(FLIGHTS[Threads.threadid()])

@noinline function sweep!(flights::Flights)
    # A finalizer may come in here and sweep, too: what it has taken from the list still leads on.
    flight = flights.first
    while flight !== nothing
        flight.abandoned && flight.call != C_NULL && try_release(flight)
        flight = flight.next
    end
    return drop_settled!(flights)
end

# All in one go, as above.
@noinline function drop_settled!(flights::Flights)
    last, count = nothing, 0
    flight = flights.first
    flights.first = nothing
    while flight !== nothing
        if flight.call != C_NULL
            last === nothing ? (flights.first = flight) : (last.next = flight)
            last = flight
            count += 1
        end
        flight = flight.next
    end
    last === nothing || (last.next = nothing)
    flights.count = count
    flights.sweep_at = max(SWEEP_AT_LEAST, 2 * count)
    return count
end

# Free the call and what it held; false while its memory is still being read.
function try_release(flight::Flight)
    API.bc_call_free(flight.call) == API.BUSY && return false
    flight.call = C_NULL
    buffer = flight.buffer::CallBuffer
    flight.buffer = nothing
    # Whoever has the flight still asks it whether it is over.
    buffer.flight = Flight()
    give_back(buffer)
    return true
end

# Nobody will ask for its outcome any more. Its memory stays until the transport is done with it.
abandon!(flight::Flight) = (try_release(flight) || (flight.abandoned = true); nothing)

"""
    wait_for(flight)

Let other tasks run until the call is finished. If that is interrupted, the call goes on.
"""
function wait_for(flight::Flight)
    buffer = flight.buffer::CallBuffer
    while API.bc_call_state(flight.call) == API.PENDING
        buffer.waker === nothing && (buffer.waker = Base.AsyncCondition())
        wake_by(buffer.waker, flight.call)
        wait(buffer.waker)
    end
    return nothing
end
