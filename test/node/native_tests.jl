# Nodes that compile nothing: the origin makes native code for them, here and for an emulated machine of another kind.

using BitCode, Test

include("waiting.jl")

add(x, y) = x + y
counted(text::String) = Dict(word => length(word) for word in split(text))
checked_root(x::Float64) = x < 0 ? throw(DomainError(x, "negative")) : sqrt(x)
total(v) = (s = 0.0; for x in v; s += x; end; s)

function calls_of(node)
    @test isempty(node.llvm)
    @test (@remote node add(40, 2)) === 42
    @test (@remote node add(0.5, 1.0)) === 1.5
    @test (@remote node counted("a bb a")) == Dict("a" => 1, "bb" => 2)
    @test (@remote node total([1.0, 2.0, 4.0])) === 7.0
    n = 10
    @test (@remote node begin
        s = 0
        for i in 1:n
            s += i^2
        end
        s
    end) == 385
    e = thrown(() -> @remote node checked_root(-1.0))
    @test e isa BitCode.RemoteException && e.exception == DomainError(-1.0, "negative")
    @test e.backtrace[1][1].func === :checked_root
end

@testset "native code for this machine" begin
    node = launch(; jit = false)
    calls_of(node)
    @test occursin("bitcode_entry:", sprint(io -> BitCode.code_native(io, node, add, Tuple{Int,Int})))
    # It never had what this shows.
    e = thrown(() -> BitCode.code_llvm(devnull, node, add, Tuple{Int,Int}))
    @test e isa BitCode.BitCodeError && e.code == :no_image && occursin("bitcode", e.message)
    # Beside a node that compiles, one call has images for both.
    both = [launch(), node]
    @test (@remote both add(1, 2)) == [3, 3]
    @test !isempty(both[1].llvm)
    # An archive holds what it holds.
    bitcode = BitCode.archive(add, Tuple{Int,Int})
    e = thrown(() -> remotecall_fetch(bitcode, node, 1, 2))
    @test e isa BitCode.BitCodeError && e.code == :no_image && occursin("native images only", e.message)
    @test remotecall_fetch(bitcode, both[1], 1, 2) == 3
    native = BitCode.archive(add, Tuple{Int,Int}; images = "native")
    @test remotecall_fetch(native, node, 1, 2) == 3
    foreach(close, both)
end

const EMULATES = Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
if EMULATES
    @testset "native code for another machine" begin
        node = launch(; arch = :aarch64, jit = false, timeout = 120)
        @test node.arch == "aarch64"
        calls_of(node)
        fat = BitCode.archive(total, Tuple{Vector{Float64}}; images = [:bitcode, :aarch64, "aarch64:neoverse-n1", "aarch64"])
        kinds = [(BitCode.image_kind(image), image.triple, image.cpu) for image in BitCode.read_archive(fat.bytes).images]
        aarch64 = "aarch64-unknown-linux-gnu"
        @test kinds[2:end] == [(:bitcode, aarch64, ""), (:object, aarch64, "neoverse-n1"), (:object, aarch64, "generic")]
        @test kinds[1][1] === :bitcode && startswith(kinds[1][2], "x86_64")
        @test remotecall_fetch(fat, node, [1.0, 2.0]) === 3.0
        close(node)
    end
else
    println("SKIPPED: native code for an emulated node (make node-aarch64)")
end
