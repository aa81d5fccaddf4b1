# What a node makes of code, as text.

using BitCode, Test

include("waiting.jl")

total(v) = sum(v)
scale!(v, x) = (v .*= x; nothing)
risky(x) = sqrt(x)

shown(f, arguments...) = sprint(io -> f(io, arguments...))

# Registers of so many bits that the node's CPU has, by its features.
has_features(node, names...) = all(name -> occursin("+$name", node.features), names)

@testset "the node's code as text" begin
    node = launch()
    calls = BitCode.statistics(node)["calls"]
    llvm = shown(BitCode.code_llvm, node, total, Tuple{Vector{Float64}})
    @test occursin("i32 @bitcode_entry(i64", llvm)
    # Of the optimised code: in the portable one nothing is vectorised.
    @test occursin(r"<\d+ x double>", llvm)
    @test !occursin(r"<\d+ x double>", shown(BitCode.code_llvm, total, Tuple{Vector{Float64}}))
    native = shown(BitCode.code_native, node, total, Tuple{Vector{Float64}})
    @test occursin("bitcode_entry:", native) && occursin("; bc_result", native) && occursin(node.cpu, native)
    # It is there to be looked at, not to be run; what is called afterwards goes as ever.
    @test remotecall_fetch(total, node, [1.0, 2.0]) === 3.0
    @test shown(BitCode.code_native, node, total, Tuple{Vector{Float64}}) == native
    close(node)
end

@testset "tuned to the node's CPU" begin
    node = launch()
    native = shown(BitCode.code_native, node, scale!, Tuple{Vector{Float64},Float64})
    if node.arch == "x86_64"
        has_features(node, "avx2") && @test occursin("%ymm", native) || occursin("%zmm", native)
        has_features(node, "avx2") || @test occursin("%xmm", native)
    else
        @test occursin(".2d", native) || occursin(r"z\d+\.d", native)
    end
    close(node)
end

if Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
    @testset "tuned to another architecture" begin
        node = launch(; arch = :aarch64, timeout = 120)
        native = shown(BitCode.code_native, node, scale!, Tuple{Vector{Float64},Float64})
        # NEON: two numbers at a time.
        @test occursin("aarch64", native) && occursin(".2d", native) && occursin("; bc_thread_state", native)
        close(node)
    end
else
    println("SKIPPED: code on aarch64 (make node-aarch64)")
end

@testset "what cannot be shown" begin
    node = launch()
    @test thrown(() -> shown(BitCode.code_native, node, x -> x + undefined_here, Tuple{Int})) isa CaptureError
    close(node)
    @test thrown(() -> shown(BitCode.code_native, node, risky, Tuple{Float64})) isa BitCode.BitCodeError
end
