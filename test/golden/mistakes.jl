# The most common mistakes: what somebody writes who ships a function for the first time.

module Mistakes

counter = 0
reads_a_variable(x) = x + counter

struct Loose
    value
end
adds_loosely(l::Loose) = l.value + 1

sums_anything(x) = sum(Any[x, 2x])

# Any number: there is no end to the types that `abs` and `+` would have to be compiled for.
total_length(r) = sum(abs, Real[r, 2])

counts_lines(name) = open(io -> countlines(io), string("file", name))

starts_a_task(x) = fetch(@async x + 1)

const LOCK = ReentrantLock()
locks(x) = lock(() -> x + 1, LOCK)

evaluates(x) = eval(:(1 + 2)) + x

calls_latest(x) = Base.invokelatest(sin, x)

misspells(x) = x + conter

runs_a_program(x) = read(`echo $x`)

const BUFFER = Ptr{Float64}(Libc.malloc(16))
keeps_a_pointer(x) = unsafe_load(BUFFER) + x

calls_a_library(x) = ccall((:zlibCompileFlags, "libz"), Culong, ()) + x

makes_a_type(n) = length(ntuple(identity, Val(n)))

reads_the_environment(x) = ENV["HOME"]

deep(x) = middle(x) + 1
@noinline middle(x) = innermost(x) * 2
@noinline innermost(x) = x + counter

end
