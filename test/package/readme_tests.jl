# The README's first example runs as it stands there: each line in turn, in a module of its own.

using BitCode, Test

const README = read(joinpath(@__DIR__, "..", "..", "README.md"), String)

# The statements of the first Julia block, each with the comment on its line.
function statements(text)
    block = match(r"```julia\n(.*?)```"s, text)[1]
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
    all = statements(README)
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
