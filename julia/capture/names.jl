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

# Operators are: those of ASCII characters, each of which that is longer than one character begins with a shorter one; single characters beyond
# ASCII; these with a dot before them or an equals sign behind; and some of all these with primes, indices and the like behind them.
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

may_be_operator(c::Char) = !Base.is_id_start_char(c) && !(Base.Unicode.category_code(c) in UNASSIGNED)
const UNASSIGNED = (Base.Unicode.UTF8PROC_CATEGORY_CN, Base.Unicode.UTF8PROC_CATEGORY_CO, Base.Unicode.UTF8PROC_CATEGORY_CS)
const BEYOND_ASCII = filter(may_be_operator, map(Char, [0x80:0xd7ff; 0xe000:0x10ffff]))
# What may stand behind an operator.
const ENDINGS = filter(c -> Base.isoperator(string('+', c)), filter(Base.is_id_char, map(Char, [0x80:0xd7ff; 0xe000:0x1ffff])))

all_operators() = [ascii_operators();
    [text for c in BEYOND_ASCII for text in (string(c), string('.', c), string(c, '='), string('.', c, '=')) if Base.isoperator(text)]]

spaced(texts) = string(" ", join(texts, " "), " ")
const OPERATORS = spaced(all_operators())
const ENDED_OPERATORS = spaced(filter(text -> Base.isoperator(text * ENDINGS[1]), all_operators()))
const ENDING_CHARACTERS = String(ENDINGS)

is_in(text::String, list::String) = !isempty(text) && !occursin(' ', text) && occursin(string(" ", text, " "), list)

function is_operator(name::Cstring)
    text = unsafe_string(Ptr{UInt8}(name))
    isascii(text) && return Cint(is_in(text, OPERATORS))
    core = String(rstrip(c -> c in ENDING_CHARACTERS, text))
    return Cint(is_in(core, ncodeunits(core) == ncodeunits(text) ? OPERATORS : ENDED_OPERATORS))
end

STAND_INS["jl_id_start_char"] = starts_name
STAND_INS["jl_id_char"] = goes_on_name
STAND_INS["jl_is_operator"] = is_operator

# Later versions ask for the endings one by one, too.
@static if isdefined(Base, :is_op_suffix_char)
    const ENDS_OPERATOR = ranges_of(c -> Base.is_op_suffix_char(Char(c)))
    ends_operator(c::UInt32) = Cint(is_listed(ENDS_OPERATOR, c))
    STAND_INS["jl_op_suffix_char"] = ends_operator
end
