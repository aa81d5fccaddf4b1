# The conformance table of the standard libraries, library by library, against real nodes of all kinds: each call here and there.

using BitCode, Test

const TABLES = ("libraries",)
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
