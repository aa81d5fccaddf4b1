# The conformance tables of bits, arrays and strings against a real node: each call here and there.

using BitCode, Test

const TABLES = ("bits", "arrays", "strings")
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
