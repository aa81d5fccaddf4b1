# Exceptions from a node: a graph of objects in bytes (docs/ABI.md), decoded to Julia objects of the same types.
#
# The node has no Julia, so the graph tells memory, not constructors: an object is allocated, its bytes are filled in, its reference
# slots are set. What the node could not pack, and what does not fit the type it should go to, becomes an `OpaqueValue` that keeps the name.

"""
    OpaqueValue

Stands, inside an exception that came from a node, for something that could not be sent. It shows as that thing's name.
"""
struct OpaqueValue <: Exception
    name::String
end

Base.show(io::IO, value::OpaqueValue) = print(io, value.name)
Base.showerror(io::IO, value::OpaqueValue) = print(io, value.name, " (could not be sent back whole)")

"""
    OmittedArray

Stands for an array that was too large to come along with an exception: its size and its type are known, its elements are not.
"""
struct OmittedArray{T,N} <: AbstractArray{T,N}
    type::Any
    dims::NTuple{N,Int}
end

Base.size(array::OmittedArray) = array.dims
Base.getindex(array::OmittedArray, indices::Int...) = error("the elements of this array stayed on the node: it was too large to come along with an exception")
Base.summary(io::IO, array::OmittedArray) = print(io, Base.dims2string(array.dims), " ", array.type)
Base.show(io::IO, array::OmittedArray) = summary(io, array)
Base.show(io::IO, ::MIME"text/plain", array::OmittedArray) = summary(io, array)

# Numbers of types that every node knows: index = number (docs/ABI.md, "Builtin types").
const BUILTIN_TYPES = Any[
    Int8, Int16, Int32, Int64, Int128, UInt8, UInt16, UInt32, UInt64, UInt128, Float16, Float32, Float64, Bool, Char, String, Symbol,
    Nothing, BoundsError, DivideError, OverflowError, UndefRefError, StackOverflowError, OutOfMemoryError, ErrorException,
    ArgumentError, TypeError, UndefVarError, DomainError, InexactError, ReadOnlyMemoryError, MethodError, Core.SimpleVector, DataType,
    InterruptException, UndefKeywordError,
]
const FIRST_ARCHIVE_TYPE = 0x10000
const BUILTIN_NUMBERS = IdDict{Any,Int}(BUILTIN_TYPES[i] => i for i in eachindex(BUILTIN_TYPES))

# Nothing here nests deeper, and no exception of a sane size comes near.
const GRAPH_DEPTH = 512

struct MalformedGraph <: Exception
    message::String
end

Base.showerror(io::IO, e::MalformedGraph) = print(io, "malformed exception graph: ", e.message)

mutable struct GraphReader
    bytes::Vector{UInt8}
    at::Int
    objects::Vector{Any} # those of the archive
    deferrable           # those of them that may be called here
    made::Vector{Any}    # by order of first appearance
    depth::Int
    tail::Int
    GraphReader(bytes, at, objects, deferrable, made, depth) = new(bytes, at, objects, deferrable, made, depth, 0)
end

struct Undefined end

"""
    decode_graph(bytes, objects, deferrable = ()) -> value

The value that `bytes` describe. `objects` are those that the archive of the call refers to, in its order; the functions among them
that are in `deferrable` may be called here, to make the texts that shipped code leaves to its origin.
"""
function decode_graph(bytes::Vector{UInt8}, objects::Vector{Any}, deferrable = ())
    reader = GraphReader(bytes, 1, objects, deferrable, Any[], 0)
    # References are stored into objects as raw memory, without the collector's knowledge: it has to wait.
    enabled = GC.enable(false)
    try
        value = graph_value(reader)
        value isa Undefined && throw(MalformedGraph("it is undefined"))
        return value
    finally
        GC.enable(enabled)
    end
end

# The same for a result: where its graph ends, the graph, the tail.
function decode_result(bytes::Vector{UInt8}, objects::Vector{Any}, deferrable)
    reader = GraphReader(bytes, 1, objects, deferrable, Any[], 0)
    enabled = GC.enable(false)
    try
        reader.tail = align_up(Int(take_number(reader, UInt64)), TAIL_ALIGNMENT)
        value = graph_value(reader)
        value isa Undefined && throw(MalformedGraph("it is undefined"))
        return value
    finally
        GC.enable(enabled)
    end
end

function take_bytes(r::GraphReader, n::Integer)
    0 <= n <= length(r.bytes) - r.at + 1 || throw(MalformedGraph("it ends in the middle of a value"))
    r.at += Int(n)
    return view(r.bytes, r.at-Int(n):r.at-1)
end

function take_number(r::GraphReader, ::Type{T}) where {T}
    bytes = take_bytes(r, sizeof(T))
    return ltoh(GC.@preserve bytes unsafe_load(Ptr{T}(pointer(bytes))))
end

take_text(r::GraphReader) = String(take_bytes(r, take_number(r, UInt32)))

function take_type(r::GraphReader)
    number = take_number(r, UInt32)
    type = if number < FIRST_ARCHIVE_TYPE
        1 <= number <= length(BUILTIN_TYPES) ? BUILTIN_TYPES[number] : nothing
    else
        archive_object(r, number - FIRST_ARCHIVE_TYPE)
    end
    type isa Type || throw(MalformedGraph("number $number is no type"))
    return type
end

function archive_object(r::GraphReader, index::Integer)
    index < length(r.objects) || throw(MalformedGraph("the archive has no object $index"))
    return r.objects[index+1]
end

# Reserves the number of an object that may be referred to before it is whole.
function reserve(r::GraphReader)
    push!(r.made, OpaqueValue("a reference into an object that could not be sent"))
    return length(r.made)
end

function graph_value(r::GraphReader)
    r.depth += 1
    r.depth <= GRAPH_DEPTH || throw(MalformedGraph("it is nested more than $GRAPH_DEPTH deep"))
    value = tagged_value(r, take_number(r, UInt8))
    r.depth -= 1
    return value
end

function tagged_value(r::GraphReader, tag::UInt8)
    tag == 0 && return Undefined()
    tag == 1 && return archive_object(r, take_number(r, UInt32))
    if tag == 2
        n = take_number(r, UInt32)
        n < length(r.made) || throw(MalformedGraph("it refers to object $n before that appears"))
        return r.made[n+1]
    end
    tag == 3 && return graph_struct(r)
    tag == 4 && return graph_array(r)
    if tag == 5
        place = reserve(r)
        return r.made[place] = String(take_bytes(r, take_number(r, UInt64)))
    end
    if tag == 6
        place = reserve(r)
        return r.made[place] = Symbol(take_text(r))
    end
    tag == 7 && return (nothing, true, false)[graph_index(take_number(r, UInt8), 3)]
    tag == 8 && return take_type(r)
    tag == 9 && return Tuple(reinterpret(Int64, collect(take_bytes(r, 8 * Int(take_number(r, UInt32))))))
    tag == 10 && return OpaqueValue(take_text(r))
    if tag == 11
        place = reserve(r)
        return r.made[place] = Core.svec(graph_values(r)...)
    end
    tag == 12 && return graph_deferred(r)
    throw(MalformedGraph("$tag is no tag of a value"))
end

graph_index(i::Integer, n::Int) = i < n ? Int(i) + 1 : throw(MalformedGraph("$i is out of range"))

# As many values as the number before them says, and there is at least a byte for each.
function graph_values(r::GraphReader)
    count = take_number(r, UInt32)
    count <= length(r.bytes) - r.at + 1 || throw(MalformedGraph("it ends in the middle of a value"))
    return Any[graph_value(r) for _ in 1:count]
end

# A text, or an exception, that shipped code did not make itself: the call that makes it, made here.
function graph_deferred(r::GraphReader)
    place = reserve(r)
    f = graph_value(r)
    arguments = graph_values(r)
    return r.made[place] = any(known -> known === f, r.deferrable) ? deferred_call(f, arguments) : "(message not available)"
end

function deferred_call(@nospecialize(f), arguments::Vector{Any})
    any(a -> a isa Undefined, arguments) && return "(message not available)"
    try
        return Base.invokelatest(f, arguments...)
    catch exception
        return exception
    end
end

# --- structs -----------------------------------------------------------------------------------------------------------------

function graph_struct(r::GraphReader)
    type = take_type(r)
    place = reserve(r)
    bytes = take_bytes(r, take_number(r, UInt32))
    isconcretetype(type) && sizeof_object(type) == length(bytes) && !(type <: Union{String,Symbol,Array,Core.SimpleVector}) ||
        throw(MalformedGraph("$(length(bytes)) bytes are no $type"))
    slots = reference_slots(type)
    # Before its fields: a field may refer to it.
    object = new_object(type, bytes)
    r.made[place] = object
    count = take_number(r, UInt32)
    count == length(slots) || throw(MalformedGraph("a $type has $(length(slots)) references, not $count"))
    whole = true
    for (offset, declared) in slots
        value = graph_value(r)
        value isa Undefined && continue
        value isa declared ? set_slot(object, offset, value) : (whole = false)
    end
    whole || (r.made[place] = OpaqueValue(string(type)))
    return r.made[place]
end

sizeof_object(@nospecialize(T)) = Int(T.size)

# Offset and declared type of each reference in the memory of a `T`, ascending.
function reference_slots(@nospecialize(T), base::Int = 0, slots = Pair{Int,Any}[])
    for i in 1:fieldcount(T)
        F = fieldtype(T, i)
        offset = base + Int(fieldoffset(T, i))
        if !Base.allocatedinline(F)
            push!(slots, offset => F)
        elseif F isa DataType && !isbitstype(F)
            reference_slots(F, offset, slots)
        end
    end
    return slots
end

# --- arrays ------------------------------------------------------------------------------------------------------------------

function graph_array(r::GraphReader)
    type = take_type(r)
    type <: Array && isconcretetype(type) || throw(MalformedGraph("$type is no array type"))
    place = reserve(r)
    rank = take_number(r, UInt32)
    rank == ndims(type) || throw(MalformedGraph("a $type does not have $rank dimensions"))
    dims = ntuple(_ -> graph_dimension(take_number(r, UInt64)), ndims(type))
    form = take_number(r, UInt8)
    form == 2 && return r.made[place] = OmittedArray{eltype(type),ndims(type)}(type, dims)
    references = graph_index(form, 2) == 2
    E = eltype(type)
    references == !Base.allocatedinline(E) || throw(MalformedGraph("a $type has another kind of elements"))
    count = Base.checked_mul(1, dims...)
    references && return graph_references(r, place, type, dims, count)
    bytes = take_bytes(r, take_number(r, UInt64))
    if !isbitstype(E) && !(E isa Union)
        return r.made[place] = OpaqueValue("a $type")
    end
    selectors = E isa Union ? count : 0
    stride = E isa Union ? Int(Base.bitsunionsize(E)) : Base.elsize(type)
    length(bytes) == Base.checked_add(Base.checked_mul(count, stride), selectors) || throw(MalformedGraph("$(length(bytes)) bytes are no $type of $dims"))
    array = type(undef, dims)
    fill_array(array, bytes, count * stride, selectors)
    return r.made[place] = array
end

graph_dimension(d::UInt64) = d <= typemax(Int) ? Int(d) : throw(MalformedGraph("$d is no dimension"))

function graph_references(r::GraphReader, place::Int, type, dims, count::Int)
    # One byte at least for each element to come.
    count <= length(r.bytes) - r.at + 1 || throw(MalformedGraph("it ends in the middle of a value"))
    array = type(undef, dims)
    r.made[place] = array
    whole = true
    for i in 1:count
        value = graph_value(r)
        value isa Undefined && continue
        value isa eltype(type) ? (array[i] = value) : (whole = false)
    end
    whole || (r.made[place] = OpaqueValue("a $type"))
    return r.made[place]
end
