# Random functions, run here and on a node: same value, or same exception. The seed is fixed; `BITCODE_TEST_SEED` gives another one, and
# `BITCODE_TEST_FUNCTIONS` more of them. What fails is made small before it is shown.

using BitCode, Test

include("compare.jl")
include("cases.jl")
include("calls.jl")
include("expressions.jl")

const SEED = parse(Int, get(ENV, "BITCODE_TEST_SEED", "20201109"))
const FUNCTIONS = parse(Int, get(ENV, "BITCODE_TEST_FUNCTIONS", "120"))
const CALLS_EACH = 4

# What is wrong with the function of this term, for one of these lists of arguments; `nothing` if nothing is.
function trouble(term, argument_lists, shared)
    f = make_function(term)
    for arguments in argument_lists
        case = Case("random", "", f, arguments, NamedTuple(), same)
        here = Base.invokelatest(run_here, case)
        # A name that shrinking took out of its scope is no finding.
        here isa Thrown && here.exception isa UndefVarError && return nothing
        wrong = difference(case, here, Base.invokelatest(run_there, case, shared))
        wrong === nothing || return string("arguments ", arguments, "\n    ", wrong)
    end
    return nothing
end

shared = SharedNode()
rng = MersenneTwister(SEED)
values_given = exceptions_given = 0
@testset "random functions, seed $SEED" begin
    for n in 1:FUNCTIONS
        term = random_term(rng, rand(rng, TYPES), ARGUMENTS, rand(rng, 2:5))
        argument_lists = [random_arguments(rng) for _ in 1:CALLS_EACH]
        wrong = trouble(term, argument_lists, shared)
        if wrong !== nothing
            least = shrink(t -> trouble(t, argument_lists, shared) !== nothing, term)
            println(stderr, "function ", n, ": (", join(first.(ARGUMENTS), ", "), ") -> ", expression(least), "\n    ", trouble(least, argument_lists, shared))
        end
        @test wrong === nothing
        f = make_function(term)
        thrown = count(arguments -> Base.invokelatest(run_here, Case("", "", f, arguments, NamedTuple(), same)) isa Thrown, argument_lists)
        global exceptions_given += thrown
        global values_given += CALLS_EACH - thrown
    end
end
# The functions are worth something: they give values, and they throw.
@test values_given > FUNCTIONS
@test exceptions_given > FUNCTIONS ÷ 2
@test shared.lost == 0
close(shared)
println("\nRandom functions: ", FUNCTIONS, " with ", values_given, " values and ", exceptions_given, " exceptions, seed ", SEED)
