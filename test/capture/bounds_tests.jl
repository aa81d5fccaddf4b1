# Captures end, whatever calls itself with whatever types, and say what goes on for ever.

include("shipping.jl")
using BitCode.Hop: forward

const LINE = @__LINE__
nest(x) = forward(1, nest, Some(x))
wrap(x) = x isa Int && x > 100 ? 0 : wrap(Some(x))
grow(xs...) = length(xs) > 10^6 ? 0 : grow(xs..., 1)
growing(xs...) = forward(1, growing, xs..., 1)
twofold(x) = x isa Int && x > 100 ? 0 : twofold((x, x))
count_on(::Val{N}) where {N} = forward(1, count_on, Val(N + 1))
ping(x) = x isa Int && x > 100 ? 0 : pong(Some(x))
pong(x) = ping(x)
closes(f) = f() > 100 ? 0 : closes(() -> f() + 1)
branches(x) = x isa Int && x > 100 ? 0 : branches(Some(x)) + branches((x, 1))

@testset "$f" for (n, f, T) in ((1, nest, Int), (2, wrap, Int), (3, grow, Int), (4, growing, Int), (5, twofold, Int), (6, count_on, Val{1}), (7, ping, Int),
                                (9, closes, typeof(() -> 1)), (10, branches, Int))
    reasons = BitCode.explain(f, Tuple{T}).reasons
    @test [reason.kind for reason in reasons] == [:growth]
    @test (reasons[1].file, reasons[1].line) == (@__FILE__, LINE + n)
    @test occursin("again and again", reasons[1].message) && !isempty(reasons[1].advice)
    @test sizeof(reasons[1].message) < 300
end

power(x, ::Val{0}) = one(x)
power(x, ::Val{N}) where {N} = x * power(x, Val(N - 1))
add_all(x) = x
add_all(x, xs...) = x + add_all(xs...)
collected(n::Val{0}, xs...) = xs
collected(::Val{N}, xs...) where {N} = collected(Val(N - 1), xs..., N)

@testset "what ends is shipped" begin
    @test shipped(x -> power(x, Val(40)), Int) isa Shipped
    @test shipped(x -> add_all(x, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), Int) isa Shipped
    @test shipped(x -> collected(Val(12), x), Int) isa Shipped
    @test shipped(x -> Some(Some(Some(Some(Some(Some(Some(Some(Some(Some(x)))))))))), Int) isa Shipped
end
