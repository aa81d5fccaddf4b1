# Nodes of another kind of machine: emulated where `make node-aarch64` was run (make test does), refused with words where not.

using BitCode, Test
using BitCode: Hop, specialize

include("waiting.jl")

@testset "what cannot be launched says what is missing" begin
    withenv("BITCODE_AARCH64" => mktempdir(), "PATH" => "/nonexistent") do
        e = thrown(() -> launch(; arch = Sys.ARCH === :aarch64 ? :x86_64 : :aarch64))
        if Sys.ARCH === :x86_64
            @test e isa BitCode.BitCodeError && e.code == :not_built
            @test all(word -> occursin(word, e.message), ("qemu-aarch64-static", "qemu-user-static", "make node-aarch64", "bitcode-node"))
        else
            @test e isa ArgumentError
        end
    end
    @test_throws ArgumentError launch(; arch = :riscv64)
    @test_throws ArgumentError BitCode.emulated_transport("shm")
    @test BitCode.architecture("arm64") == BitCode.architecture(:aarch64)
    @test !BitCode.is_foreign(Sys.ARCH) && !BitCode.is_foreign(nothing)
    here = launch(; arch = Sys.ARCH, transport = "tcp")
    @test here.arch == string(Sys.ARCH)
    close(here)
end

const EMULATES = Sys.ARCH === :x86_64 && isfile(joinpath(BitCode.aarch64_directory(), "bitcode-node")) && Sys.which("qemu-aarch64-static") !== nothing
EMULATES || println("SKIPPED: tests on emulated aarch64 nodes (make node-aarch64)")

struct Wide
    a::Int64
    b::Int128
    c::Int8
end
struct Four
    a::Float32
    b::Float32
end
widen_it(w::Wide) = Wide(w.a + 1, w.b * w.b, -w.c)
divides(a, b) = try div(a, b) catch e; e isa DivideError ? -1 : -2 end
deep(n) = n == 0 ? 0.0 : sin(deep(n - 1)) + n
overflows(n) = try deep(n) > 0 ? 1 : 0 catch e; e isa StackOverflowError ? -1 : -2 end
not_fused(a, b, c) = a * b + c
fused(a, b, c) = fma(a, b, c)
combined(a, b, c) = muladd(a, b, c)
floats(v) = [sum(v), v[1] / v[2], sqrt(v[3]), v[1] * v[2] + v[3], rem(v[1], v[2]), exp(v[2]), sin(v[3]), log(v[1]), Float64(Float32(v[1]))]
# What Julia takes from the C library.
from_c(v) = vcat(v .^ 1.7, 1.7 .^ v, exp2.(v), exp10.(v), log2.(v), log10.(v), fma.(v, v, v))
units_apart(a, b) = abs(reinterpret(Int64, a) - reinterpret(Int64, b))
to_integer(x) = Int(x)
reads_null(n) = unsafe_load(Ptr{Int}(n))
foreign_complex(x) = ccall((:some_function, "libforeign.so.1"), Float64, (ComplexF64,), complex(x, x))
foreign_pair(x) = ccall((:some_function, "libforeign.so.1"), Float32, (Four,), Four(x, x))
const M128 = NTuple{4,VecElement{Float32}}
reciprocal(v::M128) = Base.llvmcall(("declare <4 x float> @llvm.x86.sse.rcp.ps(<4 x float>)",
                                     "%2 = call <4 x float> @llvm.x86.sse.rcp.ps(<4 x float> %0)\nret <4 x float> %2"), M128, Tuple{M128}, v)
about(x::Float32) = reciprocal(ntuple(_ -> VecElement(x), Val(4)))[1].value

if EMULATES
    node = launch(; arch = :aarch64, timeout = 120)

    @testset "a node says what it is" begin
        @test node.arch == "aarch64" && occursin("tcp", node.transport)
        @test occursin("aarch64", repr(node)) && occursin("emulated", repr("text/plain", node))
    end

    @testset "the same values" begin
        w = Wide(1, Int128(10)^18 + 7, 3)
        @test (@remote node widen_it(w)) === widen_it(w)
        v = [10.1, 0.3, 7.7]
        # Bit for bit: also what Julia itself, not a C library, computes.
        @test (@remote node floats(v)) == floats(v)
        a, b, c = 1 + 2.0^-30, 1 - 2.0^-30, -1.0
        @test (@remote node not_fused(a, b, c)) === not_fused(a, b, c)
        @test (@remote node fused(a, b, c)) === fused(a, b, c)
        @test (@remote node combined(a, b, c)) === combined(a, b, c)
        # What docs/RUNTIME.md promises of the C library's functions.
        places = [0.01 * 1.05^k for k in 1:200]
        @test maximum(units_apart.((@remote node from_c(places)), from_c(places))) <= 1
        @test (@remote node uppercase("straße")) == uppercase("straße")
    end

    @testset "exceptions and faults" begin
        # The processor does not trap: the code asks.
        @test (@remote node divides(1, 0)) == -1
        @test (@remote node divides(typemin(Int), -1)) == -1
        @test thrown(() -> @remote node div(1, 0)).exception isa DivideError
        @test (@remote node overflows(10)) == 1
        @test (@remote node overflows(10^9)) == -1
        @test thrown(() -> @remote node to_integer(0.5)).exception isa InexactError
        fault = thrown(() -> @remote node reads_null(64))
        @test fault isa BitCode.BitCodeError && fault.code == :fault
        @test (@remote node divides(6, 3)) == 2
    end

    @testset "beside a node of this machine's kind" begin
        both = [launch(), node]
        @test (@remote both +(1, 2)) == [3, 3]
        close(both[1])
        @test (@remote node +(1, 2)) == 3
    end

    @testset "code that was specialised here goes there" begin
        here = launch(; transport = "tcp")
        goes(k, n, x) = Hop.forward(k, specialize((n, x) -> (n * x, ccall("extern bc_fixed", llvmcall, Int64, ()) != 0, Hop.here()), n), x)
        k = Hop.number(node)
        @test (@remote here goes(k, 7, 6)) == (42, true, k)
        @test (@remote node goes(Hop.number(here), 7, 6)) == (42, true, Hop.number(here))
        @test (@remote node goes(k, 8, 6)) == (48, true, k)
        close(here)
    end
    @testset "an archive of another machine is refused, with both targets" begin
        shipped = BitCode.capture(BitCode.Job(divides, Tuple{Int,Int}))
        code, _ = BitCode.new_code(node.client.handle, shipped.archive)
        pending = Ref{BitCode.API.Handle}(C_NULL)
        needed = Ref{Csize_t}(0)
        payload = zeros(UInt8, 16)
        segments = [BitCode.API.Segment(pointer(payload), 16)]
        GC.@preserve payload segments begin
            BitCode.API.bc_call(node.session, code, pointer(segments), 1, UInt32(0), Ptr{BitCode.API.Limits}(C_NULL), UInt64(0), Ptr{UInt8}(C_NULL), 0,
                Base.unsafe_convert(Ptr{Csize_t}, needed), Base.unsafe_convert(Ptr{BitCode.API.Handle}, pending))
            @test eventually(() -> BitCode.API.bc_call_state(pending[]) != BitCode.API.PENDING)
        end
        e = BitCode.call_error(pending[])
        @test e.code == :no_image && occursin("aarch64", e.message) && occursin("x86_64", e.message)
        BitCode.API.bc_call_free(pending[])
        BitCode.API.bc_code_free(code)
    end
    close(node)
end

if Sys.ARCH === :x86_64
    @testset "what has another meaning there is refused, with its line" begin
        BitCode.allow_library("libforeign.so.1")
        retarget(f, types) = BitCode.archive_for(BitCode.capture(BitCode.Job(f, types)), string(f), "aarch64")
        image = BitCode.read_archive(retarget(divides, Tuple{Int,Int})).images[1]
        @test image.triple == "aarch64-unknown-linux-gnu"
        # Two doubles are taken apart alike; two floats are one register here and two there.
        @test retarget(foreign_complex, Tuple{Float64}) isa Vector{UInt8}
        for (f, word) in ((foreign_pair, "Four"), (about, "llvm.x86.sse.rcp.ps"))
            e = thrown(() -> retarget(f, Tuple{Float32}))
            @test e isa CaptureError && e.reasons[1].kind == :target
            @test occursin(word, e.reasons[1].message) && occursin("aarch64", e.reasons[1].message)
            @test basename(e.reasons[1].file) == "aarch64_tests.jl" && e.reasons[1].line > 0
        end
        e = thrown(() -> BitCode.archive_for(BitCode.capture(BitCode.Job(divides, Tuple{Int,Int})), "divides", "riscv64"))
        @test e isa CaptureError && occursin("riscv64", sprint(showerror, e))
    end

    @testset "C's rules for structures" begin
        differs = BitCode.Capture.passed_differently
        @test differs(Float64, Any[Int64, Ptr{Cvoid}, Cstring]) === nothing
        @test differs(Cvoid, Any[Tuple{Int64,Int64}, Tuple{Int32}]) === nothing
        @test differs(ComplexF64, Any[]) === nothing
        @test differs(ComplexF32, Any[]) === ComplexF32
        @test differs(Cvoid, Any[Tuple{Int64,Float64}]) === Tuple{Int64,Float64}
        @test differs(Cvoid, Any[NTuple{3,Int64}]) === NTuple{3,Int64}
        # Where registers run out the one takes a structure apart, the other does not.
        @test differs(Cvoid, Any[fill(Int64, 5)..., Tuple{Int64,Int64}]) === Tuple{Int64,Int64}
    end
end
