# Many tasks, many nodes: a queue of work that each node takes from when it is free, with arrays in and out.

using BitCode

# A step of heat flow along a rod.
function diffuse(u, steps)
    v = copy(u)
    w = similar(v)
    for _ in 1:steps
        w[1], w[end] = v[1], v[end]
        for i in 2:length(v)-1
            w[i] = v[i] + 0.25 * (v[i-1] - 2v[i] + v[i+1])
        end
        v, w = w, v
    end
    return v
end

several = launch(3)
rods = [[k * sin(i / k) for i in 1:1000] for k in 1:60]
results = similar(rods)
work = Iterators.Stateful(eachindex(rods))
@sync for node in several
    @async for k in work
        results[k] = @remote node diffuse(rods[k], 200)
    end
end
println(length(results), " rods; warmest point after 200 steps: ", round(maximum(maximum, results); digits = 3))
results == [diffuse(rod, 200) for rod in rods] || error("the nodes computed something else than this process")
foreach(close, several)
