# Types found again by their canonical names, and only those that are here.

using BitCode, Test, Dates

module Inner
struct Pair2{A,B}
    a::A
    b::B
end
end
struct Tagged{N,S} end

const named = BitCode.Capture.type_name

@testset "there and back: $T" for T in (Int, Float64, String, Nothing, Any, Union{}, Vector{Float64}, Array{Int8,3}, Tuple{}, Tuple{Int,String}, NTuple{3,UInt8},
        Union{Int,Nothing}, Vector{Union{Missing,Float64}}, Dict{Symbol,Vector{Int}}, NamedTuple{(),Tuple{}}, NamedTuple{(:a, :b),Tuple{Int,Bool}}, typeof(+), typeof(sin),
        Inner.Pair2{Int,Inner.Pair2{String,Char}}, Tagged{-3,:x}, Tagged{true,(1, 2)}, Val{3}, Rational{Int}, UnitRange{Int}, Date, BitCode.TypeArgument{Int})
    @test BitCode.type_named(named(T)) === T
end

@testset "what is not here is named: $name" for (name, part) in (
        ("Main.Nothing_of_the_kind", "Main.Nothing_of_the_kind"), ("Unheard.Of", "Unheard.Of"), ("Core.Array{Main.Missing_one,1}", "Main.Missing_one"),
        ("Core.Int64}", "Core.Int64}"), ("", ""), ("Base.sin", "Base.sin"), ("Core.Array{T,1} where T", "T"), ("Core.Int64{1}", "Int64"),
        ("Core.Array{Core.Int64,99999999999999999999}", "99999999999999999999"), ("Core.Tuple{Core.Int64", ""), ("exit()", "exit"))
    e = try BitCode.type_named(name); nothing catch e; e end
    @test e isa BitCode.NoSuchType
    @test e.name == name && e.part == part
end
