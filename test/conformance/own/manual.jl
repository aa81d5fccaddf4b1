# What the chapters of Julia's manual on functions, control flow, types, arrays and strings show, as functions of our own.

# --- functions ---------------------------------------------------------------------------------------------------------------

function product_plus(x, y)
    x + y
end
short_form(x, y) = x + y
alias_of_function(x, y) = (g = short_form; g(x, y))
Σ(x, y) = x + y
unicode_name(x, y) = Σ(x, y)
function replace_first!(x)
    x[1] = 42
    return x
end
function arguments_are_shared(v)
    w = v
    w[1] = 42
    return v
end
function early_return(x, y)
    return x * y
    x + y
end
function hypot_by_hand(x, y)
    x = abs(x)
    y = abs(y)
    if x > y
        r = y / x
        return x * sqrt(1 + r * r)
    end
    if y == 0
        return zero(x)
    end
    r = x / y
    return y * sqrt(1 + r * r)
end
return_type(x, y)::Int8 = x * y
returns_nothing(x) = (x + 1; return nothing)
operator_as_function(a, b, c) = (f = +; f(a, b, c))
anonymous(x) = (y -> y^2 + 2y - 1)(x)
anonymous_map(v) = map(x -> x^2 + 2x - 1, v)
three_arguments(x, y, z) = ((x, y, z) -> 2x + y - z)(x, y, z)
time_of_get(d, key) = get(d, key) do
    42
end
tuple_pieces(t) = (t[1], t[end], length(t))
named_tuple_piece(x) = (t = (a = 2, b = x); t.a + t[:b])
function several_values(a, b)
    a + b, a * b
end
function destructured(a, b)
    x, y = several_values(a, b)
    return y - x
end
swapped(a, b) = ((a, b) = (b, a); (a, b))
argument_destructuring((low, high), x) = low <= x <= high
gap((low, high)) = high - low
bar(a, b, x...) = (a, b, x)
spread(t) = bar(t...)
spread_array(v) = +(v...)
optional_date(y, m = 1, d = 1) = (y, m, d)
keyword_style(x; style = "solid", width = 1, color = "black") = string(x, ":", style, ":", width, ":", color)
keywords_collected(x; y = 2, rest...) = (x, y, length(rest))
keyword_from_variable(width) = keyword_style(1; width)
typed_keyword(; x::Int = 1) = x
required_keyword(; x) = x
default_uses_earlier(x, a = x, b = a + 1) = (x, a, b)
do_block(v) = map(v) do x
    if x < 0 && iseven(x)
        return 0
    elseif x == 0
        return 1
    else
        return x
    end
end
composed(x) = (sqrt ∘ +)(3, x)
composed_map(words) = map(first ∘ reverse ∘ uppercase, words)
piped(v) = v |> sum |> sqrt
piped_map(words) = words .|> [uppercase, reverse, titlecase, length] |> length
dotted(v) = sin.(v)
dotted_two(a, b) = ((x, y) -> 3x + 4y).(a, b)
fused!(x) = (x .= sin.(cos.(x)); x)
macro_dots(x) = @. 2x^2 + x
closure_over(n) = (f = x -> x * n; f(3))
make_adders(v) = [f(10) for f in [x -> x + y for y in v]]
recursive(n) = n <= 1 ? 1 : n * recursive(n - 1)

# --- control flow ------------------------------------------------------------------------------------------------------------

compound() = begin
    x = 1
    y = 2
    x + y
end
chain() = (x = 1; y = 2; x + y)
function compare_text(x, y)
    if x < y
        "x is less than y"
    elseif x > y
        "x is greater than y"
    else
        "x is equal to y"
    end
end
function relation(x, y)
    if x == y
        relation_name = "equal to"
    else
        relation_name = "different from"
    end
    return "x is " * relation_name * " y."
end
ternary(x, y) = x < y ? "less than" : x == y ? "equal to" : "greater than"
short_circuit(n) = (log = Int[]; t(x) = (push!(log, x); true); f(x) = (push!(log, x); false); r = t(n) && f(2) || t(3); (r, log))
function guarded_factorial(n::Int)
    n >= 0 || error("n must be non-negative")
    n == 0 && return 1
    n * guarded_factorial(n - 1)
end
while_loop(n) = (i = 1; out = Int[]; while i <= n; push!(out, i); i += 1; end; out)
for_loop(n) = (s = 0; for i = 1:n; s += i; end; s)
for_in(v) = (s = zero(eltype(v)); for x ∈ v; s += x; end; s)
break_out(n) = (i = 1; while true; i >= n && break; i += 1; end; i)
function skip_most(n)
    out = Int[]
    for i = 1:n
        i % 3 != 0 && continue
        push!(out, i)
    end
    return out
end
nested_loop(n) = (out = Tuple{Int,Int}[]; for i = 1:n, j = 3:4; push!(out, (i, j)); end; out)
nested_break(n) = (out = Tuple{Int,Int}[]; for i = 1:n, j = i:4; j > 3 && break; push!(out, (i, j)); end; out)
zipped_loop() = (out = Int[]; for (j, k) in zip([1, 2, 3], [4, 5, 6, 7]); push!(out, j * k); end; out)
negative_root(x) = x >= 0 ? exp(-x) : throw(DomainError(x, "argument must be nonnegative"))
fussy_sqrt(x) = x >= 0 ? sqrt(x) : error("negative x not allowed")
struct MyUndefined <: Exception
    var::Symbol
end
Base.showerror(io::IO, e::MyUndefined) = print(io, e.var, " not defined")
throws_my_undefined(name) = throw(MyUndefined(name))
function sqrt_second(x)
    try
        sqrt(x[2])
    catch y
        if isa(y, DomainError)
            sqrt(complex(x[2], 0))
        elseif isa(y, BoundsError)
            sqrt(complex(x, 0))
        end
    end
end
try_sqrt(x) = try sqrt(x) catch; sqrt(complex(x, 0)) end
finally_runs(n) = (log = String[]; try; n > 1 && push!(log, "body"); finally; push!(log, "close"); end; log)
finally_and_error(n) = (try; error("body"); finally; n + 1; end)
local_scope(n) = (x = 10; for i in 1:n; local x = i; end; x)
let_block(n) = let x = n, y = x + 1
    x * y
end
let_closures(n) = [f() for f in [let i = i; () -> i; end for i in 1:n]]
goto_label(n) = (i = 0; @label again; i += 1; i < n && @goto again; i)
outer_variable(n) = (i = 0; for outer i = 1:n; end; i)
labelled_search(m, x) = (for j in axes(m, 2), i in axes(m, 1); m[i, j] == x && return (i, j); end; nothing)
chained_comparison(x) = 1 < 2 <= x < 10 != 11
function fizz(n)
    n % 3 == 0 && n % 5 == 0 ? :fizzbuzz : n % 3 == 0 ? :fizz : n % 5 == 0 ? :buzz : :none
end

# --- types -------------------------------------------------------------------------------------------------------------------

asserted(x) = (1 + x)::Int
function declared(x)
    y::Int8 = x
    y
end
function sinc_typed(x)::Float64
    if x == 0
        return 1
    end
    return sin(pi * x) / (pi * x)
end
struct Foo
    bar
    baz::Int
    qux::Float64
end
foo_fields(x) = (f = Foo("Hello, world.", x, 1.5); (f.baz, f.qux))
foo_untyped(x) = Foo("Hello", x, 1.5)
mutable struct Bar
    baz
    qux::Float64
end
change_bar(x) = (b = Bar("Hello", 1.5); b.qux = x; b.qux)
change_untyped(x) = (b = Bar("Hello", 1.5); b.baz = x; b)
struct NoFields end
singleton_is_itself() = NoFields() === NoFields()
const IntOrString = Union{Int,AbstractString}
union_size(x::IntOrString) = x isa Int ? x : length(x)
struct PointOf{T}
    x::T
    y::T
end
norm_of(p::PointOf{<:Real}) = sqrt(p.x^2 + p.y^2)
point_of(x, y) = PointOf(x, y)
point_is_not(x) = PointOf{Float64} <: PointOf{Real}
abstract type Pointy{T} end
struct Point1D{T} <: Pointy{T}
    x::T
end
struct Point2D{T} <: Pointy{T}
    x::T
    y::T
end
length_of(p::Point1D) = abs(p.x)
length_of(p::Point2D) = hypot(p.x, p.y)
module_of(p::Pointy{T}) where {T<:Real} = T
struct DiagonalPoint{T<:Real}
    x::T
end
same_parameter(x::T, y::T) where {T} = true
same_parameter(x, y) = false
element(v::Vector{T}) where {T} = T
is_a(x) = (x isa Integer, x isa Number, x isa AbstractString)
subtype_tests() = (Integer <: Number, Integer <: AbstractFloat, Int <: Union{Int,String})
type_of_type(x) = typeof(typeof(x))
const TupleOfInts = Tuple{AbstractString,Vararg{Int}}
vararg_tuple(t) = isa(t, TupleOfInts)
named_tuple_type(x) = typeof((a = x, b = "hello"))
struct ValueType{x} end
first_or_last(::Val{true}) = "First"
first_or_last(::Val{false}) = "Last"
val_dispatch() = (first_or_last(Val(true)), first_or_last(Val(false)))
struct Polar{T<:Real} <: Number
    r::T
    Θ::T
end
Base.show(io::IO, z::Polar) = print(io, z.r, " * exp(", z.Θ, "im)")
polar_text(r, t) = string(Polar(r, t))
struct OrderedPair
    x::Real
    y::Real
    OrderedPair(x, y) = x > y ? error("out of order") : new(x, y)
end
ordered(x, y) = OrderedPair(x, y)
struct OurRational{T<:Integer} <: Real
    num::T
    den::T
    function OurRational{T}(num::T, den::T) where {T<:Integer}
        num == 0 && den == 0 && error("invalid rational: 0//0")
        g = gcd(den, num)
        new(num ÷ g, den ÷ g)
    end
end
OurRational(n::T, d::T) where {T<:Integer} = OurRational{T}(n, d)
⊘(n::Integer, d::Integer) = OurRational(n, d)
Base.:+(x::OurRational, y::OurRational) = OurRational(x.num * y.den + y.num * x.den, x.den * y.den)
our_sum(a, b, c, d) = a ⊘ b + c ⊘ d
mutable struct SelfReferential
    obj::SelfReferential
    SelfReferential() = (x = new(); x.obj = x)
end
self_reference() = (x = SelfReferential(); x === x.obj)
mutable struct Incomplete
    data
    Incomplete() = new()
end
incomplete_access() = Incomplete().data
struct Callable{R}
    coefficients::Vector{R}
end
(p::Callable)(x) = (v = p.coefficients[end]; for i in length(p.coefficients)-1:-1:1; v = v * x + p.coefficients[i]; end; v)
call_object(v, x) = Callable(v)(x)
convert_fields(x) = PointOf{Float64}(x, x + 1)
promoted(x, y) = promote(x, y)
const Alias = Vector{Union{Missing,Float64}}
alias_value() = Alias([missing, 1.5])
describe_kind(::Type{Int}) = "an integer"
describe_kind(::Type{<:AbstractFloat}) = "a float"
describe_kind(::Type) = "something"
kinds() = (describe_kind(Int), describe_kind(Float32), describe_kind(String))
struct Squares
    count::Int
end
Base.iterate(S::Squares, state = 1) = state > S.count ? nothing : (state * state, state + 1)
Base.length(S::Squares) = S.count
Base.eltype(::Type{Squares}) = Int
sum_squares(n) = sum(Squares(n))
collect_squares(n) = collect(Squares(n))
in_squares(x, n) = x in Squares(n)
struct SquaresVector <: AbstractArray{Int,1}
    count::Int
end
Base.size(S::SquaresVector) = (S.count,)
Base.IndexStyle(::Type{<:SquaresVector}) = IndexLinear()
Base.getindex(S::SquaresVector, i::Int) = i * i
array_interface(n) = (s = SquaresVector(n); (s[2], s[end], maximum(s), s[s.>4], sum(s)))

# --- arrays ------------------------------------------------------------------------------------------------------------------

constructors(n) = (zeros(n), ones(Int, n), trues(n), fill(1.5, n), zeros(Int8, n, 2))
ranges_collected(n) = (collect(1:n), collect(range(0; stop = 1, length = n)))
literal() = [1 2; 3 4]
concatenated() = [[1, 2]; [3]]
hcatenated() = [[1, 2] [3, 4]]
typed_literal() = Float32[1, 2.5]
typed_literal_matrix() = Int8[1 2; 3 4]
promoted_literal() = [1, 2.3, 4 // 5]
comprehension(x) = [0.25x[i-1] + 0.5x[i] + 0.25x[i+1] for i in 2:length(x)-1]
typed_comprehension(n) = Float32[i / 2 for i in 1:n]
matrix_comprehension(n) = [i * j for i in 1:n, j in 1:2]
filtered_comprehension(n) = [(i, j) for i in 1:n for j in 1:i if i + j == 4]
generator_sum(n) = sum(1 / k^2 for k in 1:n)
generator_two(n) = map(t -> t[1] + t[2], (a, b) for a in 1:n, b in 1:2)
index_end(v) = (v[end], v[end-1], v[begin])
index_range(v) = v[2:end]
index_matrix(m) = (m[2, :], m[:, 1], m[2:2, :], m[end, end])
index_logical(m) = m[m.>2]
index_mask(v) = v[[true, false, true]]
index_cartesian(m) = m[CartesianIndex(2, 1)]
index_array_of_indices(v) = v[[1 2; 2 1]]
assign_slice!(m) = (m[:, 1] = [9, 9]; m)
assign_broadcast!(m) = (m[1, :] .= 7; m)
assign_logical!(v) = (v[v.<0] .= 0; v)
delete_and_grow() = (v = [1, 2, 3]; push!(v, 4); deleteat!(v, 1); v)
cartesian_loop(m) = (s = 0; for I in CartesianIndices(m); s += m[I] * I[1]; end; s)
each_index(v) = (s = 0; for i in eachindex(v); s += i * v[i]; end; s)
broadcast_column(v, m) = v .+ m
broadcast_scalar(v) = v .* 2 .+ 1
broadcast_function(v) = ((a, b) -> a - b).(v, 1)
broadcast_text(words, tail) = string.(words, tail)
broadcast_ref(v, set) = in.(v, Ref(set))
broadcast_into!(m) = (m .+= 1; m)
views(v) = (w = @view v[2:3]; w[1] = 10; v)
view_sum(m) = sum(@views m[:, 1] .* m[:, 2])
reshaped(v) = reshape(v, 2, :)
reshape_shares(v) = (m = reshape(v, 2, 2); m[1, 1] = 99; v)
strides_of(m) = (strides(m), stride(m, 2), size(m), ndims(m), axes(m))
similar_of(m) = (s = similar(m); fill!(s, 1); s)
copies(v) = (w = copy(v); w[1] = 0; (v, w))
deep_copies(v) = (w = deepcopy(v); w[1][1] = 0; (v, w))
reductions(m) = (sum(m; dims = 1), prod(m), maximum(m; dims = 2), minimum(m))
sorted_by(words) = sort(words; by = length)
mapped_slices(m) = mapslices(sum, m; dims = 1)
permuted(a) = permutedims(a, (2, 1))
array_of_arrays(n) = [fill(i, i) for i in 1:n]
undef_filled(n) = (v = Vector{Int}(undef, n); for i in eachindex(v); v[i] = i; end; v)
reinterpreted(v) = collect(reinterpret(UInt8, v))
vcat_strings(a, b) = vcat(a, b)
cat_dims(a, b) = cat(a, b; dims = 3)
triangular(n) = [i >= j ? 1 : 0 for i in 1:n, j in 1:n]

# --- strings -----------------------------------------------------------------------------------------------------------------

char_number(c) = Int(c)
number_char(n) = Char(n)
char_arithmetic() = ('x' - 'a', 'A' + 1, 'A' < 'a' <= 'z')
escapes() = "tab\tnewline\nquote\" \u2200 \x41"
triple_quoted() = """
    Hello,
      world.
    """
index_string(s) = (s[1], s[end], s[end-1])
slice_string(s) = (s[4:9], s[6], s[6:6])
substring_of(s) = SubString(s, 1, 4)
unicode_walk(s) = (out = Char[]; i = firstindex(s); while i <= lastindex(s); push!(out, s[i]); i = nextind(s, i); end; out)
each_character(s) = [c for c in s]
indices_of(s) = collect(eachindex(s))
units(s) = (codeunit(s, 1), ncodeunits(s), codeunits(s)[2])
invalid_utf8() = "\xe2\x88"
greet(a, b) = string(a, ", ", b, ".\n")
greet_times(a, b) = a * ", " * b * ".\n"
interpolate(a, b) = "$a, $b."
interpolate_expression(n) = "1 + $n = $(1 + n)"
interpolate_array(v) = "v: $v"
interpolate_dollar() = "I have \$100."
compare_strings(a, b) = (a < b, a == b, a != b, cmp(a, b))
find_in(s) = (findfirst(isequal('o'), s), findlast(isequal('o'), s), findnext(isequal('o'), s, 8), findfirst("zz", s))
occurs(s) = (occursin("world", s), occursin("o", s), occursin('z', s))
repeated(s) = repeat(s, 3)
joined() = join(["apples", "bananas", "pineapples"], ", ", " and ")
regex_match(s) = occursin(r"^\s*(?:#|$)", s)
regex_captures(s) = (m = match(r"(a|b)(c)?(d)", s); m === nothing ? 0 : length(m.captures))
regex_offset(s) = (m = match(r"[0-9]", s, 3); m === nothing ? -1 : m.offset)
regex_named(s) = (m = match(r"(?<hour>\d+):(?<minute>\d+)", s); m === nothing ? "" : String(m[:minute]))
regex_replace(s) = replace(s, r"(\w+) (?<agent>\w+)" => s"\g<agent> \1")
regex_flags(s) = occursin(r"a+.*b+.*?d$"ism, s)
byte_array_literal() = b"DATA\xff\u2200"
version_literal() = v"1.2.3" < v"1.3"
raw_string() = raw"\\ \\\""
codepoints_of(s) = [UInt32(c) for c in s]
