# The conformance tables of allocation, collections and exceptions against real nodes of all kinds: each call here and there.

using BitCode, Test

const TABLES = ("collections", "exceptions")
include("compare.jl")
include("table.jl")
include("calls.jl")

run_tables()
