# Julia objects that code refers to, as the manifest describes them (docs/ARCHIVE.md): what a node needs to build each of them again.
#
# An object gets its number before what it refers to is looked at, so cycles end. What cannot be described (a task, an open file,
# anything with a pointer in it) becomes an `Undescribable` with the reason, and the capture fails where that object is used.

# The kinds of the manifest.
struct TypeDescriptor
    name::String
    flags::UInt32
    size::UInt32
    align::UInt16
    pointers::Vector{UInt32}
    element_size::UInt32
    element_flags::UInt32
    ndims::UInt32
    parent::UInt32
    hash::UInt32
    element_type::UInt32
    fields::Vector{NTuple{4,UInt32}} # offset, size, kind, type
end
struct InstanceDescriptor
    type::UInt32
end
struct SymbolDescriptor
    name::String
end
struct StringDescriptor
    bytes::Vector{UInt8}
end
struct DataDescriptor
    type::UInt32
    bytes::Vector{UInt8}
    relocations::Vector{Tuple{UInt32,UInt32}}
end
struct ArrayDescriptor
    type::UInt32
    dims::Vector{UInt64}
    bytes::Vector{UInt8}
    references::Vector{UInt32}
end
struct OpaqueDescriptor
    name::String
    id::UInt64
end
const Descriptor = Union{TypeDescriptor,InstanceDescriptor,SymbolDescriptor,StringDescriptor,DataDescriptor,ArrayDescriptor,OpaqueDescriptor}

# The objects of one archive. Position `i` in `objects` is number `i - 1` in the manifest.
struct ObjectTable
    objects::Vector{Any}
    descriptors::Vector{Union{Nothing,Descriptor}}
    index::IdDict{Any,Int}
    all_fields::Bool # the fields of every struct are described, also where its bytes tell enough to compare it
end
ObjectTable(all_fields::Bool = false) = ObjectTable(Any[], Union{Nothing,Descriptor}[], IdDict{Any,Int}(), all_fields)

struct Undescribable <: Exception
    object::Any
    reason::String
end

const MAX_OBJECTS = 65_536
const MAX_OBJECT_BYTES = 16 << 20

# The position of `object` (from 1), described now if it is new.
function describe!(table::ObjectTable, @nospecialize(object))
    found = get(table.index, object, 0)
    found == 0 || return found
    length(table.objects) >= MAX_OBJECTS && throw(Undescribable(object, "more than $MAX_OBJECTS constant objects are reached from the code"))
    push!(table.objects, object)
    push!(table.descriptors, nothing)
    position = table.index[object] = length(table.objects)
    table.descriptors[position] = descriptor(table, object)
    return position
end

number(position::Int) = UInt32(position - 1)     # 0-based
reference(position::Int) = UInt32(position)      # number + 1; 0 means none

function descriptor(table::ObjectTable, @nospecialize(object))::Descriptor
    object isa DataType && !has_type_variables(object) && return describe_type(table, object)
    object isa Symbol && return SymbolDescriptor(String(object))
    object isa String && return StringDescriptor(copy(codeunits(object)))
    is_identity_only(object) && return OpaqueDescriptor(opaque_name(object), object isa Type ? objectid(object) : 0)
    object isa Core.SimpleVector && return describe_simple_vector(table, object)
    object isa Words && return describe_words(table, object)
    object isa WordsType && return describe_words_type(object)
    T = typeof(object)
    refuse_state(object)
    object isa Array && return describe_array(table, object)
    isdefined(T, :instance) && T.instance === object && return InstanceDescriptor(number(describe!(table, T)))
    return describe_data(table, object)
end

# Objects that shipped code may pass around and compare, but not look into.
is_identity_only(@nospecialize(object)) =
    object isa Union{Type,TypeVar,Module,Method,Core.MethodInstance,Core.MethodTable,Core.TypeName,Core.CodeInfo,Core.CodeInstance,Expr,GlobalRef,QuoteNode}

opaque_name(@nospecialize(object)) =
    object isa Type ? type_name(object) : object isa Module ? string("module ", object) : string(nameof(typeof(object)), " ", object isa Core.TypeName ? object.name : hash_free(object))
hash_free(@nospecialize(object)) = object isa Method ? string(object.module, ".", object.name, object.sig) :
    object isa Core.MethodInstance ? string(object.specTypes) : ""

# What lives in this process only.
function refuse_state(@nospecialize(object))
    object isa Task && throw(Undescribable(object, "a task"))
    object isa Union{IO,Base.AbstractLock,Base.Timer,Base.Process,Condition} && !(object isa IOBuffer) &&
        throw(Undescribable(object, "a $(typeof(object)), which belongs to this process"))
    object isa WeakRef && throw(Undescribable(object, "a weak reference"))
    return nothing
end

# Types

"""
The canonical name of a type: its module, its name, its parameters; equal wherever the type is the same.
"""
function type_name(@nospecialize(T))
    if T isa Union
        return string("Core.Union{", join((type_name(S) for S in Base.uniontypes(T)), ","), "}")
    elseif T isa UnionAll
        return string(type_name(T.body), " where ", T.var.name)
    elseif T isa TypeVar
        return String(T.name)
    elseif T === Union{}
        return "Core.Union{}"
    end
    base = string(parentmodule(T), ".", nameof(T))
    isempty(T.parameters) && !(T <: Tuple) && return base
    return string(base, "{", join((parameter_name(P) for P in T.parameters), ","), "}")
end

function parameter_name(@nospecialize(P))
    P isa Union{Type,TypeVar} && return type_name(P)
    P isa Symbol && return string(":", P)
    P isa Int && return string(P)
    P isa Tuple && return string("(", join((parameter_name(Q) for Q in P), ","), ")")
    return string(type_name(typeof(P)), "(", P, ")")
end

const MUTABLE, BITS, SINGLETON, ABSTRACT, ARRAY = 0x01, 0x02, 0x04, 0x08, 0x10
const PRIMITIVE, TUPLE, CONCRETE, PADDED, ZEROED = 0x20, 0x40, 0x80, 0x100, 0x200
const ELEMENTS_ARE_REFERENCES, ELEMENTS_ARE_UNIONS, ELEMENTS_HOLD_REFERENCES = 0x1, 0x2, 0x4

function describe_type(table::ObjectTable, @nospecialize(T::DataType))
    concrete = isconcretetype(T)
    is_array = T <: Array && concrete
    flags = UInt32(0)
    is_mutable_type(T) && (flags |= MUTABLE)
    isbitstype(T) && (flags |= BITS)
    isdefined(T, :instance) && (flags |= SINGLETON)
    is_abstract_type(T) && (flags |= ABSTRACT)
    is_array && (flags |= ARRAY)
    isprimitivetype(T) && (flags |= PRIMITIVE)
    T <: Tuple && T.name === Tuple.name && (flags |= TUPLE)
    concrete && (flags |= CONCRETE)
    has_padding(T) && (flags |= PADDED)
    concrete && zero_initialised(T) && (flags |= ZEROED)
    parent = supertype(T) === T || T === Any ? UInt32(0) : reference(describe!(table, supertype(T)))
    opaque = !concrete || is_array || T === String || T === Core.SimpleVector || T === Symbol || T === Module
    size = concrete && !is_array ? UInt32(type_size(T)) : UInt32(0)
    align = has_layout(T) ? UInt16(Base.datatype_alignment(T)) : UInt16(0)
    element_size, element_flags, ndims_, element_type = UInt32(0), UInt32(0), UInt32(0), UInt32(0)
    if is_array
        E = eltype(T)
        element_size, element_flags = element_layout(E)
        ndims_ = UInt32(ndims(T))
        element_type = reference(describe!(table, E))
    end
    pointers = opaque ? UInt32[] : reference_offsets(T)
    # Padding and references are what comparing and hashing need to know of the fields; bits without holes are bits.
    fields = opaque || (isempty(pointers) && !has_padding(T) && !table.all_fields) ? NTuple{4,UInt32}[] : describe_fields(table, T)
    return TypeDescriptor(type_name(T), flags, size, align, pointers, element_size, element_flags, ndims_, parent, T.hash % UInt32, element_type, fields)
end

function element_layout(@nospecialize(E))
    if Base.allocatedinline(E)
        E isa Union && return (UInt32(union_size(E)), UInt32(ELEMENTS_ARE_UNIONS))
        size = UInt32(Base.elsize(Array{E,1}))
        return (size, Base.datatype_pointerfree(E) ? UInt32(0) : UInt32(ELEMENTS_HOLD_REFERENCES))
    end
    return (UInt32(8), UInt32(ELEMENTS_ARE_REFERENCES))
end
union_size(@nospecialize(E::Union)) = Base.bitsunionsize(E)

function describe_fields(table::ObjectTable, @nospecialize(T::DataType))
    fields = NTuple{4,UInt32}[]
    for i in 1:fieldcount(T)
        is_reference, size = field_description(T, i)
        F = fieldtype(T, i)
        kind = is_reference ? UInt32(1) : F isa Union ? UInt32(2) : UInt32(0)
        push!(fields, (UInt32(fieldoffset(T, i)), UInt32(size), kind, reference(describe!(table, F))))
    end
    return fields
end

# Values

function describe_simple_vector(table::ObjectTable, vector::Core.SimpleVector)
    type = number(describe!(table, Core.SimpleVector))
    bytes = zeros(UInt8, 8 * (length(vector) + 1))
    copyto!(bytes, reinterpret(UInt8, UInt64[length(vector)]))
    relocations = [(UInt32(8i), reference(describe!(table, vector[i]))) for i in 1:length(vector)]
    return DataDescriptor(type, bytes, relocations)
end

function describe_data(table::ObjectTable, @nospecialize(object))
    T = typeof(object)
    pointers = known_pointers(object)
    pointers === nothing && refuse_pointers(object, T)
    type = number(describe!(table, T))
    bytes = zeros(UInt8, sizeof(T))
    relocations = Tuple{UInt32,UInt32}[]
    GC.@preserve object begin
        address = Ptr{UInt8}(Codegen.address_of_object(object))
        unsafe_copyto!(pointer(bytes), address, length(bytes))
        for offset in reference_offsets(T)
            target = unsafe_load(Ptr{UInt}(address + offset))
            bytes[offset+1:offset+8] .= 0x00
            target == 0 && continue
            push!(relocations, (offset, reference(describe!(table, Codegen.object_at(target)))))
        end
    end
    if pointers !== nothing
        for (offset, target) in pointers
            bytes[offset+1:offset+8] .= 0x00
            target === nothing || push!(relocations, (offset, reference(describe!(table, target))))
        end
        sort!(relocations)
    end
    return DataDescriptor(type, bytes, relocations)
end

function describe_array(table::ObjectTable, array::Array)
    E = eltype(array)
    size, flags = element_layout(E)
    type = number(describe!(table, typeof(array)))
    sizes = UInt64[Base.size(array)...]
    if flags & ELEMENTS_ARE_REFERENCES != 0
        references = [isassigned(array, i) ? reference(describe!(table, array[i])) : UInt32(0) for i in 1:length(array)]
        return ArrayDescriptor(type, sizes, UInt8[], references)
    end
    E isa DataType && has_pointer_field(E) && throw(Undescribable(array, "an array of pointers"))
    count = Int(size) * length(array)
    selectors = flags & ELEMENTS_ARE_UNIONS != 0 ? length(array) : 0
    count > MAX_OBJECT_BYTES && throw(Undescribable(array, "a constant array of $(count >> 20) MiB; pass it as an argument"))
    bytes = Vector{UInt8}(undef, count + selectors)
    GC.@preserve array begin
        unsafe_copyto!(pointer(bytes), Ptr{UInt8}(pointer(array)), count)
        if selectors > 0
            unsafe_copyto!(pointer(bytes) + count, Codegen.selectors_of(array), selectors)
        end
    end
    slots = flags & ELEMENTS_HOLD_REFERENCES != 0 ? reference_offsets(E) : UInt32[]
    references = UInt32[]
    for i in 0:length(array)-1, offset in slots
        place = i * Int(size) + Int(offset)
        target = GC.@preserve array unsafe_load(Ptr{UInt}(pointer(array)) + place)
        bytes[place+1:place+8] .= 0x00
        push!(references, target == 0 ? UInt32(0) : reference(describe!(table, Codegen.object_at(target))))
    end
    return ArrayDescriptor(type, sizes, bytes, references)
end

# Addresses stored in objects mean nothing on a node. A null pointer means the same everywhere.
function refuse_pointers(@nospecialize(object), @nospecialize(T::DataType))
    for i in 1:fieldcount(T)
        isdefined(object, i) || continue
        F = fieldtype(T, i)
        field_description(T, i)[1] && continue
        if F isa DataType && F <: Ptr
            getfield(object, i) == C_NULL || throw(Undescribable(object, "a $T, which holds a pointer"))
        elseif F isa DataType && has_pointer_field(F)
            refuse_pointers(getfield(object, i), F)
        end
    end
    T <: Ptr && object != C_NULL && throw(Undescribable(object, "a pointer"))
    return nothing
end

has_pointer_field(@nospecialize(T::DataType)) =
    T <: Ptr || any(i -> (F = fieldtype(T, i); !field_description(T, i)[1] && F isa DataType && has_pointer_field(F)), 1:fieldcount(T))
