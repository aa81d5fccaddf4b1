# The examples of README and guide run as they stand there: each statement in turn, in a module for each page.

using BitCode, Test

page(names...) = read(joinpath(@__DIR__, "..", "..", names...), String)

blocks(text) = [m[1] for m in eachmatch(r"```julia\n(.*?)```"s, text)]

# The statements of a block, each with the comment on its line.
function statements(block)
    found = Tuple{Any,String}[]
    position = 1
    while position <= lastindex(block)
        expression, next = Meta.parse(block, position)
        line = block[position:prevind(block, next)]
        expression === nothing || push!(found, (expression, line))
        position = next
    end
    return found
end

@testset "the README's example" begin
    scope = Module(:Readme)
    all = statements(first(blocks(page("README.md"))))
    @test length(all) >= 7
    for (expression, line) in all
        if occursin("RemoteException", line)
            @test_throws RemoteException Core.eval(scope, expression)
        else
            @test (Core.eval(scope, expression); true)
        end
    end
    @test fetch(Core.eval(scope, :f)) == Base.invokelatest(Core.eval(scope, :row), 0.1)
    close(Core.eval(scope, :node))
end

# Not those that leave something out, or go to machines that are not there.
can_run(block) = !occursin(r"…|connect\(", block)

@testset "the guide's examples" begin
    scope = Module(:Guide)
    # Files that they write.
    mktempdir() do directory
        cd(directory) do
            run = filter(can_run, blocks(page("docs", "GUIDE.md")))
            @test length(run) >= 9
            for block in run, (expression, text) in statements(block)
                @test (Core.eval(scope, expression); true)
            end
        end
    end
    foreach(close, nodes())
end
