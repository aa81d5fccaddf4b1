# The tables, with what their calls need. Who includes this may define `TABLES` before, to have some of them only.

using Base64, CRC32c, Dates, LinearAlgebra, Printf, Random, SHA, Serialization, SparseArrays, Statistics, Unicode, UUIDs

include("cases.jl")
for file in ("functions", "text", "structures", "throwing", "standard", "manual")
    include(joinpath("own", file * ".jl"))
end
@isdefined(TABLES) || (TABLES = ("bits", "arrays", "strings", "collections", "exceptions", "standard", "libraries", "manual"))
for file in TABLES
    include(joinpath("tables", file * ".jl"))
end
