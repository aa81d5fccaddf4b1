# Code next to the memory of nodes: pointer chases and one-sided access from shipped code, checked against the same on a local array.

using BitCode, Test
using BitCode: BitCodeError, Hop, RemoteException
using BitCode.Hop: forward, here, localindices, localpart, nnodes, owner

include("../node/waiting.jl")
include("cycle.jl")

function walk(table, i, steps)
    for _ in 1:steps
        i = table[i]
    end
    return i
end

function chase(table, i, steps)
    part, range = localpart(table), localindices(table)
    while steps > 0
        i in range || return forward(owner(table, i), chase, table, i, steps)
        i = part[i-first(range)+1]
        steps -= 1
    end
    return i
end

part_sum(s) = sum(localpart(s))
double!(s) = (part = localpart(s); part .*= 2; length(part))
append(s) = (part = localpart(s); push!(part, 99); part)
where_it_lies(s) = (owner(s, 1), localindices(s), size(localpart(s)))
fetched(s, i) = Hop.get(s, i)
stored(s, i, x) = (Hop.put(s, i, x); nothing)
added(s, i, x) = Hop.fetch_add(s, i, x)
exchanged(s, i, old, new) = Hop.compare_swap(s, i, old => new)
swapped(s, i, x) = Hop.swap(s, i, x)
function hammered(s, i, n)
    for _ in 1:n
        Hop.fetch_add(s, i, 1)
    end
    return nothing
end

code_of(f) = (e = thrown(f); e isa RemoteException ? (e.exception isa BitCodeError ? e.exception.code : typeof(e.exception)) : e)

for transport in ("shm", "tcp")
    @testset "$transport" begin
        ns = launch(3; transport = transport)

        @testset "a pointer chase over $k nodes" for k in 1:3
            n = 1000
            table = one_cycle(n)
            s = BitCode.alloc(ns[1:k], Int, n)
            copyto!(s, table)
            for steps in (0, 1, 2, 3, 64, 1000)
                start = mod1(37steps, n)
                @test (@remote BitCode.owner(s, start) chase(s, start, steps)) == walk(table, start, steps)
            end
            # From a node that has none of it, too.
            @test (@remote ns[3] chase(s, 1, 20)) == walk(table, 1, 20)
            close(s)
        end

        @testset "a node's own part" begin
            a = BitCode.alloc(ns[2], Float64, 3, 4)
            copyto!(a, reshape(collect(1.0:12), 3, 4))
            @test (@remote ns[2] part_sum(a)) == 78
            @test (@remote ns[2] double!(a)) == 12
            @test Array(a) == reshape(collect(2.0:2:24), 3, 4)
            @test (@remote ns[2] where_it_lies(a)) == (2, 1:12, (3, 4))
            @test code_of(() -> @remote ns[1] part_sum(a)) == ArgumentError
            s = BitCode.alloc(ns[1:2], Int, 5)
            copyto!(s, collect(1:5))
            @test [(@remote n part_sum(s)) for n in ns] == [6, 9, 0]
            @test [(@remote n where_it_lies(s)) for n in ns] == [(1, 1:3, (3,)), (1, 4:5, (2,)), (1, 1:0, (0,))]
            # Its memory is not the array's to grow.
            @test code_of(() -> @remote ns[2] append(s)) == ErrorException
            @test Array(s) == 1:5
            close(s)
            @test code_of(() -> @remote ns[2] part_sum(s)) == :segment_gone
            close(a)
        end

        @testset "from anywhere" begin
            s = BitCode.alloc(ns, Int, 10)
            copyto!(s, collect(10:10:100))
            for n in ns
                @test [(@remote n fetched(s, i)) for i in (1, 5, 10)] == [10, 50, 100]
                @test (@remote n fetched(s, 2:9)) == 20:10:90
                @remote n stored(s, 6, 61)
                @remote n stored(s, 3:8, [3, 4, 5, 6, 7, 8])
                @test s[2:9] == [20, 3, 4, 5, 6, 7, 8, 90]
                copyto!(s, collect(10:10:100))
                @test (@remote n added(s, 7, 5)) == 70
                @test (@remote n exchanged(s, 7, 75, 76)) == 75
                @test (@remote n exchanged(s, 7, 75, 77)) == 76
                @test (@remote n swapped(s, 7, 70)) == 76
                @test code_of(() -> @remote n fetched(s, 11)) == BoundsError
                @test code_of(() -> @remote n fetched(s, 3:11)) == BoundsError
            end
            futures = [remotecall(hammered, n, s, 9, 1000) for n in ns]
            foreach(fetch, futures)
            @test s[9] == 90 + 3000
            close(s)
            for n in ns
                @test code_of(() -> @remote n fetched(s, 1)) == :segment_gone
            end
            a = BitCode.alloc(ns[3], Float32, 4)
            a[2] = 2.5
            @test (@remote ns[1] fetched(a, 2)) === 2.5f0
            close(a)
            @test eventually(() -> code_of(() -> @remote ns[1] fetched(a, 2)) == :segment_gone)
        end

        foreach(close, ns)
    end
end

@testset "the words at the origin" begin
    ns = launch(2)
    s = BitCode.alloc(ns, Int, 4)
    @test owner(s, 3) == 2 && localindices(s) == 1:0 && isempty(localpart(s))
    Hop.put(s, 2, 7)
    @test Hop.get(s, 2) == 7 && Hop.get(s, 1:3) == [0, 7, 0]
    @test Hop.fetch_add(s, 2, 1) == 7 && Hop.swap(s, 2, 3) == 8 && Hop.compare_swap(s, 2, 3 => 4) == 3
    @test_throws ArgumentError localpart(BitCode.alloc(ns[1], Int, 2))
    foreach(close, ns)
end
