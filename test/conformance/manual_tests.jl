# The conformance tables of the chapters of Julia's manual against real nodes of all kinds: each call here and there.

using BitCode, Test

const TABLES = ("manual",)
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
