# Graphs as the origin writes them: read back here, for the reader knows all that the writer writes.

using BitCode, Test
using BitCode: GraphWriter, Plans, MalformedGraph, Unsendable, decode_result, write_graph!, unknown_types, align_up

mutable struct Leaf
    n::Int
    text::String
end
mutable struct Chain
    next::Union{Nothing,Chain}
    other::Any
end
struct Mixed
    a::Tuple{String,Int}
    b::Union{Nothing,Float64}
    c::Vector{Union{Missing,Int}}
end

const WRITER = GraphWriter()

# What is sent for `x`: the graph, and its tail after it.
function sent(x, types = unknown_types(Ref{Any}(x), IdDict{Any,Int}()))
    numbers = IdDict{Any,Int}(T => i for (i, T) in enumerate(types))
    bytes = UInt8[]
    length = write_graph!(WRITER, bytes, Plans(numbers, nothing, Any[]), Ref{Any}(x))
    resize!(bytes, length)
    start = align_up(length, 64)
    for (at, place, n) in WRITER.pieces
        append!(bytes, zeros(UInt8, start + at - Base.length(bytes)))
        append!(bytes, GC.@preserve x copy(unsafe_wrap(Array, place, n)))
    end
    return bytes, types
end
received(bytes, types) = GC.@preserve bytes decode_result(pointer(bytes), length(bytes), Any[types...], ())
again(x) = received(sent(x)...)

@testset "what is written is read" begin
    for x in Any["text", "", "x"^100, "y"^10_000, :symbol, 1, 2.5, 'c', true, nothing, missing, [1, 2], ["a", "b"], Any[1, "two", [3]], (1, "a"), Dict("a" => 1), Set([1]),
                 Int, [Int, String], big(2)^100, -big(7), big(0), big"2.5", [big(1)], rand(50, 50), Union{Missing,Int}[1, missing], Union{Int,Nothing}[isodd(i) ? i : nothing for i in 1:3000],
                 [("a", 1), ("b", 2)], BitVector([true, false]), Core.svec(1, "x"), r"a", (a = 1, b = "x"), [(1, ["x"]), (2, ["y"])], fill(nothing, 4), Vector{Any}(undef, 0)]
        y = again(x)
        @test typeof(y) === typeof(x)
        @test x isa Regex ? x == y : isequal(x, y)
    end
    m = again(Mixed(("x", 2), nothing, [1, missing]))
    @test m.a == ("x", 2) && m.b === nothing && isequal(m.c, [1, missing])
    @test !isassigned(again(Vector{String}(undef, 3)), 2)
end

@testset "identity" begin
    leaf = Leaf(1, "one")
    a, b, c = again((leaf, leaf, Leaf(1, "one")))
    @test a === b && a !== c && c.text == "one"
    chain = Chain(nothing, nothing)
    chain.next = chain
    chain.other = Any[chain, leaf]
    back = again(chain)
    @test back.next === back && back.other[1] === back
    v = [1, 2]
    back = again(Any[v, v, [1, 2]])
    @test back[1] === back[2] && back[1] !== back[3]
    # Deep, but not on the stack.
    long = nothing
    for i in 1:300_000
        long = Chain(long, nothing)
    end
    back, n = again(long), 0
    while back !== nothing
        back, n = back.next, n + 1
    end
    @test n == 300_000
end

@testset "large things are not copied" begin
    x = (rand(1000), "z"^5000, Union{Missing,Float64}[1.0 for _ in 1:1000])
    sent(x)
    @test [n for (_, _, n) in WRITER.pieces] == [8000, 5000, 8000, 1000]
    @test WRITER.pieces[1][2] == Ptr{UInt8}(pointer(x[1]))
    @test WRITER.pieces[1][1] % 64 == WRITER.pieces[2][1] % 64 == 0
    @test isequal(again(x), x)
end

@testset "unknown types" begin
    @test unknown_types(Ref{Any}(Any[1, Leaf(1, "x"), Float32, Leaf]), IdDict{Any,Int}(Vector{Any} => 1)) == Any[Leaf]
    e = try sent(Any[Leaf(1, "x")], Any[Vector{Any}]) catch e; e end
    @test e isa Unsendable && e.new_type === Leaf
    for x in (Any[Task(() -> 1)], Any[Ptr{Int}(8)], Any[stdout], Any[Ref(Ptr{Int}(8))], Any[[Ptr{Int}(8)]], Any[ReentrantLock()])
        e = try sent(x) catch e; e end
        @test e isa Unsendable && e.new_type === nothing
    end
end

# Whatever a node may send ends in a value or in `MalformedGraph` and its like, and never in anything worse.
@testset "broken graphs" begin
    good, types = sent((["a", "b"^100], Dict("k" => [1.5]), Leaf(1, "x"), Union{Missing,Int}[1, missing], big(2)^70, rand(600), Mixed(("x", 2), 1.0, [1])))
    for n in 0:length(good)-1
        @test try received(good[1:n], types); false catch e; e isa Union{MalformedGraph,ArgumentError} end
    end
    seed = 1
    next() = (seed = (seed * 1103515245 + 12345) % 2^31; seed >> 8)
    graph = Int(reinterpret(UInt64, good[1:8])[1])
    for _ in 1:20_000
        bad = copy(good)
        for _ in 1:1+next()%3
            bad[1+next()%graph] = next() % UInt8
        end
        # (A byte of text or of a number may be any.)
        @test try received(bad, types); true catch e; e isa Union{MalformedGraph,ArgumentError,Unsendable,OverflowError,OutOfMemoryError} || (showerror(stdout, e); println()) end
    end
    @test GC.enable(true)
end
