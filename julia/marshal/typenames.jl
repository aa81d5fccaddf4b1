# Types by their canonical names (`Capture.type_name`), as files and manifests have them. Names are looked up in the modules that are loaded;
# nothing is evaluated.

struct NoSuchType <: Exception
    name::String
    part::String # what of it is not here
end

"""
    type_named(name) -> Type

The type of that canonical name, such as `Core.Array{Core.Float64,1}`. Throws a `NoSuchType` if it, or a type in its parameters, is not defined in
this process.
"""
function type_named(name::String)
    value, rest = parsed_name(name, name)
    isempty(rest) && value isa Type || throw(NoSuchType(name, name))
    return value
end

# The first parameter of a type, or type, in `text`; and the text behind it.
function parsed_name(text::AbstractString, whole::String)
    digits = match(r"^-?\d+", text)
    if digits !== nothing
        value = tryparse(Int, digits.match)
        value === nothing && missing_part(digits.match, whole)
        return value, behind(text, digits.match)
    end
    startswith(text, ':') && return parsed_symbol(text)
    startswith(text, '(') && return parsed_list(text, ')', whole)
    return parsed_type(text, whole)
end

function parsed_symbol(text)
    word = match(r"^:([^{}(),]*)", text)
    return Symbol(word[1]), behind(text, word.match)
end

# As a tuple: `(…)` or `{…}`.
function parsed_list(text, stop::Char, whole)
    values = Any[]
    text = behind(text, text[1:1])
    while !startswith(text, stop)
        isempty(values) || (text = behind(text, ","))
        value, text = parsed_name(text, whole)
        push!(values, value)
    end
    return Tuple(values), behind(text, string(stop))
end

function parsed_type(text, whole)
    word = match(r"^[^{}(),: ]+", text)
    word === nothing && missing_part(text, whole)
    text = behind(text, word.match)
    if word.match == "Core.Union"
        members, text = parsed_list(text, '}', whole)
        return Union{members...}, text
    end
    T = global_named(word.match, whole)
    if startswith(text, '{')
        parameters, text = parsed_list(text, '}', whole)
        return applied(T, parameters, whole), text
    elseif startswith(text, '(')
        value, text = parsed_value(T, text, whole)
        return value, text
    end
    # "… where T": the names of types do not hold enough to make such a one again.
    startswith(text, ' ') && missing_part(text, whole)
    return T, text
end

function applied(@nospecialize(T), parameters, whole)
    try
        return T{parameters...}
    catch e
        e isa Union{TypeError,ErrorException} || rethrow()
        missing_part(string(T), whole)
    end
end

# A number, `true` or `false` as a parameter, such as `Core.UInt8(3)`.
function parsed_value(@nospecialize(T), text, whole)
    word = match(r"^\(([^{}(),]*)\)", text)
    value = word !== nothing && T <: Union{Bool,Base.BitInteger} ? tryparse(T, word[1]) : nothing
    value === nothing && missing_part(text, whole)
    return value, behind(text, word.match)
end

function global_named(name::AbstractString, whole)
    words = split(name, '.')
    place = root_module(words[1])
    for word in words[2:end]
        place isa Module && isdefined(place, Symbol(word)) || missing_part(name, whole)
        place = getfield(place, Symbol(word))
    end
    place isa Type || missing_part(name, whole)
    return place
end

function root_module(name::AbstractString)
    for place in (Core, Base, Main)
        name == string(nameof(place)) && return place
    end
    found = [place for (key, place) in Base.loaded_modules if key.name == name]
    return length(found) == 1 ? found[1] : nothing
end

behind(text, start) = SubString(text, 1 + ncodeunits(start))

@noinline missing_part(part, whole) = throw(NoSuchType(whole, String(part)))
