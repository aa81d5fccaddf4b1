# One node serves origins of two versions of Julia at once: each archive names the ABI it was made for, and what both have in common (symbols,
# built-in types) is to each of them what it is at home. Runs where BITCODE_OTHER_JULIA names a second Julia, `BITCODE_OTHER_JULIA=/path/to/julia`.

using BitCode, Test

const OTHER_JULIA = get(ENV, "BITCODE_OTHER_JULIA", "")

# What each origin asks, and compares with what it gets from a call of its own. A struct of one name is laid out alike, and yet each origin's own.
const QUESTIONS = raw"""
    using Random
    struct Point
        name::Symbol
        x::Float64
    end
    mutable struct Tally
        counts::Dict{Symbol,Int}
    end
    by_symbol(names) = collect(keys(Dict(name => 1 for name in names)))
    tally(names) = (t = Tally(Dict{Symbol,Int}()); foreach(n -> t.counts[n] = get(t.counts, n, 0) + 1, names); sum(values(t.counts)))
    far(p) = p.x > 10 ? throw(DomainError(p.x, "too far")) : Point(p.name, p.x + 1)
    seeded(seed) = (Random.seed!(seed); (rand(), rand(1:100)))
    names_of_many = [Symbol("name", k) for k in 1:30]
    questions = Any[
        (objectid, (5,)), (objectid, (:abc,)), (objectid, ((:a, 1.5),)), (by_symbol, (names_of_many,)), (tally, (names_of_many,)), (far, (Point(:p, 2.0),)),
        (seeded, (42,)), (sort, ([3, 1, 2],)), (x -> parse(Int, x), ("17",)), (x -> string(x, '!'), (1,)), (sum, ([1.5, 2.5],))]
    answered_alike(node) = count(((f, arguments),) -> isequal(remotecall_fetch(f, node, arguments...), f(arguments...)), questions)
    thrown_alike(node) = try
        remotecall_fetch(far, node, Point(:p, 11.0))
        false
    catch e
        e isa RemoteException && e.exception isa DomainError && e.exception.val === 11.0 && e.exception.msg == "too far"
    end
    """

if isempty(OTHER_JULIA)
    @info "no second Julia: set BITCODE_OTHER_JULIA to test a node that serves two versions"
else
    include_string(@__MODULE__, QUESTIONS)
    # Both origins connect to it.
    daemon = open(pipeline(`$(BitCode.node_program()) --listen 127.0.0.1:0 --exit-on-stdin-eof`; stderr = devnull), "r+")
    address = BitCode.parse_json(readline(daemon.out))["address"]
    script = """
        using BitCode
        $QUESTIONS
        node = connect("$address")
        for round in eachline(stdin)
            println(answered_alike(node), ' ', thrown_alike(node))
        end
        """
    other = open(`$OTHER_JULIA --startup-file=no --project=$(Base.active_project()) -e $script`, "r+")
    node = connect(address)

    @testset "two versions take turns" begin
        for round in 1:3
            @test answered_alike(node) == length(questions)
            @test thrown_alike(node)
            println(other.in, round)
            @test readline(other.out) == "$(length(questions)) true"
        end
    end

    close(other.in)
    wait(other)
    @test success(other)
    close(node)
    close(daemon.in)
    wait(daemon)
end
