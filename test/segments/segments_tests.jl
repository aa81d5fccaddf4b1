# Memory of nodes, over both transports.

using BitCode, Test

include("../node/waiting.jl")

primitive type Bits24 24 end

struct Pair8
    a::Int32
    b::Float32
end

is_gone(f) = (e = thrown(f); e isa BitCode.BitCodeError && e.code == :segment_gone)

for transport in ("shm", "tcp")
    @testset "$transport" begin
        node = launch(; transport = transport)

        @testset "an array of zeros that keeps what is written" begin
            a = BitCode.alloc(node, Float64, 100)
            @test a isa BitCode.RemoteArray{Float64,1} && a isa AbstractVector{Float64}
            @test size(a) == (100,) && length(a) == 100 && isopen(a)
            @test Array(a) == zeros(100)
            a[3] = 2
            a[4:6] = [1.5, 2.5, 3.5]
            @test a[3] === 2.0 && a[end] === 0.0
            @test a[2:7] == [0, 2, 1.5, 2.5, 3.5, 0]
            @test a[:] == Array(a) && sum(a) == 9.5 && copy(a) == a
            @test fill!(a, 7.0) === a && all(==(7.0), Array(a))
            @test isempty(a[5:4])
            close(a)
        end

        @testset "bounds" begin
            a = BitCode.alloc(node, Int32, 10)
            put!(a, Int32.(1:10))
            inbounds(a, i) = @inbounds a[i]
            @test_throws BoundsError a[0]
            @test_throws BoundsError a[11]
            @test_throws BoundsError inbounds(a, 11)
            @test_throws BoundsError a[11] = 1
            @test_throws BoundsError a[9:11]
            @test_throws BoundsError a[0:1] = [1, 2]
            @test_throws DimensionMismatch a[1:2] = [1, 2, 3]
            @test_throws BoundsError get!(zeros(Int32, 5), a, 7)
            @test_throws BoundsError put!(a, zeros(Int32, 5), 0)
            @test_throws BoundsError BitCode.alloc(node, Int, 2)[3]
            @test Array(a) == 1:10
            @test get!(zeros(Int32, 3), a, 8) == 8:10
            @test copyto!(zeros(Int32, 4), 2, a, 5, 2) == [0, 5, 6, 0]
            close(a)
        end

        @testset "shapes and types" begin
            m = BitCode.alloc(node, ComplexF64, 3, 4)
            local_m = [complex(i, j) for i in 1.0:3, j in 1.0:4]
            copyto!(m, local_m)
            @test m[2, 3] == 2.0 + 3.0im && Array(m) == local_m && Array(m) isa Matrix{ComplexF64}
            m[3, 4] = 0
            @test m[12] == 0
            p = BitCode.alloc(node, Pair8, 2)
            p[2] = Pair8(1, 2.5)
            @test p[1] === Pair8(0, 0) && p[2] === Pair8(1, 2.5)
            @test BitCode.compare_swap(p, 2, Pair8(1, 2.5) => Pair8(3, 4)) === Pair8(1, 2.5) && p[2] === Pair8(3, 4)
            @test isempty(Array(BitCode.alloc(node, Int, 0)))
            for T in (String, Any, Ptr{Int}, Vector{Int}, Nothing, Bits24)
                @test_throws ArgumentError BitCode.alloc(node, T, 3)
            end
            @test_throws ArgumentError BitCode.alloc(node, Int, -1)
            @test occursin("3×4 RemoteArray{$(ComplexF64),2}", sprint(show, MIME("text/plain"), m))
        end

        @testset "more than goes at once" begin
            n = (9 << 20) ÷ 8 + 3
            a = BitCode.alloc(node, Int, n)
            put!(a, collect(1:n))
            @test Array(a) == 1:n
            fill!(a, -1)
            @test extrema(Array(a)) == (-1, -1)
            close(a)
        end

        @testset "words changed at once for everybody" begin
            a = BitCode.alloc(node, Int, 3)
            @test BitCode.fetch_add(a, 2, 5) == 0 && BitCode.fetch_add(a, 2, -7) == 5 && a[2] == -2
            @test BitCode.swap(a, 2, 10) == -2
            @test BitCode.compare_swap(a, 2, 9 => 1) == 10 && a[2] == 10
            @test BitCode.compare_swap(a, 2, 10 => 1) == 10 && a[2] == 1
            @test a[1] == a[3] == 0
            @test_throws BoundsError BitCode.fetch_add(a, 4, 1)
            @test_throws ArgumentError BitCode.swap(BitCode.alloc(node, Int32, 2), 1, 1)
        end

        @testset "close, and others" begin
            a = BitCode.alloc(node, Int, 4)
            other = connect(node.address; key = node.process.key, transport = transport)
            b = BitCode.attach(other, a.number, Int, 2, 2)
            b[2, 2] = 4
            @test a[4] == 4
            @test_throws ArgumentError BitCode.attach(other, a.number, Int, 1000)
            close(a)
            close(a)
            @test !isopen(a)
            for access in (() -> a[1], () -> (a[1] = 1), () -> Array(a), () -> fill!(a, 0), () -> BitCode.fetch_add(a, 1, 1), () -> a[2:1])
                @test is_gone(access)
            end
            @test eventually(() -> !isopen(b))
            @test is_gone(() -> b[1, 1])
            @test is_gone(() -> BitCode.attach(other, a.number, Int, 4))
            # What a connection allocated goes with it.
            c = BitCode.alloc(other, Int, 4)
            d = BitCode.attach(node, c.number, Int, 4)
            close(other)
            @test eventually(() -> !isopen(d))
            @test is_gone(() -> d[1])
            @test thrown(() -> c[1]) isa BitCode.BitCodeError
        end
        close(node)
        @test thrown(() -> BitCode.alloc(node, Int, 1)) isa BitCode.BitCodeError
    end
end

@testset "a node lends so much" begin
    node = launch(; segment_bytes = 1 << 16)
    e = thrown(() -> BitCode.alloc(node, UInt8, 1 << 17))
    @test e isa BitCode.BitCodeError && e.code == :too_large && occursin("--segment-bytes", e.message)
    a = BitCode.alloc(node, UInt8, 1 << 16)
    @test thrown(() -> BitCode.alloc(node, UInt8, 1)) isa BitCode.BitCodeError
    close(a)
    @test length(BitCode.alloc(node, UInt8, 1)) == 1
    close(node)
end

@testset "a vector in blocks" begin
    nodes = launch(3; transport = "shm")
    for n in (10, 2, 0)
        s = BitCode.alloc(nodes, Int, n)
        @test length(s) == n && Array(s) == zeros(n)
        copyto!(s, collect(1:n))
        @test Array(s) == 1:n && s[:] == 1:n
        @test [s[i] for i in 1:n] == 1:n
        @test_throws BoundsError s[n+1]
        close(s)
        @test !isopen(s) && (n == 0 || is_gone(() -> s[1]))
    end
    s = BitCode.alloc(nodes, Int, 10)
    @test [findfirst(==(BitCode.owner(s, i)), nodes) for i in 1:10] == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]
    s[3:9] = 3:9
    @test s[2:10] == [0, 3, 4, 5, 6, 7, 8, 9, 0]
    @test Array(BitCode.localpart(s, nodes[2])) == 5:8
    @test BitCode.fetch_add(s, 5, 10) == 5 && s[5] == 15
    fill!(s, 1)
    @test sum(Array(s)) == 10
    @test sprint(show, MIME("text/plain"), s) == "10-element DistributedSegment{Int64} over 3 nodes"
    foreach(close, nodes)
end
