# Types and functions of a user's own, for the conformance table.

@enum Colour red green blue
@enum Tiny::UInt8 none = 0 some = 200

struct Point
    x::Float64
    y::Float64
end
Base.:+(a::Point, b::Point) = Point(a.x + b.x, a.y + b.y)
distance(a::Point, b::Point) = hypot(a.x - b.x, a.y - b.y)

struct Pair2{T}
    first::T
    second::T
end
swap(p::Pair2) = Pair2(p.second, p.first)

struct Mixed
    a::Int8
    b::Union{Nothing,Int}
    c::Char
    d::NTuple{3,Float32}
end

struct Holder{A<:AbstractVector}
    data::A
    scale::Int
end
total(h::Holder) = h.scale * sum(h.data)

fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)
ackermann(m, n) = m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1))
iseven_slowly(n) = n == 0 ? true : isodd_slowly(n - 1)
isodd_slowly(n) = n == 0 ? false : iseven_slowly(n - 1)

function collatz(n)
    steps = 0
    while n != 1
        n = iseven(n) ? n ÷ 2 : 3n + 1
        steps += 1
    end
    return steps
end

function sieve(n)
    composite = fill(false, n)
    for i in 2:isqrt(n), j in i*i:i:n
        composite[j] = true
    end
    return [i for i in 2:n if !composite[i]]
end

function mandelbrot(c, limit)
    z = zero(c)
    for i in 1:limit
        abs2(z) > 4 && return i
        z = z * z + c
    end
    return limit
end

function matmul(A, B)
    C = zeros(eltype(A), size(A, 1), size(B, 2))
    for j in axes(B, 2), k in axes(A, 2), i in axes(A, 1)
        @inbounds C[i, j] += A[i, k] * B[k, j]
    end
    return C
end

maybe_half(n) = iseven(n) ? n ÷ 2 : nothing
maybe_missing(x) = x > 0 ? x : missing
either(flag) = flag ? 1 : 2.5
three_ways(n) = n == 0 ? nothing : n == 1 ? 1 : 1.5
four_ways(n) = n == 0 ? nothing : n == 1 ? 1 : n == 2 ? 1.5 : 'c'
or_array(n) = n > 0 ? collect(1:n) : nothing
unwrap_or(x, default) = x === nothing ? default : x
scaled(x; by = 2, plus = 0) = x * by + plus
only_keywords(; a, b = a) = (a, b)
with_default(x, y = x + 1) = x * y
varargs(xs...) = length(xs)
sum_varargs(xs::Int...) = +(0, xs...)
const TABLE_OF_PRIMES = [2, 3, 5, 7, 11, 13]
const NAMED_CONSTANTS = (zero = 0, one = 1)
nth_prime(n) = TABLE_OF_PRIMES[n]
named_constant() = NAMED_CONSTANTS.one
const OFFSETS = (1, 10, 100)
offset_sum(i) = OFFSETS[i] + OFFSETS[1]
adder(k) = x -> x + k
power_sum(v, p) = sum(x -> x^p, v)
compose3(f, g, h) = x -> f(g(h(x)))
count_if(f, v) = count(f, v)
early(v) = (for x in v; x > 2 && return x; end; nothing)
swap_try(x) = try sqrt(x) catch; -1.0 end
nested_try(x) = try (try sqrt(x) finally x end) catch e; e isa DomainError ? 1 : 2 end
finally_order(v, i) = (r = Int[]; try push!(r, v[i]) catch; push!(r, -1) finally push!(r, 0) end; r)
throws_own(n) = n > 2 ? throw(ArgumentError("too large")) : n
throws_error(n) = n > 2 ? error("too large") : n
struct OwnError <: Exception
    code::Int
    value::Float64
end
throws_struct(n) = throw(OwnError(n, n / 2))
bump!(v) = (v .+= 1; v)
normalised(v) = v ./ sum(v)

unique_sorted(v) = [v[i] for i in eachindex(v) if i == 1 || v[i] != v[i-1]]
mean_of(v) = sum(v) / length(v)
normalize_int(v) = v / norm(v)
sum_until_error(v) = (s = 0; for i in 1:length(v)+1; s += v[i]; end; s)
runaway(n) = 1 + runaway(n + 1)
subtype_of(a, b) = a <: b
