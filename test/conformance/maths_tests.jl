# Elementary functions, by bits: a node's results are the origin's, whatever its C library and its processor.

using BitCode, Random, Test

# Julia's own code, what it takes from openlibm (`expm1`, and by it `sinh`, `cosh`, `tanh`; `exp2`, `log2`, `log10`), and powers.
const EVERYWHERE = [sin, cos, tan, atan, asinh, sinh, cosh, tanh, exp, exp2, exp10, expm1, cbrt, sinpi, cospi, sind, cosd]
const POSITIVE = [sqrt, log, log2, log10, log1p]
const COUNT = get(ENV, "BITCODE_TEST_FULL", "") == "1" ? 100_000 : 2_000

each(f, v) = map(f, v)
each(f, v, w) = map(f, v, w)
# A constant is not computed beforehand by another library.
of_constants(x) = (x + exp2(0.7), x + log10(1.7591223238321254), x + log2(2.751286474686774), x + expm1(1.0414647636514565), x + tanh(0.3))

function places(T)
    random = MersenneTwister(1)
    v = T[rand(random, T, COUNT); 700 .* (rand(random, T, COUNT) .- T(0.5)); exp.(T.(80 .* (rand(random, COUNT) .- 0.5)))]
    return T[v; -v[1:10]; 0; -0.0; 1; 2; 3; 10; floatmin(T); nextfloat(zero(T)); floatmax(T); Inf; -Inf; NaN]
end

in_units(x::Float64) = reinterpret(Int64, x)
in_units(x::Float32) = Int64(reinterpret(Int32, x))
apart(a, b) = isnan(a) && isnan(b) ? 0 : abs(in_units(a) - in_units(b))
# How many units in the last place the results are apart at most.
most_apart(node, f, arguments...) = maximum(map(apart, each(f, arguments...), remotecall_fetch(each, node, f, arguments...)))
is_known(x) = !isinf(x)

function check_maths(node)
    @testset "$T" for T in (Float64, Float32)
        everywhere = places(T)
        finite = filter(is_known, everywhere)
        positive = filter(x -> !(x < 0), everywhere)
        for f in EVERYWHERE
            hasmethod(f, Tuple{T}) || continue
            @test (f, most_apart(node, f, f in (sin, cos, tan, sinpi, cospi, sind, cosd) ? finite : everywhere)) == (f, 0)
        end
        for f in POSITIVE
            @test (f, most_apart(node, f, positive)) == (f, 0)
        end
        exponents = T.(10 .* (rand(MersenneTwister(2), length(positive)) .- 0.5))
        @test most_apart(node, ^, positive, exponents) == 0
        @test most_apart(node, rem, finite, reverse(finite)) == 0
    end
    @test remotecall_fetch(of_constants, node, 0.0) === of_constants(0.0)
end

@testset "maths here and on a node" begin
    node = launch()
    check_maths(node)
    close(node)
end

if Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
    @testset "maths on aarch64" begin
        node = launch(; arch = :aarch64, timeout = 120)
        check_maths(node)
        close(node)
    end
else
    println("SKIPPED: maths on aarch64 (make node-aarch64)")
end
