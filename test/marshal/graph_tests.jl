# Exception graphs, written by hand as a node writes them (docs/ABI.md).

using BitCode, Test
using BitCode: decode_graph, OpaqueValue, MalformedGraph

struct Mine <: Exception
    code::Int
    what::Any
    where_to::Union{Nothing,Float64}
end
mutable struct Node2
    value::Int
    next::Any
end

bytes_of(x) = collect(reinterpret(UInt8, [x]))
u32(n) = bytes_of(UInt32(n))
u64(n) = bytes_of(UInt64(n))
builtin(T) = u32(findfirst(B -> B === T, BitCode.BUILTIN_TYPES))
object(i) = u32(0x10000 + i)
structure(type, raw, fields...) = [0x03; type; u32(length(raw)); raw; u32(length(fields)); fields...]
text(s) = [0x05; u64(ncodeunits(s)); codeunits(s)]
symbol(s) = [0x06; u32(ncodeunits(s)); codeunits(s)]
opaque(s) = [0x0a; u32(ncodeunits(s)); codeunits(s)]
boxed(x) = structure(builtin(typeof(x)), bytes_of(x))
array(type, dims, raw) = [0x04; type; u32(length(dims)); map(u64, dims)...; 0x00; u64(length(raw)); raw]
decode(graph, objects = Any[], deferrable = ()) = decode_graph(Vector{UInt8}(graph), objects, deferrable)

@testset "exceptions of Julia" begin
    @test decode(structure(builtin(DivideError), UInt8[])) === DivideError()
    e = decode(structure(builtin(ErrorException), zeros(UInt8, 8), text("it is so")))
    @test e isa ErrorException && e.msg == "it is so"
    e = decode(structure(builtin(DomainError), zeros(UInt8, 16), boxed(-1.0), text("sqrt")))
    @test e isa DomainError && e.val === -1.0 && e.msg == "sqrt"
    e = decode(structure(builtin(InexactError), zeros(UInt8, 24), symbol("Int8"), [0x08; builtin(Int8)], boxed(200)))
    @test e isa InexactError && sprint(showerror, e) == sprint(showerror, InexactError(:Int8, Int8, 200))
    v = [1, 2, 3]
    e = decode(structure(builtin(BoundsError), zeros(UInt8, 16), array(object(0), (3,), reinterpret(UInt8, v)), [0x09; u32(1); u64(4)]), Any[Vector{Int}])
    @test e isa BoundsError && e.a == v && e.i === (4,)
    @test sprint(showerror, e) == sprint(showerror, BoundsError(v, (4,)))
    e = decode(structure(builtin(BoundsError), zeros(UInt8, 16), [0x07; 0x00], [0x00]))
    @test e isa BoundsError && e.a === nothing && !isdefined(e, :i)
end

@testset "the user's own" begin
    raw = zeros(UInt8, sizeof(Mine))
    raw[1:8] = bytes_of(7)
    raw[17:24] = bytes_of(2.5)
    raw[25] = 1 # the second member of the Union
    e = decode(structure(object(0), raw, [0x07; 0x01]), Any[Mine])
    @test e === Mine(7, true, 2.5)
end

@testset "identity" begin
    # n.next === n
    n = decode(structure(object(0), [bytes_of(5); zeros(UInt8, 8)], [0x02; u32(0)]), Any[Node2])
    @test n.value == 5 && n.next === n
    pair = decode(structure(object(0), zeros(UInt8, 16), text("a"), [0x02; u32(1)]), Any[Tuple{String,String}])
    @test pair == ("a", "a") && pointer(pair[1]) == pointer(pair[2])
    @test decode([0x01; u32(0)], Any[sin]) === sin
    @test decode([0x0b; u32(2); boxed(1); symbol("x")]) === Core.svec(1, :x)
    references = decode([0x04; object(0); u32(1); u64(2); 0x01; text("a"); 0x00], Any[Vector{Any}])
    @test references[1] == "a" && !isassigned(references, 2)
    small = decode(array(object(0), (2,), [bytes_of(7); bytes_of(0); 0x01; 0x00]), Any[Vector{Union{Int,Missing}}])
    @test isequal(small, Union{Int,Missing}[missing, 7]) || isequal(small, Union{Int,Missing}[7, missing])
end

# The types of a tuple's parts: a tuple stands for a tuple type that is told by its parts, too.
parts(types) = [u32(length(types)); (T isa Tuple ? [u32(0xffff); parts(T)] : T isa Int ? object(T) : builtin(T) for T in types)...]
tuple_of(types, raw, fields...) = [0x10; parts(types); u32(length(raw)); raw; u32(length(fields)); fields...]

@testset "tuples whose types the archive does not describe" begin
    @test decode(tuple_of((Symbol, Symbol), zeros(UInt8, 16), symbol("a"), symbol("b"))) === (:a, :b)
    @test decode(tuple_of((Int, (UInt8, ()), String), [bytes_of(5); 0x07; zeros(UInt8, 15)], text("x"))) === (5, (0x07, ()), "x")
    @test decode(tuple_of((), UInt8[])) === ()
    v = decode([0x04; object(0); u32(1); u64(1); 0x01; tuple_of((0, Int), [zeros(UInt8, 8); bytes_of(3)], [0x02; u32(0)])], Any[Vector{Any}])
    @test v[1][1] === v && v[1][2] === 3
    # Of another size; with a part that is not of its type; with more parts than there are bytes; without an end.
    @test_throws MalformedGraph decode(tuple_of((Int, Int), zeros(UInt8, 8)))
    @test decode(tuple_of((Symbol,), zeros(UInt8, 8), text("no symbol"))) isa OpaqueValue
    @test_throws MalformedGraph decode([0x10; u32(0x40000000)])
    @test_throws MalformedGraph decode([0x10; repeat([u32(1); u32(0xffff)], 10_000)])
end

@testset "what could not be sent keeps its name" begin
    e = decode(structure(object(0), zeros(UInt8, sizeof(Mine)), opaque("Main.secret")), Any[Mine])
    @test e.what isa OpaqueValue && sprint(show, e.what) == "Main.secret"
    # An array that is too large to come along shows as it would.
    e = decode(structure(builtin(BoundsError), zeros(UInt8, 16), [0x04; object(0); u32(1); u64(10^7); 0x02], [0x09; u32(1); u64(10^7 + 1)]), Any[Vector{Float64}])
    @test sprint(showerror, e) == "BoundsError: attempt to access 10000000-element $(Vector{Float64}) at index [10000001]"
    @test size(e.a) == (10^7,)
    @test_throws ErrorException e.a[1]
    # No place for it: then the whole is a name.
    e = decode(structure(builtin(ErrorException), zeros(UInt8, 8), boxed(1)))
    @test e isa OpaqueValue || e isa ErrorException
    @test occursin("Main.Odd", sprint(showerror, decode(opaque("Main.Odd"))))
end

@testset "texts that are made here" begin
    double(x) = string(x, x)
    graph = [0x0c; [0x01; u32(0)]; u32(1); boxed(4)]
    @test decode(graph, Any[double], [double]) == "44"
    # Not whatever the node would like to be called.
    @test decode(graph, Any[double]) == "(message not available)"
    refuse(x) = throw(DomainError(x))
    @test decode(graph, Any[refuse], [refuse]) == DomainError(4)
    @test decode([0x0c; [0x01; u32(0)]; u32(1); 0x00], Any[double], [double]) == "(message not available)"
end

@testset "nonsense is refused" begin
    good = structure(builtin(DomainError), zeros(UInt8, 16), boxed(-1.0), text("sqrt"))
    for n in 0:length(good)-1
        @test_throws MalformedGraph decode(good[1:n])
    end
    for graph in ([0xff], [0x00], [0x02; u32(0)], [0x01; u32(0)], [0x03; u32(9999); u32(0); u32(0)], structure(builtin(Int64), UInt8[1, 2]),
                  structure(builtin(String), zeros(UInt8, 8)), [0x07; 0x03], [0x05; u64(typemax(UInt64))], [0x0b; u32(typemax(UInt32))],
                  [0x04; object(0); u32(1); u64(typemax(UInt64)); 0x00], reduce(vcat, [[0x0b; u32(1)] for _ in 1:600]))
        @test_throws Union{MalformedGraph,OverflowError} decode(UInt8.(graph), Any[Vector{Int}][1:count(==(0x04), graph[1:1])])
    end
    # The collector is on again.
    @test GC.enable(true)
end

is_collecting() = (was = GC.enable(false); GC.enable(was); was)

@testset "the collector is off until the last who needs that is done" begin
    let first = Condition(), second = Condition()
        a = @async BitCode.without_collector(() -> wait(first))
        b = @async BitCode.without_collector(() -> wait(second))
        yield()
        @test !is_collecting()
        notify(first)
        wait(a)
        @test !is_collecting()
        notify(second)
        wait(b)
        @test is_collecting()
    end
end
