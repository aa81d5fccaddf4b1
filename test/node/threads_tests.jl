# Calls from several threads at once, in a process that has some.

using BitCode, Test

const PROGRAM = joinpath(@__DIR__, "threads.jl")

@testset "calls from several threads" begin
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) $PROGRAM`
    @test read(setenv(command, merge(ENV, Dict("JULIA_NUM_THREADS" => "4"))), String) == "done\n"
end
