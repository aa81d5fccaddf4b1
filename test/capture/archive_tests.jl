# Archives: the same function gives the same bytes, small ones are small, and nothing of this process is in them.

include("shipping.jl")
using Dates, SHA

increment(x) = x + 1
lookup(i) = (1.5, 2.5, 3.5)[i]
const PRIMES = [2, 3, 5, 7, 11]
prime(i) = PRIMES[i]
closed_over = let a = [1, 2, 3]
    i -> a[i]
end
sorted(v) = sort(v)
counted(v) = (d = Dict{Int,Int}(); foreach(x -> d[x] = get(d, x, 0) + 1, v); length(d))

@testset "the container" begin
    s = shipped(increment, Int)
    archive = BitCode.read_archive(s.archive)
    @test s.archive[1:4] == b"BCAR"
    image = only(archive.images)
    @test BitCode.image_kind(image) == :bitcode
    @test image.code[1:4] == [0x42, 0x43, 0xc0, 0xde]
    @test occursin("linux", image.triple) || Sys.islinux() == false
    @test occursin("julia-$(VERSION.major).$(VERSION.minor)-64le", String(copy(archive.manifest)))
    @test "bc_throw" in s.imports
    @test issorted(s.imports)
    @test all(symbol -> symbol in Capture.SUPPORTED, s.imports)
    @test isempty(s.dependencies)
    @test s.functions >= 1
    @test [first(stage) for stage in s.timings] == [:emit, :link, :symbols, :optimise, :finish, :write]
end

@testset "small functions are small" begin
    @test BitCode.archive_info(increment, Tuple{Int}).bytes <= 4096
    @test BitCode.archive_info(sin, Tuple{Float64}).bytes <= 16384
    @test BitCode.archive_info(x -> sqrt(x), Tuple{Float64}).bytes <= 8192
end

@testset "the same function, the same bytes: $f" for (f, types) in (
        (increment, (Int,)), (lookup, (Int,)), (prime, (Int,)), (sorted, (Vector{Int},)), (counted, (Vector{Int},)), (sin, (Float64,)),
        (sha256, (Vector{UInt8},)), (gcd, (Int, Int)), (x -> x + Day(1), (Date,)), (x -> sqrt(x), (Float64,)))
    a, b = shipped(f, types...), shipped(f, types...)
    @test a.archive == b.archive
    @test a.objects == b.objects
end

@testset "whatever was captured in between" begin
    # In a process that has captured nothing else yet.
    script = """
        using BitCode
        id() = BitCode.archive_info(+, Tuple{Int,Int}).id
        total(v) = (s = 0.0; @simd for i in eachindex(v); @inbounds s += v[i]; end; s)
        before = id()
        BitCode.archive_info(total, Tuple{Vector{Float64}})
        print(before == id())
        """
    @test read(`$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $script`, String) == "true"
end

@testset "captured values are not part of the code" begin
    add(n) = x -> x + n
    one, two = add(1), add(2)
    @test BitCode.archive_info(one, Tuple{Int}).id == BitCode.archive_info(two, Tuple{Int}).id
    first_job, second_job = BitCode.Job(one, Tuple{Int}), BitCode.Job(two, Tuple{Int})
    @test BitCode.capture(first_job).archive == BitCode.capture(second_job).archive
end

@testset "no address of this process: $f" for (f, types) in (
        (increment, (Int,)), (prime, (Int,)), (sorted, (Vector{Float64},)), (counted, (Vector{Int},)), (sha256, (Vector{UInt8},)),
        (uppercase, (Char,))[1:0]..., (x -> sqrt(x), (Float64,)), (x -> parse(Int, x), (String,))[1:0]..., (maximum, (Vector{Float64},)))
    text = code(shipped(f, types...))
    @test !occursin(r"inttoptr \(i64 \d{5,}", text)
    @test isempty(suspicious_numbers(text))
end

@testset "the code is portable" begin
    text = code(shipped(sorted, Vector{Float64}))
    @test !occursin("addrspace", text)
    @test !occursin("jl_roots", text)
    @test !occursin("cc37", text) && !occursin("cc38", text)
    @test !occursin("jl_load_and_lookup", text)
    # A line table holds numbers: no names, no files.
    @test !occursin(r"DISubprogram\(name|DILocalVariable|DIFile\(filename: \"[^-]", text)
    @test !occursin(r" asm (sideeffect )?\"", text)
    @test occursin("define dso_local i32 @bitcode_entry", text) || occursin("define i32 @bitcode_entry", text)
end

@testset "loops marked @simd stay marked" begin
    total(v) = (s = 0.0; @simd for i in eachindex(v); @inbounds s += v[i]; end; s)
    text = code(shipped(total, Vector{Float64}))
    @test occursin("fadd fast", text) || occursin("fadd reassoc", text)
    @test occursin("llvm.loop", text)
end

@testset "allocations that need not be are gone" begin
    boxed(x) = (r = Ref(x); r[] += 1; r[])
    @test !occursin("call noalias", code(shipped(x -> (boxed(x) > 2; nothing), Int)))
end
