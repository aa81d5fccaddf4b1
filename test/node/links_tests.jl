# Archives that link to each other by their code ids: code that is on the node is not carried again, and code that is not comes along.

using BitCode, Test
using BitCode: Capture

include("waiting.jl")

struct TooDeep <: Exception
    at::Int
    why::String
end

@noinline function root(x::Float64)
    x >= 0 || throw(DomainError(x, "no root of $x here"))
    return sqrt(x)
end
@noinline filled(n::Int) = String[string("piece ", k) for k in 1:n]
@noinline add!(v::Vector{Int}, x::Int) = (push!(v, x); v)
@noinline deeper(n::Int) = n > 3 ? throw(TooDeep(n, "more than three")) : n + 1
@noinline part(n::Int) = deeper(n) * 10

distance(x::Float64, y::Float64) = root(x * x + y * y)
words(n::Int) = join(filled(n), ", ")
grown(n::Int) = (v = Int[]; for k in 1:n; add!(v, k); end; v)
through(n::Int) = part(n) + deeper(n - 1)
@noinline picky(n::Int) = n < 0 ? error("negative: ", n) : n
caught(n::Int) = try picky(n) catch e e isa ErrorException ? length(e.msg) : -1 end
inlined(x::Float64) = x + 1

linkable(f, types) = BitCode.archive(f, types; linkable = true)
dependencies(archive) = [d.soname for d in Capture.read_manifest(Capture.read_archive(archive.bytes).manifest).dependencies]

const ROOT = linkable(root, Tuple{Float64})
node = launch()

@testset "a function that has an archive is named, not carried" begin
    alone = BitCode.archive(distance, Tuple{Float64,Float64})
    linked = BitCode.archive(distance, Tuple{Float64,Float64}; links = [ROOT])
    @test dependencies(linked) == ["bitcode:$(ROOT.id)"]
    @test isempty(dependencies(alone)) && isempty(alone.links)
    @test only(linked.links).id == ROOT.id
    @test occursin("links to root(::Float64)", repr("text/plain", linked))
    @test (@remote node linked(3.0, 4.0)) === 5.0
    @test (@remote node alone(3.0, 4.0)) === 5.0
    # The archive that others link to is one like any other.
    @test (@remote node ROOT(16.0)) === 4.0
end

@testset "code that the node lacks comes along once" begin
    fresh = launch()
    linked = BitCode.archive(distance, Tuple{Float64,Float64}; links = [ROOT])
    count(what) = BitCode.statistics(fresh)[what]
    @test (count("archives_sent"), count("need_code")) == (0, 0)
    @test (@remote fresh linked(6.0, 8.0)) === 10.0
    # The archive alone, and when the node lacks what it links to, both.
    @test (count("archives_sent"), count("need_code")) == (2, 1)
    @test (@remote fresh linked(5.0, 12.0)) === 13.0
    @test count("archives_sent") == 2
    # The node has the other one now: what links to it needs nothing more.
    also = BitCode.archive(x -> root(x) + 1, Tuple{Float64}; links = [ROOT])
    @test (@remote fresh also(9.0)) === 4.0
    @test (count("archives_sent"), count("need_code")) == (3, 1)
    close(fresh)
end

@testset "objects cross, and are changed in place" begin
    for (f, g, types, argument) in ((words, filled, Tuple{Int}, 3), (grown, add!, Tuple{Int}, 5))
        part = linkable(g, g === add! ? Tuple{Vector{Int},Int} : Tuple{Int})
        linked = BitCode.archive(f, types; links = [part])
        @test length(linked.links) == 1
        @test remotecall_fetch(linked, node, argument) == f(argument)
    end
end

@testset "exceptions, with fields, text and places" begin
    linked = BitCode.archive(distance, Tuple{Float64,Float64}; links = [ROOT])
    for (archive, f, arguments) in ((linked, distance, (NaN, 1.0)), (ROOT, root, (-2.0,)))
        failure = try remotecall_fetch(archive, node, arguments...) catch e e end
        wanted = try f(arguments...) catch e e end
        @test failure isa RemoteException
        @test sprint(showerror, failure.exception) == sprint(showerror, wanted)
        @test any(frame -> first(frame).func === :root, failure.backtrace)
    end
    frames = [first(frame).func for frame in (try @remote node linked(NaN, 1.0) catch e e end).backtrace]
    @test findfirst(==(:root), frames) < findfirst(==(:distance), frames)
end

@testset "links of links" begin
    deepest = linkable(deeper, Tuple{Int})
    middle = BitCode.archive(part, Tuple{Int}; links = [deepest], linkable = true)
    whole = BitCode.archive(through, Tuple{Int}; links = [middle, deepest])
    @test length(dependencies(whole)) == 2
    fresh = launch()
    @test remotecall_fetch(whole, fresh, 2) == through(2)
    failure = try remotecall_fetch(whole, fresh, 9) catch e e end
    @test failure.exception === TooDeep(9, "more than three")
    close(fresh)
end

@testset "what is inlined, looks into exceptions or is no link" begin
    small = linkable(inlined, Tuple{Float64})
    @test isempty(BitCode.archive(x -> inlined(x) * 2, Tuple{Float64}; links = [small]).links)
    # Its handler is to see the text, which the linked code leaves to the origin.
    careful = BitCode.archive(caught, Tuple{Int}; links = [linkable(picky, Tuple{Int})])
    @test isempty(careful.links)
    @test remotecall_fetch(careful, node, -30) === caught(-30) === length("negative: -30")
    @test_throws ArgumentError BitCode.archive(distance, Tuple{Float64,Float64}; links = [BitCode.archive(root, Tuple{Float64})])
    @test_throws ArgumentError BitCode.archive(round, Tuple{Float64}; keywords = NamedTuple{(:digits,),Tuple{Int}}, linkable = true)
end

@testset "a file holds what its functions link to" begin
    folder = mktempdir()
    path = joinpath(folder, "linked.bclib")
    linked = BitCode.archive(distance, Tuple{Float64,Float64}; links = [ROOT])
    BitCode.save(path, linked)
    @test [a.name for a in BitCode.load(path)] == ["distance(::Float64, ::Float64)", "root(::Float64)"]
    again = BitCode.load(path, "distance")
    fresh = launch()
    @test (@remote fresh again(3.0, 4.0)) === 5.0
    failure = try @remote fresh again(NaN, 4.0) catch e e end
    @test sprint(showerror, failure.exception) == sprint(showerror, try distance(NaN, 4.0) catch e e end)
    @test any(frame -> first(frame).func === :root, failure.backtrace)
    # A file without it: said before anything is sent.
    BitCode.save(path, ROOT, linked)
    lone = Capture.library_bytes([Capture.Saved(linked.bytes, linked.notes)])
    write(path, lone)
    orphan = BitCode.load(path, "distance")
    complaint = try @remote fresh orphan(3.0, 4.0) catch e e end
    @test complaint isa BitCode.BitCodeError && occursin(ROOT.id, sprint(showerror, complaint))
    close(fresh)
    rm(folder; recursive = true)
end

@testset "native code links, too" begin
    root_object = BitCode.archive(root, Tuple{Float64}; images = ["native"], linkable = true)
    linked = BitCode.archive(distance, Tuple{Float64,Float64}; images = ["native"], links = [root_object])
    fresh = launch(jit = false)
    @test (@remote fresh linked(3.0, 4.0)) === 5.0
    close(fresh)
end

if Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
    @testset "on another kind of machine" begin
        for images in ([:bitcode, :aarch64], ["native", "aarch64"])
            shared = BitCode.archive(root, Tuple{Float64}; images = images, linkable = true)
            linked = BitCode.archive(distance, Tuple{Float64,Float64}; images = images, links = [shared])
            for node in (node, launch(arch = :aarch64, jit = images[1] isa Symbol))
                @test (@remote node linked(3.0, 4.0)) === 5.0
                failure = try @remote node linked(NaN, 4.0) catch e e end
                @test sprint(showerror, failure.exception) == sprint(showerror, try distance(NaN, 4.0) catch e e end)
                @test any(frame -> first(frame).func === :root, failure.backtrace)
                node.arch == "aarch64" && close(node)
            end
        end
    end
else
    println("SKIPPED: links on emulated aarch64 nodes (make node-aarch64)")
end

@testset "a function that was redefined is no link" begin
    @eval @noinline changing(x::Int) = x + 1
    link = linkable(changing, Tuple{Int})
    @eval @noinline changing(x::Int) = x + 2
    @test_throws ArgumentError BitCode.archive(x -> changing(x), Tuple{Int}; links = [link])
end

close(node)
