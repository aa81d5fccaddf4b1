# What shipped functions print appears here: marked, in order, line by line, before their value.

using BitCode, Test

include("waiting.jl")

# What `f` makes appear on `stdout` (or `stderr`), as lines. `f` may look at the file that they go to.
function lines_of(f; redirect = redirect_stdout, stream = () -> stdout)
    path, file = mktemp()
    before = stream()
    redirect(file)
    try
        applicable(f, path) ? f(path) : f()
    finally
        redirect(before)
        close(file)
    end
    lines = readlines(path; keep = true)
    rm(path)
    return lines
end

mark(node) = "      From node $(node.address):\t"

greet(n) = (BitCode.println("hello ", n, ' ', n / 2, " ", n > 1, " ", nothing); n)
function count_to(n)
    for i in 1:n
        BitCode.print("line ", i)
        BitCode.print('\n')
    end
    return n
end
unfinished(n) = (BitCode.print("no end ", n); n)
plainly(n) = (println("out ", n); print(stdout, "and ", n, "\n"); println(stderr, "err ", n); flush(stdout); n)
shows(x) = (BitCode.@show x x + 1; @show 2x; x)
values(n) = (println((n, 2.5, "x\n", 'c', (n,), ())); println([n, 2], " ", 1:n, " ", n // 2, " ", Int8); n)
several(n) = (println("a\nb\n\nc", n); n)
throws(n) = (BitCode.println("before"); BitCode.print("half"); n > 0 && throw(DomainError(n)); n)
function long_line(n)
    for i in 1:n
        BitCode.print("0123456789")
    end
    BitCode.println()
    return n
end

@testset "output" begin
    node = launch()
    from = mark(node)

    @testset "lines are there before the value" begin
        @test lines_of(() -> @test(@remote(node, greet(3)) == 3)) == [from * "hello 3 1.5 true nothing\n"]
        # Also from warm code, and none is lost or doubled.
        for _ in 1:20
            @test lines_of(() -> @remote node greet(1)) == [from * "hello 1 0.5 false nothing\n"]
        end
        @test lines_of(() -> @remote node count_to(1000)) == [from * "line $i\n" for i in 1:1000]
        @test lines_of(() -> @remote node unfinished(7)) == [from * "no end 7\n"]
        @test lines_of(() -> @remote node several(1)) == from .* ["a\n", "b\n", "\n", "c1\n"]
    end

    @testset "the functions of Base" begin
        @test lines_of(() -> @remote node plainly(5)) == from .* ["out 5\n", "and 5\n"]
        errors = lines_of(() -> lines_of(() -> @remote node plainly(5)); redirect = redirect_stderr, stream = () -> stderr)
        @test errors == [from * "err 5\n"]
        @test lines_of(() -> @remote node shows(4)) == from .* ["x = 4\n", "x + 1 = 5\n", "2x = 8\n"]
        @test lines_of(() -> greet(3)) == ["hello 3 1.5 true nothing\n"]
        @test lines_of(() -> shows(4)) == ["x = 4\n", "x + 1 = 5\n", "2x = 8\n"]
    end

    @testset "values look as they do here" begin
        @test lines_of(() -> @remote node values(3)) == from .* lines_of(() -> values(3))
        @test lines_of(() -> @remote node println("a string", " and ", :symbol)) == [from * "a string and symbol\n"]
    end

    @testset "a long line stays one line" begin
        for n in (409, 410, 5000, 300_000)
            @test lines_of(() -> @remote node long_line(n)) == [from * "0123456789"^n * "\n"]
        end
    end

    @testset "a call that throws" begin
        lines = lines_of(() -> @test_throws RemoteException @remote node throws(1))
        @test lines == from .* ["before\n", "half\n"]
    end

    @testset "more than fits is waited for" begin
        lines = lines_of(() -> @remote node count_to(100_000))
        @test length(lines) == 100_000
        @test lines[end] == from * "line 100000\n"
        @test issorted(lines; by = line -> parse(Int, split(line)[end]))
    end

    @testset "futures and calls that nobody waits for" begin
        lines = lines_of() do
            futures = [remotecall(count_to, node, 100) for _ in 1:10]
            foreach(fetch, futures)
        end
        @test sort(lines) == sort(repeat([from * "line $i\n" for i in 1:100], 10))
        lines = lines_of() do path
            remote_do(greet, node, 8)
            @test eventually(() -> (flush(stdout); filesize(path) > 0))
        end
        @test lines == [from * "hello 8 4.0 true nothing\n"]
    end

    @testset "two nodes at once, in tasks" begin
        other = launch()
        # Often, because whoever waits and libbitcode's own thread may both take in what comes.
        for _ in 1:20
            lines = lines_of() do
                @sync for n in (node, other), _ in 1:5
                    @async @remote n count_to(200)
                end
            end
            @test length(lines) == 2000
            for n in (node, other)
                mine = filter(line -> startswith(line, mark(n)), lines)
                @test sort(mine) == sort(repeat([mark(n) * "line $i\n" for i in 1:200], 5))
            end
        end
        @test all(n -> BitCode.statistics(n)["dropped_frames"] == 0, (node, other))
        close(other)
    end

    close(node)
end

@testset "a stdout that cannot be written to" begin
    node = launch()
    before = stdout
    for closed_end in (1, 2)
        ends = redirect_stdout()
        close(ends[closed_end])
        value, later = try
            @remote(node, greet(3)), fetch(remotecall(greet, node, 4))
        finally
            redirect_stdout(before)
            foreach(close, ends)
        end
        @test value == 3
        @test later == 4
    end
    @test lines_of(() -> @remote node greet(1)) == [mark(node) * "hello 1 0.5 false nothing\n"]
    close(node)
end
