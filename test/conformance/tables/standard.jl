# Code of Julia's standard libraries, and of Base's bigger parts.

@calls "standard library: linear algebra loops" begin
    dot([1, 2, 3], [4, 5, 6])
    dot((1, 2), (3, 4))
    norm([3, 4])
    norm([1, -2, 3], 1)
    norm([1, -2, 3], Inf)
    tr([1 2; 3 4])
    transpose([1 2; 3 4])
    adjoint([1, 2])
    cross([1, 0, 0], [0, 1, 0])
    issymmetric([1 2; 2 1])
    isdiag([1 0; 0 2])
    triu([1 2; 3 4])
    tril([1 2; 3 4])
    diag([1 2; 3 4])
    kron([1, 2], [1, 10])
    lmul!(2, [1, 2])
    axpy!(2, [1, 2], [10, 20])
    normalize_int([3.0, 4.0])
    *([1 2; 3 4], [1, 1])
    *([1 2; 3 4], [0 1; 1 0])
end

@calls "standard library: Dates of bits" begin
    Date(2020, 2, 29)
    DateTime(2020, 1, 2, 3, 4, 5)
    +(Date(2020, 1, 31), Month(1))
    +(Date(2020, 2, 28), Day(1))
    -(Date(2021, 1, 1), Date(2020, 1, 1))
    -(DateTime(2020, 1, 2), DateTime(2020, 1, 1))
    year(Date(2020, 5, 6))
    month(Date(2020, 5, 6))
    day(Date(2020, 5, 6))
    dayofweek(Date(2020, 5, 6))
    dayofyear(Date(2020, 5, 6))
    isleapyear(Date(2020, 5, 6))
    lastdayofmonth(Date(2020, 2, 1))
    firstdayofweek(Date(2020, 5, 6))
    daysinmonth(Date(2019, 2, 1))
    week(Date(2020, 5, 6))
    <(Date(2020), Date(2021))
    hour(DateTime(2020, 1, 2, 3))
    Time(1, 2, 3)
    +(Time(1, 2, 3), Hour(5))
    Dates.value(Day(3))
    +(Day(1), Day(2))
    *(3, Hour(2))
    convert(Minute, Hour(2))
    trunc(DateTime(2020, 1, 2, 3, 4), Hour)
    datetime2unix(DateTime(2020))
    unix2datetime(1.5e9)
    length(Date(2020, 1, 1):Day(1):Date(2020, 1, 10))
    collect(Date(2020, 1, 1):Day(1):Date(2020, 1, 3))
    identity([Date(2020), Date(2021)])
end

@calls "standard library: LinearAlgebra" begin
    [1.0 2.0; 3.0 4.0] * [5.0 6.0; 7.0 8.0]
    [1.0 2.0; 3.0 4.0] * [1.0, 2.0]
    [1.0f0 2.0f0; 3.0f0 4.0f0] * [1.0f0 0.0f0; 2.0f0 1.0f0]
    [1.0+2im 3.0; 4.0 5.0] * [1.0 0.0; 2.0im 1.0]
    det([1 2; 3 4])
    logdet([2.0 1.0; 1.0 3.0])
    I_plus([1 2; 3 4])
    Matrix{Float64}(I, 2, 2)
    identity(Diagonal([1, 2]))
    Diagonal([1.0, 2.0]) * [1.0 2.0; 3.0 4.0]
    identity(Symmetric([1 2; 2 5]))
    identity(UpperTriangular([1 2; 3 4]))
    identity(LowerTriangular([1.5 2.5; 3.5 4.5]))
    identity(transpose([1 2; 3 4]))
    identity([1+2im 3; 4 5]')
    [1.0, 2.0]' * [3.0, 4.0]
    [1.0, 2.0] * [3.0, 4.0]'
    adjoint([1+2im, 3im])
    sum(Diagonal([1, 2]))
    tr(Diagonal([1, 2]))
    det(Diagonal([2, 3]))
    inv(Diagonal([2.0, 4.0]))
    triu([1 2 3; 4 5 6; 7 8 9], 1)
    diagm(0 => [1, 2], 1 => [3])
    diagm([1, 2])
    norm([1 2; 3 4])
    opnorm([1 2; 3 4], 1)
    normalize([3.0, 4.0])
    dot([1.0, 2.0], [3.0, 4.0])
    dot([1+im], [2-im])
    rank_one([1, 2], [3, 4])
    isposdef_small([2.0 0.0; 0.0 3.0])
    ishermitian([1 2im; -2im 1])
    istriu([1 2; 0 3])
    [1 2; 3 4]^3
    [1 2; 3 4] + [1 0; 0 1]
    [1 2; 3 4] .* 2 == [2 4; 6 8]
    SymTridiagonal([1.0, 2.0], [0.5]) * [1.0, 1.0]
    identity(Bidiagonal([1, 2], [3], :U))
    norm([1.0, 2.0, 2.0])
    norm(Float64[])
    mul!([0.0, 0.0], [1.0 2.0; 3.0 4.0], [1.0, 1.0])
    ldiv!(Diagonal([2.0, 4.0]), [2.0, 4.0])
    UpperTriangular([1.0 2.0; 0.0 4.0]) \ [5.0, 8.0]
    kron([1 0; 0 1], [1 2; 3 4])
    axpby!(2.0, [1.0, 2.0], 3.0, [1.0, 1.0])
    scale_rows([1.0 2.0; 3.0 4.0], [2.0, 3.0])
    power_iteration([2.0 1.0; 1.0 3.0], 50)
    gram_schmidt([1.0 1.0; 0.0 1.0])
    conjugate_gradient([4.0 1.0; 1.0 3.0], [1.0, 2.0])
    matmul_chain([1.0 2.0; 3.0 4.0], 3)
end

@calls "standard library: LAPACK" (≈) begin
    [4.0 3.0; 6.0 3.0] \ [1.0, 2.0]
    [4.0 3.0; 6.0 3.0] \ [1.0 0.0; 0.0 1.0]
    [1.0 2.0; 3.0 4.0; 5.0 6.0] \ [1.0, 2.0, 3.0]
    [1 2; 3 4] \ [5, 6]
    [1.0+1im 2.0; 3.0 4.0im] \ [1.0, 2.0]
    inv([1.0 2.0; 3.0 4.0])
    inv([1 2; 3 4])
    det([1.0 2.0; 3.0 4.0])
    det([1.0 2.0 3.0; 4.0 5.0 6.0; 7.0 8.0 10.0])
    pinv([1.0 2.0; 3.0 4.0; 5.0 6.0])
    rank([1.0 2.0; 2.0 4.0])
    lu_product([4.0 3.0; 6.0 3.0])
    qr_product([1.0 2.0; 3.0 4.0])
    cholesky_factor([4.0 2.0; 2.0 3.0])
    svdvals([1.0 2.0; 3.0 4.0])
    eigvals(Symmetric([2.0 1.0; 1.0 2.0]))
    symmetric_eigen([2.0 1.0; 1.0 2.0])
    eigvals([1.0 2.0; 3.0 4.0])
    opnorm([1.0 2.0; 3.0 4.0])
    cond([1.0 2.0; 3.0 4.0])
    exp([0.0 1.0; -1.0 0.0])
    sqrt([4.0 0.0; 0.0 9.0])
    nullspace_projection([1.0 1.0; 1.0 1.0])
    least_squares([1.0, 2.0, 3.0], [2.0, 4.1, 6.0])
    polyfit([0.0, 1.0, 2.0], [1.0, 2.0, 5.0], 2)
    Symmetric([4.0 1.0; 1.0 3.0]) \ [1.0, 2.0]
    [1.0f0 2.0f0; 3.0f0 4.0f0] \ [1.0f0, 1.0f0]
    *(ones(60, 60), ones(60, 60))
    *(wave(40), wave(40)')
    *(wave(40), wave(40))
end

@calls "standard library: LAPACK errors" begin
    inv([1.0 2.0; 2.0 4.0])
    [1.0 2.0; 2.0 4.0] \ [1.0, 2.0]
    cholesky_factor([1.0 2.0; 2.0 1.0])
    [1.0 2.0; 3.0 4.0] * [1.0, 2.0, 3.0]
    [1.0 2.0; 3.0 4.0] * [1.0 2.0 3.0]
    det([1.0 2.0 3.0; 4.0 5.0 6.0])
    [1.0 2.0; 3.0 4.0] \ [1.0, 2.0, 3.0]
    UpperTriangular([1.0 2.0; 0.0 0.0]) \ [1.0, 2.0]
    cross([1, 2], [3, 4])
    dot([1.0, 2.0], [1.0])
    [1 2 3; 4 5 6]^2
    inv([1.0 2.0 3.0; 4.0 5.0 6.0])
end

@calls "standard library: Statistics" begin
    mean([1, 2, 3])
    mean([1.5, 2.5])
    mean([1 2; 3 4]; dims = 1)
    mean(x -> x^2, [1, 2, 3])
    mean(1:10)
    median([3, 1, 2])
    median([1.0, 4.0, 2.0, 3.0])
    median(1:4)
    middle(1, 4)
    middle([1, 2, 7])
    quantile([1.0, 2.0, 3.0, 4.0], 0.25)
    quantile([1.0, 2.0, 3.0, 4.0], [0.1, 0.9])
    mean(Float32[1, 2])
    mean([1 // 2, 3 // 2])
    mean([1 + 2im, 3])
    median!([5, 3, 1])
    mean(skipmissing([1, missing, 3]))
end

@calls "standard library: Statistics sums" (≈) begin
    std([1.0, 2.0, 4.0])
    var([1.0, 2.0, 4.0])
    var([1, 2, 3]; corrected = false)
    std([1 2; 3 5]; dims = 1)
    cor([1.0, 2.0, 3.0], [1.0, 2.0, 2.5])
    cov([1.0, 2.0, 3.0], [1.0, 2.0, 2.5])
    cov([1.0 2.0; 3.0 5.0])
    cor([1.0 2.0; 3.0 5.0; 4.0 4.0])
    varm([1.0, 2.0], 1.5)
    stdm([1.0, 2.0], 1.5)
end

@calls "standard library: Statistics errors" begin
    mean(Int[])
    median(Float64[])
    quantile([1.0, 2.0], 1.5)
    quantile(Float64[], 0.5)
    cor([1.0, 2.0], [1.0])
    median([1.0, NaN])
end

@calls "standard library: Dates" begin
    string(Date(2020, 2, 29))
    string(DateTime(2020, 1, 2, 3, 4, 5, 6))
    string(Time(1, 2, 3))
    string(Day(3))
    DateTime("2020-01-02T03:04:05")
    yearmonthday(Date(2020, 5, 6))
    quarterofyear(Date(2020, 5, 6))
    Date(2020, 1, 31) - Month(2)
    DateTime(2020, 3, 1) - Hour(5)
    round(DateTime(2020, 1, 2, 3, 44), Hour)
    floor(Date(2020, 5, 17), Month)
    ceil(Date(2020, 5, 17), Month)
    firstdayofmonth(Date(2020, 5, 6))
    lastdayofyear(Date(2020, 5, 6))
    julian2datetime(2.4588495e6)
    datetime2julian(DateTime(2020))
    rata2datetime(737425)
    Date(DateTime(2020, 1, 2, 3))
    DateTime(Date(2020, 1, 2))
    Week(2) == Day(14)
    convert(Day, Week(2))
    Millisecond(1500) > Second(1)
    weekdays_between(Date(2020, 5, 1), Date(2020, 5, 31))
    age_on(Date(1990, 6, 15), Date(2020, 5, 6))
    calendar_month(2020, 2)
    dates_text([Date(2020, 1, 1), Date(2021, 2, 3)])
    DateTime(2020, 1, 1, 25)
    Time(25)
    tryparse(Date, "2020-02-30")
    tryparse(Date, "2020-02-28")
    convert(Hour, Minute(61))
end

@calls "standard library: SHA, Base64, CRC32c" begin
    sha256("abc")
    sha256(UInt8[1, 2, 3])
    sha1("abc")
    sha224("")
    sha384("abc")
    sha512("abc")
    sha3_256("abc")
    sha2_256("abc")
    hmac_sha256(UInt8[1, 2, 3], "message")
    hex_digest("hello world")
    long_digest(1000)
    incremental_sha(["ab", "c"])
end

@calls "standard library: Random" begin
    seeded_rand(1)
    seeded_floats(42, 5)
    seeded_ints(7, 5)
    seeded_range(3, 10)
    seeded_normal(5, 4)
    seeded_exp(5, 3)
    seeded_shuffle(9, [1, 2, 3, 4, 5])
    seeded_perm(2, 6)
    seeded_string(4, 10)
    seeded_choice(1, ["a", "b", "c"])
    seeded_bools(8, 6)
    seeded_float32(3)
    seeded_chars(11, 4)
    seeded_matrix(6)
    seeded_big_range(13)
    seeded_walk(5, 100)
    seeded_set(2)
    seeded_subseq(3)
    seeded_bytes(1, 9)
    seeded_complex(1)
    seeded_int128(1)
    rand(MersenneTwister(1))
    rand(MersenneTwister(1), 1:10, 4)
    rand(MersenneTwister(2), 3)
    randn(MersenneTwister(3), 2, 2)
    shuffle(MersenneTwister(1), [1, 2, 3])
    shuffle!(MersenneTwister(1), ["a", "b", "c"])
    randperm(MersenneTwister(4), 5)
    randcycle(MersenneTwister(4), 5)
    randstring(MersenneTwister(5))
    randstring(MersenneTwister(5), "abc", 4)
    randexp(MersenneTwister(5))
    bitrand(MersenneTwister(5), 6)
    randsubseq(MersenneTwister(1), [1, 2, 3, 4], 0.5)
    rand(MersenneTwister(1), Bool)
    rand(MersenneTwister(1), (1, 2, 3))
    rand(MersenneTwister(1), Dict(1 => 2))
    rand(MersenneTwister(1), "abc")
    rand(MersenneTwister(1), Float16)
    rand(MersenneTwister(1), 1:0)
    default_rand_in_range(100)
    default_shuffle_keeps([3, 1, 2])
    default_normal_finite(10)
    default_choice_is_member(["a", "b"])
    monte_carlo_pi(1, 1000)
    reseeded(3)
    copy_continues(4)
end

@calls "standard library: Unicode, UUIDs, Printf" begin
    Unicode.normalize("e\u0301", :NFC)
    Unicode.normalize("é", :NFD)
    Unicode.normalize("ÀÉ"; stripmark = true)
    Unicode.normalize("JÚLIA"; casefold = true)
    Unicode.normalize("ﬁ", :NFKC)
    collect(graphemes("e\u0301a"))
    length(graphemes("👨‍👩‍👧"))
    Unicode.isassigned('a')
    UUID("550e8400-e29b-41d4-a716-446655440000")
    string(UUID("550e8400-e29b-41d4-a716-446655440000"))
    identity(UUID(1))
    uuid_version(UUID("550e8400-e29b-41d4-a716-446655440000"))
    uuid4(MersenneTwister(1))
    uuid5(UUID(1), "name")
    UUID(1) < UUID(2)
    UUID("nonsense")
    printf_int(42)
    printf_float(3.14159)
    printf_exp(12345.678)
    printf_g(0.0001)
    printf_string("abc")
    printf_char('x')
    printf_hex(255)
    printf_wide(7)
    printf_many("a", 1, 2.5)
    printf_percent(12.5)
    printf_octal(64)
end

@calls "standard library: SparseArrays, Serialization" begin
    identity(sparse([1, 2], [1, 2], [1.5, 2.5]))
    sparse([1, 2, 2], [1, 2, 2], [1, 2, 3])
    sparse([1 0; 0 2])
    nnz(sparse([1 0; 0 2]))
    nonzeros(sparse([1 0; 0 2]))
    findnz(sparse([1 0; 0 2]))
    sparse([1 0; 0 2]) * [1, 2]
    sparse([1.0 0.0; 0.0 2.0]) * sparse([1.0 1.0; 0.0 1.0])
    sparse([1 0; 0 2]) + sparse([0 1; 1 0])
    Matrix(sparse([1 0; 0 2]))
    getindex(sparse([1 0; 0 2]), 2, 2)
    transpose(sparse([1 2; 0 3]))
    permutedims(sparse([1 2; 0 3]))
    sum(sparse([1 2; 0 3]))
    sparsevec([1, 3], [1.5, 2.5])
    dot(sparsevec([1, 3], [1.0, 2.0]), [1.0, 2.0, 3.0])
    spzeros(2, 2)
    dropzeros(sparse([1, 2], [1, 2], [0, 5]))
    broadcast(*, sparse([1 0; 0 2]), 3)
    setindex!(spzeros(2, 2), 1.5, 1, 2)
    nzrange(sparse([1 0; 2 2]), 1)
    laplacian(4)
end

@calls "standard library: big numbers" begin
    big(2)^100
    big"123456789012345678901234567890" * 3
    identity(big(10)^40)
    factorial(big(30))
    gcd(big(2)^70, big(6)^40)
    powermod(big(3), big(10)^20, big(10)^9 + 7)
    divrem(big(10)^30, 7)
    BigInt(5) + 1
    Int(big(42))
    parse(BigInt, "99999999999999999999999")
    string(big(3)^50; base = 16)
    big(2)^64 > typemax(UInt64)
    isqrt(big(10)^40)
    binomial(big(100), 50)
    digits(big(12345))
    hash(big(10)^30)
    sum(big.([1, 2, 3]))
    fib_big(200)
    factorial_big(50)
    harmonic(20)
    BigFloat(1) / 3
    identity(BigFloat("1.5"))
    sqrt(big(2))
    exp(BigFloat(1))
    sin(BigFloat(1))
    big(π)
    big_precision(100)
    Float64(BigFloat(1) / 3)
    BigFloat(1) / 3 < BigFloat(2)
    big(1) // 3
    +(1 // 3, 1 // 6)
    round(BigInt, BigFloat("2.5"))
    machin_pi(50)
    Int(big(2)^70)
    div(big(1), big(0))
    sqrt(BigFloat(-1))
    parse(BigInt, "12x")
    parse(BigFloat, "nope")
    count_ones(big(255))
    big(5) << 70
    ndigits(big(10)^25)
    isprime_big(big(2)^61 - 1)
end

@calls "standard library: machine" begin
    elapsed_is_positive(3)
    time_moves(1)
    pid_is_positive(1)
    host_has_name(1)
    cpu_threads_positive(1)
    short_sleep(0.001)
end

@refused "standard library: Dates dispatches on abstract periods" begin
    string(Hour(1) + Minute(2))
    Date(2020, 1, 1) + Month(1) + Day(3)
    Hour(1) + Minute(30)
    canonicalize_hours(3661)
    Dates.CompoundPeriod(Hour(1), Minute(2))
end

@calls "standard library: CRC32c" begin
    crc32c("abc")
    crc32c(UInt8[1, 2, 3])
    crc32c("abc", 0x12345678)
    checksum_chain(["a", "b"])
end

@calls "standard library: dates by formats that are texts" begin
    Date("2020/3/4", "y/m/d")
    Date("20200304", "yyyymmdd")
    Date("2020/x/4", "y/m/d")
    Date("2020/3/4 and more", "y/m/d")
    DateTime("Wed, 4 Mar 2020 05:06 PM", "e, d u y HH:MM p")
    DateTime("1.2599", "S.s")
    Time("12:34", "H:M")
    Dates.format(DateTime(2020, 2, 3, 15, 4, 5, 60), "E, d U yyyy I:MM:SS.sss p")
    Dates.format(DateTime(2020, 2, 3), "yy\\yMM")
    Dates.format(Date(2020, 2, 3), "dd.mm.yyyy")
    Dates.format(DateTime(2020, 2, 3, 4, 5), "yyyy-mm-dd HH:MM")
    Dates.format(Date(2020, 2, 3), "e, d u yyyy")
    Dates.format(Date(2020), "u")
end

@refused "standard library: what is read back may be of any type" begin
    serialized_round_trip([1, 2, 3])
    serialized_round_trip("text")
    serialized_round_trip(Dict("a" => 1))
end

@calls "standard library: serialization" begin
    serialized([1.5, 2.5])
    serialized([1 2; 3 4])
    serialized(["a", "b", "a"])
    serialized([:a_name_of_length, :a_name_of_length])
    serialized(Dict("k" => [1, 2]))
    serialized((a = 1, b = "x", c = nothing))
    serialized(1:5)
    serialized(1 + 2im)
    serialized([[1, 2], [3]])
    serialized(Set([1, 2]))
    serialized(Date(2020, 1, 2))
    serialized(big(2)^100)
    serialized(missing)
end

@calls "standard library: roots of big numbers" begin
    string(BigFloat(2)^0.5)
end

# Zeros have another sign in each version of OpenBLAS.
@calls "standard library: BLAS by name" (==) begin
    BLAS.scal!(3, 2.0im, [1.0, 2.0im, 3.0], 1)
end

@calls "standard library: BLAS by name" begin
    BLAS.scal(2, 2.0, [1.0, 2.0], 1)
    BLAS.scal!(2, 3.0f0, Float32[1, 2, 3, 4], 2)
    BLAS.axpy!(2.0, [1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    BLAS.axpy!(2.0f0, Float32[1, 2], Float32[3, 4])
    axpy!(0.5, [1.0, 2.0], [4.0, 5.0])
    axpby!(2.0, [1.0, 2.0], 3.0, [4.0, 5.0])
    BLAS.dot(2, [1.0, 2.0], 1, [3.0, 4.0], 1)
    BLAS.nrm2(2, [3.0, 4.0], 1)
    BLAS.asum([3.0, -4.0])
    BLAS.iamax([3.0, -4.0])
    BLAS.iamax([NaN, NaN, NaN])
    BLAS.iamax(3, [1.0, 2.0, 3.0], -1)
    BLAS.nrm2(3, [1.0, 2.0, 3.0], -1)
    BLAS.asum(3, [1.0, 2.0, 3.0], -1)
    BLAS.scal!(3, 2.0, [1.0, 2.0, 3.0], -1)
    BLAS.gemv('N', [1.0 2.0; 3.0 4.0], [1.0, 2.0])
    BLAS.gemm('N', 'T', 1.0, [1.0 2.0; 3.0 4.0], [1.0 2.0; 3.0 4.0])
end

@calls "standard library: LinearAlgebra, fields that are not there" begin
    identity(Tridiagonal([1], [2, 3], [4]))
    Tridiagonal([1.0], [2.0, 3.0], [4.0]) * [1.0, 2.0]
    dropdims([1 2 3]; dims = 1)
    dropdims([1 2 3]; dims = 2)
    minimum([1 2; 3 4]; dims = 2)
    maximum([1.0 2.0; 3.0 4.0]; dims = (1, 2))
end

@calls "standard library: the names of days and months" begin
    dayname(Date(2020, 2, 29))
    monthname(Date(2020, 2, 29))
    dayabbr(Date(2020, 2, 29))
    monthname(3)
    monthabbr(12)
    monthname(13)
end

@calls "standard library: days of the week" begin
    tonext(Date(2020, 2, 29), 1)
    tonext(Date(2020, 2, 29), 6; same = true)
    tonext(DateTime(2020, 2, 29, 7), 6)
    tonext(Date(2020, 2, 29), 8)
    toprev(Date(2020, 2, 29), 3)
    tonext(Date(2020, 5, 6), Monday)
    toprev(Date(2020, 5, 6), Monday)
    tofirst(Date(2020, 5, 6), Monday)
    tofirst(Date(2020, 2, 29), 3)
    tolast(Date(2020, 2, 29), 5; of = Year)
end

@calls "standard library: dates that are read" begin
    Date("2020-02-29")
    Date("29.02.2020", dateformat"d.m.y")
    Date("not a date")
    Date("2020-13-01")
    Date("2020-01-01x")
    parse(Date, "2020-02-30")
    DateTime("2020-02-03 04:05", dateformat"y-m-d H:M")
    tryparse(Date, "2020-01-02")
end

@calls "standard library: Base64" begin
    base64encode("hello")
    base64encode("")
    base64encode("ab")
    base64encode(UInt8[1, 2, 255])
    base64decode("aGVsbG8=")
    base64decode("aGVs\nbG8=")
    base64decode("aGVsbG8")
    base64decode("aGV=bG8=")
    base64decode("a===")
    base64decode("aGVsbA=")
    base64decode("aGVsbG8hI")
    base64decode("=abc")
    decoded_text("aGVsbG8gd29ybGQ=")
    base64decode("!!!")
end

@calls "standard library: subtypes of what is no type" begin
    subtype_of(nothing, Int)
    subtype_of(Int, 3)
    subtype_of("a", "b")
    subtype_of(Int, Real)
end
