# How values are shown: the functions that take Base's place write what Base's write, and names are told apart as the parser tells them.

include("shipping.jl")

shows(stand_in, x; context...) = (buffer = IOBuffer(); io = IOContext(buffer, context...); stand_in(io, x); String(take!(buffer)))

@testset "what stands in for show writes the same" begin
    values = Any[1.5, 1.5f0, Float16(2), [1.5], Float32[1], [[1f0]], Float32[1 2], fill(1f0), 1 => 2f0, (1 => 2) => 3, (1, 2f0), (1,), (), (a = 1f0,),
        (a = 1, b = "x"), NamedTuple(), Dict(1 => 2f0), Dict{Int,Int}(), IdDict(1 => 2), collect(1:30), Dict(i => i for i in 1:15), [nothing, 1],
        Pair{Any,Any}(1, 2), Any[1, 2f0], :a, Symbol("a b"), :(==), Int]
    for x in values, context in ((), (:compact => true,), (:limit => true,), (:typeinfo => typeof(x),))
        @test shows(Capture.show_value, x; context...) == shows(show, x; context...)
    end
    @test shows(Capture.show_list, Set([1f0])) == shows(Base.show_vector, Set([1f0]))
    @test shows(Capture.show_struct, 1 // 2) == shows(Base.show_default, 1 // 2)
end

@testset "element types that would have to be looked into are refused" begin
    @test Capture.is_telling(Int) && Capture.is_telling(Any) && Capture.is_telling(Union{Int,Nothing}) && Capture.is_telling(Vector{Any})
    @test !Capture.is_telling(AbstractVector{Int}) && !Capture.is_telling(Tuple{Any,Float32})
    wide(v) = repr(v)
    found = BitCode.explain(wide, Tuple{Vector{AbstractVector{Int}}}).reasons
    @test !isempty(found)
end

struct Temperature
    degrees::Float64
end
Base.show(io::IO, t::Temperature) = print(io, t.degrees, " °C")
Base.show(io::IO, ts::Vector{Temperature}) = print(io, length(ts), " temperatures")
measured(x) = repr([Temperature(x)])

@testset "methods of one's own are left alone" begin
    s = shipped(measured, Float64)
    @test any(object -> object == " temperatures", s.objects)
end

@testset "names" begin
    sample = UInt32[0:0x2ff; 0x2190:0x22ff; 0x1d400:0x1d4ff; 0x10ffff]
    @test all(c -> Capture.starts_name(c) == ccall(:jl_id_start_char, Cint, (UInt32,), c), sample)
    @test all(c -> Capture.goes_on_name(c) == ccall(:jl_id_char, Cint, (UInt32,), c), sample)
    is_operator(text) = GC.@preserve text Capture.is_operator(Base.unsafe_convert(Cstring, text)) != 0
    for text in ("+", ">>>=", ".==", "...", "=>", "a", "a b", "+ -", "in", "é ", "==="*"=", "⊕", "⊗=", ".≤", "∪é")
        @test is_operator(text) == Base.isoperator(text)
    end
end
