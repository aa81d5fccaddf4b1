# Calls that are under way while their caller does something else.

"""
    BitCode.Future

A call on a node that was started by [`remotecall`](@ref). `fetch` gives its value (or throws what it threw), `wait` waits for it to
end, `isready` tells whether it has. Not exported, because `Distributed` exports a type of that name.
"""
mutable struct Future{R}
    node::Node
    code::Union{Nothing,Code} # until the outcome is known
    flight::Flight
    outcome::Union{Nothing,Some{R},Exception}
    lock::ReentrantLock

    function Future{R}(node::Node, code::Code, flight::Flight) where {R}
        future = new{R}(node, code, flight, nothing, ReentrantLock())
        # No more than a mark: the memory of a call under way is freed where it is safe to (`sweep_flights`).
        finalizer(f -> (f.flight.abandoned = true; nothing), future)
        return future
    end
end

function Future(node::Node, f, arguments::Tuple, keywords::NamedTuple; waits::Bool = false)
    flight, code = start(node, f, arguments, keywords; waits = waits)
    return Future{code.result}(node, code, flight)
end

# Wait for the end of the call and take its outcome; the lock is held. An interrupted wait can be taken up again.
function settle(future::Future{R}) where {R}
    future.outcome === nothing || return nothing
    flight = future.flight
    wait_for(flight)
    future.outcome = try
        Some{R}(take_outcome(future.node, future.code.shipped, flight, Hidden(R)))
    catch e
        e isa InterruptException && rethrow()
        e
    end
    abandon!(flight)
    future.code = nothing
    return nothing
end

"""
    wait(future::BitCode.Future)

Wait until the call has ended, in whatever way, and return the future.
"""
function Base.wait(future::Future)
    lock(() -> settle(future), future.lock)
    return future
end

"""
    fetch(future::BitCode.Future)

The value of the call, once it has ended; throws a [`RemoteException`](@ref) if the function threw, a [`BitCode.BitCodeError`](@ref) if
the call failed otherwise. Fetching again gives the same again.
"""
function Base.fetch(future::Future{R}) where {R}
    wait(future)
    outcome = future.outcome
    outcome isa Some{R} && return outcome.value
    throw(outcome)
end

"""
    isready(future::BitCode.Future) -> Bool

Has the call ended? Never waits.
"""
function Base.isready(future::Future)
    future.outcome === nothing || return true
    # Another task waits for it: then it has not.
    trylock(future.lock) || return future.outcome !== nothing
    try
        return future.outcome !== nothing || API.bc_call_state(future.flight.call) != API.PENDING
    finally
        unlock(future.lock)
    end
end

function Base.show(io::IO, future::Future{R}) where {R}
    state = !isready(future) ? "pending" : future.outcome isa Exception ? "failed" : "ready"
    print(io, "BitCode.Future{", R, "}(", future.node.address, ", ", state, ")")
end
