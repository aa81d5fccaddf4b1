# Values with references cross, both ways, on every transport: whole, of the same types, and with their identities.

using BitCode, Test
using Dates, LinearAlgebra, SparseArrays, UUIDs

include(joinpath(@__DIR__, "..", "conformance", "compare.jl"))
include("waiting.jl")

mutable struct Counter
    n::Int
    label::String
end
mutable struct Link
    value::Int
    next::Union{Nothing,Link}
end
struct Named{T}
    name::Symbol
    values::Vector{T}
    extra::Any
end
mutable struct Loose
    any::Any
    number::Number
    maybe::Union{Missing,Float64}
    either::Union{String,Int}
end
mutable struct Empty end
mutable struct Half
    a::String
    b::String
    Half(a) = new(a)
end
struct Pairwise
    left::Tuple{String,Int}
    right::Tuple{Symbol,Vector{Int}}
end
abstract type Shape end
struct Square <: Shape
    side::Float64
end
struct Tagged <: Shape
    name::String
end

const VALUES = Any[
    "", "plain", "hää→𝕏", "a"^63, "b"^64, "c"^100_000, String(UInt8[0xff, 0x00, 0x41]), SubString("hello world", 3, 7), :sym, Symbol("with space"),
    String[], ["a", "b", "a"], ["x" "y"; "z" "w"], Vector{String}(undef, 2), [:a, :b, :a], Any[1, "two", :three, 4.0, nothing, missing, 'c', true, false, 0x05],
    [[1, 2], [3], Int[]], [["a"], String[]], [(1, "a"), (2, "b")], [1 => "a", 2 => "b"], [Counter(1, "x"), Counter(2, "y")], Union{Missing,Int}[1, missing, 3],
    Union{Nothing,String}["a", nothing], Union{Int,Float64}[1, 2.0], fill(missing, 3), Union{Missing,Float64}[isodd(i) ? missing : i for i in 1:2000],
    Counter(3, "three"), Link(1, Link(2, nothing)), Named(:n, [1.0, 2.0], "more"), Named(:n, ["a"], nothing), Loose(1, 2.5, missing, "s"), Loose("x", 3, 1.5, 4),
    Empty(), Half("only"), Pairwise(("a", 1), (:b, [1])), Shape[Square(1.0), Tagged("t")], Dict("a" => 1, "b" => 2), Dict{Int,Int}(i => i^2 for i in 1:1000),
    Dict(:a => "x", :b => "y"), Dict("k" => [1, 2], "l" => Int[]), Dict{String,Any}("a" => 1, "b" => "two", "c" => 3.5), Dict{Any,Any}(1 => 2), Dict{Int,Int}(),
    Dict('a' => Dict("b" => 1)), Set([1, 2, 3]), Set(["a", "b"]), Set{Symbol}(), BitSet([1, 5, 1000]), trues(100), BitArray(rand(Bool, 13, 7)), Ref(1), Ref("r"),
    Ref{Any}(2), ("a", 1, :b), (name = "n", n = 1), (a = [1], b = (c = "x",)), view([1, 2, 3, 4], 2:3), view(["a", "b", "c"], 2:3), Symmetric([1.0 2.0; 2.0 3.0]),
    UpperTriangular([1 2; 3 4]), Diagonal([1, 2]), transpose([1, 2]), adjoint([1.0, 2.0]), reshape(1:6, 2, 3), sparse([1, 2], [2, 1], [1.0, 2.0]),
    Date(2020, 2, 29), [Date(2020), Date(2021)], UUID(1), VersionNumber("1.2.3-rc1"), 1:3, big(2)^200, -big(3)^77, big(0), [big(1), big(10)^40],
    big"1.5", BigFloat(pi), Complex(big(1), big(2)), Some("x"), Some(nothing), Int, [Int, Float64, String], Dict(Int => 1), Union{Int,String}, Vector, r"a+b"i,
    CartesianIndices((2, 3)), IdDict("a" => 1), WeakKeyDict, sin, (sin, "x"), Any[], Any[Any[Any["deep"]]], rand(100, 100), rand(ComplexF64, 300), "x" => 1,
    Base.ImmutableDict("a" => 1), Iterators.Stateful([1, 2]), zip(["a"], [1]), enumerate(["a"]), Base.Generator(uppercase, ["a"]), skipmissing([1, missing]), Val(:x),
    ArgumentError("as a value"), BoundsError([1, 2], 3), KeyError("k"), ErrorException("e"), stdin isa Base.TTY, Core.svec(1, "a"), nothing, missing, (), NamedTuple(),
    Array{String,0}(undef), fill("z"), zeros(2, 0, 3), Vector{Nothing}(undef, 5), Matrix{Any}(undef, 2, 2), Period[Day(1), Hour(2)], Ref([1, 2], 2), Ref(view([1], 1:1)),
    Set{Any}([1, "a"]), Dict(1.5 => nothing), Tuple{String,Int}[("a", 1)], NamedTuple{(:a, :b),Tuple{String,Int}}[(a = "x", b = 1)], IOBuffer("abc"), Char['a', 'β'],
]

# Structural equality, with identities: what is one object there must be one object here.
function alike(a, b, known = IdDict{Any,Any}())
    typeof(a) === typeof(b) || return false
    a isa Union{Symbol,Type,Module,Char,Bool} && return a === b
    a isa String && return a == b
    a isa Union{BigInt,BigFloat} && return isequal(a, b)
    a isa Union{Regex,Dict,IdDict} && return isequal(a, b) # where things lie in a table may differ
    (isbits(a) || isprimitivetype(typeof(a))) && return a === b
    haskey(known, a) && return known[a] === b
    ismutable_value(a) && (known[a] = b)
    if a isa Array
        size(a) == size(b) || return false
        return all(i -> isassigned(a, i) ? isassigned(b, i) && alike(a[i], b[i], known) : !isassigned(b, i), eachindex(a))
    end
    a isa Core.SimpleVector && return length(a) == length(b) && all(i -> alike(a[i], b[i], known), 1:length(a))
    return all(1:nfields(a)) do i
        isdefined(a, i) == isdefined(b, i) && (!isdefined(a, i) || alike(getfield(a, i), getfield(b, i), known))
    end
end
ismutable_value(a) = BitCode.Codegen.is_mutable_type(typeof(a)) || a isa Core.SimpleVector

struct Keep{T}
    value::T
end
(k::Keep)() = k.value
same_object(a, b) = a === b
swap(a, b) = (b, a)
function bump!(c::Counter)
    c.n += 1
    c.label *= "!"
    return c
end
function sum_links(link)
    total = 0
    while link !== nothing
        total += link.value
        link = link.next
    end
    return total
end
ring(n) = (first = last = Link(1, nothing); for i in 2:n; last = last.next = Link(i, nothing); end; last.next = first; first)
words(text) = (counts = Dict{String,Int}(); for word in split(text); counts[word] = get(counts, word, 0) + 1; end; counts)
returns_any(d) = d["x"]
type_of_it(x) = typeof(x)
fails(e) = throw(e)

for transport in ("shm", "tcp")
    node = launch(transport = transport)
    call(f, arguments...) = remotecall_fetch(f, node, arguments...)

    @testset "$transport: what goes comes back" begin
        for value in VALUES
            value isa Type && continue # those are part of the code
            back = try
                call(identity, value)
            catch e
                println("value of ", typeof(value), ": ", sprint(showerror, e)[1:min(end, 600)])
                e
            end
            alike(value, back) || println("differs: ", typeof(value), " ", typeof(back))
            @test alike(value, back)
        end
    end

    @testset "$transport: captured" begin
        for value in ("text", ["a", "b"], Counter(1, "x"), Dict("a" => 1), (1, "x"))
            @test alike(call(Keep(value)), value)
        end
        s = "captured"
        d = Dict("a" => [1, 2])
        @test (@remote node begin
            string(s, sum(d["a"]))
        end) == "captured3"
    end

    @testset "$transport: identity" begin
        v, c = [1.0, 2.0], Counter(1, "x")
        @test call(same_object, v, v)
        @test !call(same_object, v, copy(v))
        @test call(same_object, c, c)
        @test !call(same_object, c, Counter(1, "x"))
        a, b = call(swap, c, c)
        @test a === b
        x = Any[v, v]
        back = call(identity, x)
        @test back[1] === back[2] && back[1] == v
        push!(x, x)
        back = call(identity, x)
        @test back[3] === back
        @test sum_links(nothing) == 0
        loop = call(ring, 1000)
        at = loop
        for _ in 1:1000
            at = at.next
        end
        @test at === loop
        @test call(r -> r.next.next.value, loop) == 3
        long = Link(0, nothing)
        for i in 1:200_000
            long = Link(i, long)
        end
        @test call(sum_links, long) == sum(1:200_000)
        @test sum_links(call(identity, long)) == sum(1:200_000)
        w = [1, 2, 3]
        @test call((a, b) -> (push!(a, 4); length(b)), w, w) == 4
        @test call((a, s) -> (a[2] = 9; s[1]), w, view(w, 2:3)) == 9
        @test w == [1, 2, 3]
    end

    @testset "$transport: made there" begin
        @test call(words, "a b a c b a") == Dict("a" => 3, "b" => 2, "c" => 1)
        @test alike(call(bump!, Counter(1, "x")), Counter(2, "x!"))
        @test call(returns_any, Dict{String,Any}("x" => [1, 2])) == [1, 2]
        @test call(type_of_it, "s") === String
        @test call(n -> [string(i) for i in 1:n], 1000) == string.(1:1000)
        @test call(n -> rand(n) .* 0, 200_000) == zeros(200_000)
        @test call(d -> (d["new"] = 1; d), Dict("old" => 0)) == Dict("old" => 0, "new" => 1)
        @test call(s -> (push!(s, :b); s), Set([:a])) == Set([:a, :b])
        @test call(v -> (push!(v, "z"); v), ["a"]) == ["a", "z"]
        @test String(take!(call(io -> (seekend(io); write(io, "def"); io), IOBuffer(Vector{UInt8}("abc"); read = true, write = true, append = true)))) == "abcdef"
    end

    @testset "$transport: keys that are known by identity" begin
        keys = [Counter(i, "k") for i in 1:50]
        d = Dict(k => i for (i, k) in enumerate(keys))
        @test call((d, keys) -> all(i -> d[keys[i]] == i, eachindex(keys)), d, keys)
        back, kept = call((d, keys) -> (d, keys), d, keys)
        @test all(i -> back[kept[i]] == i, eachindex(kept))
        id = IdDict{Any,Int}(k => i for (i, k) in enumerate(keys))
        back, kept = call((d, keys) -> (d, keys), id, keys)
        @test all(i -> back[kept[i]] == i, eachindex(kept))
        s = Set(keys)
        back, kept = call((s, keys) -> (s, keys), s, keys)
        @test all(k -> k in back, kept)
        @test call(d -> d[:b], Dict(:a => 1, :b => 2)) == 2
    end

    @testset "$transport: large" begin
        strings = [string("entry ", i) for i in 1:100_000]
        @test call(identity, strings) == strings
        @test call(v -> sum(length, v), strings) == sum(length, strings)
        d = Dict(i => 2i for i in 1:100_000)
        @test call(identity, d) == d
        pair = (rand(500_000), "x"^300_000)
        back = call(identity, pair)
        @test back == pair
        @test call(p -> (p[1][1] = 1.0; p[1][1]), pair) == 1.0
        @test pair[1][1] != 1.0
    end

    @testset "$transport: what cannot cross says so" begin
        e = thrown(() -> call(length, Any[1, stdout]))
        @test e isa CaptureError && occursin("argument 1, element 2 is a `Base.TTY`", replace(sprint(showerror, e), string(typeof(stdout)) => "Base.TTY"))
        e = thrown(() -> call(length, Any[1, (2, Ptr{Int}(8))]))
        @test e isa CaptureError && occursin("argument 1, element 2", sprint(showerror, e))
        e = thrown(() -> call((a, l) -> 1, 1, Loose(Task(() -> 1), 1, 1.0, 1)))
        @test e isa CaptureError && occursin("argument 2, field `any` of `Loose` is a `Task`", sprint(showerror, e))
        e = thrown(() -> call(length, Dict{Any,Int}(Counter(1, "x") => 1)))
        @test e isa CaptureError && occursin("found by its identity", sprint(showerror, e))
        e = thrown(() -> call(identity, Ptr{Int}(8)))
        @test e isa CaptureError
        e = thrown(() -> call(identity, (1, Task(() -> 1))))
        @test e isa CaptureError
    end
    close(node)
end
