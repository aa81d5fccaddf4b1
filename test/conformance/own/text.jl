# Functions over text of a user's own, for the conformance table.

zip_collect(a, b) = collect(zip(a, b))
enumerate_collect(v) = collect(enumerate(v))
bin_text(n) = string(n; base = 2)
hex_text(n) = string(n; base = 16, pad = 8)

first_match(pattern, text) = (m = match(pattern, text); m === nothing ? "" : String(m.match))
no_match(pattern, text) = match(pattern, text) === nothing
all_matches(pattern, text) = [parse(Int, m.match) for m in eachmatch(pattern, text)]
function named_match(text)
    m = match(r"(?<key>\w+)=(?<value>\w+)", text)
    m === nothing && return ("", "")
    return (String(m[:key]), String(m["value"]))
end
match_offsets(text) = [m.offset for m in eachmatch(r"\w+", text)]

interpolated(name, n) = "Hello, $(name)! You have $(n + 1) messages$(n == 1 ? "" : "s")."
function built(n)
    io = IOBuffer()
    for i in 1:n
        print(io, i, i < n ? ", " : ".")
    end
    return String(take!(io))
end
caesar(text, k) = map(c -> isletter(c) ? (isuppercase(c) ? 'A' : 'a') + mod(c - (isuppercase(c) ? 'A' : 'a') + k, 26) : c, text)
is_palindrome(text) = (letters = filter(isletter, lowercase(text)); letters == reverse(letters))
vowels(text) = count(in("aeiou"), text)
acronym(text) = join(uppercase(first(word)) for word in split(text))
function run_lengths(text)
    runs = Tuple{Char,Int}[]
    for c in text
        if !isempty(runs) && runs[end][1] == c
            runs[end] = (c, runs[end][2] + 1)
        else
            push!(runs, (c, 1))
        end
    end
    return runs
end
rotate_words(text) = (words = split(text, ' '); join([words[2:end]; words[1:1]], ' '))
count_lines(text) = length(split(text, '\n'))
csv_sum(text) = sum(sum(parse(Int, cell) for cell in split(line, ',')) for line in split(text, '\n'))
join_reversed(text) = join(reverse(split(text)), " ")
hex_dump(bytes) = join((string(b; base = 16, pad = 2) for b in bytes), ' ')
function fizzbuzz(n)
    lines = String[]
    for i in 1:n
        push!(lines, i % 15 == 0 ? "FizzBuzz" : i % 5 == 0 ? "Buzz" : i % 3 == 0 ? "Fizz" : string(i))
    end
    return lines
end
function roman(n)
    text = ""
    for (value, letters) in ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
                             (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
        while n >= value
            text *= letters
            n -= value
        end
    end
    return text
end
text_table(names, values) = join([rpad(n, 6) * lpad(string(v), 4) for (n, v) in zip(names, values)], "\n")
function parse_pairs(text)
    pairs = Dict{String,Int}()
    for part in split(text, ';')
        key, value = split(part, '=')
        pairs[String(key)] = parse(Int, value)
    end
    return pairs
end
longest(words) = words[argmax(length.(words))]
function buffer_lines(text)
    lines = String[]
    for line in eachline(IOBuffer(text))
        push!(lines, line)
    end
    return lines
end
buffer_words(words) = sprint(io -> foreach(w -> (write(io, w); write(io, UInt8(' '))), words))
buffer_seek(text) = (io = IOBuffer(text); seek(io, 2); (position(io), read(io, Char), eof(io)))
buffer_read(text) = (io = IOBuffer(text); (readuntil(io, ' '), read(io, String)))
eachline_count(text) = count(_ -> true, eachline(IOBuffer(text)))
string_from_chars(chars) = (s = ""; for c in chars; s = s * c; end; s)
function levenshtein(a, b)
    row = collect(0:length(b))
    for (i, x) in enumerate(a)
        previous, row[1] = row[1], i
        for (j, y) in enumerate(b)
            previous, row[j+1] = row[j+1], min(row[j+1] + 1, row[j] + 1, previous + (x != y))
        end
    end
    return row[end]
end
anagrams(a, b) = sort(collect(a)) == sort(collect(b))
function bracket_depth(text)
    depth = deepest = 0
    for c in text
        c == '(' && (depth += 1; deepest = max(deepest, depth))
        c == ')' && (depth -= 1)
    end
    return deepest
end
word_lengths(text) = Dict(word => length(word) for word in split(text))
function char_histogram(text)
    counts = Dict{Char,Int}()
    for c in text
        counts[c] = get(counts, c, 0) + 1
    end
    return counts
end
snake_case(name) = lowercase(replace(name, r"([a-z])([A-Z])" => s"\1_\2"))
binary_search_words(words, word) = searchsortedfirst(words, word)
function common_prefix(a, b)
    n = 0
    for (x, y) in zip(a, b)
        x == y || break
        n += 1
    end
    return first(a, n)
end
function word_count(text)
    counts = Dict{String,Int}()
    for word in split(text)
        key = String(word)
        counts[key] = get(counts, key, 0) + 1
    end
    return sort!(collect(counts); by = p -> (-p.second, p.first))
end
struct Degrees
    celsius::Float64
end
Base.show(io::IO, t::Degrees) = print(io, t.celsius, "°C")
type_name_of(x) = string(typeof(x))
rounded_text(v) = string(round.(v; digits = 1))
