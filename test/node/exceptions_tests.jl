# What shipped code throws arrives as it was.

using BitCode, Test
using Dates

include("waiting.jl")

struct Refused <: Exception
    code::Int
    share::Float64
end
struct WithPlace <: Exception
    place::NTuple{2,Int}
    maybe::Union{Nothing,Int}
end
refuse(n) = throw(Refused(n, n / 4))
place(n) = throw(WithPlace((n, 2n), n > 0 ? n : nothing))
complain(n) = n > 0 ? error("it is too much") : n
argue(n) = n > 0 ? throw(ArgumentError("no")) : n
runaway(n) = runaway(n + 1) + 1
always() = throw(Refused(0, 0.0))

struct Detailed <: Exception
    message::String
    words::Vector{String}
    counts::Dict{String,Int}
    pairs::Vector{Tuple{String,Int}}
    number::BigInt
    anything::Any
end
mutable struct Circular <: Exception
    self::Any
    name::Symbol
end
detail(word, n) = throw(Detailed("about $word", [word, word], Dict(word => n), [(word, n)], big(n)^30, (word, [n])))
circle(name) = (e = Circular(nothing, name); e.self = e; throw(e))
lookup(d, k) = d[k]

node = launch()
remote_exception(f, arguments...) = thrown(() -> remotecall_fetch(f, node, arguments...))
local_exception(f, arguments...) = thrown(() -> f(arguments...))

@testset "type, message and fields" begin
    for (f, arguments) in ((sqrt, (-1.0,)), (log, (-2.0,)), (div, (1, 0)), (rem, (typemin(Int), 0)), (getindex, ([1, 2, 3], 4)), (getindex, ((1, 2), 3)),
                           (setindex!, ([1, 2, 3], 1, 9)), (Int8, (300,)), (Int, (1.5,)), (factorial, (30,)), (Base.checked_add, (typemax(Int), 1)),
                           (refuse, (3,)), (place, (1,)), (place, (-1,)), (complain, (1,)), (argue, (1,)), (always, ()), (Date, (2020, 13, 1)),
                           (reshape, ([1, 2, 3], 2, 2)), (invmod, (2, 4)))
        here, there = local_exception(f, arguments...), remote_exception(f, arguments...)
        @test there isa RemoteException
        @test there.node === node
        @test typeof(there.exception) === typeof(here)
        @test sprint(showerror, there.exception) == sprint(showerror, here)
    end
    @test remote_exception(refuse, 8).exception === Refused(8, 2.0)
    @test remote_exception(place, -1).exception === WithPlace((-1, -2), nothing)
    e = remote_exception(getindex, [10, 20], 5).exception
    @test e.a == [10, 20] && e.i == (5,)
end

@testset "fields of all kinds" begin
    e = remote_exception(detail, "word", 7).exception
    @test e isa Detailed
    @test (e.message, e.words, e.counts, e.pairs, e.number, e.anything) == ("about word", ["word", "word"], Dict("word" => 7), [("word", 7)], big(7)^30, ("word", [7]))
    c = remote_exception(circle, :me).exception
    @test c isa Circular && c.self === c && c.name === :me
    for (f, arguments) in ((lookup, (Dict("a" => 1), "b")), (lookup, (Dict(1 => "x"), 2)), (lookup, (["a"], 3)), (parse, (Int, "12x")), (first, (String[],)),
                           (pop!, (Int[],)), (codeunit, ("abc", 9)), (getindex, ("häß", 3)))
        here, there = local_exception(f, arguments...), remote_exception(f, arguments...)
        @test typeof(there.exception) === typeof(here)
        @test sprint(showerror, there.exception) == sprint(showerror, here)
    end
end

@testset "how it shows" begin
    e = remote_exception(sqrt, -1.0)
    @test startswith(sprint(showerror, e), "On node $(node.address):\nDomainError with -1.0")
    # As Distributed's does.
    @test e.captured isa CapturedException && e.captured.ex === e.exception
end

@testset "the node lives on" begin
    @test remote_exception(runaway, 1).exception isa StackOverflowError
    @test remotecall_fetch(+, node, 1, 2) === 3
    for _ in 1:1000
        remote_exception(refuse, 1)
    end
    @test remotecall_fetch(+, node, 1, 2) === 3
    @test remotecall_fetch(complain, node, 0) === 0
end

@testset "caught over there" begin
    safe_root(x) = try sqrt(x) catch e; e isa DomainError ? -1.0 : -2.0 end
    @test remotecall_fetch(safe_root, node, -4.0) === -1.0
    @test remotecall_fetch(safe_root, node, 4.0) === 2.0
    tidy(v, i) = (done = 0; try v[i] finally done += 1 end)
    @test remotecall_fetch(tidy, node, [7], 1) === 7
    @test remote_exception(tidy, [7], 2).exception isa BoundsError
end

close(node)

@testset "calls to a closed node" begin
    e = thrown(() -> remotecall_fetch(+, node, 1, 2))
    @test e isa BitCode.BitCodeError && e.code == :session_closed
    @test occursin("closed", sprint(showerror, e))
end
