# Who may connect, and what happens to those who may not: a clear error, and a node that goes on serving.

using BitCode, Test
using Sockets: Sockets

include("waiting.jl")

function start_node(options)
    process = open(pipeline(`$(BitCode.node_program()) --listen 127.0.0.1:0 --exit-on-stdin-eof $options`; stderr = devnull), "r+")
    return process, BitCode.parse_json(readline(process.out))["address"]
end

key = "the right key, long enough"
keyfile = tempname()
write(keyfile, key * "\n")
chmod(keyfile, 0o600)
process, address = start_node(`--key-file $keyfile`)

failure(f) = (e = thrown(f); @test(e isa BitCode.BitCodeError); e.code)

@testset "the key" begin
    node = connect(address; key = key)
    @test remotecall_fetch(+, node, 1, 2) === 3
    close(node)
    node = connect("bitcode://$address"; keyfile = keyfile)
    @test remotecall_fetch(+, node, 1, 2) === 3
    @test failure(() -> connect(address; key = "a wrong key of some length")) == :auth_failed
    @test failure(() -> connect(address)) == :key_required
    # It served on meanwhile.
    @test remotecall_fetch(+, node, 1, 2) === 3
    close(node)
end

@testset "both sides read a key file alike, whatever it ends with" begin
    for ending in ("", "\n", "\r", "\r\n", "\n\n")
        path = tempname()
        write(path, key * ending)
        chmod(path, 0o600)
        process, address = start_node(`--key-file $path`)
        node = connect(address; keyfile = path)
        @test remotecall_fetch(+, node, 1, 2) === 3
        close(node)
        close(process.in)
        rm(path)
    end
end

@testset "a node without a key" begin
    open_process, open_address = start_node(``)
    node = connect(open_address)
    @test remotecall_fetch(+, node, 1, 2) === 3
    @test failure(() -> connect(open_address; key = key)) == :key_required
    close(node)
    close(open_process.in)
    wait(open_process)
end

@testset "garbage" begin
    host, port = split(address, ':')
    node = connect(address; key = key)
    for bytes in (UInt8[], rand(UInt8, 10), rand(UInt8, 10_000), Vector{UInt8}("GET / HTTP/1.0\r\n\r\n"), [b"BCTL"; 0x01; 0x00; 0x01; 0x00; 0x01; rand(UInt8, 500)],
                  [b"BCTL"; 0xff; 0xff; 0xff; 0xff; 0x01])
        socket = Sockets.connect(String(host), parse(Int, port))
        try
            write(socket, bytes)
        catch e
            # It may hang up before it has heard everything.
            e isa Base.IOError || rethrow()
        end
        close(socket)
        @test remotecall_fetch(+, node, 1, 2) === 3
    end
    # Many that connect and say nothing.
    silent = [Sockets.connect(String(host), parse(Int, port)) for _ in 1:20]
    second = connect(address; key = key)
    @test remotecall_fetch(+, second, 1, 2) === 3
    foreach(close, silent)
    close(second)
    close(node)
end

@testset "nobody there" begin
    server = Sockets.listen(Sockets.localhost, 0)
    port = Int(Sockets.getsockname(server)[2])
    # It accepts, and never answers.
    @test failure(() -> connect("127.0.0.1:$port"; timeout = 0.5)) == :timeout
    close(server)
    @test failure(() -> connect("127.0.0.1:$port")) == :connect_refused
end

@testset "what is no address or key" begin
    for wrong in ("", "host", "host:", ":1", "host:port", "host:0", "host:99999", "http://host:1", "bitcode://", "a:b:1")
        @test_throws ArgumentError connect(wrong)
    end
    @test_throws ArgumentError connect(address; key = key, keyfile = keyfile)
    @test_throws ArgumentError connect(address; keyfile = "/no/such/file")
    @test_throws ArgumentError connect(address; key = key, timeout = 0)
    @test BitCode.host_and_port("bitcode://host:1/") == "host:1"
    @test BitCode.host_and_port("[::1]:80") == "[::1]:80"
    @test BitCode.connection_key(nothing, nothing) == UInt8[]
end

@testset "transports" begin
    @test thrown(() -> connect(address; key = key, transport = "no_such_transport")) isa BitCode.BitCodeError
    for transport in ("shm", "tcp")
        node = connect(address; key = key, transport = transport)
        @test remotecall_fetch(+, node, 1, 2) === 3
        close(node)
    end
end

close(process.in)
wait(process)
@test process.exitcode == 0
rm(keyfile)
