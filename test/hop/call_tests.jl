# Code that calls other nodes and waits.

using BitCode, Test
using BitCode: BitCodeError, RemoteException, within
using BitCode.Hop: call, spawn, forward, here, nnodes, localpart, fetch_add, Hop

include("../node/waiting.jl")

const ns = launch(4)
next() = mod1(here() + 1, nnodes())

sum_there(k, x, y) = call(k, +, x, y)
where_is(k) = (here(), call(k, here), here())
largest(table) = maximum(k -> call(k, t -> maximum(localpart(t)), table), 1:nnodes())
# Down to 0, a node further with each step, and back.
count_down(n) = n == 0 ? [here()] : push!(call(next(), count_down, n - 1)::Vector{Int}, here())
fibonacci(n) = n < 2 ? n : call(next(), fibonacci, n - 1)::Int + call(next(), fibonacci, n - 2)::Int
words_of(text) = split(text)
longest(texts) = [maximum(length, call(mod1(k, nnodes()), words_of, text)) for (k, text) in enumerate(texts)]
tallied(words) = (counts = Dict{String,Int}(); foreach(w -> counts[w] = get(counts, w, 0) + 1, words); counts)
tallies(k, words) = sort!(collect(call(k, tallied, words)))
matrix_there(k, n) = call(k, n -> [Float64(i + j) for i in 1:n, j in 1:n], n)
nothing_there(k) = (call(k, x -> nothing, 1), call(k, x -> Val(3), true))
maybe(k, x) = (y = call(k, x -> x > 0 ? x : nothing, x); y === nothing ? -1 : y)
fails(x) = throw(ArgumentError("no $x"))
failing(k, x) = call(k, fails, x) + 1
failing_deep(k, x) = call(k, failing, mod1(k + 1, nnodes()), x)
caught(k, x) = try call(k, fails, x) catch e; -1 end
goes_on(k) = call(k, k -> forward(k, here), mod1(k + 1, nnodes()))
starts(k, counts) = (call(k, (k, counts) -> (spawn(k, counts -> (fetch_add(counts, here(), 1); nothing), counts); here()), mod1(k + 1, nnodes()), counts))
prints(k) = call(k, () -> (println("from there"); here()))
many(k, n) = (s = 0; for i in 1:n s += call(k, abs2, i) end; s)
for_ever(n) = call(next(), for_ever, n + 1)::Int
# Says in the first word that it has begun, and goes on once the second one is set.
function held(words)
    fetch_add(words, 1, 1)
    while fetch_add(words, 2, 0) == 0 end
    return here()
end
waits_for(k, words) = call(k, held, words)
adds_there(k, v) = call(k, v -> (push!(v, 4); length(v)), v) + length(v)
large_there(k, n) = (v = call(k, n -> [string("word ", i) for i in 1:n], n); w = call(k, n -> (collect(1:n), "s"), n)[1]; push!(w, 5); push!(v, "x"); (length(v), v[n], sum(w)))
any_there(k, v) = call(k, v -> v[1], v)

code_of(f) = (e = thrown(f); e isa BitCodeError ? e.code : e)

@testset "here" begin
    @test sum_there(3, 1, 2) == 3
    @test count_down(3) == [0, 0, 0, 0]
end

@testset "values come back" begin
    for k in 1:4
        @test (@remote ns[1] sum_there(k, 1, 2)) == 3
        @test (@remote ns[2] where_is(k)) == (2, k, 2)
        @test (@remote ns[3] matrix_there(k, 30)) == [Float64(i + j) for i in 1:30, j in 1:30]
        @test (@remote ns[3] nothing_there(k)) == (nothing, Val(3))
        @test (@remote ns[3] maybe(k, 2)) == 2 && (@remote ns[3] maybe(k, -2)) == -1
        @test (@remote ns[4] tallies(k, ["a", "b", "a"])) == ["a" => 2, "b" => 1]
    end
    @test (@remote ns[1] longest(["a bc", "def", "g hijk l", "mn o", "p"])) == [2, 3, 4, 2, 1]
    @test (@remote ns[1] many(2, 5000)) == sum(abs2, 1:5000)
    @test (@remote ns[1] large_there(2, 10_000)) == (10_001, "word 10000", sum(1:10_000) + 5)
    # What is there is a copy.
    @test (@remote ns[1] adds_there(2, [1, 2, 3])) == 7
    table = BitCode.alloc(ns, Float64, 100)
    for i in 1:100
        table[i] = i % 37
    end
    @test (@remote ns[2] largest(table)) == 36
    close(table)
end

@testset "calls within calls" begin
    @test (@remote ns[1] count_down(6)) == [3, 2, 1, 4, 3, 2, 1]
    @test (@remote ns[4] fibonacci(12)) == 144
    @test (@remote within(ns[1]; hops = 6) count_down(6)) == [3, 2, 1, 4, 3, 2, 1]
    @test code_of(() -> @remote within(ns[1]; hops = 5) count_down(6)) == :hop_budget
    # From all nodes at once, each waiting for the next.
    @test fetch.([remotecall(count_down, n, 40) for n in ns for _ in 1:5]) == [count_of for n in 1:4 for count_of in fill([mod1(n + k, 4) for k in 40:-1:0], 5)]
    counts = BitCode.alloc(ns[1], Int, 4)
    @test (@remote ns[1] starts(2, counts)) == 2
    @test eventually(() -> counts[:] == [0, 0, 1, 0])
    close(counts)
end

@testset "what goes wrong there" begin
    e = thrown(() -> @remote ns[1] failing(2, 7))
    @test e isa RemoteException && e.exception == ArgumentError("no 7")
    @test occursin("fails", sprint(showerror, e))
    e = thrown(() -> @remote ns[1] failing_deep(2, 7))
    @test e isa RemoteException && e.exception == ArgumentError("no 7")
    # Not caught: it ends the whole call.
    @test thrown(() -> @remote ns[1] caught(2, 7)) isa RemoteException
    @test (@remote ns[1] caught(1, 7)) == -1
    @test code_of(() -> @remote ns[1] sum_there(5, 1, 2)) == :unreachable
    @test code_of(() -> @remote ns[1] sum_there(-1, 1, 2)) == :unreachable
    @test code_of(() -> @remote ns[1] goes_on(2)) == :unsupported
    @test code_of(() -> @remote within(ns[1]; hops = 50) for_ever(0)) == :hop_budget
    @test code_of(() -> @remote ns[1] for_ever(0)) == :fan_out
    words = BitCode.alloc(ns[3], Int, 2)
    @test code_of(() -> @remote within(ns[1]; deadline = 0.3) waits_for(2, words)) in (:deadline, :timeout)
    words[2] = 1
    @test (@remote ns[1] waits_for(2, words)) == 2
    close(words)
    @test (@remote ns[1] any_there(2, Any[1])) == 1
    @test (@remote ns[1] sum_there(2, 3, 4)) == 7
end

@testset "a node that dies" begin
    spare = launch()
    k = Hop.number(spare)
    @test (@remote ns[1] sum_there(k, 1, 2)) == 3
    words = BitCode.alloc(ns[3], Int, 2)
    waiting = remotecall(waits_for, ns[1], k, words)
    @test eventually(() -> words[1] == 1)
    kill(spare.process.process, 9)
    @test code_of(() -> fetch(waiting)) in (:unreachable, :peer_died)
    @test (@remote ns[1] sum_there(2, 1, 2)) == 3
end
