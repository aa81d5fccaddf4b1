# Versions of Julia that nobody tried are refused in words, and taken when the user says so.

using BitCode, Test

@testset "versions of Julia" begin
    @test BitCode.refuse_untried_julia(VERSION, false) === nothing
    @test BitCode.refuse_untried_julia(v"1.5.0", false) === nothing
    for untried in (v"1.4.2", v"1.6.7", v"1.11.0", v"2.10.0")
        refused = try BitCode.refuse_untried_julia(untried, false); nothing catch e; e end
        @test refused isa ErrorException
        @test occursin("Julia $untried", refused.msg) && occursin("BITCODE_UNTESTED_JULIA=1", refused.msg)
        @test BitCode.refuse_untried_julia(untried, true) === nothing
    end
end
