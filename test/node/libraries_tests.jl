# C libraries that Julia code calls: on a node of its own, opened there when code needs them.

using BitCode, Test
using CRC32c, LinearAlgebra, Random, Unicode

node = launch()
there(f, arguments...) = remotecall_fetch(f, node, arguments...)

seeded(n) = (Random.seed!(n); rand())

# The same value, or an exception of the same text.
function agrees(f, arguments...; by = isequal)
    here = try f(map(deepcopy, arguments)...) catch e e end
    far = try there(f, arguments...) catch e e end
    here isa Exception || return by(here, far)
    return far isa BitCode.RemoteException && sprint(showerror, far.captured.ex) == sprint(showerror, here)
end

const LARGE = big"123456789012345678901234567890123456789"
const NEGATIVE = -big(5)^40
const NOTHING_AT_ALL = big(0)
const TENTH = big"0.1"

@testset "GMP" begin
    @test agrees(n -> mod(factorial(big(n)), 1000003) % Int, 200)
    @test agrees(n -> sizeof(string(big(2)^n)), 3000)
    @test agrees(n -> parse(BigInt, n == 1 ? "123456789012345678901234567890" : "7") % Int, 1)
    @test agrees(n -> Int(gcd(big(n)^20, big(n) * 7)), 21)
    @test agrees(n -> Int(powermod(big(n), big(10)^20, big(1000003))), 21)
    @test agrees(n -> Int(sum(1 // big(k) for k in 1:n) > 4), 50)
    @test agrees(n -> hash(big(n)^30), 21)
    @test agrees(n -> Int(isqrt(big(n)^9)), 21)
    @test agrees(n -> (a = b = big(1); for _ in 1:n; a, b = b, a + b; end; sum(digits(a))), 2000)
    # GMP signals this itself.
    @test agrees(n -> Int(big(n) ÷ big(n - n)), 21)
    @test agrees(n -> Int(big(n) << 100 >> 98), 21)
    @test agrees(n -> parse(BigInt, n == 1 ? "12x" : "7") % Int, 1)
    @testset "there and back" begin
        @test agrees(n -> n^2 + 1, big(10)^30)
        @test agrees(factorial, big(50))
        @test agrees(n -> [big(k)^20 for k in -n:n], 5)
        @test agrees(sum, [big(1), big(2)^100, -big(3)^50])
        @test agrees(n -> sum(1 // big(k) for k in 1:n), 50)
        @test agrees(s -> parse(BigInt, s), "123456789012345678901234567890")
        @test agrees((n, b) -> string(big(3)^n, base = b), 200, 16)
        @test agrees(n -> Int(n), big(10)^30)
    end
    @testset "constants" begin
        @test agrees(n -> Int(LARGE % n), 1000007)
        @test agrees(n -> Int(NEGATIVE % n), 1000007)
        @test agrees(n -> Int(NOTHING_AT_ALL + n), 1000007)
        for _ in 1:3
            @test there(n -> Int((LARGE * LARGE) % n), 1000007) == Int((LARGE * LARGE) % 1000007)
        end
    end
end

@testset "MPFR" begin
    @test agrees(x -> Float64(sqrt(big(x)) * exp(BigFloat(x))), 2.5)
    @test agrees(x -> Float64(TENTH * x), 3.0)
    @test agrees(x -> Float64(BigFloat(pi) * x - log(BigFloat(2))), 3.0)
    @test agrees(x -> Float64(parse(BigFloat, x == 1 ? "1.25e100" : "3")), 1)
    @test agrees(x -> Int(floor(BigInt, BigFloat(x)^3)), 1234.5)
    @test agrees(x -> setprecision(() -> precision(BigFloat(x) / 3), BigFloat, 512), 2.5)
    @testset "there and back" begin
        @test agrees(sqrt, big"2.0")
        @test agrees(x -> BigFloat(x) / 3, 2.0)
        @test agrees(s -> parse(BigFloat, s), "1.25e-400")
        # Another version of MPFR reads this format in another way.
        @test agrees(x -> string(BigFloat(x) / 3), 2.5)
        @test agrees(x -> repr(BigFloat(x)^50), 2.5)
    end
    # Precision and rounding are those that hold here when the call is made.
    third(x) = BigFloat(x) / 3
    for change in (setprecision, (f, T, bits) -> setrounding(f, T, bits > 64 ? RoundUp : RoundDown)), bits in (64, 300)
        change(() -> (@test agrees(third, 2.0)), BigFloat, bits)
        @test agrees(third, 2.0)
    end
    # Exponents as far as MPFR goes, on every thread.
    @test agrees(x -> exponent(BigFloat(2)^x), 10^15)
    # Constants that MPFR keeps for a thread are in memory of a call.
    for digits in 100:50:400
        @test there(n -> setprecision(() -> Float64(sin(BigFloat(pi) / 6)), BigFloat, n), digits) == 0.5
    end
end

@testset "BLAS and LAPACK" begin
    A, B = rand(MersenneTwister(1), 30, 30), rand(MersenneTwister(2), 30, 30)
    b = rand(MersenneTwister(3), 30)
    @test agrees(*, A, B; by = ≈)
    @test agrees(*, A, b; by = ≈)
    @test agrees((A, B) -> A * B', A, B; by = ≈)
    @test agrees(A -> A'A, A; by = ≈)
    @test agrees(*, Float32.(A), Float32.(B); by = ≈)
    @test agrees(*, complex.(A, B), complex.(B, A); by = ≈)
    @test agrees(det, A; by = ≈)
    @test agrees(inv, A; by = ≈)
    @test agrees((A, b) -> lu(A) \ b, A, b; by = ≈)
    @test agrees(A -> eigvals(Symmetric(A)), A; by = ≈)
    @test agrees(svdvals, A; by = ≈)
    @test agrees(exp, A / 10; by = ≈)
    @test agrees((A, b) -> UpperTriangular(A) \ b, A + 10I, b; by = ≈)
    @test agrees((A, b) -> lu(A) \ b, ones(4, 4), ones(4))
    @test agrees(\, A, b; by = ≈)
    @test agrees(\, A, B; by = ≈)
    @test agrees(\, A[:, 1:10], b; by = ≈)
    @test agrees(\, ones(4, 4), ones(4))
    @test agrees(*, ones(3, 4), ones(3, 4))
    @test agrees(A -> logdet(cholesky(Symmetric(A * A' + I))), A; by = ≈)
    @test agrees(A -> cholesky(Symmetric(A)).U[1], -ones(3, 3))
    @test agrees(A -> abs.(qr(A).R), A; by = ≈)
    @test agrees(A -> svd(A).S, A; by = ≈)
    @test agrees((A, name) -> getproperty(lu(A), name), A, :U; by = ≈)
end

@testset "products without BLAS: threads of a node do not share their tiles" begin
    A, B = rand(MersenneTwister(1), 1:100, 40, 40), rand(MersenneTwister(2), 1:100, 40, 40)
    repeated(A, B, n) = (C = A * B; for _ in 1:n; C == A * B || return -C; end; C)
    futures = [remotecall(repeated, node, A .+ k, B, 200) for k in 1:8]
    @test all(fetch(futures[k]) == (A .+ k) * B for k in 1:8)
end

@testset "PCRE2" begin
    @test agrees(n -> occursin(r"a+b", n == 1 ? "caab" : "ccc"), 1)
    @test agrees(n -> occursin(r"a+b", n == 1 ? "caab" : "ccc"), 2)
    @test agrees(n -> (m = match(r"(?<year>\d{4})-(\d\d)", "on 2020-11"); parse(Int, m[:year]) + parse(Int, m[2]) + n), 1)
    @test agrees(n -> sum(length(m.match) + m.offset for m in eachmatch(r"\w+", "ab cde f")) + n, 1)
    @test agrees(n -> hash(replace("a1b22", r"\d+" => s -> string('<', s, '>'))) + n, 1)
    @test agrees(n -> hash(replace("a1b22", r"(\d)" => s"[\1]")) + n, 1)
    @test agrees(n -> length(split("a, b,c", r",\s*")) + n, 1)
    @test agrees(n -> occursin(r"HELLO"i, n == 1 ? "say hello" : ""), 1)
    @testset "there and back" begin
        @test agrees(occursin, r"a+b", "caab")
        @test agrees(s -> match(r"(\d+)-(\d+)?", s).captures, "12-34")
        @test agrees(s -> collect(m.match for m in eachmatch(r"\w+", s)), "12-34 a b")
        @test agrees(s -> split(s, r"\s*,\s*"), "12 ,34,5")
        @test there(s -> Regex(s), "a+b") == r"a+b"
    end
    @testset "made on the node" begin
        @test agrees(n -> occursin(Regex("x{$n}"), "axxxb"), 3)
        @test agrees(n -> occursin(Regex("(" * "a"^n), "x"), 2)
        @test agrees(n -> count(k -> occursin(Regex(string(k)), "123456789"), 1:n), 3000)
    end
    # One constant for all threads.
    counted(n) = count(k -> occursin(r"^(1|7)*$", string(k)), 1:n)
    futures = [remotecall(counted, node, 5000 + k) for k in 1:8]
    @test all(fetch(futures[k]) == counted(5000 + k) for k in 1:8)
end

@testset "random numbers" begin
    @testset "of a generator with a seed: the same as here" begin
        @test agrees(n -> rand(MersenneTwister(n)), 42)
        @test agrees(n -> rand(MersenneTwister(n), 5000), 42)
        @test agrees(n -> randn(MersenneTwister(n), 100), 42)
        @test agrees(n -> randexp(MersenneTwister(n), 100), 42)
        @test agrees(n -> rand(MersenneTwister(n), 1:n, 100), 42)
        @test agrees(n -> rand(MersenneTwister(n), Float32, 100), 42)
        @test agrees(n -> rand(MersenneTwister(n), UInt8, 100), 42)
        @test agrees(n -> rand(MersenneTwister(n), UInt128), 42)
        @test agrees(n -> rand(MersenneTwister(n), Bool, 100), 42)
        @test agrees(n -> rand(MersenneTwister(n), 'a':'z'), 42)
        @test agrees(n -> shuffle(MersenneTwister(n), collect(1:20)), 42)
        @test agrees(n -> randperm(MersenneTwister(n), 20), 42)
        @test agrees(n -> hash(randstring(MersenneTwister(n), 20)), 42)
        @test agrees(n -> (Random.seed!(n); (rand(), rand(1:100), randn())), 42)
        @test agrees(n -> (g = MersenneTwister(n); rand(g); h = copy(g); rand(g, 10) == rand(h, 10)), 42)
    end
    @testset "there and back" begin
        @test agrees(g -> rand(g, 3), MersenneTwister(42))
        @test agrees(n -> MersenneTwister(n), 42)
        @test agrees(g -> (rand(g); g), MersenneTwister(42))
        @test agrees(n -> shuffle(MersenneTwister(n), ["a", "b", "c"]), 1)
    end
    @testset "without one: seeded by the system" begin
        @test allunique([there(rand) for _ in 1:50])
        @test there(n -> allunique(rand(n)), 1000)
        @test all(0 <= x < 1 for x in there(rand, 1000))
        @test there(() -> rand(1:6)) in 1:6
        @test sort(there(shuffle, collect(1:20))) == 1:20
        @test abs(sum(there(randn, 10_000))) < 600
        # A seed is the call's own.
        @test there(seeded, 1) == seeded(1)
        @test there(rand) != seeded(1)
    end
end

@testset "utf8proc" begin
    text(k) = k == 1 ? "Straße ÄÖÜ äöü é 漢字 ǅ" : ""
    @test agrees(k -> hash(uppercase(text(k))), 1)
    @test agrees(k -> hash(lowercase(text(k))), 1)
    @test agrees(k -> hash(titlecase(text(k))), 1)
    @test agrees(k -> textwidth(text(k)), 1)
    @test agrees(k -> length(graphemes(text(k))), 1)
    @test agrees(k -> hash(Unicode.normalize(text(k), :NFD)), 1)
    @test agrees(k -> hash(Unicode.normalize(text(k), casefold = true, stripmark = true)), 1)
    for c in ('a', 'Z', '7', 'ß', '²', 'é', '漢', '\u0301', '\n', '💩')
        @test agrees(c -> (isletter(c), isuppercase(c), islowercase(c), isnumeric(c), ispunct(c), isspace(c), isprint(c), textwidth(c)), c)
    end
end

@testset "numbers from text" begin
    for text in ("1.5", " -2e3 ", "0x1.8p1", "Inf", "nan", "1e400", "1.5x", "", "4e-320")
        constant = Val(Symbol(text))
        number(::Val{S}) where {S} = something(tryparse(Float64, String(S)), -1.0)
        @test agrees(number, constant)
    end
    @test agrees(n -> parse(Float64, SubString("x1.5y", 2, n)), 4)
    @test agrees(n -> parse(Float32, n == 1 ? "0.1" : ""), 1)
    @test agrees(n -> parse(Float64, n == 1 ? "1.5x" : ""), 1)
end

@testset "bytes" begin
    @test agrees(crc32c, "hello world")
    @test agrees(crc32c, UInt8.(1:203))
    @test agrees(bytes -> crc32c(IOBuffer(bytes)), UInt8.(1:203))
    @test all(agrees(isvalid, text) for text in ("abc", "aä𝄞", "a\xff", "\xed\xa0\x80", ""))
end

@testset "calls leave nothing behind" begin
    # Of every library's state: after an exception, after running out of memory.
    for _ in 1:3
        @test_throws BitCode.RemoteException there(n -> (x = BigFloat(pi); n > 0 && error("stop"); Float64(x)), 1)
        @test there(x -> Float64(BigFloat(pi) * x), 2.0) == 2pi
        @test there(seeded, 3) == seeded(3)
    end
end
close(node)

@testset "a node that does not allow a library says so" begin
    mktempdir() do directory
        keyfile = joinpath(directory, "key")
        write(keyfile, "0123456789abcdef0123456789abcdef")
        chmod(keyfile, 0o600)
        process = open(`$(BitCode.node_program()) --listen 127.0.0.1:0 --key-file $keyfile --deny-library libgmp --exit-on-stdin-eof --log warn`, "r+")
        address = match(r"127\.0\.0\.1:\d+", readline(process)).match
        denied = connect("bitcode://$address"; keyfile = keyfile)
        failure = try remotecall_fetch(n -> Int(big(n) * n), denied, 3) catch e e end
        @test failure isa BitCode.BitCodeError
        @test occursin("libgmp, which this node's configuration does not allow", failure.message)
        @test occursin("--allow-library libgmp", failure.message)
        # The others are as they were.
        @test remotecall_fetch(c -> isletter(c), denied, 'a')
        close(denied)
        close(process)
    end
end

@testset "other libraries are allowed by name, here and there" begin
    zlib_flags() = ccall((:zlibCompileFlags, "libz"), Culong, ())
    @test_throws ArgumentError BitCode.allow_library("/usr/lib/libz.so.1")
    @test_throws CaptureError BitCode.code_llvm(devnull, zlib_flags, Tuple{})
    checksum(bytes) = ccall((:crc32, "libz"), Culong, (Culong, Ptr{UInt8}, Cuint), 0, bytes, length(bytes))
    deflated(n) = ccall((:compressBound, "libz"), Culong, (Culong,), n)
    BitCode.allow_library("libz.so.1")
    try
        # One name here, another on the node: the soname of the file that this process found.
        node = launch(; allow_library = ["libz.so.1"])
        bytes = Vector{UInt8}("123456789")
        @test remotecall_fetch(checksum, node, bytes) === Culong(0xcbf43926)
        @test remotecall_fetch(deflated, node, 1000) === deflated(1000)
        @test BitCode.archive_info(checksum, Tuple{Vector{UInt8}}).dependencies == ["libz.so.1" => ["crc32"]]
        # Opened once, by the first that needed it.
        @test length(collect(eachmatch(r"opened a C library", BitCode.node_log(node)))) == 1
        close(node)
        # The node's word counts, and nothing has run before it is given.
        strict = launch()
        ran(bytes) = (println("it ran"); checksum(bytes))
        failure = try remotecall_fetch(ran, strict, bytes) catch e e end
        @test failure isa BitCode.BitCodeError && failure.code == :unresolved_symbol
        @test occursin("libz.so.1, which this node's configuration does not allow", failure.message)
        close(strict)
    finally
        delete!(BitCode.Capture.ALLOWED_LIBRARIES, "libz.so.1")
    end
end
