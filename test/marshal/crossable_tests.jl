using BitCode, Test
using BitCode: crossable, obstacles
using Dates

struct Plain
    a::Int8
    b::Float64
end
struct WithArray
    a::Vector{Int}
    b::Union{Nothing,Float64}
end
struct WithAbstract
    a::Real
end
struct Recursive
    next::Union{Recursive,Nothing}
end
mutable struct Changing
    a::Int
end
@enum Side left right

boxed() = (x = 1; f = () -> (x += 1); x = 2; f)

@testset "what crosses" begin
    for T in (Int8, UInt128, Float16, Bool, Char, Nothing, Missing, Side, Plain, WithArray, Complex{Float32}, Rational{Int}, UnitRange{Int},
              StepRangeLen{Float64,Base.TwicePrecision{Float64},Base.TwicePrecision{Float64}}, Date, DateTime, Day, typeof(sin), typeof(x -> x),
              Tuple{}, Tuple{Int,Vector{Float64}}, NamedTuple{(:a, :b),Tuple{Int,Char}}, Union{Int,Nothing}, Union{Int,Float64,Missing},
              Union{Vector{Int},Nothing}, Vector{Int}, Array{Plain,3}, Vector{Tuple{Int,Char}}, Type{Int}, Val{3}, Pair{Int,Float64},
              SubArray{Int,1,Vector{Int},Tuple{UnitRange{Int}},true}, Union{})
        @test crossable(T)
        @test isempty(obstacles(T, "it"))
    end
end

@testset "what does not, and why" begin
    why(T) = join((o.message * "; " * o.advice for o in obstacles(T, "argument 2")), "\n")
    for (T, words) in ((Any, "could be anything"), (Real, "not concrete"), (WithAbstract, "field `a` of `WithAbstract`, has the type `Real`"),
                       (Vector{String}, "`String`"), (String, "code units"), (Changing, "mutable"), (Ptr{Int}, "pointer"), (Vector{Ptr{Int}}, "pointers"),
                       (Recursive, "refers to itself"), (DataType, "static parameter"), (typeof(boxed()), "let x = x"), (IOBuffer, "this process only"),
                       (Union{Int,String}, "when it is a `String`"), (Tuple{Int,String}, "element 2"), (Vector, "not concrete"), (BigInt, "mutable"),
                       (Union{Int,AbstractFloat}, "not concrete"), (NamedTuple{(:a,),Tuple{Symbol}}, "entry `a`"))
        @test !crossable(T)
        @test occursin(words, why(T))
        @test startswith(why(T), "argument 2")
    end
    # Each field that is in the way is named.
    @test length(obstacles(Tuple{String,Int,Ptr{Int}}, "it")) == 2
end
