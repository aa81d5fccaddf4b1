# `objectid` on a node is what it is here, although it goes by hashes that every build of Julia has its own of; and so is the order of tables that
# go by it.

using BitCode
using Random
using Test

struct Named
    name::Symbol
    count::Int
end
struct Holding
    name::Symbol
    value::Any
end

node = launch()

@testset "objectid of $(repr(value))" for value in
        (5, 0x05, 1.5, true, 'c', nothing, :a_symbol, "a text", (1, 2.0), (:a, "b"), Named(:x, 1), Holding(:x, 5), Holding(:y, :z))
    @test remotecall_fetch(objectid, node, value) === objectid(value)
end

# What is inside is only known when the code runs.
identity_inside(box) = objectid(box[])
@testset "objectid of what is in a box: $(repr(value))" for value in (5, :a_symbol, "a text", 2.5)
    @test remotecall_fetch(identity_inside, node, Ref{Any}(value)) === objectid(value)
end

function by_identity(n)
    table = IdDict{Any,Int}()
    table[:a], table["b"] = 1, 2
    for k in 1:n
        table[k] = k
    end
    return collect(values(table))
end
by_symbol(names) = collect(keys(Dict(name => 1 for name in names)))

@testset "order of tables" begin
    @test remotecall_fetch(by_identity, node, 40) == by_identity(40)
    names = [Symbol("name", k) for k in 1:40]
    @test remotecall_fetch(by_symbol, node, names) == by_symbol(names)
end

seeded(seed) = (Random.seed!(seed); (rand(), rand(1:1000, 3), randn(), rand(5)))

@testset "a seed gives the same random numbers" begin
    @test remotecall_fetch(seeded, node, 42) == seeded(42)
    @test remotecall_fetch(() -> rand() == rand(), node) === false
end

close(node)
