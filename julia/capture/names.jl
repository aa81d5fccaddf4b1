# Which names are identifiers, and which are operators: Julia's parser knows, and nodes have none. What it says is written down here, when
# the package is loaded, and shipped with code that asks, such as `show` of a symbol.

# The characters beyond ASCII of which `answer` is true, as ranges: first, last, first, last…
function ranges_of(answer)
    ranges, inside = UInt32[], false
    for c in 0x00000080:0x0010ffff
        answer(c) == inside && continue
        push!(ranges, inside ? c - 0x01 : c)
        inside = !inside
    end
    inside && push!(ranges, 0x0010ffff)
    return ranges
end
const STARTS_NAME = ranges_of(c -> Base.is_id_start_char(Char(c)))
const GOES_ON_NAME = ranges_of(c -> Base.is_id_char(Char(c)))

is_listed(ranges::Vector{UInt32}, c::UInt32) = (k = searchsortedlast(ranges, c); isodd(k) || (k > 0 && ranges[k] == c))

is_ascii_letter(c::UInt32) = UInt32('a') <= c <= UInt32('z') || UInt32('A') <= c <= UInt32('Z') || c == UInt32('_')
starts_name(c::UInt32) = Cint(c < 0x80 ? is_ascii_letter(c) : is_listed(STARTS_NAME, c))
goes_on_name(c::UInt32) = Cint(c < 0x80 ? is_ascii_letter(c) || UInt32('0') <= c <= UInt32('9') || c == UInt32('!') : is_listed(GOES_ON_NAME, c))

# All operators of ASCII characters. Each that is longer than one character begins with a shorter one.
function ascii_operators()
    characters = [string(c) for c in Char(0x21):Char(0x7e) if !isletter(c) && !isdigit(c) && c != '_']
    found = filter(Base.isoperator, characters)
    new = found
    while !isempty(new)
        new = filter(Base.isoperator, [a * b for a in new for b in characters])
        append!(found, new)
    end
    return found
end
const OPERATORS = string(" ", join(ascii_operators(), " "), " ")

function is_operator(name::Cstring)
    text = unsafe_string(Ptr{UInt8}(name))
    isascii(text) && return Cint(occursin(string(" ", text, " "), OPERATORS) && !occursin(' ', text))
    starts_name(UInt32(first(text))) != 0 && return Cint(0)
    # Beyond ASCII there are hundreds, each with hundreds of endings. Identifiers never come to be asked for.
    throw(ArgumentError(string("whether ", text, " is an operator is only known where Julia is")))
end

STAND_INS["jl_id_start_char"] = starts_name
STAND_INS["jl_id_char"] = goes_on_name
STAND_INS["jl_is_operator"] = is_operator
