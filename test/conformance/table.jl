# The whole table, with what its calls need.

using Base64, CRC32c, Dates, LinearAlgebra, Printf, Random, SHA, Serialization, SparseArrays, Statistics, Unicode, UUIDs

include("cases.jl")
for file in ("functions", "text", "structures", "throwing", "standard", "manual")
    include(joinpath("own", file * ".jl"))
end
for file in ("bits", "arrays", "strings", "collections", "exceptions", "standard", "manual", "refused")
    include(joinpath("tables", file * ".jl"))
end
