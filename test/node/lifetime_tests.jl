# Nodes begin and end: by close, by accident, and with the process that launched them.

using BitCode, Test

include("waiting.jl")

forever(n) = (s = 0.0; while s >= 0.0; s += n; end; s)

@testset "launch and close" begin
    node = launch()
    @test isopen(node)
    @test nodes() == [node]
    @test is_alive(node.pid)
    @test node.pid != getpid()
    pid = node.pid
    close(node)
    @test !isopen(node)
    @test isempty(nodes())
    @test !is_alive(pid)
    @test close(node) === nothing

    several = launch(3)
    @test nodes() == several
    @test allunique([n.pid for n in several])
    @test allunique([n.address for n in several])
    foreach(close, several)
    @test launch(0) == []
    @test_throws ArgumentError launch(-1)
    @test_throws ArgumentError launch(; timeout = 0)
end

@testset "keys are nobody else's" begin
    node = launch()
    # Not in the command line, not in a file any more.
    arguments = split(read("/proc/$(node.pid)/cmdline", String), '\0')
    key = String(copy(node.process.key))
    @test !any(argument -> occursin(key, argument), arguments)
    @test !occursin(key, read("/proc/$(node.pid)/environ", String))
    @test !any(isfile, filter(argument -> startswith(argument, '/') && !occursin("bitcode-node", argument), arguments))
    @test !occursin(key, BitCode.node_log(node))
    @test !occursin(key, repr(node)) && !occursin(key, repr("text/plain", node))
    # Code hops between nodes that were launched here: they have one key, which no other process has.
    another = launch()
    @test another.process.key == node.process.key
    @test BitCode.random_key() != BitCode.random_key()
    foreach(close, (node, another))
end

@testset "no Julia in a node" begin
    libraries = read(`ldd $(BitCode.node_program())`, String)
    @test !occursin("julia", libraries)
    @test occursin("libucp", libraries)
    node = launch()
    remotecall_fetch(+, node, 1, 2)
    @test !occursin("julia", read("/proc/$(node.pid)/maps", String))
    close(node)
end

@testset "a node that dies" begin
    for transport in ("shm", "tcp")
        node = launch(; transport = transport)
        @test remotecall_fetch(+, node, 1, 2) === 3
        stuck = remotecall(forever, node, 1.0)
        kill(node.process.process, Base.SIGKILL)
        seconds = @elapsed e = thrown(() -> fetch(stuck))
        @test e isa BitCode.BitCodeError && e.code == :peer_died
        @test seconds < 10
        @test !isopen(node)
        e = thrown(() -> remotecall_fetch(+, node, 1, 2))
        @test e isa BitCode.BitCodeError
        @test isempty(nodes())
        close(node)
    end
end

@testset "calls under way when their node is closed" begin
    node = launch()
    stuck = remotecall(forever, node, 1.0)
    close(node)
    e = thrown(() -> fetch(stuck))
    @test e isa BitCode.BitCodeError && e.code == :session_closed
end

@testset "a program that is missing or does not start" begin
    withenv("BITCODE_NODE_BIN" => "/no/such/program") do
        e = thrown(launch)
        @test e isa BitCode.BitCodeError && occursin("/no/such/program", e.message)
    end
    program = tempname()
    write(program, "#!/bin/sh\necho 'the reason why' >&2\nexit 3\n")
    chmod(program, 0o700)
    withenv("BITCODE_NODE_BIN" => program) do
        e = thrown(launch)
        @test e isa BitCode.BitCodeError && occursin("the reason why", e.message) && occursin("3", e.message)
    end
    write(program, "#!/bin/sh\nexec sleep 100\n")
    withenv("BITCODE_NODE_BIN" => program) do
        e = thrown(() -> launch(; timeout = 0.5))
        @test e isa BitCode.BitCodeError && e.code == :timeout
    end
    rm(program)
    @test isempty(nodes())
end

@testset "nodes end with the process that launched them" begin
    program = """
        using BitCode
        launched = launch(2)
        println(join([node.pid for node in launched], ' '))
        flush(stdout)
        readline()
        """
    for ending in (:normally, :killed)
        julia = open(`$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $program`, "r+")
        pids = parse.(Int, split(readline(julia.out)))
        @test length(pids) == 2 && all(is_alive, pids)
        ending == :killed ? kill(julia, Base.SIGKILL) : close(julia.in)
        wait(julia)
        @test eventually(() -> !any(is_alive, pids))
    end
end
