# Arguments to a graph (docs/ABI.md): objects as memory, from the tuple of a call's arguments on.
#
# Nothing here is specialised on the type of a value, and nothing is dispatched on it: a `Plan` says where references lie in objects of a
# type, and the writer goes through memory by it. So the first call with a new type compiles nothing, and a million strings take a
# million times a few nanoseconds. Large arrays and strings are not copied: they go out from where they lie, as pieces of the tail.

const NO_NUMBER = typemax(UInt32)

# Elements of arrays and strings above this many bytes go into the tail. (rust/runtime/src/graph.rs: TAIL_BYTES)
const GRAPH_TAIL = 4096

# Shorter strings are written again where they are met again: that is less work than to know that they were.
const SHORT_STRING = 64

@enum PlanKind::UInt8 begin
    PLAN_STRUCT
    PLAN_STRING
    PLAN_SYMBOL
    PLAN_TYPE         # a type as a value
    PLAN_SVEC
    PLAN_BYTES        # an array of plain values
    PLAN_UNIONS       # an array of unions of plain values
    PLAN_REFERENCES   # an array of references
    PLAN_INLINE       # an array of structs that hold references
    PLAN_BIG_INT
    PLAN_BIG_FLOAT
    PLAN_KNOWN        # what is named by its number in the archive, because nothing else would tell what it is: modules, unions, type variables…
    PLAN_NEVER
end

"""
    Plan

How objects of one type are written for one archive.
"""
struct Plan
    type::Any
    kind::PlanKind
    number::UInt32          # the type's
    size::Int               # bytes of an object, or of an element
    rank::Int
    slots::Vector{Int}      # where references are in an object, or in an element
    pointers::Vector{Int}   # where pointers are
    numbered::Bool          # its objects are remembered
    table::Bool             # its objects may be tables that cannot be hashed anew where they arrive
end

# The plans of the types that were met so far, and their places by the types' addresses. (Mutable, so that it is replaced by one store.)
mutable struct PlanTable
    all::Vector{Plan}
    by_address::Dict{UInt,Int}
end

"""
    Plans

What writing and reading for one archive needs to know of types. Several threads may go by it at once: `table` is replaced when another type is
met, never changed, and a plan keeps its place.
"""
mutable struct Plans
    numbers::IdDict{Any,Int}
    wanted::Union{Nothing,Vector{Any}} # the types that it lacks are collected here, if anywhere:
    most::Int                          # no more than so many
    tables::Vector{Any}                # the types of tables that the entry hashes anew
    table::PlanTable
    lock::ReentrantLock
end

Plans(numbers::IdDict{Any,Int}, wanted, tables, most = 0) =
    Plans(numbers, wanted, most, tables, PlanTable(Plan[], Dict{UInt,Int}()), ReentrantLock())

"""
    Unsendable(message, place, new_type)

Why a value does not cross: what is at `place` in it. `new_type`: the archive does not know that type, but another could; else `nothing`.
"""
struct Unsendable <: Exception
    message::String
    place::String
    new_type::Any
end

Base.showerror(io::IO, e::Unsendable) = print(io, e.place, " ", e.message)

# References that are still to be written.
struct WriteFrame
    base::UInt    # the object, or the elements
    next::Int     # how many are done
    count::Int
    plan::Int     # 0: `count` words; otherwise objects of this plan, with its slots
    owner::Int    # the plan of what they belong to, to say where something is
end

"""
    GraphWriter

Writes the graph of one value after the other. Used again and again.
"""
mutable struct GraphWriter
    bytes::Vector{UInt8}
    at::Int
    pieces::Vector{Tuple{Int,Ptr{UInt8},Int}} # of the tail: where in it, where in memory, how many bytes
    tail::Int
    keys::Vector{UInt}       # addresses of objects that were written, hashed
    numbers::Vector{UInt32}  # and their numbers
    seen::Int
    count::UInt32
    frames::Vector{WriteFrame}
    depth::Int
    reference::Int           # which one of the innermost frame is being written
    plans::Union{Nothing,Plans} # what it went by last,
    last::UInt               # the address of the type that was asked for last there,
    last_plan::Int           # and the place of its plan
    next::Union{Nothing,GraphWriter} # in a stack of those that wait
end

const SEEN_AT_FIRST = 64

GraphWriter() = GraphWriter(UInt8[], 0, Tuple{Int,Ptr{UInt8},Int}[], 0, zeros(UInt, SEEN_AT_FIRST), zeros(UInt32, SEEN_AT_FIRST), 0, 0, WriteFrame[], 0, 0,
                            nothing, 0, 0, nothing)

function reset!(w::GraphWriter, bytes::Vector{UInt8}, plans::Plans)
    if w.plans !== plans
        w.plans, w.last = plans, 0
    end
    w.bytes = bytes
    w.at = 0
    empty!(w.pieces)
    w.tail = 0
    w.count = 0
    w.depth = 0
    if w.seen > 0
        # Emptied by every call, so no larger than what calls like the last one need.
        if length(w.keys) > min(1 << 16, 16 * max(w.seen, SEEN_AT_FIRST))
            w.keys, w.numbers = zeros(UInt, SEEN_AT_FIRST), zeros(UInt32, SEEN_AT_FIRST)
        else
            fill!(w.keys, 0)
        end
        w.seen = 0
    end
    return w
end

"""
    write_graph!(writer, bytes, plans, Ref{Any}(value)) -> Int

Write a payload for `value` into `bytes` (which grows), but for its tail: the writer's pieces, from the next multiple of 64 on. Returns
how long what was written is. The value must not change meanwhile, nor before the pieces are sent.
"""
function write_graph!(w::GraphWriter, bytes::Vector{UInt8}, plans::Plans, value::Base.RefValue{Any})
    reset!(w, bytes, plans)
    put_bits!(w, UInt64(0))
    GC.@preserve value begin
        write_reference!(w, plans, unsafe_load(Ptr{UInt}(pointer_from_objref(value))))
        while w.depth > 0
            write_frame!(w, plans, w.frames[w.depth])
        end
    end
    GC.@preserve bytes unsafe_store!(Ptr{UInt64}(pointer(bytes)), htol(UInt64(w.at)))
    return w.at
end

# Goes on with the innermost frame until it is done or another one opens.
function write_frame!(w::GraphWriter, plans::Plans, frame::WriteFrame)
    depth = w.depth
    i = frame.next
    if frame.plan == 0
        while i < frame.count
            i += 1
            w.reference = i
            write_reference!(w, plans, unsafe_load(Ptr{UInt}(frame.base), i))
            w.depth == depth || break
        end
    else
        plan = plans.table.all[frame.plan]
        slots = length(plan.slots)
        while i < frame.count
            element, slot = divrem(i, slots)
            i += 1
            w.reference = i
            write_reference!(w, plans, unsafe_load(Ptr{UInt}(frame.base + element * plan.size + plan.slots[slot+1])))
            w.depth == depth || break
        end
    end
    if w.depth == depth && i == frame.count
        w.depth -= 1
    else
        w.frames[depth] = WriteFrame(frame.base, i, frame.count, frame.plan, frame.owner)
    end
    return nothing
end

function open_frame!(w::GraphWriter, base::UInt, count::Int, plan::Int, owner::Int)
    count == 0 && return nothing
    w.depth += 1
    w.depth > length(w.frames) && push!(w.frames, WriteFrame(0, 0, 0, 0, 0))
    w.frames[w.depth] = WriteFrame(base, 0, count, plan, owner)
    return nothing
end

# --- bytes -------------------------------------------------------------------------------------------------------------------

@inline function make_room!(w::GraphWriter, n::Int)
    w.at + n <= length(w.bytes) || grow!(w, n)
    return nothing
end

@noinline function grow!(w::GraphWriter, n::Int)
    resize!(w.bytes, max(2 * length(w.bytes), w.at + n, 256))
    return nothing
end

@inline function put_bits!(w::GraphWriter, x::T) where {T<:Union{UInt8,UInt32,UInt64}}
    make_room!(w, sizeof(T))
    bytes = w.bytes
    GC.@preserve bytes unsafe_store!(Ptr{T}(pointer(bytes) + w.at), htol(x))
    w.at += sizeof(T)
    return nothing
end

function put_memory!(w::GraphWriter, from::UInt, n::Int)
    make_room!(w, n)
    bytes = w.bytes
    GC.@preserve bytes unsafe_copyto!(pointer(bytes) + w.at, Ptr{UInt8}(from), n)
    w.at += n
    return nothing
end

# A piece of the tail; where it begins there is written.
function put_tail!(w::GraphWriter, from::UInt, n::Int)
    w.tail = align_up(w.tail, TAIL_ALIGNMENT)
    put_bits!(w, UInt64(w.tail))
    return add_to_tail!(w, from, n)
end

function add_to_tail!(w::GraphWriter, from::UInt, n::Int)
    push!(w.pieces, (w.tail, Ptr{UInt8}(from), n))
    w.tail += n
    return nothing
end

# Zeros in the slots of the `count` elements that end where the writer is.
function forget_slots!(w::GraphWriter, plan::Plan, count::Int)
    bytes = w.bytes
    GC.@preserve bytes begin
        first = pointer(bytes) + w.at - count * plan.size
        for i in 0:count-1, slot in plan.slots
            unsafe_store!(Ptr{UInt64}(first + i * plan.size + slot), 0)
        end
        for i in 0:count-1, slot in plan.pointers
            unsafe_store!(Ptr{UInt64}(first + i * plan.size + slot), 0)
        end
    end
    return nothing
end

# --- identity ----------------------------------------------------------------------------------------------------------------

@inline hash_address(address::UInt) = (address >> 4) * 0x9e3779b97f4a7c15

# The number of the object if it was written before; otherwise it gets the next one.
function number_of!(w::GraphWriter, address::UInt)
    2 * (w.seen + 1) > length(w.keys) && rehash!(w)
    mask = length(w.keys) - 1
    place = Int(hash_address(address) >> 32) & mask
    @inbounds while true
        key = w.keys[place+1]
        key == address && return w.numbers[place+1]
        key == 0 && break
        place = (place + 1) & mask
    end
    @inbounds w.keys[place+1] = address
    @inbounds w.numbers[place+1] = w.count
    w.seen += 1
    w.count += 1
    return NO_NUMBER
end

@noinline function rehash!(w::GraphWriter)
    keys, numbers = w.keys, w.numbers
    w.keys, w.numbers = zeros(UInt, 4 * length(keys)), zeros(UInt32, 4 * length(keys))
    mask = length(w.keys) - 1
    @inbounds for i in eachindex(keys)
        keys[i] == 0 && continue
        place = Int(hash_address(keys[i]) >> 32) & mask
        while w.keys[place+1] != 0
            place = (place + 1) & mask
        end
        w.keys[place+1] = keys[i]
        w.numbers[place+1] = numbers[i]
    end
    return nothing
end

# Writes a back reference if the object was written before.
@inline function is_back_reference!(w::GraphWriter, address::UInt)
    number = number_of!(w, address)
    number == NO_NUMBER && return false
    put_bits!(w, Tag.BACKREF)
    put_bits!(w, number)
    return true
end

# --- values ------------------------------------------------------------------------------------------------------------------

@inline type_address(address::UInt) = Codegen.tag_at(address)
address_of(@nospecialize(object)) = UInt(object_memory(object))

const STRING_TYPE = Ref(UInt(0))
const ADDRESS_OF_NOTHING = Ref(UInt(0))
const ADDRESS_OF_TRUE = Ref(UInt(0))
const ADDRESS_OF_FALSE = Ref(UInt(0))

function init_graphs()
    STRING_TYPE[] = address_of(String)
    ADDRESS_OF_NOTHING[] = address_of(nothing)
    ADDRESS_OF_TRUE[] = address_of(true)
    ADDRESS_OF_FALSE[] = address_of(false)
    return nothing
end

function write_reference!(w::GraphWriter, plans::Plans, address::UInt)
    address == 0 && return put_bits!(w, Tag.UNDEF)
    type = type_address(address)
    type == STRING_TYPE[] && return write_string!(w, address)
    if type == w.last
        number = w.last_plan
    else
        number = plan_number!(plans, type)
        w.last, w.last_plan = type, number
    end
    plan = @inbounds plans.table.all[number]
    kind = plan.kind
    kind == PLAN_STRUCT && return write_struct!(w, plans, plan, number, address)
    return write_other!(w, plans, plan, number, address)
end

function write_string!(w::GraphWriter, address::UInt)
    bytes = unsafe_load(Ptr{Int}(address))
    if bytes < SHORT_STRING
        w.count += 1
    elseif is_back_reference!(w, address)
        return nothing
    end
    if bytes > GRAPH_TAIL
        put_bits!(w, Tag.LONG_STRING)
        put_bits!(w, UInt64(bytes))
        return put_tail!(w, address + 8, bytes)
    end
    make_room!(w, 9 + bytes)
    put_bits!(w, Tag.STRING)
    put_bits!(w, UInt64(bytes))
    return put_memory!(w, address + 8, bytes)
end

function write_struct!(w::GraphWriter, plans::Plans, plan::Plan, number::Int, address::UInt)
    if plan.size <= 1
        address == ADDRESS_OF_NOTHING[] && return put_builtin!(w, 0x00)
        address == ADDRESS_OF_TRUE[] && return put_builtin!(w, 0x01)
        address == ADDRESS_OF_FALSE[] && return put_builtin!(w, 0x02)
    end
    plan.number == NO_NUMBER && unknown_type(w, plans, plan)
    if plan.numbered
        is_back_reference!(w, address) && return nothing
    else
        w.count += 1
    end
    isempty(plan.pointers) || check_pointers(w, plans, plan, address)
    plan.table && check_table(w, plans, address)
    put_bits!(w, Tag.STRUCT)
    put_bits!(w, plan.number)
    put_bits!(w, UInt32(plan.size))
    put_memory!(w, address, plan.size)
    slots = length(plan.slots)
    slots + length(plan.pointers) == 0 || forget_slots!(w, plan, 1)
    put_bits!(w, UInt32(slots))
    return open_frame!(w, address, slots, number, number)
end

put_builtin!(w::GraphWriter, which::UInt8) = (put_bits!(w, Tag.BUILTIN); put_bits!(w, which))

@noinline function write_other!(w::GraphWriter, plans::Plans, plan::Plan, number::Int, address::UInt)
    kind = plan.kind
    if kind == PLAN_SYMBOL
        is_back_reference!(w, address) && return nothing
        bytes = symbol_bytes(address)
        put_bits!(w, Tag.SYMBOL)
        put_bits!(w, UInt32(bytes))
        return put_memory!(w, address + SYMBOL_NAME, bytes)
    end
    (kind == PLAN_TYPE || kind == PLAN_KNOWN) && return write_known!(w, plans, address)
    kind == PLAN_NEVER && refuse(w, plans, "is a `$(plan.type)`, which lives in this process only")
    if kind == PLAN_SVEC
        is_back_reference!(w, address) && return nothing
        length = unsafe_load(Ptr{Int}(address))
        put_bits!(w, Tag.SVEC)
        put_bits!(w, UInt32(length))
        return open_frame!(w, address + 8, length, 0, number)
    end
    plan.number == NO_NUMBER && unknown_type(w, plans, plan)
    is_back_reference!(w, address) && return nothing
    kind == PLAN_BIG_INT && return write_big_int!(w, plan, address)
    kind == PLAN_BIG_FLOAT && return write_big_float!(w, plan, address)
    return write_array!(w, plan, number, address)
end

# data 0, length 8, dimensions from 24 on.
function write_array!(w::GraphWriter, plan::Plan, number::Int, address::UInt)
    data, length = unsafe_load(Ptr{UInt}(address)), unsafe_load(Ptr{Int}(address + 8))
    put_bits!(w, Tag.ARRAY)
    put_bits!(w, plan.number)
    put_bits!(w, UInt32(plan.rank))
    if plan.rank == 1
        put_bits!(w, UInt64(length))
    else
        for i in 1:plan.rank
            put_bits!(w, unsafe_load(Ptr{UInt64}(address + 24), i))
        end
    end
    if plan.kind == PLAN_REFERENCES
        put_bits!(w, Form.REFERENCES)
        return open_frame!(w, data, length, 0, number)
    end
    bytes = length * plan.size
    if plan.kind == PLAN_INLINE
        put_bits!(w, Form.INLINE)
        put_bits!(w, UInt64(bytes))
        put_memory!(w, data, bytes)
        forget_slots!(w, plan, length)
        return open_frame!(w, data, length * Base.length(plan.slots), number, number)
    end
    selectors = plan.kind == PLAN_UNIONS ? length : 0
    from = selectors == 0 ? UInt(0) : selectors_address(address)
    if bytes > GRAPH_TAIL
        put_bits!(w, Form.TAIL)
        put_tail!(w, data, bytes)
        return selectors == 0 ? nothing : add_to_tail!(w, from, selectors)
    end
    put_bits!(w, Form.BYTES)
    put_bits!(w, UInt64(bytes + selectors))
    put_memory!(w, data, bytes)
    return selectors == 0 ? nothing : put_memory!(w, from, selectors)
end

# GMP's number: room for how many digits, how many there are (negative for a negative number), where they are.
function write_big_int!(w::GraphWriter, plan::Plan, address::UInt)
    size = unsafe_load(Ptr{Int32}(address), 2)
    put_bits!(w, Tag.BIG_INT)
    put_bits!(w, plan.number)
    put_bits!(w, size % UInt32)
    return put_memory!(w, unsafe_load(Ptr{UInt}(address), 2), 8 * abs(Int(size)))
end

# MPFR's number: precision, sign, exponent, where its digits are, and the string in which that is.
function write_big_float!(w::GraphWriter, plan::Plan, address::UInt)
    digits = unsafe_load(Ptr{UInt}(address), 5)
    bytes = digits == 0 ? 0 : unsafe_load(Ptr{Int}(digits))
    put_bits!(w, Tag.BIG_FLOAT)
    put_bits!(w, plan.number)
    put_bits!(w, unsafe_load(Ptr{UInt64}(address), 1))
    put_bits!(w, unsafe_load(Ptr{UInt32}(address), 3))
    put_bits!(w, unsafe_load(Ptr{UInt64}(address), 3))
    put_bits!(w, UInt64(bytes))
    return put_memory!(w, digits + 8, bytes)
end

# A type as a value, or something else that only its number tells.
function write_known!(w::GraphWriter, plans::Plans, address::UInt)
    object = unsafe_pointer_to_objref(Ptr{Cvoid}(address))
    if object isa DataType
        number = type_number(plans.numbers, object)
        number == NO_NUMBER && want(w, plans, object, "is the type `$object`, which the shipped code does not know")
        put_bits!(w, Tag.TYPE)
        return put_bits!(w, number)
    end
    position = get(plans.numbers, object, 0)
    if position == 0
        object isa Type && return want(w, plans, object, "is the type `$object`, which the shipped code does not know")
        refuse(w, plans, "is a `$(typeof(object))`, which lives in this process only")
    end
    put_bits!(w, Tag.OBJECT)
    return put_bits!(w, UInt32(position - 1))
end

# --- plans -------------------------------------------------------------------------------------------------------------------

function type_number(numbers::IdDict{Any,Int}, @nospecialize(T))
    builtin = get(BUILTIN_NUMBERS, T, 0)
    builtin == 0 || return UInt32(builtin)
    position = get(numbers, T, 0)
    return position == 0 ? NO_NUMBER : UInt32(position - 1 + FIRST_ARCHIVE_TYPE)
end

@noinline function plan_number!(plans::Plans, type::UInt)
    found = get(plans.table.by_address, type, 0)
    return found == 0 ? new_plan_number!(plans, type) : found
end

@noinline function new_plan_number!(plans::Plans, type::UInt)
    lock(plans.lock) do
        found = get(plans.table.by_address, type, 0)
        found == 0 || return found
        plan = plan_of(plans, unsafe_pointer_to_objref(Ptr{Cvoid}(type)))
        table = PlanTable([plans.table.all; plan], copy(plans.table.by_address))
        table.by_address[type] = length(table.all)
        # Complete before another thread can see it.
        Threads.atomic_fence()
        plans.table = table
        return length(table.all)
    end
end

no_slots() = Int[]

function plan_of(plans::Plans, @nospecialize(T))
    simple(kind) = Plan(T, kind, NO_NUMBER, 0, 0, no_slots(), no_slots(), true, false)
    T === String && return simple(PLAN_STRING)
    T === Symbol && return simple(PLAN_SYMBOL)
    T === DataType && return simple(PLAN_TYPE)
    T === Core.SimpleVector && return simple(PLAN_SVEC)
    T <: Union{Type,Core.TypeofBottom,Module,TypeVar} && return simple(PLAN_KNOWN)
    is_of_process(T) && return simple(PLAN_NEVER)
    number = type_number(plans.numbers, T)
    big(kind) = Plan(T, kind, number, 0, 0, no_slots(), no_slots(), true, false)
    T === BigInt && return big(PLAN_BIG_INT)
    T === BigFloat && return big(PLAN_BIG_FLOAT)
    if T <: Array
        E = eltype(T)
        if !Base.allocatedinline(E)
            return Plan(T, PLAN_REFERENCES, number, 8, ndims(T), no_slots(), no_slots(), true, false)
        end
        E isa Union && return Plan(T, PLAN_UNIONS, number, Int(Base.bitsunionsize(E)), ndims(T), no_slots(), no_slots(), true, false)
        slots, pointers = Int[s.first for s in reference_slots(E)], pointer_places(E)
        isempty(pointers) || return simple(PLAN_NEVER)
        return Plan(T, isempty(slots) ? PLAN_BYTES : PLAN_INLINE, number, Int(Base.elsize(T)), ndims(T), slots, pointers, true, false)
    end
    slots = Int[s.first for s in reference_slots(T)]
    # A struct that nobody described cannot be filled: the fields of built-in types are described by archives, too.
    isempty(slots) || haskey(plans.numbers, T) || (number = NO_NUMBER)
    return Plan(T, PLAN_STRUCT, number, Codegen.type_size(T), 0, slots, pointer_places(T), Codegen.is_mutable_type(T) || !isempty(slots),
                table_by_identity(T) !== false && !any(D -> D === T, plans.tables))
end

# Where pointers are in an object.
function pointer_places(@nospecialize(T), base::Int = 0, places = Int[])
    T <: Ptr && return push!(places, base)
    for i in 1:fieldcount(T)
        F = fieldtype(T, i)
        F isa DataType && Base.allocatedinline(F) && pointer_places(F, base + Int(fieldoffset(T, i)), places)
    end
    return places
end

# --- refusals ----------------------------------------------------------------------------------------------------------------

refuse(w::GraphWriter, plans::Plans, message) = throw(Unsendable(message, place_of(w, plans), nothing))

unknown_type(w::GraphWriter, plans::Plans, plan::Plan) =
    want(w, plans, plan.type, "is a `$(plan.type)`, a type that the shipped code does not know")

function want(w::GraphWriter, plans::Plans, @nospecialize(type), message)
    plans.wanted === nothing && throw(Unsendable(message, place_of(w, plans), type))
    any(known -> known === type, plans.wanted) && return nothing
    length(plans.wanted) < plans.most || refuse(w, plans, string(message, ", and one more than it can learn: declare what places for values of any type hold"))
    push!(plans.wanted, type)
    return nothing
end

# How many types one call site learns from its values. No sane program has so many in one place.
const MOST_TYPES = 1000

"""
    unknown_types(Ref{Any}(value), numbers, most = MOST_TYPES) -> Vector{Any}

The types that a graph of `value` would name and that are not among `numbers`, those of objects and those that are values; `Unsendable` if there
are more than `most`.
"""
function unknown_types(value::Base.RefValue{Any}, numbers::IdDict{Any,Int}, most::Int = MOST_TYPES)
    plans = Plans(numbers, Any[], identity_tables(typeof(value[])), most)
    write_graph!(GraphWriter(), UInt8[], plans, value)
    return plans.wanted
end

# A null pointer means the same everywhere.
function check_pointers(w::GraphWriter, plans::Plans, plan::Plan, address::UInt)
    plan.type === Regex && return nothing # compiled again where it is used
    all(place -> unsafe_load(Ptr{UInt}(address + place)) == 0, plan.pointers) ||
        refuse(w, plans, "is a `$(plan.type)`, which holds a pointer")
    return nothing
end

# A table in a place whose type does not tell that it is one, or of what keys: the entry has no code to hash it anew.
function check_table(w::GraphWriter, plans::Plans, address::UInt)
    table = unsafe_pointer_to_objref(Ptr{Cvoid}(address))::HashTable
    for key in keys(table)
        hashes_by_identity(typeof(key)) === false && continue
        refuse(w, plans, "is a `$(typeof(table))` with a key of type `$(typeof(key))`, which is found by its identity; declare the type of the keys")
    end
    return nothing
end

# "argument 1, field `x` of `P`, element 3": where the writer is.
function place_of(w::GraphWriter, plans::Plans)
    words = String[]
    for depth in 1:w.depth
        frame = w.frames[depth]
        T = plans.table.all[frame.owner].type
        i = depth == w.depth ? w.reference : frame.next
        if T <: Array || T === Core.SimpleVector
            slots = plans.table.all[frame.owner].slots
            element, slot = T <: Array && !isempty(slots) ? divrem(i - 1, length(slots)) : (i - 1, 0)
            push!(words, "element $(element + 1)")
            isempty(slots) || append!(words, slot_words(eltype(T), slots[slot+1]))
        else
            offset = plans.table.all[frame.owner].slots[i]
            append!(words, depth == 1 ? argument_words(T, offset) : slot_words(T, offset))
        end
    end
    return join(words, ", ")
end

# The field of a `T` with the reference at `offset`, and the field of that one if it is inline…
function slot_words(@nospecialize(T), offset::Int)
    words = String[]
    while T isa DataType && !(T <: Union{Array,String})
        i = findlast(i -> fieldoffset(T, i) <= offset, 1:fieldcount(T))
        i === nothing && break
        push!(words, field_words(T, i))
        offset -= Int(fieldoffset(T, i))
        Base.allocatedinline(fieldtype(T, i)) || break
        T = fieldtype(T, i)
    end
    return words
end

# The same for a payload: the function, if it has captured something, the arguments, the keyword arguments.
function argument_words(@nospecialize(T), offset::Int)
    part = findlast(i -> fieldoffset(T, i) <= offset, 1:fieldcount(T))
    within = slot_words(fieldtype(T, part), offset - Int(fieldoffset(T, part)))
    fieldcount(T) == 3 && part == 1 && return within
    isempty(within) && return ["an argument"]
    which = part == fieldcount(T) ? "keyword argument" : "argument"
    within[1] = replace(within[1], "element" => which)
    return within
end
