# Julia objects as memory: what graphs of them need and Base does not offer (julia/marshal/graph*.jl).
#
# All of it rests on the layout that Julia itself reports (sizes, field offsets), and on a collector that is off meanwhile.

"""
    new_object(T, place, bytes) -> object

A new `T` whose memory is that of `bytes` bytes at `place`.
"""
function new_object(@nospecialize(T), place::Ptr{UInt8}, bytes::Int)
    isdefined(T, :instance) && return T.instance
    object = ccall(:jl_new_struct_uninit, Any, (Any,), T)
    GC.@preserve object unsafe_copyto!(object_memory(object), place, bytes)
    return object
end

# An array of these dimensions, whose elements are undefined.
new_array(@nospecialize(T), dims::Vector{Int}) =
    length(dims) == 1 ? ccall(:jl_alloc_array_1d, Any, (Any, Csize_t), T, dims[1]) : ccall(:jl_new_array, Any, (Any, Any), T, Tuple(dims))

# Where its elements are.
array_data(@nospecialize(array)) = unsafe_load(Ptr{UInt}(object_memory(array)))

object_memory(@nospecialize(object)) = Ptr{UInt8}(ccall(:jl_value_ptr, Ptr{Cvoid}, (Any,), object))

# Where the name of a symbol begins, and its length.
const SYMBOL_NAME = 24
symbol_bytes(address::UInt) = Int(ccall(:strlen, Csize_t, (Ptr{UInt8},), Ptr{UInt8}(address + SYMBOL_NAME)))

# Where an array of unions has its selectors.
selectors_address(array::UInt) = UInt(ccall(:jl_array_typetagdata, Ptr{UInt8}, (Ptr{Cvoid},), Ptr{Cvoid}(array)))

# Numbers of types that every node knows: index = number (docs/ABI.md, "Builtin types").
const BUILTIN_TYPES = Any[
    Int8, Int16, Int32, Int64, Int128, UInt8, UInt16, UInt32, UInt64, UInt128, Float16, Float32, Float64, Bool, Char, String, Symbol,
    Nothing, BoundsError, DivideError, OverflowError, UndefRefError, StackOverflowError, OutOfMemoryError, ErrorException,
    ArgumentError, TypeError, UndefVarError, DomainError, InexactError, ReadOnlyMemoryError, MethodError, Core.SimpleVector, DataType,
    InterruptException, UndefKeywordError,
]

# --- without the collector ---------------------------------------------------------------------------------------------------

# Who needs the collector to wait on a thread, and whether it was on before the first of them came.
mutable struct Waiting
    count::Int
    was_on::Bool
end

const COLLECTOR_WAITS = [Waiting(0, true)]

# For each thread; its own switch is what `GC.enable` turns.
init_collector() = foreach(_ -> push!(COLLECTOR_WAITS, Waiting(0, true)), length(COLLECTOR_WAITS)+1:Threads.nthreads())

"""
    without_collector(f)

What `f()` returns; nothing is collected meanwhile. Tasks that take turns may all be in here: the collector is on again when the last of them has left.
"""
function without_collector(f)
    waiting = COLLECTOR_WAITS[Threads.threadid()]
    waiting.count == 0 && (waiting.was_on = GC.enable(false))
    waiting.count += 1
    try
        return f()
    finally
        waiting.count -= 1
        waiting.count == 0 && GC.enable(waiting.was_on)
    end
end
