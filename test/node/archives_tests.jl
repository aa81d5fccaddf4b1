# Archives by themselves: made, saved, loaded by this and another process, called; and what they are refused for.

using BitCode, Test

include("waiting.jl")

struct Spot
    x::Float64
    y::Float64
end
moved(spot::Spot, by::Float64) = Spot(spot.x + by, spot.y - by)
add(x, y) = x + y
counted(text::String) = Dict(word => length(word) for word in split(text))
half(n::Int) = iseven(n) ? n ÷ 2 : throw(DomainError(n, "must be even"))
scaled(v::Vector{Float64}; by::Float64, from::Float64) = (v .- from) .* by
const FOLDER = mktempdir()
const LIBRARY = joinpath(FOLDER, "all.bclib")

node = launch()
const ARCHIVES = [
    BitCode.archive(add, Tuple{Int,Int}),
    BitCode.archive(add, Tuple{Float64,Float64}; images = [:bitcode, "native"]),
    BitCode.archive(moved, Tuple{Spot,Float64}),
    BitCode.archive(counted, Tuple{String}),
    BitCode.archive(half, Tuple{Int}),
    BitCode.archive(scaled, Tuple{Vector{Float64}}; keywords = NamedTuple{(:by, :from),Tuple{Float64,Float64}}),
]
BitCode.save(LIBRARY, ARCHIVES...)
loaded(name) = BitCode.load(LIBRARY, name)

@testset "what is loaded is what was saved" begin
    all = BitCode.load(LIBRARY)
    @test [a.name for a in all] == [a.name for a in ARCHIVES]
    @test [a.id for a in all] == [a.id for a in ARCHIVES]
    @test [a.bytes for a in all] == [a.bytes for a in ARCHIVES]
    # Like what a call would ship, but for images.
    @test loaded("add(::Int64, ::Int64)").id == BitCode.archive_info(add, Tuple{Int,Int}).id
    @test occursin("object for", repr("text/plain", loaded("add(::Float64, ::Float64)")))
end

@testset "archives are called as functions are: $(which)" for (which, pick) in (("made here", name -> only(filter(a -> a.name == name, ARCHIVES))), ("loaded", loaded))
    sum_ = pick("add(::Int64, ::Int64)")
    @test (@remote node sum_(40, 2)) === 42
    @test remotecall_fetch(pick("add(::Float64, ::Float64)"), node, 0.5, 0.25) === 0.75
    @test remotecall_fetch(pick("moved(::Spot, ::Float64)"), node, Spot(1, 2), 0.5) === Spot(1.5, 1.5)
    @test remotecall_fetch(pick("counted(::String)"), node, "a bb a") == Dict("a" => 1, "bb" => 2)
    @test fetch(remotecall(pick("half(::Int64)"), node, 10)) === 5
    scale = pick("scaled(::$(Vector{Float64}); by::Float64, from::Float64)")
    # Keywords have no order.
    @test (@remote node scale([1.0, 2.0]; from = 1.0, by = 10.0)) == [0.0, 10.0]
    e = thrown(() -> remotecall_fetch(pick("half(::Int64)"), node, 3))
    @test e isa BitCode.RemoteException && e.exception == DomainError(3, "must be even")
    @test any(frame -> frame[1].func === :half && basename(string(frame[1].file)) == "archives_tests.jl", e.backtrace)
end

@testset "arguments of other types are refused before anything is sent" begin
    sum_ = loaded("add(::Int64, ::Int64)")
    for arguments in ((1.0, 2), (1,), (Int32(1), 2), (1, 2, 3))
        e = thrown(() -> remotecall_fetch(sum_, node, arguments...))
        @test e isa ArgumentError && occursin("add(::Int64, ::Int64)", e.msg)
    end
    @test thrown(() -> remotecall_fetch(sum_, node, 1, 2; k = 1)) isa ArgumentError
end

@testset "what cannot be an archive" begin
    captured = 3
    for (f, types, word) in ((x -> x + captured, Tuple{Int}, "holds values"), (add, Tuple{Real,Int}, "Real"), (add, Tuple{Vector,Int}, string(Vector)))
        e = thrown(() -> BitCode.archive(f, types))
        @test e isa ArgumentError && occursin(word, e.msg)
    end
    @test thrown(() -> BitCode.archive(read, Tuple{String})) isa CaptureError
    for (images, word) in (([], "needs an image"), ([3], "not 3"), (["x86_64:no-such-cpu"], "no-such-cpu"), (["riscv64"], "riscv64"))
        e = thrown(() -> BitCode.archive(add, Tuple{Int,Int}; images = images))
        @test e isa Union{ArgumentError,CaptureError} && occursin(word, sprint(showerror, e))
    end
end

@testset "files that are none" begin
    file(bytes) = (path = joinpath(FOLDER, "bad"); write(path, bytes); path)
    whole = read(LIBRARY)
    for (bytes, word) in ((UInt8[], "end in the middle"), (b"ELF!0000", "no library"), (whole[1:end÷2], "middle of a value"), ([whole; 0x00], "follow"),
                          ([whole[1:4]; 0x02; whole[6:end]], "version 2"))
        e = thrown(() -> BitCode.load(file(bytes)))
        @test e isa ArgumentError && occursin(word, e.msg) && occursin("bad", e.msg)
    end
    @test thrown(() -> loaded("add")) isa ArgumentError # there are two
    e = thrown(() -> loaded("nothing"))
    @test e isa ArgumentError && occursin("half(::Int64)", e.msg)
    @test thrown(() -> BitCode.save(joinpath(FOLDER, "none"))) isa ArgumentError
    @test thrown(() -> BitCode.save(joinpath(FOLDER, "no", "such", "folder"), ARCHIVES[1])) isa Exception
end

@testset "in a process that has other types" begin
    script = """
        using BitCode, Test
        there = connect("$(node.address)"; key = read(stdin))
        load(name) = BitCode.load("$LIBRARY", name)
        @test remotecall_fetch(load("add(::Int64, ::Int64)"), there, 1, 2) === 3
        @test remotecall_fetch(load("counted"), there, "x yy") == Dict("x" => 1, "yy" => 2)
        thrown(f) = try f(); nothing catch e; e end
        e = thrown(() -> remotecall_fetch(load("moved"), there, 1, 2.0))
        @test e isa ArgumentError && occursin("`Main.Spot` is not defined here", e.msg)
        e = thrown(() -> remotecall_fetch(load("half"), there, 3))
        @test e.exception == DomainError(3, "must be even")
        println("all well")
        """
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $script`
    @test read(pipeline(command; stdin = IOBuffer(node.process.key)), String) == "all well\n"
end

@testset "stripped, it has no notes to be called by" begin
    bare = joinpath(FOLDER, "bare")
    run(`$(BitCode.archive_program()) strip $LIBRARY -o $bare`)
    stripped = BitCode.load(bare, "half")
    @test stripped.id == loaded("half").id
    e = thrown(() -> remotecall_fetch(stripped, node, 10))
    @test e isa ArgumentError && occursin("stripped", e.msg)
end
close(node)
