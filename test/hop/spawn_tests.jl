# Code that starts other calls, and what limits it and all code that moves.

using BitCode, Test
using BitCode: BitCodeError, within
using BitCode.Hop: spawn, forward, here, nnodes, fetch_add

include("../node/waiting.jl")

const ns = launch(4)
next() = mod1(here() + 1, nnodes())

# Each node once: the one that this runs on, and those from `first` to `last`.
function visit(counts, first, last)
    fetch_add(counts, here(), 1)
    first > last && return nothing
    middle = (first + last) ÷ 2
    spawn(first, visit, counts, first + 1, middle)
    middle < last && spawn(middle + 1, visit, counts, middle + 2, last)
    return nothing
end

each_once(counts, words) = foreach(word -> fetch_add(counts, length(word), 1), words)
send_words(k, counts, words) = (spawn(k, each_once, counts, words); length(words))
around(n, counts) = n == 0 ? (fetch_add(counts, here(), 1); nothing) : forward(next(), around, n - 1, counts)
begins(n, counts) = (spawn(next(), around, n, counts); here())
fails(counts) = (fetch_add(counts, 1, 1); error("heard by nobody"))
starts_failing(counts) = (spawn(2, fails, counts); here())
starts(n, counts) = (for i in 1:n spawn(mod1(i, nnodes()), around, 0, counts) end; n)
storm(counts) = (fetch_add(counts, here(), 1); spawn(next(), storm, counts); spawn(here(), storm, counts); nothing)
ping(n) = forward(next(), pong, n + 1)
pong(n) = forward(next(), ping, n + 1)
tour(n) = n == 0 ? here() : forward(next(), tour, n - 1)

counted() = BitCode.alloc(ns[1], Int, 4)
becomes(counts, expected) = eventually(() -> counts[:] == expected)
code_of(f) = (e = thrown(f); e isa BitCodeError ? e.code : e)

@testset "here" begin
    counts = zeros(Int, 4)
    seen = Int[]
    @test spawn(3, x -> push!(seen, x), 7) === nothing
    @test seen == [7]
    @test (@test_logs (:error,) spawn(3, error, "heard by nobody")) === nothing
end

@testset "what is started is done" begin
    counts = counted()
    @test (@remote ns[1] visit(counts, 2, 4)) === nothing
    @test becomes(counts, [1, 1, 1, 1])
    words = ["a", "bcd", "no"]
    for k in 1:4
        @test (@remote ns[2] send_words(k, counts, words)) == 3
    end
    @test becomes(counts, [5, 5, 5, 1])
    # What was started may go on, and the code that started it is done before.
    @test (@remote ns[3] begins(6, counts)) == 3
    @test becomes(counts, [5, 6, 5, 1])
    @test (@remote ns[3] starts(100, counts)) == 100
    @test becomes(counts, [30, 31, 30, 26])
end

@testset "nobody hears how it ends" begin
    counts = counted()
    @test (@remote ns[1] starts_failing(counts)) == 1
    @test becomes(counts, [1, 0, 0, 0])
    @test (@remote ns[2] here()) == 2
    # That there is no such node, whoever starts it hears at once.
    @test code_of(() -> @remote ns[1] begin spawn(5, here); here() end) == :unreachable
end

@testset "limits" begin
    @test (@remote within(ns[1]; hops = 10) tour(10)) == 3
    @test code_of(() -> @remote within(ns[1]; hops = 9) tour(10)) == :hop_budget
    @test code_of(() -> @remote within(ns[1]; hops = 1000) ping(0)) == :hop_budget
    @test code_of(() -> @remote within(ns[1]; deadline = 0.2) ping(0)) in (:timeout, :deadline)
    counts = counted()
    @test (@remote within(ns[1]; fan_out = 8) starts(8, counts)) == 8
    @test code_of(() -> @remote within(ns[1]; fan_out = 8) starts(9, counts)) == :fan_out
    @test becomes(counts, [4, 4, 4, 4])
    # Each starts two more, without end: all that the call may start, on each node.
    counts = counted()
    @test (@remote within(ns[1]; fan_out = 20) storm(counts)) === nothing
    @test eventually(() -> sum(counts[:]) == 4 * 20 + 1)
    # By paths that are short, there are fewer.
    counts = counted()
    @test (@remote within(ns[1]; hops = 3) storm(counts)) === nothing
    @test eventually(() -> sum(counts[:]) == 1 + 2 + 4 + 8)
    @test (@remote ns[1] tour(3)) == 4
end

@testset "a node with limits is the same node" begin
    limited = within(ns[2]; hops = 5, deadline = 30, fan_out = 0)
    @test limited.address == ns[2].address && isopen(limited)
    @test fetch(remotecall(+, limited, 1, 2)) == 3
    @test within(limited; hops = 6).whole === ns[2]
    for wrong in ((deadline = 0,), (hops = 0,), (hops = -1,), (fan_out = 65536,), (fan_out = -1,))
        @test_throws ArgumentError within(ns[1]; wrong...)
    end
    close(limited)
    @test !isopen(ns[2]) && !(ns[2] in nodes())
    @test length(nodes()) == 3
end
