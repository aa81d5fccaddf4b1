# The conformance tables of the standard libraries against real nodes of all kinds: each call here and there.

using BitCode, Test

const TABLES = ("standard",)
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
