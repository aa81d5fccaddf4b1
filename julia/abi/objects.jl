# Julia objects as memory: what graphs of them need and Base does not offer (julia/marshal/graph*.jl).
#
# All of it rests on the layout that Julia itself reports (sizes, field offsets), and on a collector that is off meanwhile.

"""
    new_object(T, bytes) -> object

A new `T` whose memory is `bytes`; its reference slots are null there.
"""
function new_object(@nospecialize(T), bytes::AbstractVector{UInt8})
    isdefined(T, :instance) && return T.instance
    object = ccall(:jl_new_struct_uninit, Any, (Any,), T)
    GC.@preserve object bytes unsafe_copyto!(object_memory(object), pointer(bytes), length(bytes))
    return object
end

object_memory(@nospecialize(object)) = Ptr{UInt8}(ccall(:jl_value_ptr, Ptr{Cvoid}, (Any,), object))

# Store a reference at `offset`. No write barrier: the collector is off, and `object` is younger than all it knows.
function set_slot(@nospecialize(object), offset::Int, @nospecialize(value))
    GC.@preserve object value unsafe_store!(Ptr{Ptr{UInt8}}(object_memory(object) + offset), object_memory(value))
    return nothing
end

"""
    fill_array(array, bytes, data, selectors)

The first `data` of `bytes` are the elements of `array`, the `selectors` after them say which member of a Union each is.
"""
function fill_array(array::Array, bytes::AbstractVector{UInt8}, data::Int, selectors::Int)
    GC.@preserve array bytes begin
        unsafe_copyto!(Ptr{UInt8}(pointer(array)), pointer(bytes), data)
        selectors == 0 || unsafe_copyto!(ccall(:jl_array_typetagdata, Ptr{UInt8}, (Any,), array), pointer(bytes) + data, selectors)
    end
    return array
end

# Where the name of a symbol begins, and its length.
const SYMBOL_NAME = 24
symbol_bytes(address::UInt) = Int(ccall(:strlen, Csize_t, (Ptr{UInt8},), Ptr{UInt8}(address + SYMBOL_NAME)))

# Where an array of unions has its selectors.
selectors_address(array::UInt) = UInt(ccall(:jl_array_typetagdata, Ptr{UInt8}, (Ptr{Cvoid},), Ptr{Cvoid}(array)))
