# For threads_tests.jl: calls from several threads at once (Julia gives no more than there are processors). Prints what came out otherwise than it
# does locally, and then "done".

using BitCode

abstract type Shape end
mutable struct Circle <: Shape
    r::Float64
end
struct Square <: Shape
    a::Float64
    name::String
end
struct Named
    what::Symbol
    n::Int
end

# Any type may be in here: what the code knows of grows while several threads call it.
kinds(x) = count(e -> e isa String, x) + 10 * count(e -> e isa Int, x) + length(x)
const SORTS = Any[Any[1, "a", :b], Any["a", Circle(1.0)], Any[Named(:x, 1), 2, "b", 'c'], Any[Square(1.0, "s"), Circle(2.0)], Any[nothing, missing, 1.5, [1, 2], ["x"]],
                  Any[big(2), (1, "x"), 1:3], Any[Dict("a" => 1)]]
sums(n, s) = (n, s ^ 2)

function from_thread(node, t)
    wrong = String[]
    for round in 1:200
        k = mod1(round + 3t, length(SORTS))
        found = remotecall_fetch(kinds, node, SORTS[k])
        found == kinds(SORTS[k]) || push!(wrong, "thread $t, sort $k: $found")
        remotecall_fetch(sums, node, round, "ab") == sums(round, "ab") || push!(wrong, "thread $t, round $round")
    end
    return wrong
end

node = launch()
wrong = [String[] for _ in 1:Threads.nthreads()]
Threads.@threads for t in 1:Threads.nthreads()
    wrong[t] = from_thread(node, t)
end
foreach(println, reduce(vcat, wrong))
close(node)
println("done")
