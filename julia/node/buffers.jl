# Memory of calls in flight: where a payload is put together, where a small result arrives, and what keeps the arguments of a call
# alive that nobody waits for any more.

const BUFFER_SIZE = 4096

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
end

CallBuffer() = CallBuffer(Vector{UInt8}(undef, BUFFER_SIZE), Vector{UInt8}(undef, BUFFER_SIZE), Vector{API.Segment}(undef, 1),
                          Ref{Csize_t}(0), Ref{API.Handle}(C_NULL), Gather(C_NULL, 0, Tuple{Ptr{UInt8},Int}[]))

# One stack of free buffers for each thread: a task does not change its thread, so no lock is needed.
const FREE_BUFFERS = Vector{CallBuffer}[]
const FREE_WAKERS = Vector{Base.AsyncCondition}[]

function init_buffers()
    for _ in 1:Threads.nthreads()
        push!(FREE_BUFFERS, CallBuffer[])
        push!(FREE_WAKERS, Base.AsyncCondition[])
        push!(FREE_WRITERS, GraphWriter[])
    end
    return nothing
end

@noinline function take_buffer()
    free = @inbounds FREE_BUFFERS[Threads.threadid()]
    return isempty(free) ? CallBuffer() : pop!(free)
end

# What a buffer keeps of a large call's memory.
const LARGEST_KEPT = 1 << 20

@noinline function give_back(buffer::CallBuffer)
    length(buffer.head) > LARGEST_KEPT && (buffer.head = Vector{UInt8}(undef, BUFFER_SIZE))
    push!(@inbounds(FREE_BUFFERS[Threads.threadid()]), buffer)
    return nothing
end

function take_waker()
    free = FREE_WAKERS[Threads.threadid()]
    return isempty(free) ? Base.AsyncCondition() : pop!(free)
end

give_back(waker::Base.AsyncCondition) = (push!(FREE_WAKERS[Threads.threadid()], waker); nothing)

# --- calls in flight ---------------------------------------------------------------------------------------------------------

"""
    Flight

A call that was sent and has not been settled: its handle, and all memory that libbitcode may still read or signal.
"""
mutable struct Flight
    call::API.Handle                           # C_NULL once it is freed
    buffer::Union{Nothing,CallBuffer}
    arguments::Any
    waker::Union{Nothing,Base.AsyncCondition}
    abandoned::Bool                            # nobody will ask for its outcome

    Flight(call, buffer, @nospecialize(arguments), waker, abandoned) = new(call, buffer, arguments, waker, abandoned)
end

# Every flight that outlives the frame that made it. What is in here is not collected, whatever becomes of its `Future`; finalizers
# only mark a flight, and this list is swept where it is safe to.
const FLIGHTS = Flight[]
const FLIGHTS_LOCK = Threads.SpinLock()
const SWEEP_AT = Ref(64)

function keep(flight::Flight)
    lock(FLIGHTS_LOCK)
    push!(FLIGHTS, flight)
    full = length(FLIGHTS) >= SWEEP_AT[]
    unlock(FLIGHTS_LOCK)
    full && sweep_flights()
    return flight
end

"""
    sweep_flights() -> Int

Free what belongs to abandoned calls that have ended since; how many calls are still in flight.
"""
function sweep_flights()
    lock(FLIGHTS_LOCK)
    flights = copy(FLIGHTS)
    empty!(FLIGHTS)
    unlock(FLIGHTS_LOCK)
    remaining = filter!(flight -> flight.call != C_NULL && !(flight.abandoned && try_release(flight)), flights)
    lock(FLIGHTS_LOCK)
    append!(FLIGHTS, remaining)
    left = length(FLIGHTS)
    SWEEP_AT[] = max(64, 2 * left)
    unlock(FLIGHTS_LOCK)
    return left
end

# Free the call and what it held; false while its memory is still being read.
function try_release(flight::Flight)
    API.bc_call_free(flight.call) == API.BUSY && return false
    flight.call = C_NULL
    flight.arguments = nothing
    flight.buffer === nothing || give_back(flight.buffer::CallBuffer)
    flight.buffer = nothing
    flight.waker === nothing || give_back(flight.waker::Base.AsyncCondition)
    flight.waker = nothing
    return true
end

"""
    wait_for(call, flight)

Let other tasks run until `call` is finished. If the wait is interrupted, the call is abandoned, not its memory.
"""
function wait_for(flight::Flight)
    while API.bc_call_state(flight.call) == API.PENDING
        if flight.waker === nothing
            flight.waker = take_waker()
            wake_by(flight.waker, flight.call)
        end
        wait(flight.waker)
    end
    return nothing
end
