# Dates as texts. `Dates.format(date, "yyyy-mm-dd")` and `Date(text, "yyyy-mm-dd")` make a type of the format, whose parameters are what it consists of. Here the
# format is a list, gone through with the functions that `Dates` has for its parts.

# A part of a format: a code, as often as it stands there, or, with the code '\0', the text between codes.
struct DatePiece
    code::Char
    width::Int
    fixed::Bool  # the next code follows at once
    text::String
end

const DATE_CODES = ('y', 'Y', 'm', 'u', 'U', 'e', 'E', 'd', 'H', 'I', 'M', 'S', 's', 'p')

function date_pieces(format::String)
    pieces, text, last = DatePiece[], IOBuffer(), '\0'
    i = firstindex(format)
    while i <= lastindex(format)
        char = format[i]
        if char in DATE_CODES && last != '\\'
            position(text) > 0 && push!(pieces, DatePiece('\0', 0, false, String(take!(text))))
            width = 0
            while i <= lastindex(format) && format[i] == char
                width, i = width + 1, nextind(format, i)
            end
            push!(pieces, DatePiece(char, width, i <= lastindex(format) && format[i] in DATE_CODES, ""))
            last = char
            continue
        end
        # A backslash stands for what follows it.
        if char == '\\' && i < lastindex(format)
            i = nextind(format, i)
            char = format[i]
        end
        print(text, char)
        last, i = char, nextind(format, i)
    end
    position(text) > 0 && push!(pieces, DatePiece('\0', 0, false, String(take!(text))))
    return pieces
end

# As `Dates` shows a part of a format in an error.
function directive(piece::DatePiece)
    piece.code == '\0' || return string("DatePart(", repeat(string(piece.code), piece.width), ')')
    return string("Delim(", join(char in DATE_CODES ? string('\\', char) : string(char) for char in piece.text), ')')
end

# Where the text goes on behind a separator, 0 if it is another one.
function behind(separator::String, text, at::Int)
    for char in separator
        (at <= lastindex(text) && text[at] == char) || return 0
        at = nextind(text, at)
    end
    return at
end

@noinline bad_date(pieces, k::Int, at::Int) = throw(ArgumentError(k > length(pieces) ? "Found extra characters at the end of date time string" :
    string("Unable to parse date time. Expected directive ", directive(pieces[k]), " at char ", at)))

# The code that asks a piece which of these codes it has, and does with the part of `Dates`' own kind what `action` says; `otherwise` if it has none of them.
function with_part(DatePart::Type, codes::Tuple, action, otherwise)
    isempty(codes) && return otherwise
    code = first(codes)
    return :(piece.code == $code ? $(action(:($DatePart{$code}(piece.width, piece.fixed)))) : $(with_part(DatePart, Base.tail(codes), action, otherwise)))
end

# The numbers of a moment, in the order in which constructors take them.
const DATE_FIELDS = (y = 1, Y = 1, m = 2, u = 2, U = 2, d = 3, H = 4, I = 4, M = 5, S = 6, s = 7)
function read_part(m::Module, part::Expr)
    code = part.args[1].args[2]::Char
    field = get(DATE_FIELDS, Symbol(code), 0)
    return quote
        found = $(m.tryparsenext)($part, text, at, lastindex(text), locale)
        found === nothing && bad_date(pieces, k, at)
        $(field == 0 ? nothing : :(numbers[$field] = found[1]))
        at = found[2]
    end
end
const Written = Union{String,SubString{String}}

for (_, m) in Base.loaded_modules
    nameof(m) === :Dates || continue
    @eval begin
        # What is left of these functions once their keyword is known.
        function formatted_date(locale::$(m.DateLocale), ::typeof($(m.format)), date::$(m.TimeType), format::String)
            io = IOBuffer()
            for piece in date_pieces(format)
                $(with_part(m.DatePart, DATE_CODES, part -> :($(m.format)(io, $part, date, locale)), :(print(io, piece.text))))
            end
            return String(take!(io))
        end
        function read_date(locale::$(m.DateLocale), ::Type{T}, text::Written, format::String) where {T<:Union{$(m.Date),$(m.DateTime),$(m.Time)}}
            numbers, half = [1, 1, 1, 0, 0, 0, 0], $(m.TWENTYFOURHOUR)
            pieces, at, k = date_pieces(format), firstindex(text), 1
            while k <= length(pieces) && at <= lastindex(text)
                piece = pieces[k]
                if piece.code == '\0'
                    at = (next = behind(piece.text, text, at)) == 0 ? bad_date(pieces, k, at) : next
                elseif piece.code == 'p'
                    found = $(m.tryparsenext)($(m.DatePart){'p'}(piece.width, piece.fixed), text, at, lastindex(text), locale)
                    found === nothing && bad_date(pieces, k, at)
                    half, at = found
                else
                    $(with_part(m.DatePart, filter(!=('p'), DATE_CODES), part -> read_part(m, part), :nothing))
                end
                k += 1
            end
            at > lastindex(text) || bad_date(pieces, k, at)
            T === $(m.Date) && return T(numbers[1], numbers[2], numbers[3])
            T === $(m.DateTime) && return T(numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7], half)
            return T(numbers[4], numbers[5], numbers[6], numbers[7], 0, 0, half)
        end
    end
    foreach(f -> FUNCTION_STAND_INS[f] = formatted_date, parts_of(m, "format"))
    foreach(name -> foreach(f -> FUNCTION_STAND_INS[f] = read_date, parts_of(m, name)), ("Date", "DateTime", "Time"))
end
