# The conformance tables of strings against real nodes of all kinds: each call here and there.

using BitCode, Test

const TABLES = ("strings",)
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
