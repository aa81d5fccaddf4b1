# The conformance table on a node that runs the machine code that another one has compiled and kept on disk. Some calls of each group; all with
# BITCODE_TEST_FULL=1.

using BitCode, Test

include("compare.jl")
include("table.jl")
include("calls.jl")

const EVERY = get(ENV, "BITCODE_TEST_FULL", "") == "1" ? 1 : 25

# The first call of each group, and each 25th after it, of those that are shipped.
function sample(table)
    groups = unique(case.group for case in table)
    return vcat([filter(case -> case.group == group, table)[1:EVERY:end] for group in groups]...)
end

mktempdir() do directory
    objects = joinpath(directory, "objects")
    start() = SharedNode("from objects", () -> launch(; object_cache = objects))
    chosen = sample(TABLE)
    compiling = start()
    foreach(case -> run_there(case, compiling), chosen)
    @test compiling.lost == 0
    close(compiling)
    linking = start()
    @testset "from objects: $group" for group in unique(case.group for case in chosen)
        for case in filter(case -> case.group == group, chosen)
            @test check(case, linking)
        end
    end
    @test linking.lost == 0
    log = BitCode.node_log(linking.node)
    compiled, loaded = length(collect(eachmatch(r"code compiled", log))), length(collect(eachmatch(r"code loaded from disk", log)))
    @test loaded > 0
    @test compiled == 0
    close(linking)
    println("\nConformance from objects: ", length(chosen), " of ", length(TABLE), " calls; ", loaded, " programs loaded, ", compiled, " compiled")
end
