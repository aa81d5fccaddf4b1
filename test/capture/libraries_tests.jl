# C libraries as capture sees them: their names, what is allowed, what stands in for this process's state around them.

include("shipping.jl")
using LinearAlgebra, Random

dependencies(s) = Dict(d.soname => d.symbols for d in s.dependencies)
described(object) = (table = Capture.ObjectTable(); k = Capture.describe!(table, object); (table, table.descriptors[k]))

@testset "names" begin
    @test Capture.library_name("/usr/lib/julia/libgmp.so") == "libgmp"
    @test Capture.library_name("libmpfr.so.6") == "libmpfr"
    @test Capture.library_name("libpcre2-8") == "libpcre2-8"
    @test Capture.library_name("/usr/lib/libdSFMT-19937.so.1") == "libdSFMT"
    @test Capture.library_name("/usr/lib/julia/libopenblas64_.so.0.3.13") == "libopenblas64_"
    @test Capture.library_name("/usr/lib/libz.so.1.2.13") == "libz.so.1"
    @test Capture.implied_library("utf8proc_category") == "libutf8proc"
end

@testset "dependencies" begin
    @test "dgemm_64_" in dependencies(shipped(*, Matrix{Float64}, Matrix{Float64}))["libopenblas64_"]
    s = shipped(n -> big(n) * n, Int)
    @test collect(keys(dependencies(s))) == ["libgmp"]
    @test "__gmpz_mul_si" in dependencies(s)["libgmp"]
    @test "mpfr_sqrt" in dependencies(shipped(x -> sqrt(BigFloat(x)), Float64))["libmpfr"]
    @test "dsfmt_init_by_array" in dependencies(shipped(n -> rand(MersenneTwister(n)), Int))["libdSFMT"]
    @test dependencies(shipped(isletter, Char)) == Dict("libutf8proc" => ["utf8proc_category"])
    @test isempty(dependencies(shipped(x -> x + 1, Int)))
end

@testset "what is allowed" begin
    flags() = ccall((:zlibCompileFlags, "libz"), Culong, ())
    reason = only((try shipped(flags) catch e e end).reasons)
    @test reason.kind === :library
    @test occursin("BitCode.allow_library(\"libz.so.1\")", reason.advice)
    @test_throws ArgumentError BitCode.allow_library("/usr/lib/libz.so.1")
    BitCode.allow_library("libz.so.1")
    @test dependencies(shipped(flags)) == Dict("libz.so.1" => ["zlibCompileFlags"])
    delete!(Capture.ALLOWED_LIBRARIES, "libz.so.1")
    @test_throws CaptureError shipped(flags)
    @test_throws CaptureError capture(Calling{typeof(isletter)}(), Tuple{Char}; libraries = Set{String}())
end

@testset "state that is a thread's own here" begin
    @test "bc_call_slot" in shipped(() -> rand()).imports
    @test "bc_random_bytes" in shipped(() -> rand()).imports
    # Without tiles that two threads of a node would share.
    s = shipped(*, Matrix{Int}, Matrix{Int})
    @test !any(object -> object isa Vector{Vector{UInt8}}, s.objects)
    # Without the lock and the contexts of this process.
    s = shipped(n -> occursin(r"a+b", n == 1 ? "ab" : "b"), Int)
    @test !any(object -> object isa Vector{Ptr{Cvoid}}, s.objects)
    @test issubset(("pcre2_compile_8", "pcre2_match_8"), dependencies(s)["libpcre2-8"])
    @test !("pcre2_jit_compile_8" in dependencies(s)["libpcre2-8"])
end

@testset "objects with pointers" begin
    table, descriptor = described(big(2)^70 + 1)
    @test descriptor.bytes[9:16] == zeros(UInt8, 8)
    (offset, target), = descriptor.relocations
    @test offset == 8
    words = table.descriptors[target]
    @test reinterpret(UInt64, words.bytes) == [1, 64]
    @test table.descriptors[words.type+1].size == 16

    table, descriptor = described(big(0))
    @test reinterpret(UInt64, table.descriptors[descriptor.relocations[1][2]].bytes) == [0]

    x = big"0.1"
    table, descriptor = described(x)
    @test [o for (o, _) in descriptor.relocations] == [24, 32]
    @test length(table.descriptors[descriptor.relocations[1][2]].bytes) == 32
    @test table.objects[descriptor.relocations[2][2]] === x._d

    regex = r"a+b"i
    occursin(regex, "ab")
    @test regex.regex != C_NULL
    table, descriptor = described(regex)
    @test descriptor.bytes[17:24] == zeros(UInt8, 8)
    @test table.objects[descriptor.relocations[1][2]] === regex.pattern
end

@testset "fields by name" begin
    @test Capture.field_by_name((a = 1, b = 2.0), :b) === 2.0
    @test Capture.field_by_name(1 + 2im, :re) === 1
    error = try Capture.field_by_name(1 + 2im, :nope) catch e e end
    @test error == (try getfield(1 + 2im, :nope) catch e e end)
    @test Capture.is_type_of_type(Type{Int}) && Capture.is_type_of_type(Type{UpperTriangular})
    @test !Capture.is_type_of_type(Type) && !Capture.is_type_of_type(Type{<:Real}) && !Capture.is_type_of_type(Int)
    @test !Capture.is_type_of_type(Type{Vector})
end

@testset "texts of big floats" begin
    for x in (big"0.1", big(2.0)^1000, -big"1e-300", BigFloat(pi), big"0.0")
        @test Capture.text_of_big(x, "%.Re") == Base.MPFR.string_mpfr(x, "%.Re")
        @test Capture.text_of_big(x, "%.10Re") == Base.MPFR.string_mpfr(x, "%.10Re")
    end
end
