# How Julia lays the fields of its types out, as the type itself says: a header, a description of 2, 4 or 8 bytes for each field, an offset in
# words for each reference. (src/julia.h, `jl_datatype_layout_t`; Base declares the header of its own version.)

const LAYOUT_HEADER = sizeof(Base.DataTypeLayout)
layout_width(@nospecialize(T::DataType)) = 1 << Base.datatype_fielddesc_type(T)

read_unsigned(address::Ptr{Cvoid}, width::Int) =
    width == 1 ? UInt32(unsafe_load(Ptr{UInt8}(address))) : width == 2 ? UInt32(unsafe_load(Ptr{UInt16}(address))) : unsafe_load(Ptr{UInt32}(address))

# Is field `i` a reference, and how many bytes does it take?
function field_description(@nospecialize(T::DataType), i::Int)
    width = layout_width(T)
    word = read_unsigned(T.layout + LAYOUT_HEADER + 2 * width * (i - 1), width)
    return (word & 1 == 1, Int(word >> 1))
end

# Offsets of all references in an object of the concrete type `T`, those of inline fields too.
function reference_offsets(@nospecialize(T::DataType))
    has_layout(T) || return UInt32[]
    header = unsafe_load(Ptr{Base.DataTypeLayout}(T.layout))
    header.nfields == 0 && return UInt32[]
    width = layout_width(T)
    first = T.layout + LAYOUT_HEADER + 2 * width * Int(header.nfields)
    return UInt32[8 * read_unsigned(first + width * (k - 1), width) for k in 1:Int(header.npointers)]
end

has_padding(@nospecialize(T::DataType)) = has_layout(T) && Base.datatype_haspadding(T)
symbol_hash(symbol::Symbol) = GC.@preserve symbol unsafe_load(Ptr{UInt64}(Codegen.address_of_object(symbol) + 16))
