# Shipped loops against the same loops here: LLVM 19 at O3 for the node's CPU, against Julia's own compiler on the same CPU.
#
# Each kernel runs `rounds` times over 1e6 floats inside one call, on memory that the call itself allocates. The time of one
# round is the difference between the quickest long and the quickest short call, so neither the call nor the allocation is
# part of it.

function sum_loop(x)
    total = 0.0
    @inbounds @simd for i in eachindex(x)
        total += x[i]
    end
    return total
end

function dot_loop(x, y)
    total = 0.0
    @inbounds @simd for i in eachindex(x, y)
        total += x[i] * y[i]
    end
    return total
end

function stencil_loop!(y, x)
    @inbounds @simd for i in 2:length(x)-1
        y[i] = 0.25 * x[i-1] + 0.5 * x[i] + 0.25 * x[i+1]
    end
    return y[2]
end

# Every round's result goes into the next round's input: nothing can be moved out of the loop.
function repeat_sum(n, rounds)
    x = ones(n)
    for _ in 1:rounds
        x[1] = sum_loop(x) * 1e-9
    end
    return x[1]
end

function repeat_dot(n, rounds)
    x = ones(n)
    y = ones(n)
    for _ in 1:rounds
        x[1] = dot_loop(x, y) * 1e-9
    end
    return x[1]
end

function repeat_stencil(n, rounds)
    x = ones(n)
    y = ones(n)
    for _ in 1:rounds
        x[1] = stencil_loop!(y, x) * 1e-9
    end
    return x[1]
end

function timed(f)
    start = time_ns()
    f()
    return Float64(time_ns() - start)
end

const SHORT, LONG = 10, 60

function bench_speed(report; quick = false, n = 1_000_000, turns = quick ? 2 : 60)
    node = launch(transport = "shm")
    worst = Inf
    for (name, kernel) in ["sum" => repeat_sum, "dot" => repeat_dot, "stencil" => repeat_stencil]
        there(rounds) = @remote node kernel(n, rounds)
        here(rounds) = kernel(n, rounds)
        isapprox(here(3), there(3); rtol = 1e-9) || error("$name: the node and this process disagree")
        times = Dict((place, rounds) => Float64[] for place in (there, here), rounds in (SHORT, LONG))
        # Short and long calls, there and here, take turns: a noisy moment meets all of them.
        for _ in 1:turns, place in (there, here), rounds in (SHORT, LONG)
            push!(times[place, rounds], timed(() -> place(rounds)))
        end
        row(report, "$name, $LONG rounds of $n, on the node", times[there, LONG])
        row(report, "$name, $LONG rounds of $n, here", times[here, LONG])
        # The quickest of many is what the code can do when nothing else runs; more of a round than the code is noise.
        round_there, round_here = [(minimum(times[place, LONG]) - minimum(times[place, SHORT])) / (LONG - SHORT) for place in (there, here)]
        ratio = round_here / round_there
        note(report, @sprintf("%s: one round takes %s there, %s here; the node is %.2f times as fast", name, time_text(round_there),
                              time_text(round_here), ratio))
        worst = min(worst, ratio)
    end
    close(node)
    result(report, "node_vs_local_speed", worst, "ratio"; bound = "at least 1.0, the worst of the three")
end
