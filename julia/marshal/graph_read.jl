# Graphs from a node, made into objects. Nothing in one is believed: every length, type and reference is looked at before it is used.
#
# Like the writer, the reader goes through memory by what is known of each type, without code for any type in particular and without
# recursion. What the node could not pack of an exception, and what does not fit where it should go, becomes an `OpaqueValue` that
# keeps the name; a result is whole, or malformed.

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

struct MalformedGraph <: Exception
    message::String
end

Base.showerror(io::IO, e::MalformedGraph) = print(io, "malformed graph: ", e.message)

@noinline broken(message::String) = throw(MalformedGraph(message))

const ENDS_EARLY = "it ends in the middle of a value"

# Calls that the origin makes for the node (DEFERRED) nest no deeper.
const GRAPH_DEPTH = 512

# How objects of a type are read.
struct ReadPlan
    type::Any
    kind::PlanKind
    size::Int                # bytes of an object, or of an element
    rank::Int
    slots::Vector{Int}       # where references are in an object, or in an element
    declared::Vector{Any}    # what each of them may be
    only::Vector{UInt}       # the address of that type, if there is but one
    pointers::Vector{Int}
    selectors::Vector{Tuple{Int,Int}} # where inline unions have theirs, and how many members they have
    table::Bool              # its objects are to be hashed anew
end

# References that are still to be read.
struct ReadFrame
    base::UInt
    next::Int
    count::Int
    plan::Int    # 0: elements that may be anything
    place::Int   # of what they belong to, among what was made
    whole::Bool
end

mutable struct GraphReader
    place::Ptr{UInt8}
    at::Int              # how many bytes were taken
    stop::Int            # where the graph ends
    length::Int          # where the tail does
    tail::Int            # where the next piece of it may begin
    exception::Bool
    objects::Vector{Any} # those of the archive
    deferrable           # those of them that may be called here
    made::Vector{Any}    # by order of first appearance
    tables::Vector{Any}  # those that are to be hashed anew
    frames::Vector{ReadFrame}
    plans::Vector{ReadPlan}
    by_number::Dict{UInt32,Int}
    last::UInt32
    last_plan::Int
    depth::Int
end

GraphReader(place, stop, length, exception, objects, deferrable) =
    GraphReader(place, 0, stop, length, 0, exception, objects, deferrable, Any[], Any[], ReadFrame[], ReadPlan[], Dict{UInt32,Int}(), 0, 0, 0)

struct Undefined end

"""
    decode_graph(bytes, objects, deferrable = ()) -> value

The exception that `bytes` describe. `objects` are those that the archive of the call refers to, in its order; the functions among them
that are in `deferrable` may be called here, to make the texts that shipped code leaves to its origin.
"""
function decode_graph(bytes::Vector{UInt8}, objects::Vector{Any}, deferrable = ())
    GC.@preserve bytes begin
        return read_graph(GraphReader(pointer(bytes), length(bytes), length(bytes), true, objects, deferrable))
    end
end

"""
    decode_result(place, length, objects, deferrable) -> value

The result at `place`: eight bytes that say where its graph ends, the graph, the tail.
"""
function decode_result(place::Ptr{UInt8}, length::Int, objects::Vector{Any}, deferrable)
    r = GraphReader(place, length, length, false, objects, deferrable)
    stop = take_number(r, UInt64)
    8 <= stop <= length || broken("its graph is longer than it is")
    r.stop = Int(stop)
    r.tail = align_up(r.stop, TAIL_ALIGNMENT)
    return read_graph(r)
end

function read_graph(r::GraphReader)
    # References are stored into objects as raw memory, without the collector's knowledge. (A text that is made here may be the work of a user's
    # `show`, which may let other tasks run, and these may read graphs, too.)
    value = without_collector(() -> read_whole!(r))
    value isa Undefined && broken("it is undefined")
    r.exception || r.at == r.stop || broken("something follows it")
    foreach(table -> Base.invokelatest(hash_anew!, table), r.tables)
    return value
end

# A value with all that it refers to.
function read_whole!(r::GraphReader)
    r.depth += 1
    r.depth <= GRAPH_DEPTH || broken("it is nested more than $GRAPH_DEPTH deep")
    outer = length(r.frames)
    value = read_value!(r)
    while length(r.frames) > outer
        replaced = read_frame!(r, outer)
        replaced === nothing || (value = replaced)
    end
    r.depth -= 1
    return value
end

# Goes on with the innermost frame until it is done or another one opens. An object that turned out not to be whole is replaced: where it was stored
# last, or, if it is the outermost, by what this returns.
function read_frame!(r::GraphReader, outer::Int)
    depth = length(r.frames)
    frame = r.frames[depth]
    i, whole = frame.next, frame.whole
    while i < frame.count && length(r.frames) == depth
        i += 1
        # A frame that opens now must find the state of this one.
        r.frames[depth] = ReadFrame(frame.base, i, frame.count, frame.plan, frame.place, whole)
        value = read_value!(r)
        value isa Undefined || store!(r, frame, i, value) || (whole = false)
    end
    if length(r.frames) > depth
        whole || (r.frames[depth] = ReadFrame(frame.base, i, frame.count, frame.plan, frame.place, false))
        return nothing
    end
    pop!(r.frames)
    whole && return nothing
    r.exception || broken("a reference is not of its field's type")
    value = r.made[frame.place] = OpaqueValue(string(r.plans[frame.plan].type))
    depth - 1 == outer && return value
    parent = r.frames[depth-1]
    store!(r, parent, parent.next, value) && return nothing
    r.frames[depth-1] = ReadFrame(parent.base, parent.next, parent.count, parent.plan, parent.place, false)
    return nothing
end

# Stores the `i`-th reference of a frame. False if it is none that may be there.
function store!(r::GraphReader, frame::ReadFrame, i::Int, @nospecialize(value))
    address = UInt(object_memory(value))
    if frame.plan == 0
        unsafe_store!(Ptr{UInt}(frame.base), address, i)
        return true
    end
    plan = r.plans[frame.plan]
    element, slot = plan.kind == PLAN_REFERENCES ? (i - 1, 1) : (divrem(i - 1, length(plan.slots)) .+ (0, 1))
    if plan.only[slot] != type_address(address)
        value isa plan.declared[slot] || return false
    end
    unsafe_store!(Ptr{UInt}(frame.base + element * plan.size + plan.slots[slot]), address)
    return true
end

# --- bytes -------------------------------------------------------------------------------------------------------------------

# Where the next `n` bytes are.
@inline function take_place(r::GraphReader, n::Integer)
    0 <= n <= r.stop - r.at || broken(ENDS_EARLY)
    place = r.place + r.at
    r.at += Int(n)
    return place
end

@inline take_number(r::GraphReader, ::Type{T}) where {T} = ltoh(unsafe_load(Ptr{T}(take_place(r, sizeof(T)))))

function take_text(r::GraphReader)
    bytes = Int(take_number(r, UInt32))
    return unsafe_string(take_place(r, bytes), bytes)
end

# The next `n` bytes of the tail, from where the graph says.
function take_tail(r::GraphReader, n::Int)
    r.exception && broken("an exception has no tail")
    start = take_number(r, UInt64)
    start <= r.length || broken("a piece of its tail lies outside")
    start = Int(start) + align_up(r.stop, TAIL_ALIGNMENT)
    r.tail <= start <= r.length && n <= r.length - start || broken("a piece of its tail lies outside")
    r.tail = start + n
    return r.place + start
end

function take_type(r::GraphReader, number::UInt32 = take_number(r, UInt32))
    type = if number < FIRST_ARCHIVE_TYPE
        1 <= number <= length(BUILTIN_TYPES) ? BUILTIN_TYPES[number] : nothing
    else
        archive_object(r, number - FIRST_ARCHIVE_TYPE)
    end
    type isa Type || broken("number $number is no type")
    return type
end

# The type of a tuple that the node made itself: that of each part, which may be such a tuple.
function take_tuple_type(r::GraphReader, depth::Int)
    count = Int(take_number(r, UInt32))
    4 * count <= r.stop - r.at || broken(ENDS_EARLY)
    depth <= GRAPH_DEPTH || broken("it is nested more than $GRAPH_DEPTH deep")
    return Tuple{Any[take_part_type(r, take_number(r, UInt32), depth) for _ in 1:count]...}
end

take_part_type(r::GraphReader, number::UInt32, depth::Int) = number == TUPLE_TYPE ? take_tuple_type(r, depth + 1) : take_type(r, number)

function archive_object(r::GraphReader, index::Integer)
    index < length(r.objects) || broken("the archive has no object $index")
    return r.objects[index+1]
end

function keep!(r::GraphReader, @nospecialize(value))
    push!(r.made, value)
    return value
end

# --- values ------------------------------------------------------------------------------------------------------------------

function read_value!(r::GraphReader)
    tag = take_number(r, UInt8)
    tag == Tag.STRING && return read_string!(r)
    tag == Tag.STRUCT && return read_struct!(r)
    tag == Tag.UNDEF && return Undefined()
    tag == Tag.BACKREF && return read_back_reference!(r)
    tag == Tag.ARRAY && return read_array!(r)
    tag == Tag.BUILTIN && return (nothing, true, false)[graph_index(take_number(r, UInt8), 3)]
    tag == Tag.OBJECT && return archive_object(r, take_number(r, UInt32))
    tag == Tag.SYMBOL && return keep!(r, Symbol(take_text(r)))
    tag == Tag.TYPE && return take_type(r)
    tag == Tag.INTS && return read_ints!(r)
    tag == Tag.SVEC && return read_simple_vector!(r)
    tag == Tag.DEFERRED && return read_deferred!(r)
    if tag == Tag.LONG_STRING
        bytes = take_count(r)
        return keep!(r, unsafe_string(take_tail(r, bytes), bytes))
    end
    tag == Tag.BIG_INT && return read_big_int!(r)
    tag == Tag.BIG_FLOAT && return read_big_float!(r)
    tag == Tag.TUPLE && return read_struct!(r, plan_for!(r, take_tuple_type(r, 0)))
    if tag == Tag.OPAQUE
        r.exception || broken("a result holds what could not be sent")
        return OpaqueValue(take_text(r))
    end
    broken("$tag is no tag of a value")
end

graph_index(i::Integer, n::Int) = i < n ? Int(i) + 1 : broken("$i is out of range")

# A number of bytes or of elements.
function take_count(r::GraphReader)
    count = take_number(r, UInt64)
    count <= typemax(Int) || broken(ENDS_EARLY)
    return Int(count)
end

function read_string!(r::GraphReader)
    bytes = take_count(r)
    return keep!(r, unsafe_string(take_place(r, bytes), bytes))
end

function read_back_reference!(r::GraphReader)
    n = take_number(r, UInt32)
    n < length(r.made) || broken("it refers to object $n before that appears")
    return r.made[n+1]
end

function read_ints!(r::GraphReader)
    count = Int(take_number(r, UInt32))
    place = Ptr{Int64}(take_place(r, 8 * count))
    return ntuple(i -> ltoh(unsafe_load(place, i)), count)
end

function read_simple_vector!(r::GraphReader)
    count = Int(take_number(r, UInt32))
    # A byte at least for each element.
    count <= r.stop - r.at || broken(ENDS_EARLY)
    vector = keep!(r, Core.svec(Vector{Any}(nothing, count)...))
    count == 0 || push!(r.frames, ReadFrame(UInt(object_memory(vector)) + 8, 0, count, 0, length(r.made), true))
    return vector
end

function read_big_int!(r::GraphReader)
    take_type(r) === BigInt || broken("a big number is of a type that is none")
    size = take_number(r, Int32)
    limbs = abs(Int(size))
    place = take_place(r, 8 * limbs)
    limbs == 0 || unsafe_load(Ptr{UInt64}(place), limbs) != 0 || broken("a big number begins with zeros")
    number = BigInt(nbits = 64 * limbs)
    unsafe_copyto!(Ptr{UInt8}(number.d), place, 8 * limbs)
    number.size = size
    return keep!(r, number)
end

function read_big_float!(r::GraphReader)
    take_type(r) === BigFloat || broken("a big number is of a type that is none")
    precision, sign, exponent = take_number(r, Int64), take_number(r, Int32), take_number(r, Int64)
    bytes = take_count(r)
    1 <= precision <= typemax(Int) ÷ 8 && bytes == cld(precision, 64) * 8 && sign in (1, -1) || broken("a big number has not as many digits as it says")
    return keep!(r, Base.MPFR._BigFloat(precision, sign, exponent, unsafe_string(take_place(r, bytes), bytes)))
end

# A text, or an exception, that shipped code did not make itself: the call that makes it, made here.
function read_deferred!(r::GraphReader)
    keep!(r, OpaqueValue("a reference into an object that could not be sent"))
    place = length(r.made)
    f = read_whole!(r)
    count = Int(take_number(r, UInt32))
    count <= r.stop - r.at || broken(ENDS_EARLY)
    arguments = Any[read_whole!(r) for _ in 1:count]
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

function read_struct!(r::GraphReader, number::Int = read_plan!(r))
    plan = r.plans[number]
    type = plan.type
    plan.kind == PLAN_STRUCT || broken("a `$type` is no struct")
    bytes = Int(take_number(r, UInt32))
    bytes == plan.size || broken("$bytes bytes are no $type")
    place = take_place(r, bytes)
    count = Int(take_number(r, UInt32))
    count == length(plan.slots) || broken("a $type has $(length(plan.slots)) references, not $count")
    if type === Bool
        return keep!(r, unsafe_load(place) & 0x01 == 0x01)
    end
    object = keep!(r, new_object(type, place, bytes))
    bytes == 0 && return object
    plan.table && push!(r.tables, object)
    memory = UInt(object_memory(object))
    settle(plan, memory, 1)
    count == 0 || push!(r.frames, ReadFrame(memory, 0, count, number, length(r.made), true))
    return object
end

# No references yet, no pointers at all, and selectors that select something.
function settle(plan::ReadPlan, memory::UInt, count::Int)
    for i in 0:count-1
        at = memory + i * plan.size
        for slot in plan.slots
            unsafe_store!(Ptr{UInt}(at + slot), 0)
        end
        for pointer in plan.pointers
            unsafe_store!(Ptr{UInt}(at + pointer), 0)
        end
        for (place, members) in plan.selectors
            unsafe_load(Ptr{UInt8}(at + place)) < members || broken("a union has no such member")
        end
    end
    return nothing
end

function read_array!(r::GraphReader)
    number = read_plan!(r)
    plan = r.plans[number]
    type = plan.type
    plan.kind in (PLAN_BYTES, PLAN_UNIONS, PLAN_REFERENCES, PLAN_INLINE) || broken("$type is no array type")
    rank = take_number(r, UInt32)
    rank == plan.rank || broken("a $type does not have $rank dimensions")
    dims = Int[take_count(r) for _ in 1:plan.rank]
    count, overflow = 1, false
    for d in dims
        count, over = Base.mul_with_overflow(count, d)
        overflow |= over
    end
    bytes, over = Base.mul_with_overflow(count, plan.size)
    (overflow || over || bytes > typemax(Int) - count) && broken("an array is larger than any")
    form = take_number(r, UInt8)
    if form == Form.LEFT_OUT
        r.exception || broken("a result holds what could not be sent")
        return keep!(r, OmittedArray{eltype(type),Int(rank)}(type, Tuple(dims)))
    end
    if form == Form.REFERENCES
        plan.kind == PLAN_REFERENCES || broken("a $type has another kind of elements")
        # One byte at least for each element to come.
        count <= r.stop - r.at || broken(ENDS_EARLY)
        array = keep!(r, new_array(type, dims))
        count == 0 || push!(r.frames, ReadFrame(array_data(array), 0, count, number, length(r.made), true))
        return array
    end
    selectors = plan.kind == PLAN_UNIONS ? count : 0
    if form == Form.TAIL
        plan.kind in (PLAN_BYTES, PLAN_UNIONS) || broken("a $type has another kind of elements")
        place = take_tail(r, bytes + selectors)
    else
        form == (plan.kind == PLAN_INLINE ? Form.INLINE : Form.BYTES) && plan.kind != PLAN_REFERENCES || broken("a $type has another kind of elements")
        said = take_count(r)
        said == bytes + selectors || broken("$said bytes are no $type of $dims")
        place = take_place(r, said)
    end
    array = keep!(r, new_array(type, dims))
    data = array_data(array)
    unsafe_copyto!(Ptr{UInt8}(data), place, bytes)
    if selectors > 0
        members = length(Base.uniontypes(eltype(type)))
        all(i -> unsafe_load(place + bytes, i) < members, 1:selectors) || broken("a union has no such member")
        unsafe_copyto!(Ptr{UInt8}(selectors_address(UInt(object_memory(array)))), place + bytes, selectors)
    end
    if plan.kind == PLAN_INLINE && count > 0
        settle(plan, data, count)
        push!(r.frames, ReadFrame(data, 0, count * length(plan.slots), number, length(r.made), true))
    end
    return array
end

# --- plans -------------------------------------------------------------------------------------------------------------------

function read_plan!(r::GraphReader)
    number = take_number(r, UInt32)
    number == r.last && r.last_plan != 0 && return r.last_plan
    found = get(r.by_number, number, 0)
    found == 0 && (found = r.by_number[number] = plan_for!(r, take_type(r, number)))
    r.last, r.last_plan = number, found
    return found
end

function plan_for!(r::GraphReader, @nospecialize(T))
    plan = read_plan(T)
    isempty(plan.pointers) || plan.type === Regex || r.exception ||
        throw(Unsendable("holds a `$(plan.type)`, which holds a pointer", "the result", nothing))
    push!(r.plans, plan)
    return length(r.plans)
end

only_address(@nospecialize(F)) = F isa DataType && isconcretetype(F) ? address_of(F) : UInt(0)

function read_plan(@nospecialize(T))
    plan(kind, size, rank, slots, pointers, selectors) =
        ReadPlan(T, kind, size, rank, Int[s.first for s in slots], Any[s.second for s in slots], UInt[only_address(s.second) for s in slots], pointers, selectors, table_by_identity(T) !== false)
    none = Pair{Int,Any}[]
    T isa DataType && isconcretetype(T) || broken("`$T` has no objects")
    T <: Union{String,Symbol,Core.SimpleVector,Type} && return plan(PLAN_NEVER, 0, 0, none, no_slots(), Tuple{Int,Int}[])
    (is_of_process(T) || T === BigInt || T === BigFloat) && return plan(PLAN_NEVER, 0, 0, none, no_slots(), Tuple{Int,Int}[])
    if T <: Array
        E = eltype(T)
        Base.allocatedinline(E) || return plan(PLAN_REFERENCES, 8, ndims(T), [0 => E], no_slots(), Tuple{Int,Int}[])
        E isa Union && return plan(PLAN_UNIONS, Int(Base.bitsunionsize(E)), ndims(T), none, no_slots(), Tuple{Int,Int}[])
        slots = reference_slots(E)
        return plan(isempty(slots) ? PLAN_BYTES : PLAN_INLINE, Int(Base.elsize(T)), ndims(T), slots, pointer_places(E), selector_places(E))
    end
    return plan(PLAN_STRUCT, Codegen.type_size(T), 0, reference_slots(T), pointer_places(T), selector_places(T))
end

# Where inline unions have their selectors, and how many members they have.
function selector_places(@nospecialize(T), base::Int = 0, places = Tuple{Int,Int}[])
    for i in 1:fieldcount(T)
        F = fieldtype(T, i)
        Base.allocatedinline(F) || continue
        at = base + Int(fieldoffset(T, i))
        if F isa Union
            push!(places, (at + Capture.field_description(T, i)[2] - 1, length(Base.uniontypes(F))))
        elseif F isa DataType
            selector_places(F, at, places)
        end
    end
    return places
end
