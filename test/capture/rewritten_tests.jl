# Julia functions that capture has written again give what Julia's own give, and throw what they throw: over random arguments, here, without a node.

using BitCode, Test, Dates, Random
using BitCode: Capture

outcome(f, arguments...) = try f(arguments...) catch e sprint(showerror, e) end
same(a, b) = typeof(a) === typeof(b) && isequal(a, b)

@testset "days of the week" begin
    from = Date(2019, 12, 20):Day(1):Date(2020, 3, 10)
    for date in from, dow in (1, 4, 7), moment in (date, DateTime(date) + Hour(5)), same_day in (false, true)
        @test Capture.weekday_from(same_day, tonext, moment, dow) === tonext(moment, dow; same = same_day)
        @test Capture.weekday_from(same_day, toprev, moment, dow) === toprev(moment, dow; same = same_day)
    end
    for date in from, dow in 1:7, of in (Month, Year)
        @test Capture.weekday_from(of, tofirst, date, dow) === tofirst(date, dow; of = of)
        @test Capture.weekday_from(of, tolast, date, dow) === tolast(date, dow; of = of)
    end
    @test outcome(Capture.weekday_from, false, tonext, first(from), 8) == outcome(tonext, first(from), 8)
end

@testset "pieces of arrays" begin
    rng = MersenneTwister(7)
    piece() = rand(rng, Any[3, 2.5, [1, 2], [1.5], Int[], [1 2; 3 4], [5.0 6.0], 1:2, [1 2]', view([1, 2, 3], 2:3)])
    # Later versions have no such function.
    if VERSION < v"1.6"
        equal = given = 0
        for _ in 1:2000
            pieces, dims = [piece() for _ in 1:rand(rng, 1:4)], rand(rng, (1, 2, 3, (1, 2)))
            expected = outcome((pieces...) -> cat(pieces...; dims = dims), pieces...)
            expected isa Array || continue
            made = Capture.placed_pieces(zero(expected), size(expected), Base.dims2cat(dims), pieces...)
            equal, given = equal + same(made, expected), given + 1
        end
        @test equal == given > 1000
    end
    # Nor this one.
    isdefined(Base, :_repeat) && for a in ([1, 2, 3], ["a" "b"; "c" "d"], 1:3, Int[], rand(rng, 2, 3, 2)), inner in ((2,), (1,), (2, 3), (0,), (1, 2, 2), (-1,)), outer in ((2,), (1, 2), (3, 1, 1), (0,), (2, 1, 2, 2), (-2,))
        @test same(outcome(Capture.repeated, a, inner, outer), outcome(Base._repeat, a, inner, outer))
    end
end

@testset "formats of dates" begin
    rng = MersenneTwister(20200229)
    codes = collect("yYmuUedEHIMSsp")
    separators = ["-", "/", " ", ", ", ":", "T", ".", "\\y", "\\\\", "é", "\\", "of "]
    pattern() = join(rand(rng) < 0.6 ? string(rand(rng, codes))^rand(rng, 1:4) : rand(rng, separators) for _ in 1:rand(rng, 1:7))
    moment() = DateTime(rand(rng, (1, 33, 999, 1970, 2020, 12345)), rand(rng, 1:12), rand(rng, 1:28), rand(rng, 0:23), rand(rng, 0:59), rand(rng, 0:59), rand(rng, (0, 7, 80, 500, 999)))
    written(date, format) = Capture.formatted_date(Dates.ENGLISH, Dates.format, date, format)
    read(T, text, format) = Capture.read_date(Dates.ENGLISH, T, text, format)
    equal = read_back = 0
    # Julia compiles anew for each format.
    formats = [pattern() for _ in 1:150]
    for _ in 1:3000
        format, date = rand(rng, formats), moment()
        text = outcome(Dates.format, date, format)
        equal += same(outcome(written, date, format), text)
        # Texts that were written so, and spoilt ones.
        text = text isa String && rand(rng) < 0.7 ? text : randstring(rng, "0123 -/:TJan", rand(rng, 1:10))
        rand(rng) < 0.3 && (text = string(text, rand(rng, ("x", "1", " "))))
        T = rand(rng, (Date, DateTime, Time))
        read_back += same(outcome(read, T, text, format), outcome(T, text, format))
    end
    @test equal == 3000
    @test read_back == 3000
end

@testset "accumulate along dimensions" begin
    rng = MersenneTwister(7)
    along(op, a, dims) = Capture.accumulated_along(op, similar(a), a, dims, nothing)
    for size in ((3,), (2, 3), (2, 3, 4), (0, 3), (3, 0), (1, 1, 5)), a in (rand(rng, -9:9, size), rand(rng, size)), op in (+, -), dims in 0:4
        wanted = outcome(() -> accumulate!(op, similar(a), a; dims = dims))
        @test same(outcome(along, op, a, dims), wanted)
        started = outcome(() -> accumulate!(op, similar(a), a; dims = dims, init = 1))
        @test same(outcome(() -> Capture.accumulated_along(op, similar(a), a, dims, Some(1))), started)
    end
end
