# Texts: what a stream's context says of their layout, and Base64. Julia's own code keeps them where a value may have any type.

# Flags and the screen's size, which Base's own code asks a context for, have one type each, though a context may hold anything.
negated_flag(x) = x isa Bool ? !x : throw(MethodError(!, (x,)))
part_of_size(x, i::Int) = x isa Tuple{Int,Int} ? x[i] : throw(TypeError(:displaysize, "", Tuple{Int,Int}, x))

function context_stand_in(body::Body, @nospecialize(f), operands)
    asks_context(body.instance) && !isempty(operands) && operand_type(body, operands[1]) === Any || return nothing
    f === (!) && return negated_flag
    f === getindex && length(operands) == 2 && operand_type(body, operands[2]) === Int && return part_of_size
    return nothing
end
# Is it one of Base's functions that lay arrays out?
asks_context(instance::Core.MethodInstance) =
    instance.def isa Method && Base.moduleroot(instance.def.module) === Base && basename(string(instance.def.file)) == "arrayshow.jl"

const BASE64 = codeunits(join([collect('A':'Z'); collect('a':'z'); collect('0':'9'); '+'; '/']))
const BASE64_PAD = UInt8('=')

function encoded(bytes)
    n = length(bytes)
    text = Base.StringVector(cld(n, 3) * 4)
    for (group, first) in enumerate(1:3:n)
        word = UInt32(bytes[first]) << 16
        first + 1 <= n && (word |= UInt32(bytes[first+1]) << 8)
        first + 2 <= n && (word |= UInt32(bytes[first+2]))
        for k in 1:4
            text[4group-4+k] = first + k - 2 <= n ? BASE64[(word >> (24 - 6k) & 0x3f) + 1] : BASE64_PAD
        end
    end
    return String(text)
end
bytes_of(text::Union{String,SubString{String}}) = codeunits(text)
bytes_of(bytes::Vector{UInt8}) = bytes
const Encodable = Union{String,SubString{String},Vector{UInt8}}
# What is left of `base64encode(x)` once its keyword is known, with and without `write`.
encoded_text(context::Nothing, encode, x::Encodable) = encoded(bytes_of(x))
encoded_text(context::Nothing, encode, ::typeof(write), x::Encodable) = encoded(bytes_of(x))

# Characters that mean nothing are passed over.
function decoded_bytes(text::Union{String,SubString{String}})
    bytes, group, count = UInt8[], UInt32(0), 0
    pads = 0
    for byte in codeunits(text)
        code = byte == BASE64_PAD ? nothing : findfirst(isequal(byte), BASE64)
        (code === nothing && byte != BASE64_PAD) && continue
        (code === nothing ? count < 2 : pads > 0) && throw(ArgumentError("malformed base64 sequence"))
        group = group << 6 | (code === nothing ? UInt32(0) : UInt32(code - 1))
        pads += code === nothing
        count += 1
        count == 4 || continue
        for k in 1:3-pads
            push!(bytes, (group >> (24 - 8k)) % UInt8)
        end
        group, count, pads = UInt32(0), 0, 0
    end
    count == 0 && return bytes
    # Later versions let the padding at the end be left out (JuliaLang/julia#44503).
    VERSION >= v"1.9-" && count >= 2 || throw(ArgumentError("malformed base64 sequence"))
    group <<= 6 * (4 - count)
    for k in 1:count-1-pads
        push!(bytes, (group >> (24 - 8k)) % UInt8)
    end
    return bytes
end
