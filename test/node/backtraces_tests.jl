# Where a shipped function threw: functions, files and lines as the source has them.

using BitCode, Test

include("waiting.jl")

const HERE = @__FILE__
# The tests below name these lines.
struct Broken <: Exception end

@inline inlined(x) = x > 0 ? throw(Broken()) : x      # line 11
@noinline middle(x) = inlined(x) + 1                  # line 12
function outer(x)
    y = middle(x)                                     # line 14
    return 2y
end
index(v, i) = v[i]                                    # line 17
divide(x) = div(1, x)                                 # line 18
text(x) = parse(Int, x > 0 ? "abc" : "1")             # line 19
recurse(n) = n < 0 ? n : recurse(n + 1) + 1           # line 20
function throws_again(x)
    try
        outer(x)                                      # line 23
    catch
        try
            index([1], 5)
        catch
        end
        rethrow()
    end
end
function throws_another(x)
    try
        outer(x)
    catch
        index([1], 5)                                 # line 36
    end
end
function in_a_loop(n)
    caught = 0
    for i in 1:n
        try
            outer(1)
        catch
            caught += 1
        end
    end
    outer(1)                                          # line 48
    return caught
end
sometimes(x) = x == 1 ? throw(Broken()) : x == 2 ? throw(Broken()) : x # line 51

frames(e) = [(frame.func, frame.line) for (frame, n) in e.backtrace if string(frame.file) == HERE]

frames_here(f) = try f(); error("nothing was thrown") catch; stacktrace(catch_backtrace()) end

@testset "backtraces" begin
    node = launch()
    remote_frames(f, arguments...) = frames(thrown(() -> remotecall_fetch(f, node, arguments...)))

    @test remote_frames(outer, 1) == [(:inlined, 11), (:middle, 12), (:outer, 14)]
    @test remote_frames(index, [1, 2], 3) == [(:index, 17)]
    @test remote_frames(divide, 0) == [(:divide, 18)]
    @test remote_frames(text, 1) == [(:text, 19)]
    @test remote_frames(throws_again, 1) == [(:inlined, 11), (:middle, 12), (:outer, 14), (:throws_again, 23)]
    @test remote_frames(throws_another, 1) == [(:index, 17), (:throws_another, 36)]
    @test remote_frames(in_a_loop, 1000) == [(:inlined, 11), (:middle, 12), (:outer, 14), (:in_a_loop, 48)]
    @test remote_frames(sometimes, 1) == remote_frames(sometimes, 2) == [(:sometimes, 51)]

    # Frames of Base, as Julia shows them; what was inlined says so.
    e = thrown(() -> remotecall_fetch(index, node, [1, 2], 3))
    frame, n = e.backtrace[1]
    here = first(filter(frame -> frame.func === :getindex, frames_here(() -> index([1, 2], 3))))
    @test (frame.func, frame.file, frame.inlined, n) == (:getindex, here.file, true, 1)
    @test !e.backtrace[end][1].inlined
    @test !any(((frame, n),) -> occursin("marshal", string(frame.file)), e.backtrace)

    shown = sprint(showerror, e)
    @test startswith(shown, "On node $(node.address):\nBoundsError")
    # "index at file:17", and since 1.6 over two lines.
    in_line = Regex(string("index\\s+(at|@) \\Q", HERE, "\\E:17"))
    @test occursin(in_line, shown)
    @test occursin(in_line, sprint(showerror, e.captured))

    # Recursion without end: its frames are many, and few are kept.
    e = thrown(() -> remotecall_fetch(recurse, node, 1))
    @test e.exception isa StackOverflowError
    @test length(e.backtrace) == 1
    @test frames(e) == [(:recurse, 20)] && e.backtrace[1][2] > 10

    # Calls that throw and catch, at once, keep their own.
    futures = [remotecall(f, node, 1) for _ in 1:20 for f in (outer, throws_another)]
    for (k, future) in enumerate(futures)
        lines = frames(thrown(() -> fetch(future)))
        @test lines == (isodd(k) ? [(:inlined, 11), (:middle, 12), (:outer, 14)] : [(:index, 17), (:throws_another, 36)])
    end
    close(node)
end
