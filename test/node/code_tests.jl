# Which code runs: captured once, shipped once, never stale.

using BitCode, Test

include("waiting.jl")

stats(node) = BitCode.statistics(node)
captures() = count(site -> site.shipped !== nothing, values(BitCode.SITES))

plus_one(x) = x + 1
calls_other(x) = other(x) * 10
other(x) = x + 1
generic(x) = 1
adder(k) = x -> x + k
const factor = 2
collatz(n) = n == 1 ? 0 : 1 + collatz(iseven(n) ? n ÷ 2 : 3n + 1)
words(s) = sort(split(s); by = length)
fails(x) = sqrt(x)

@testset "captured once, shipped once" begin
    node = launch()
    before = captures()
    @test [remotecall_fetch(plus_one, node, i) for i in 1:100] == 2:101
    @test captures() == before + 1
    @test stats(node)["archives_sent"] == 1
    # Another type is other code.
    @test remotecall_fetch(plus_one, node, 1.5) === 2.5
    @test stats(node)["archives_sent"] == 2
    # Other captured values are not.
    @test [remotecall_fetch(adder(k), node, 1) for k in 1:20] == 2:21
    @test stats(node)["archives_sent"] == 3
    # A second node gets the same archive, without another capture.
    before = captures()
    second = launch()
    @test remotecall_fetch(plus_one, second, 1) === 2
    @test captures() == before
    close(second)
    close(node)
end

@testset "redefinition" begin
    node = launch()
    call(x) = Base.invokelatest(remotecall_fetch, plus_one, node, x)
    @test call(1) === 2
    @eval plus_one(x) = x + 100
    @test call(1) === 101
    # Another type of result.
    @eval plus_one(x) = x / 2
    @test call(1) === 0.5
    @eval plus_one(x) = [x]
    @test call(1) == [1]

    # Something that it calls.
    indirect(x) = Base.invokelatest(remotecall_fetch, calls_other, node, x)
    @test indirect(1) === 20
    @eval other(x) = x - 1
    @test indirect(1) === 0

    # A more specific method.
    dispatched(x) = Base.invokelatest(remotecall_fetch, generic, node, x)
    @test dispatched(1) === 1
    @eval generic(x::Int) = 2
    @test dispatched(1) === 2

    # What does not concern a function does not have it captured again.
    sent = stats(node)["archives_sent"]
    @eval nobody_calls_this() = 1
    @test indirect(1) === 0
    @test stats(node)["archives_sent"] == sent
    close(node)
end

@testset "redefinition while a caller runs" begin
    node = launch()
    changing = gensym(:changing)
    @eval $changing(x) = x + 1
    f = getfield(Main, changing)
    function caller(node)
        first = remotecall_fetch(f, node, 1)
        @eval $changing(x) = x + 2
        return first, remotecall_fetch(f, node, 1)
    end
    @test Base.invokelatest(caller, node) == (2, 3)
    close(node)
end

# --- nodes that were not launched by this package ----------------------------------------------------------------------------

function start_node(port, keyfile; options = ``)
    process = open(`$(BitCode.node_program()) --listen 127.0.0.1:$port --key-file $keyfile --exit-on-stdin-eof $options`, "r+")
    ready = BitCode.parse_json(readline(process.out))
    return process, ready["address"]
end

function stop_node(process)
    close(process.in)
    wait(process)
end

keyfile = tempname()
write(keyfile, "a key for these tests only\n")
chmod(keyfile, 0o600)

@testset "a node that was restarted" begin
    process, address = start_node(0, keyfile)
    node = connect(address; keyfile = keyfile)
    @test remotecall_fetch(+, node, 1, 2) === 3
    before = captures()
    stop_node(process)
    @test eventually(() -> !isopen(node))
    @test thrown(() -> remotecall_fetch(+, node, 1, 2)) isa BitCode.BitCodeError
    close(node)

    process, again = start_node(split(address, ':')[2], keyfile)
    @test again == address
    node = connect("bitcode://" * address; keyfile = keyfile)
    # The code is not there any more: it goes out again, from the archive that was captured before.
    @test remotecall_fetch(+, node, 1, 2) === 3
    @test captures() == before
    @test stats(node)["archives_sent"] >= 1
    close(node)
    stop_node(process)
end

@testset "a node that has dropped the code" begin
    # Room for hardly any code: what was called some calls ago is gone, and the node asks for it.
    node = launch(; cache_bytes = 1)
    functions = [adder(1), plus_one, other, sin, cos, exp]
    for _ in 1:5, f in functions
        @test remotecall_fetch(f, node, 2.0) == Base.invokelatest(f, 2.0)
    end
    @test stats(node)["need_code"] > 0
    close(node)
end

# A first call's microseconds on the node, by stage; fetches it, too.
function node_stages(node, f, args...)
    future = remotecall(f, node, args...)
    BitCode.wait_for(future.flight)
    timings = Ref{BitCode.API.Timings}()
    BitCode.API.bc_call_timings(future.flight.call, timings) == 0 || error("the call has no timings")
    return timings[], fetch(future)
end

@testset "code that an earlier node kept on disk" begin
    mktempdir() do directory
        objects = joinpath(directory, "objects")
        files() = isdir(objects) ? readdir(objects) : String[]
        for restarted in (false, true)
            node = launch(; object_cache = objects)
            stages, result = node_stages(node, collatz, 27)
            @test result == 111
            @test (stages.optimise_ns + stages.emit_ns == 0) == restarted
            @test remotecall_fetch(words, node, "one three five seventeen") == words("one three five seventeen")
            error = thrown(() -> remotecall_fetch(fails, node, -1.0))
            @test error isa RemoteException && error.exception isa DomainError
            @test any(((frame, n),) -> endswith(string(frame.file), "code_tests.jl"), error.backtrace)
            close(node)
            @test length(files()) == 3
        end
        # A damaged file is as if it were not there.
        for file in files()
            open(io -> (seek(io, 80); write(io, 0xff)), joinpath(objects, file), "r+")
        end
        node = launch(; object_cache = objects)
        stages, result = node_stages(node, collatz, 27)
        @test result == 111 && stages.emit_ns > 0
        @test occursin("damaged", BitCode.node_log(node))
        close(node)
        # Others could put code there.
        chmod(objects, 0o777)
        error = thrown(() -> launch(; object_cache = objects))
        @test error isa BitCode.BitCodeError && occursin("mode 700", sprint(showerror, error))
    end
end

@testset "two origins on one node" begin
    process, address = start_node(0, keyfile)
    node = connect(address; keyfile = keyfile)
    @test remotecall_fetch(+, node, 1, 2) === 3
    program = """
        using BitCode
        node = connect($(repr(address)); keyfile = $(repr(keyfile)))
        mine(x) = 3x
        println(sum(remotecall_fetch(mine, node, i) for i in 1:1000), " ", remotecall_fetch(+, node, 1, 2))
        close(node)
        """
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $program`
    others = [open(command) for _ in 1:2]
    # This origin goes on meanwhile.
    mine(x) = 5x
    turns = 0
    while any(process_running, others)
        turns += 1
        remotecall_fetch(mine, node, turns) == 5turns || error("a wrong answer")
        yield()
    end
    @test turns > 0
    for other in others
        @test readline(other) == "1501500 3"
        @test success(other)
    end
    close(node)
    stop_node(process)
end

rm(keyfile)
