# Functions over Julia's standard libraries, for the conformance table.

I_plus(m) = m + I
rank_one(a, b) = a * b'
isposdef_small(m) = isposdef(m)
scale_rows(m, v) = Diagonal(v) * m
function power_iteration(m, steps)
    v = normalize(ones(size(m, 1)))
    for _ in 1:steps
        v = normalize(m * v)
    end
    return round(v' * m * v; digits = 8)
end
function gram_schmidt(m)
    q = zeros(size(m))
    for j in axes(m, 2)
        v = m[:, j]
        for k in 1:j-1
            v -= dot(q[:, k], m[:, j]) * q[:, k]
        end
        q[:, j] = v / norm(v)
    end
    return q
end
function conjugate_gradient(A, b)
    x, r = zero(b), copy(b)
    p = copy(r)
    for _ in eachindex(b)
        Ap = A * p
        α = dot(r, r) / dot(p, Ap)
        x += α * p
        next = r - α * Ap
        p = next + dot(next, next) / dot(r, r) * p
        r = next
    end
    return round.(x; digits = 10)
end
matmul_chain(m, n) = (p = m; for _ in 2:n; p = p * m; end; p)
lu_product(m) = (f = lu(m); f.L * f.U)
qr_product(m) = (f = qr(m); Matrix(f.Q) * f.R)
cholesky_factor(m) = cholesky(m).L
symmetric_eigen(m) = eigen(Symmetric(m)).values
least_squares(x, y) = hcat(ones(length(x)), x) \ y
polyfit(x, y, n) = [a^k for a in x, k in 0:n] \ y
nullspace_projection(m) = (n = nullspace(m); n * n')
wave(n) = [sin(i * j) for i in 1:n, j in 1:n]

canonicalize_hours(seconds) = Dates.canonicalize(Dates.CompoundPeriod(Second(seconds)))
weekdays_between(a, b) = count(d -> dayofweek(d) <= 5, a:Day(1):b)
age_on(born, today) = year(today) - year(born) - (monthday(today) < monthday(born))
calendar_month(y, m) = [(dayofweek(d), day(d)) for d in Date(y, m, 1):Day(1):lastdayofmonth(Date(y, m, 1))]
dates_text(dates) = join(string.(dates), ", ")

hex_digest(text) = bytes2hex(sha256(text))
long_digest(n) = sha256(repeat("a", n))[1:4]
function incremental_sha(parts)
    context = SHA.SHA256_CTX()
    for part in parts
        SHA.update!(context, codeunits(part))
    end
    return SHA.digest!(context)
end
decoded_text(text) = String(base64decode(text))
checksum_chain(parts) = foldl((crc, part) -> crc32c(part, crc), parts; init = 0x00000000)

seeded_rand(seed) = rand(MersenneTwister(seed))
seeded_floats(seed, n) = rand(MersenneTwister(seed), n)
seeded_ints(seed, n) = rand(MersenneTwister(seed), Int, n)
seeded_range(seed, n) = (r = MersenneTwister(seed); [rand(r, 1:n) for _ in 1:8])
seeded_normal(seed, n) = randn(MersenneTwister(seed), n)
seeded_exp(seed, n) = randexp(MersenneTwister(seed), n)
seeded_shuffle(seed, v) = shuffle(MersenneTwister(seed), v)
seeded_perm(seed, n) = randperm(MersenneTwister(seed), n)
seeded_string(seed, n) = randstring(MersenneTwister(seed), n)
seeded_choice(seed, v) = rand(MersenneTwister(seed), v)
seeded_bools(seed, n) = rand(MersenneTwister(seed), Bool, n)
seeded_float32(seed) = rand(MersenneTwister(seed), Float32)
seeded_chars(seed, n) = rand(MersenneTwister(seed), 'a':'z', n)
seeded_matrix(seed) = rand(MersenneTwister(seed), 2, 3)
seeded_big_range(seed) = rand(MersenneTwister(seed), big(1):big(10)^30)
seeded_walk(seed, n) = (r = MersenneTwister(seed); x = 0; for _ in 1:n; x += rand(r, (-1, 1)); end; x)
seeded_set(seed) = rand(MersenneTwister(seed), Set([1, 2, 3]))
seeded_subseq(seed) = randsubseq(MersenneTwister(seed), collect(1:20), 0.3)
seeded_bytes(seed, n) = rand(MersenneTwister(seed), UInt8, n)
seeded_complex(seed) = rand(MersenneTwister(seed), ComplexF64)
seeded_int128(seed) = rand(MersenneTwister(seed), UInt128)
default_rand_in_range(n) = all(x -> 0 <= x < 1, [rand() for _ in 1:n])
default_shuffle_keeps(v) = sort(shuffle(v)) == sort(v)
default_normal_finite(n) = all(isfinite, randn(n))
default_choice_is_member(v) = rand(v) in v
monte_carlo_pi(seed, n) = (r = MersenneTwister(seed); 4 * count(_ -> rand(r)^2 + rand(r)^2 < 1, 1:n) / n)
reseeded(seed) = (r = MersenneTwister(seed); a = rand(r); Random.seed!(r, seed); a == rand(r))
copy_continues(seed) = (r = MersenneTwister(seed); rand(r); s = copy(r); rand(r, 3) == rand(s, 3))

uuid_version(u) = uuid_version_of(u)
uuid_version_of(u) = UUIDs.uuid_version(u)
printf_int(n) = @sprintf("%d items", n)
printf_float(x) = @sprintf("%.2f", x)
printf_exp(x) = @sprintf("%.3e", x)
printf_g(x) = @sprintf("%g", x)
printf_string(s) = @sprintf("[%s]", s)
printf_char(c) = @sprintf("%c!", c)
printf_hex(n) = @sprintf("%x %X %#x", n, n, n)
printf_wide(n) = @sprintf("%5d|%-5d|%05d|%+d", n, n, n, n)
printf_many(s, n, x) = @sprintf("%s: %d (%.1f)", s, n, x)
printf_percent(x) = @sprintf("%.1f%%", x)
printf_octal(n) = @sprintf("%o", n)

laplacian(n) = spdiagm(-1 => fill(-1, n - 1), 0 => fill(2, n), 1 => fill(-1, n - 1))
serialized_round_trip(x::T) where {T} = (io = IOBuffer(); serialize(io, x); seekstart(io); deserialize(io)::T)
serialized(x) = (io = IOBuffer(); serialize(io, x); take!(io))

fib_big(n) = (a = big(0); b = big(1); for _ in 1:n; a, b = b, a + b; end; a)
factorial_big(n) = prod(big(1):big(n))
harmonic(n) = sum(1 // big(k) for k in 1:n)
big_precision(bits) = setprecision(() -> BigFloat(1) / 3, BigFloat, bits)
function machin_pi(digits)
    unity = big(10)^(digits + 10)
    arctan(x) = (s = t = unity ÷ x; n = 3; sign = -1; while t != 0; t = t ÷ (x * x); s += sign * (t ÷ n); sign = -sign; n += 2; end; s)
    return (4 * (4 * arctan(big(5)) - arctan(big(239)))) ÷ big(10)^10
end
function isprime_big(n)
    d, s = n - 1, 0
    while iseven(d)
        d >>= 1
        s += 1
    end
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
        x = powermod(big(a), d, n)
        (x == 1 || x == n - 1) && continue
        composite = true
        for _ in 2:s
            x = powermod(x, 2, n)
            x == n - 1 && (composite = false; break)
        end
        composite && return false
    end
    return true
end

elapsed_is_positive(n) = (t = time_ns(); s = sum(sqrt, 1:n); time_ns() >= t && s > 0)
time_moves(n) = time() > 1.6e9 && n == 1
pid_is_positive(n) = getpid() > 0 && n == 1
host_has_name(n) = !isempty(gethostname()) && n == 1
cpu_threads_positive(n) = Sys.CPU_THREADS > 0 && n == 1
short_sleep(seconds) = (t = time(); sleep(seconds); time() - t >= seconds / 2)
