# What an entry takes out of a payload is what was put in, whatever the mixture; both ends in this process.

using BitCode, Test
using BitCode: Arrived, Flat, payload, call_unpacked, as_argument, write_value, tail_end, head_size, align_up

scaled(x; by = 2, plus = 0) = x * by + plus
all_of_it(arguments...; keywords...) = (arguments, values(keywords))
adder(k) = x -> x + k
lookup(v) = i -> v[i]

# As the origin packs a call, and as the entry unpacks and makes it.
function there(f, arguments...; keywords...)
    g, a, w = as_argument(f), map(as_argument, arguments), map(as_argument, values(keywords))
    packed = payload(g, a, w)
    T = typeof(packed)
    total = tail_end(T, packed, head_size(T))
    memory = fill(0xaa, total + 64)
    base = pointer(memory) + (align_up(Int(pointer(memory)), 64) - Int(pointer(memory)))
    return GC.@preserve memory begin
        write_value(Flat(base), T, packed, 0, head_size(T))
        deepcopy(call_unpacked(typeof(g), typeof(a), typeof(w), Arrived(base, total, C_NULL)))
    end
end

@testset "arguments" begin
    @test there(+, 1, 2) === 3
    @test there(all_of_it) == ((), NamedTuple())
    for arguments in ((1,), (0x01, 2.0, 'c', Int8(3)), ([1, 2], 0x01, [3.0 4.0]), (nothing, 1, missing, sin), (Int128(1), true, UInt8(2), Int128(3)),
                      ((1, [2], nothing), (a = 1, b = [2]), 1:3, 1 // 2), Tuple(1:40))
        @test isequal(there(all_of_it, arguments...), (arguments, NamedTuple()))
    end
end

@testset "keyword arguments" begin
    @test there(scaled, 3; by = 5) === 15
    @test there(scaled, 3; by = 5, plus = 1.5) === 16.5
    @test there(scaled, 0x03; plus = Int128(1), by = 0x02) === Int128(7)
    @test there(all_of_it, 0x01; a = [1, 2], b = 0x02, c = nothing, d = 3.5) == ((0x01,), (a = [1, 2], b = 0x02, c = nothing, d = 3.5))
    @test there(sort, [3, 1, 2]; rev = true) == [3, 2, 1]
end

@testset "closures" begin
    @test there(adder(3), 4) === 7
    @test there(adder(0x03), 4.5) === 7.5
    @test there(lookup([5, 6]), 2) === 6
    @test there(map, adder(1), [1, 2]) == [2, 3]
    @test there(sum ∘ reverse, [1, 2]) === 3
end

@testset "types" begin
    @test there(Complex, 1, 2) === 1 + 2im
    @test there(Complex{Float32}, 1, 2) === Complex{Float32}(1, 2)
    @test there(zero, Float32) === 0.0f0
    @test there(convert, Float64, 3) === 3.0
    @test there(all_of_it, Int, 1, Vector{Float64}; T = String, n = 2) == ((Int, 1, Vector{Float64}), (T = String, n = 2))
end

@testset "the call is inferred through" begin
    for (F, A, W, R) in ((typeof(+), Tuple{Int,Int}, NamedTuple{(),Tuple{}}, Int), (typeof(scaled), Tuple{Int}, NamedTuple{(:by,),Tuple{Float64}}, Float64),
                         (typeof(adder(1)), Tuple{Float64}, NamedTuple{(),Tuple{}}, Float64), (typeof(zero), Tuple{BitCode.TypeArgument{Int8}}, NamedTuple{(),Tuple{}}, Int8),
                         (BitCode.TypeArgument{Complex}, Tuple{Int,Int}, NamedTuple{(),Tuple{}}, Complex{Int}), (typeof(tuple), NTuple{20,Int}, NamedTuple{(),Tuple{}}, NTuple{20,Int}))
        @test Core.Compiler.return_type(call_unpacked, Tuple{Type{F},Type{A},Type{W},Arrived}) == R
    end
end
