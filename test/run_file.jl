# One test file in this process; then its count, on a line of its own, for runtests.jl.

using Test

const FILE = only(ARGS)

# Passed and not passed. What is marked broken counts as neither.
function counts()
    try
        set = @testset "$(basename(FILE))" begin
            include(FILE)
        end
        return count_passed(set), 0
    catch e
        e isa Test.TestSetException || rethrow()
        return e.pass, e.fail + e.error
    end
end

function count_passed(set)
    own = set.n_passed
    return own + sum(Int[count_passed(inner) for inner in set.results if inner isa Test.DefaultTestSet])
end

const PASSED, FAILED = counts()
println("\nCOUNT ", PASSED, " ", FAILED)
exit(FAILED == 0 ? 0 : 1)
