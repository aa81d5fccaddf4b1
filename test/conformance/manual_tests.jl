# The conformance tables of the chapters of Julia's manual against a real node: each call here and there.

using BitCode, Test

const TABLES = ("manual",)
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
