using BitCode, Test
using BitCode: crossable, crossing, obstacles, reachable_types, hashes_by_identity, ARRAY, BITS, RECORD, CHOICE, GRAPH, NEVER, NOTHING_TO_SEND
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

@testset "what has references crosses, too" begin
    for T in (Any, Real, WithAbstract, Vector{String}, String, Symbol, Changing, Recursive, DataType, typeof(boxed()), IOBuffer, Union{Int,String}, Tuple{Int,String},
              Vector, BigInt, BigFloat, Regex, Union{Int,AbstractFloat}, NamedTuple{(:a,),Tuple{Symbol}}, Dict{String,Any}, Set{Int}, BitVector, Base.RefValue{Int},
              Vector{Vector{Int}}, Matrix{Union{Missing,Float64}}, Vector{Any}, SubString{String}, Core.SimpleVector, Union{Nothing,Ptr{Int}}, Vector{Function})
        @test crossable(T)
        @test crossing(T) == GRAPH
        @test isempty(obstacles(T, "it"))
    end
end

@testset "which way" begin
    for (T, way) in ((Int, BITS), (Nothing, NOTHING_TO_SEND), (Vector{Int}, ARRAY), (WithArray, RECORD), (Union{Int,Nothing}, CHOICE), (Tuple{Vector{Int},Vector{Int}}, RECORD),
                     (Tuple{Vector{Int},Union{Nothing,Vector{Int}}}, GRAPH), (Tuple{Vector{Int},Union{Nothing,Vector{Float64}}}, RECORD), (Tuple{Int,Vector{String}}, GRAPH),
                     (Ptr{Int}, NEVER), (Tuple{String,Ptr{Int}}, NEVER))
        @test crossing(T) == way
    end
end

@testset "what does not, and why" begin
    why(T) = join((o.message * "; " * o.advice for o in obstacles(T, "argument 2")), "\n")
    for (T, words) in ((Ptr{Int}, "pointer"), (Vector{Ptr{Int}}, "pointer"), (IOStream, "this process only"), (Task, "this process only"), (Tuple{Int,Task}, "element 2"),
                       (Pair{String,ReentrantLock}, "field `second`"), (Union{Task,Ptr{Int}}, "when it is a `Task`"), (Channel{Int}, "this process only"), (Module, "this process only"))
        @test !crossable(T)
        @test occursin(words, why(T))
        @test startswith(why(T), "argument 2")
    end
    # Each field that is in the way is named.
    @test length(obstacles(Tuple{Task,Int,Ptr{Int}}, "it")) == 2
end

struct Twice
    word::String
    place::Changing
end
struct OwnHash
    word::String
end
Base.hash(x::OwnHash, h::UInt) = hash(x.word, h)
mutable struct OwnIdentity
    n::Int
end
Base.hash(x::OwnIdentity, h::UInt) = hash(objectid(x), h)

@testset "types that a graph may name" begin
    @test Set(reachable_types(Dict{String,Twice})) ==
          Set([Dict{String,Twice}, Vector{UInt8}, UInt8, Vector{String}, String, Vector{Twice}, Twice, Changing, Int, UInt])
    @test Set(reachable_types(Union{Nothing,Recursive})) == Set([Nothing, Recursive])
    @test isempty(reachable_types(Any))
end

@testset "hashes by identity" begin
    for T in (Int, String, Symbol, Date, Tuple{Int,String}, Vector{Int}, BigInt, Pair{String,Int}, Char, typeof(sin), OwnHash, Type{Int})
        @test hashes_by_identity(T) === false
    end
    for T in (Changing, Twice, Tuple{Int,Changing}, Vector{Changing}, Base.RefValue{Int}, OwnIdentity)
        @test hashes_by_identity(T) === true
    end
    @test hashes_by_identity(Any) === nothing
    @test hashes_by_identity(Tuple{Int,Real}) === nothing
end
