# Values to bytes and back, both ends in this process.

using BitCode, Test
using BitCode: Flat, Gather, InPlace, Copied, write_value, read_value, tail_end, head_size, align_up
using Dates

include(joinpath(@__DIR__, "..", "conformance", "compare.jl"))

struct Both
    a::Int8
    v::Vector{Int16}
    u::Union{Nothing,Float64}
end
struct Big
    t::NTuple{300,Int}
end
struct Guarded
    a::Int
    Guarded(a) = a > 0 ? new(a) : error("only positive")
end
@enum Suit hearts spades

# A payload as the origin makes it, in memory that is aligned as the node's is.
function packed(x::T, ::Type{D} = T) where {T,D}
    total = tail_end(D, x, head_size(D))
    memory = fill(0xaa, total + 64)
    at = align_up(Int(pointer(memory)), 64) - Int(pointer(memory))
    base = pointer(memory) + at
    ended = GC.@preserve memory write_value(Flat(base), D, x, 0, head_size(D))
    @test ended == total
    return memory, base, total
end

function round_trip(x, D = typeof(x))
    memory, base, total = packed(x, D)
    copied = GC.@preserve memory read_value(Copied(total), D, base, 0)
    in_place = GC.@preserve memory deepcopy(read_value(InPlace(), D, base, 0))
    @test same(copied, in_place)
    return copied
end

again(x, D = typeof(x)) = (y = round_trip(x, D); same(y, x))

@testset "values come back" begin
    for x in (1, Int8(-1), UInt128(2)^100, 1.5, NaN, Float16(2), true, 'x', hearts, nothing, missing, (), (1, 'a', 2.5), (a = 1, b = (2, 3.0)), 1 + 2im,
              1 // 3, 1:10, 0.0:0.1:1.0, Date(2020), DateTime(2020, 1, 1), Some(3), 1 => 'b', sin, Val(1), ntuple(identity, 300))
        @test again(x)
    end
    @test again([1, 2, 3])
    @test again(Int[])
    @test again(rand(3, 4, 5))
    @test again([(1, 'a'), (2, 'b')])
    @test again([nothing, nothing])
    @test again(([1], [2.0, 3.0], 4, ['c']))
    @test again(view([1, 2, 3], 2:3))
    @test round_trip(Big(ntuple(identity, 300))) === Big(ntuple(identity, 300))
    @test round_trip(Guarded(1)) === Guarded(1)
    both = round_trip(Both(1, [2, 3], nothing))
    @test (both.a, both.v, both.u) == (1, [2, 3], nothing)
    @test round_trip(Both(1, [], 2.5)).u === 2.5
end

@testset "unions" begin
    U = Union{Nothing,Int,Vector{Float64},Char}
    @test all(x -> again(x, U), Any[nothing, 3, [1.0, 2.0], 'c'])
    @test again((1, nothing), Tuple{Union{Int,Nothing},Union{Float64,Nothing}})
end

@testset "closures" begin
    adder(k) = x -> x + k
    @test round_trip(adder(3))(4) == 7
    looker(v) = i -> v[i]
    @test round_trip(looker([5, 6]))(2) == 6
end

@testset "arrays lie 64-byte aligned and are used in place" begin
    memory, base, _ = packed(([1, 2, 3], UInt8[7]))
    GC.@preserve memory begin
        a, b = read_value(InPlace(), Tuple{Vector{Int},Vector{UInt8}}, base, 0)
        @test Int(pointer(a)) % 64 == 0 && Int(pointer(b)) % 64 == 0
        a[1] = 9
        @test read_value(InPlace(), Tuple{Vector{Int},Vector{UInt8}}, base, 0)[1][1] == 9
    end
end

@testset "the same array twice is one array" begin
    v, w = [1, 2, 3], [1, 2, 3]
    for x in ((v, v, w), (v, w, v), (v, (1, [2.0]), v), (Both(1, [2], nothing), v, v), (Int[], Int[], Int[]))
        memory, base, total = packed(x)
        GC.@preserve memory for from in (InPlace(), Copied(total))
            y = read_value(from, typeof(x), base, 0)
            arrays(t) = [a for a in t if a isa Vector{Int}]
            @test all(a === b for (a, b) in zip([i === j for i in arrays(x), j in arrays(x)], [i === j for i in arrays(y), j in arrays(y)]))
            @test arrays(x) == arrays(y)
        end
    end
    # Larger ones are in the tail once.
    big = rand(1000)
    @test tail_end(Tuple{Vector{Float64},Vector{Float64}}, (big, big), 32) == tail_end(Tuple{Vector{Float64}}, (big,), 32)
end

@testset "pieces of large arrays add up to the same bytes" begin
    values = (1.5, rand(1000), UInt8[1, 2, 3], Int[], rand(Int, 7, 9))
    T = typeof(values)
    memory, base, total = packed(values)
    head = fill(0xaa, head_size(T))
    gather = Gather(pointer(head), head_size(T), Tuple{Ptr{UInt8},Int}[(pointer(head), head_size(T))])
    @test GC.@preserve(head, values, write_value(gather, T, values, 0, head_size(T))) == total
    joined = GC.@preserve head values reduce(vcat, [copy(unsafe_wrap(Array, p, n)) for (p, n) in gather.pieces])
    GC.@preserve memory joined begin
        whole = unsafe_wrap(Array, base, total)
        @test length(joined) <= total
        @test read_value(Copied(total), T, base, 0) == values
        # Padding aside, they are the same.
        @test all(i -> joined[i] == whole[i] || whole[i] == 0xaa, eachindex(joined))
        @test all(i -> whole[i] == 0xaa || i <= length(joined), eachindex(whole))
    end
end

@testset "a result that claims more than is there is refused" begin
    memory, base, total = packed([1, 2, 3])
    GC.@preserve memory begin
        @test_throws ArgumentError read_value(Copied(total - 1), Vector{Int}, base, 0)
        unsafe_store!(Ptr{Int}(base), -1)
        @test_throws ArgumentError read_value(Copied(total), Vector{Int}, base, 0)
        unsafe_store!(Ptr{Int}(base), typemax(Int))
        @test_throws ArgumentError read_value(Copied(total), Vector{Int}, base, 0)
    end
end

@testset "no code of it is dispatched at run time" begin
    deep = ((((((((((1, 2.0), 'c'), [1]), Both(1, [2], nothing)), (a = 1,)), 1 // 2), [3.0]), true), nothing), missing)
    for T in (Tuple{Int,Float64}, Tuple{Vector{Int},Complex{Int}}, Both, Tuple{Both,Tuple{Both,Vector{Int}}}, typeof(deep), NTuple{20,Int})
        @test isconcretetype(Core.Compiler.return_type(write_value, Tuple{Flat,Type{T},T,Int,Int}))
        @test Core.Compiler.return_type(read_value, Tuple{InPlace,Type{T},Ptr{UInt8},Int}) == T
    end
end
