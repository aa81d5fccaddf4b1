# Calls that may mean one of a few methods: the candidates are shipped.

include("shipping.jl")

abstract type Shape end
struct Circle <: Shape
    radius::Float64
end
struct Square <: Shape
    side::Float64
end
area(c::Circle) = 3 * c.radius^2
area(s::Square) = s.side^2

one_of_five(x) = x > 0 ? 1 : x > -1 ? 2.0 : x > -2 ? 3f0 : x > -3 ? 0x1 : 1 // 2
adds_to_one_of_five(x) = one_of_five(x) + 1
picks(x) = string((1, 2.0, "a", :b, 'c', nothing)[x])
two_at_once(x) = (a = x > 0 ? 1 : "s"; b = x > 1 ? 2 : :t; a == b)
types_as_values(x) = (T = x > 0 ? Int : Float64; zero(T))
either_shape(x) = area(x > 1 ? Circle(x) : Square(x))
any_shape(x) = area(Shape[Circle(x), Square(x)][1])
all_shapes(shapes) = (total = 0.0; for s in shapes; total += area(s); end; total)
perimeter(c::Circle) = 6 * c.radius
perimeter(s::Shape) = -1.0
any_perimeter(x) = perimeter(Shape[Circle(x), Square(x)][1])
through_a_function(x) = adds_to_one_of_five(x) * 2
no_method_for_one(x) = length((1, 2.0, "abc", :b, 'c', nothing)[x])

@testset "a few types are told apart" begin
    for f in (adds_to_one_of_five, picks, two_at_once, types_as_values, through_a_function, no_method_for_one)
        @test shipped(f, Int) isa Shipped
    end
    @test shipped(either_shape, Float64) isa Shipped
end

@testset "a few methods are told apart, whatever there is" begin
    @test shipped(any_shape, Float64) isa Shipped
    @test shipped(all_shapes, Vector{Shape}) isa Shipped
    # A method that takes any of them would have to be compiled for types without number.
    found = try shipped(any_perimeter, Float64); [] catch e; e.reasons end
    @test [r.kind for r in found] == [:dynamic_dispatch]
    @test occursin("perimeter(::Main.Shape)", found[1].message) || occursin("perimeter(::Shape)", found[1].message)
end

@testset "another method ends what was captured" begin
    s = shipped(any_shape, Float64)
    @test Capture.isvalid(s)
    @eval struct Point <: Shape end
    @test Base.invokelatest(Capture.isvalid, s)
    @eval area(::Point) = 0.0
    @test !Base.invokelatest(Capture.isvalid, s)
end

@testset "what a choice does" begin
    both = Capture.Choice{Tuple{Tuple{typeof(area),Circle},Tuple{typeof(area),Square}}}()
    @test both(area, Circle(1.0)) == 3.0 && both(area, Square(2.0)) == 4.0
    open = Capture.OpenChoice{Tuple{Tuple{typeof(area),Circle},Tuple{typeof(area),Square}}}()
    @test open(area, Circle(1.0)) == 3.0 && open(area, Square(2.0)) == 4.0
    @test_throws MethodError open(area, "no shape")
    @test Capture.combinations(Any[typeof(+), Union{Int,Float64}, Union{Int8,Nothing}]) |> length == 4
    @test Capture.combinations(Any[typeof(+), Union{}]) === nothing
    @test Capture.combinations(Any[Int]) == Any[Tuple{Int}]
end
