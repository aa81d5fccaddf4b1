# What belongs to a process has an equivalent in shipped code.

include("shipping.jl")
using Printf

imports(f, types...) = shipped(f, types...).imports

sleeps(x) = (sleep(x); x)
asks_host(x) = gethostname()
asks_threads(x) = Sys.CPU_THREADS + x
asks_julia_threads(x) = Threads.nthreads() + x
prints_to_errors(x) = println(stderr, "x is ", x)
shows_types(x) = string("a ", typeof(x), " in ", [x])
formats(x) = @sprintf("%5.2f|%d|%s", x, 3, "a")
counts_by_identity(x) = (d = IdDict{Any,Int}(); d[x] = 1; d[:a] = 2; delete!(d, x); length(d))
makes_from_pairs(x) = Dict([("a", x), ("b", x)])

@testset "equivalents" begin
    @test "bc_sleep" in imports(sleeps, Float64)
    @test "gethostname" in imports(asks_host, Int)
    @test "bc_cpu_threads" in imports(asks_threads, Int)
    # One thread; since 1.9 that is part of the code.
    @test "jl_n_threads" in imports(asks_julia_threads, Int) || VERSION >= v"1.9-"
    @test "bc_write" in imports(prints_to_errors, Int) || "bc_print" in imports(prints_to_errors, Int)
    @test shipped(shows_types, Int) isa Shipped
    for f in (formats, counts_by_identity, makes_from_pairs)
        @test shipped(f, f === formats ? Float64 : Int) isa Shipped
    end
end

@testset "tables by identity are laid out as Julia lays them out" begin
    table, mark = Vector{Any}(undef, 32), Ref{Int32}(0)
    theirs = IdDict{Any,Any}()
    keys = Any[1:300; :a; "b"; 1.5; nothing]
    GC.@preserve mark for key in keys
        place = Base.unsafe_convert(Ptr{Int32}, mark)
        table = Capture.eqtable_put(table, key, string(key), place)
        @test mark[] == 1
        theirs[key] = string(key)
    end
    words(t) = [isassigned(t, i) ? t[i] : missing for i in eachindex(t)]
    @test isequal(words(table), words(theirs.ht))
    @test Capture.eqtable_get(table, :a, 0) == "a" && Capture.eqtable_get(table, :none, 0) == 0
    @test Capture.eqtable_pop(table, 7, 0, Ptr{Int32}(0)) == "7" && Capture.eqtable_get(table, 7, 0) == 0
    pop!(theirs, 7)
    @test isequal(words(table), words(theirs.ht))
    @test Capture.eqtable_next(table, 0) == Base._oidd_nextind(theirs.ht, 0)
    @test Capture.eqtable_next(Any[], 0) == typemax(UInt64)
    @test isequal(words(Capture.eqtable_rehash(table, 2048)), words(Base.rehash!(theirs, 2048).ht))
end
