# Nothing is freed too early, and nothing is kept.

using BitCode, Test

total(v) = sum(v)
double(v) = 2 .* v
increment(x) = x + 1

node = launch()

@testset "collections during calls" begin
    for round in 1:200
        v = rand(1000 + 50round)
        futures = [remotecall(total, node, copy(v)) for _ in 1:5]
        round % 5 == 0 && GC.gc()
        round % 2 == 0 && GC.gc(false)
        @test all(f -> fetch(f) ≈ total(v), futures)
        @test remotecall_fetch(double, node, v) == 2v
    end
    @sync for i in 1:8
        @async for k in 1:50
            v = fill(i, 100k)
            remotecall_fetch(total, node, v) == 100k * i || error("a wrong sum")
            rand() < 0.1 && GC.gc(false)
        end
    end
    @test true
end

@testset "a warm call allocates nothing here" begin
    calls(node, n) = (s = 0; for i in 1:n; s += remotecall_fetch(increment, node, i); end; s)
    calls(node, 100)
    # A call that takes longer than the spin goes the slow way, which does allocate; most do not.
    @test (@allocated calls(node, 10_000)) / 10_000 < 64
end

@testset "memory stays flat" begin
    resident() = parse(Int, split(read("/proc/self/statm", String))[2]) * 4096
    exchange(n) = for i in 1:n
        remotecall_fetch(double, node, rand(1000))
    end
    exchange(2000)
    GC.gc()
    before = resident()
    exchange(20_000)
    GC.gc()
    @test resident() - before < 64 * 2^20
end

close(node)
