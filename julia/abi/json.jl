# JSON as libbitcode and bitcode-node write it: Julia's standard library has no reader of its own.

"""
    parse_json(text) -> Dict{String,Any}, Vector{Any}, String, Int, Float64, Bool or nothing
"""
function parse_json(text::AbstractString)
    bytes = codeunits(String(text))
    value, at = json_value(bytes, json_skip(bytes, 1))
    json_skip(bytes, at) > length(bytes) || json_error(bytes, at)
    return value
end

json_error(bytes, at) = throw(ArgumentError("not JSON at byte $at of $(repr(String(copy(bytes))))"))

json_at(bytes, at) = at <= length(bytes) ? Char(bytes[at]) : '\0'

function json_skip(bytes, at)
    while json_at(bytes, at) in " \t\r\n"
        at += 1
    end
    return at
end

function json_value(bytes, at)
    c = json_at(bytes, at)
    c == '{' && return json_object(bytes, json_skip(bytes, at + 1))
    c == '[' && return json_array(bytes, json_skip(bytes, at + 1))
    c == '"' && return json_string(bytes, at + 1)
    for (word, value) in (("true", true), ("false", false), ("null", nothing))
        json_word(bytes, at, word) && return value, at + length(word)
    end
    return json_number(bytes, at)
end

json_word(bytes, at, word) = at + length(word) - 1 <= length(bytes) && all(i -> Char(bytes[at+i-1]) == word[i], 1:length(word))

function json_object(bytes, at)
    object = Dict{String,Any}()
    json_at(bytes, at) == '}' && return object, at + 1
    while true
        json_at(bytes, at) == '"' || json_error(bytes, at)
        key, at = json_string(bytes, at + 1)
        at = json_skip(bytes, at)
        json_at(bytes, at) == ':' || json_error(bytes, at)
        object[key], at = json_value(bytes, json_skip(bytes, at + 1))
        at = json_skip(bytes, at)
        json_at(bytes, at) == '}' && return object, at + 1
        json_at(bytes, at) == ',' || json_error(bytes, at)
        at = json_skip(bytes, at + 1)
    end
end

function json_array(bytes, at)
    array = Any[]
    json_at(bytes, at) == ']' && return array, at + 1
    while true
        value, at = json_value(bytes, at)
        push!(array, value)
        at = json_skip(bytes, at)
        json_at(bytes, at) == ']' && return array, at + 1
        json_at(bytes, at) == ',' || json_error(bytes, at)
        at = json_skip(bytes, at + 1)
    end
end

const JSON_ESCAPES = Dict('n' => '\n', 't' => '\t', 'r' => '\r', 'b' => '\b', 'f' => '\f', '"' => '"', '\\' => '\\', '/' => '/')

function json_string(bytes, at)
    out = IOBuffer()
    while true
        c = json_at(bytes, at)
        if at > length(bytes)
            json_error(bytes, at)
        elseif c == '"'
            return String(take!(out)), at + 1
        elseif c != '\\'
            write(out, bytes[at])
            at += 1
        elseif haskey(JSON_ESCAPES, json_at(bytes, at + 1))
            print(out, JSON_ESCAPES[json_at(bytes, at + 1)])
            at += 2
        else
            unit = json_unit(bytes, at)
            at += 6
            if 0xd800 <= unit <= 0xdbff
                low = json_unit(bytes, at)
                0xdc00 <= low <= 0xdfff || json_error(bytes, at)
                unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                at += 6
            end
            print(out, Char(unit))
        end
    end
end

# The sixteen bits of `\uXXXX`.
function json_unit(bytes, at)
    json_word(bytes, at, "\\u") && at + 5 <= length(bytes) || json_error(bytes, at)
    unit = tryparse(UInt32, String(bytes[at+2:at+5]); base = 16)
    unit === nothing && json_error(bytes, at)
    return unit
end

function json_number(bytes, at)
    last = at
    while json_at(bytes, last) in "+-0123456789.eE"
        last += 1
    end
    text = String(bytes[at:last-1])
    value = something(tryparse(Int, text), tryparse(Float64, text), Some(nothing))
    value === nothing && json_error(bytes, at)
    return value, last
end
