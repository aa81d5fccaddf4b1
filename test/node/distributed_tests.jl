# Distributed and BitCode in one session, both by `using`.

using Distributed, BitCode, Test

increment(x) = x + 1

node = launch()
worker = only(addprocs(1; exeflags = `--startup-file=no`))
@everywhere increment_there(x) = x + 1

@testset "one name for both" begin
    @test remotecall_fetch(increment, node, 1) === 2
    @test remotecall_fetch(+, worker, 1, 2) === 3
    @test fetch(remotecall(increment, node, 1)) === 2
    @test fetch(remotecall(+, worker, 1, 2)) === 3
    @test fetch(remotecall_wait(increment, node, 1)) === 2
    @test remote_do(+, worker, 1, 2) === nothing
    @test remote_do(+, node, 1, 2) === nothing
    @test (@remote node increment(1)) === 2
    @test pmap(increment, [node], 1:3) == pmap(increment_there, 1:3) == 2:4
    @test Distributed.remotecall_fetch === BitCode.remotecall_fetch
end

@testset "types of each" begin
    @test remotecall(+, worker, 1, 2) isa Distributed.Future
    @test remotecall(+, node, 1, 2) isa BitCode.Future
    @test BitCode.RemoteException !== Distributed.RemoteException
    e = try remotecall_fetch(sqrt, node, -1.0) catch e; e end
    @test e isa BitCode.RemoteException && e.captured.ex isa DomainError
end

rmprocs(worker)
close(node)
