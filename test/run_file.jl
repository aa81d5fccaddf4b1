# One test file in this process; then its count, on a line of its own, for runtests.jl. In a module, so that the file has `Main` to itself.

module RunFile

using Test

# Passed and not passed. What is marked broken counts as neither; an example that has no test of its own passes by coming to its end.
function run_file(file)
    try
        set = @testset "$(basename(file))" begin
            Base.include(Main, file)
        end
        return max(1, count_passed(set)), 0
    catch e
        e isa Test.TestSetException || rethrow()
        return e.pass, e.fail + e.error
    end
end

function count_passed(set)
    own = set.n_passed
    return own + sum(Int[count_passed(inner) for inner in set.results if inner isa Test.DefaultTestSet])
end

passed, failed = run_file(only(ARGS))
println("\nCOUNT ", passed, " ", failed)
exit(failed == 0 ? 0 : 1)

end
