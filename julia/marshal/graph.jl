# Graphs of objects (docs/ABI.md): values with references on their way to a node and back, and exceptions from there.
#
# The node has no Julia, so a graph tells memory, not constructors: an object is allocated, its bytes are filled in, its reference
# slots are set. Here is what writing (graph_write.jl) and reading (graph_read.jl) share.

const FIRST_ARCHIVE_TYPE = 0x10000
const TUPLE_TYPE = 0x0000ffff # a tuple type, told by its parts
const BUILTIN_NUMBERS = IdDict{Any,Int}(BUILTIN_TYPES[i] => i for i in eachindex(BUILTIN_TYPES))

# As the first byte of a value in a graph.
module Tag
const UNDEF, OBJECT, BACKREF, STRUCT, ARRAY, STRING, SYMBOL, BUILTIN = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
const TYPE, INTS, OPAQUE, SVEC, DEFERRED, LONG_STRING, BIG_INT, BIG_FLOAT = 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f
const TUPLE = 0x10
end

# As what the elements of an array are written.
module Form
const BYTES, REFERENCES, LEFT_OUT, TAIL, INLINE = 0x00, 0x01, 0x02, 0x03, 0x04
end

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
