# The conformance tables of bits and arrays against real nodes of all kinds: each call here and there.

using BitCode, Test

const TABLES = ("bits", "arrays")
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
