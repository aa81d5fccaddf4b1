# Descriptors of Julia objects, as the manifest has them.

include("shipping.jl")
using BitCode.Capture: ObjectTable, describe!, Undescribable, type_name, TypeDescriptor, DataDescriptor, ArrayDescriptor,
    InstanceDescriptor, SymbolDescriptor, StringDescriptor, OpaqueDescriptor

struct Inner
    a::Int32
    b::String
end
struct Outer
    x::Int8
    inner::Inner
    y::Any
end
mutable struct Link
    next::Union{Link,Nothing}
    value::Int
    Link(value) = (l = new(nothing, value); l)
end
struct WithPointer
    p::Ptr{Cvoid}
end
primitive type Odd 24 end

function described(object)
    table = ObjectTable()
    position = describe!(table, object)
    @test table.objects[position] === object
    @test all(d -> d !== nothing, table.descriptors)
    @test length(table.objects) == length(table.descriptors)
    return table, table.descriptors[position]
end
type_of(table, d) = table.objects[d.type+1]

@testset "names of types" begin
    @test type_name(Int) == "Core.Int64"
    @test type_name(Vector{Float64}) == "Core.Array{Core.Float64,1}"
    @test type_name(Tuple{Int,Char}) == "Core.Tuple{Core.Int64,Core.Char}"
    @test type_name(Tuple{}) == "Core.Tuple{}"
    @test type_name(ArgumentError) == "Core.ArgumentError"
    @test type_name(Complex{Float64}) == "Base.Complex{Core.Float64}"
    @test type_name(Val{:x}) == "Base.Val{:x}"
    @test type_name(Val{3}) == "Base.Val{3}"
    @test type_name(Val{(1, 2)}) == "Base.Val{(1,2)}"
    @test type_name(Union{Int,Nothing}) == "Core.Union{Core.Nothing,Core.Int64}"
    @test type_name(Union{}) == "Core.Union{}"
    @test type_name(typeof(sin)) == "Base.#sin"
    @test type_name(NamedTuple{(:a,),Tuple{Int}}) == "Core.NamedTuple{(:a),Core.Tuple{Core.Int64}}"
end

@testset "types" begin
    table, d = described(Int)
    @test (d.size, d.align, d.flags & 0xff) == (8, 8, Capture.BITS | Capture.PRIMITIVE | Capture.CONCRETE)
    @test table.objects[d.parent] === Signed
    table, d = described(Outer)
    @test d.pointers == [16, 24]
    @test d.flags & Capture.PADDED != 0
    @test [(f[1], f[2], f[3]) for f in d.fields] == [(0, 1, 0), (8, 16, 0), (24, 8, 1)]
    @test [table.objects[f[4]] for f in d.fields] == Any[Int8, Inner, Any]
    table, d = described(Vector{Int16})
    @test (d.element_size, d.element_flags, d.ndims) == (2, 0, 1)
    @test d.flags & Capture.ARRAY != 0
    @test table.objects[d.element_type] === Int16
    @test described(Vector{Any})[2].element_flags == Capture.ELEMENTS_ARE_REFERENCES
    @test described(Vector{Union{Int8,Nothing}})[2].element_flags == Capture.ELEMENTS_ARE_UNIONS
    @test described(Vector{Inner})[2].element_flags == Capture.ELEMENTS_HOLD_REFERENCES
    @test described(Any)[2].parent == 0
    @test described(Nothing)[2].flags & Capture.SINGLETON != 0
    @test described(Odd)[2].size == 3
    @test described(Link)[2].flags & Capture.MUTABLE != 0
    # Supertypes do not run in a circle, fields may.
    table, d = described(Link)
    @test table.objects[d.fields[1][4]] == Union{Link,Nothing}
end

@testset "values" begin
    table, d = described(nothing)
    @test d isa InstanceDescriptor && type_of(table, d) === Nothing
    @test described(sin)[2] isa InstanceDescriptor
    @test described(:abc)[2].name == "abc"
    @test described("äb")[2].bytes == codeunits("äb")
    table, d = described(2.5)
    @test d isa DataDescriptor && d.bytes == reinterpret(UInt8, [2.5]) && isempty(d.relocations) && type_of(table, d) === Float64
    table, d = described(Outer(1, Inner(2, "two"), :three))
    @test length(d.bytes) == 32
    @test [table.objects[target] for (_, target) in d.relocations] == Any["two", :three]
    @test [offset for (offset, _) in d.relocations] == [16, 24]
    @test all(iszero, d.bytes[17:32])
    table, d = described(Core.svec(1, :a))
    @test type_of(table, d) === Core.SimpleVector
    @test d.bytes[1:8] == reinterpret(UInt8, [2])
    @test [table.objects[target] for (_, target) in d.relocations] == Any[1, :a]
    table, d = described((1, "a"))
    @test d isa DataDescriptor && length(d.relocations) == 1
end

@testset "arrays" begin
    table, d = described([1 2; 3 4])
    @test d.dims == [2, 2] && d.bytes == reinterpret(UInt8, [1, 3, 2, 4]) && isempty(d.references)
    table, d = described(Any[1, "b"])
    @test d.dims == [2] && isempty(d.bytes)
    @test [table.objects[r] for r in d.references] == Any[1, "b"]
    table, d = described(Vector{String}(undef, 2))
    @test d.references == [0, 0]
    table, d = described(Union{Int8,Nothing}[1, nothing, 3])
    @test length(d.bytes) == 3 + 3
    @test described(Int[])[2].bytes == UInt8[]
end

@testset "circles and shared references" begin
    link = Link(1)
    link.next = link
    table, d = described(link)
    @test table.objects[d.relocations[1][2]] === link
    shared = [1]
    table, d = described((shared, shared))
    @test d.relocations[1][2] == d.relocations[2][2]
    dictionary = Dict("a" => [1], "b" => [2])
    table, d = described(dictionary)
    @test type_of(table, d) === Dict{String,Vector{Int}}
end

@testset "identity only" begin
    for object in (Base, which(sin, Tuple{Float64}), Union{Int,Char}, Vector, Int.name)
        @test described(object)[2] isa OpaqueDescriptor
    end
end

@testset "what cannot be described" begin
    for object in (WithPointer(Ptr{Cvoid}(8)), Ptr{Cvoid}(16), current_task(), stdout, ReentrantLock(), Condition(), WeakRef(1), [Ptr{Int}(8)],
                   Any[Ptr{Int}(8)], zeros(UInt8, 17 << 20))
        @test_throws Undescribable describe!(ObjectTable(), object)
    end
    @test described(WithPointer(C_NULL))[2] isa DataDescriptor
end

@testset "arrays of structs that hold references" begin
    table = ObjectTable()
    place = describe!(table, [Inner(1, "a"), Inner(2, "b")])
    array, slot = table.descriptors[place], Int(only(Capture.reference_offsets(Inner)))
    @test [table.objects[i] for i in array.references] == ["a", "b"]
    @test all(iszero, array.bytes[slot+1:slot+8]) && length(array.bytes) == 2sizeof(Inner)
    @test reinterpret(Int32, array.bytes[1:4]) == [1]
end
