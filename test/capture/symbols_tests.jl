# C functions: named by lists, found by address, looked up late, replaced by Julia code.

include("shipping.jl")
using LinearAlgebra, Libdl

calls_memset(p) = ccall(:memset, Ptr{Cvoid}, (Ptr{Cvoid}, Cint, Csize_t), p, 0, 8)
calls_pow(x) = ccall((:pow, Base.Math.libm), Float64, (Float64, Float64), x, x)
calls_late(x) = ccall(:bc_not_in_this_process, Int, (Int,), x)
calls_zlib(x) = ccall((:zlibCompileFlags, "libz"), Culong, ())

@testset "the list" begin
    @test issubset(("jl_throw", "memcpy", "bc_result", "julia.gc_alloc_obj"), Capture.SUPPORTED)
    @test !("jl_apply_generic" in Capture.SUPPORTED)
    @test all(symbol -> occursin(r"^[\w.]+$", symbol), Capture.SUPPORTED)
    lines = filter(line -> !isempty(line) && !startswith(line, "#"), strip.(readlines(Capture.SYMBOLS_FILE)))
    @test allunique(lines)
end

@testset "names and addresses" begin
    # memset is chosen when the process starts, and has no name at its address.
    @test "memset" in shipped(calls_memset, Ptr{Cvoid}).imports
    @test "pow" in shipped(calls_pow, Float64).imports
end

@testset "libraries" begin
    s = shipped(calls_zlib, Int; libraries = Set(["libz.so.1"]))
    @test [(d.soname, d.symbols) for d in s.dependencies] == [("libz.so.1", ["zlibCompileFlags"])]
    @test !("zlibCompileFlags" in s.imports)
    @test_throws CaptureError shipped(calls_zlib, Int)
    @test Capture.soname("/usr/lib/libz.so.1.2.13") == "libz.so.1"
    @test Capture.soname("libfoo.so") == "libfoo.so"
end

@testset "functions that are looked up late" begin
    error = try shipped(calls_late, Int) catch e e end
    @test only(error.reasons).kind == :runtime_call
    @test occursin("bc_not_in_this_process", only(error.reasons).message)
    push!(Capture.SUPPORTED, "bc_not_in_this_process")
    s = shipped(calls_late, Int)
    @test "bc_not_in_this_process" in s.imports
    @test occursin("call i64 @bc_not_in_this_process", code(s))
    delete!(Capture.SUPPORTED, "bc_not_in_this_process")
end

@testset "BLAS in Julia: $T" for T in (Float32, Float64, ComplexF32, ComplexF64)
    x, y = T[1, 2, 3, 4, 5], T[5, 4, 3, 2, 1]
    for f in (dot, (x, y) -> norm(x))
        s = shipped(f, Vector{T}, Vector{T})
        @test isempty(s.dependencies)
    end
    R = real(T)
    GC.@preserve x y begin
        @test Capture.blas_nrm2(5, pointer(x), 1) ≈ norm(x)
        @test Capture.blas_nrm2(2, pointer(x), 2) ≈ norm([x[1], x[3]])
        @test Capture.blas_asum(5, pointer(x), 1) == 15
        @test Capture.blas_amax(5, pointer(x), 1) == 5
        if T <: Real
            @test Capture.blas_dot(5, pointer(x), 1, pointer(y), 1) == dot(x, y)
            @test Capture.blas_dot(2, pointer(x), 2, pointer(y), -1) == x[1] * y[2] + x[3] * y[1]
        else
            out = Ref(zero(T))
            Capture.blas_dotc_sub(5, pointer(x), 1, pointer(y), 1, Base.unsafe_convert(Ptr{T}, out))
            @test out[] == dot(x, y)
        end
        factor = Ref(T(2))
        GC.@preserve factor begin
            Capture.blas_axpy(5, Base.unsafe_convert(Ptr{T}, factor), pointer(x), 1, pointer(y), 1)
            @test y == T[7, 8, 9, 10, 11]
            Capture.blas_scal(5, Base.unsafe_convert(Ptr{T}, factor), pointer(x), 1)
            @test x == T[2, 4, 6, 8, 10]
        end
    end
    for values in (R[1e30, 1e30], R[1e-30, 1e-30], R[0, 0], R[Inf, 1], R[NaN, 1], R[])
        GC.@preserve values @test isequal(Capture.blas_nrm2(length(values), pointer(values), 1), isempty(values) ? zero(R) : norm(values)) ||
                                  Capture.blas_nrm2(length(values), pointer(values), 1) ≈ norm(values)
    end
end

@testset "rounding as it is here" begin
    # Compiled while Julia runs: fused. From the system image: as that was compiled.
    fused(a, b, c) = muladd(a, b, c)
    @test occursin("contract", code(shipped(fused, Float64, Float64, Float64)))
    instance = Capture.find_instance(log, Tuple{Float64}, Base.get_world_counter())
    @test Capture.rounds_twice(instance) isa Bool
end
