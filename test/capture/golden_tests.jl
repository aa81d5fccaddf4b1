# The words for the most common mistakes, whole. `BITCODE_GOLDEN=write` writes down what they are now: read it before you commit it.

using BitCode, Test

const GOLDEN = joinpath(dirname(@__DIR__), "golden")
include(joinpath(GOLDEN, "mistakes.jl"))

const MISTAKES = [
    "a_global_variable" => (Mistakes.reads_a_variable, Tuple{Int}),
    "a_field_without_a_type" => (Mistakes.adds_loosely, Tuple{Mistakes.Loose}),
    "an_array_of_anything" => (Mistakes.sums_anything, Tuple{Int}),
    "an_array_of_an_abstract_type" => (Mistakes.total_length, Tuple{Float64}),
    "a_file" => (Mistakes.counts_lines, Tuple{Int}),
    "a_task" => (Mistakes.starts_a_task, Tuple{Int}),
    "a_lock" => (Mistakes.locks, Tuple{Int}),
    "eval" => (Mistakes.evaluates, Tuple{Int}),
    "invokelatest" => (Mistakes.calls_latest, Tuple{Float64}),
    "a_misspelled_name" => (Mistakes.misspells, Tuple{Int}),
    "a_program" => (Mistakes.runs_a_program, Tuple{Int}),
    "a_pointer" => (Mistakes.keeps_a_pointer, Tuple{Float64}),
    "a_library" => (Mistakes.calls_a_library, Tuple{Int}),
    "a_type_made_on_the_way" => (Mistakes.makes_a_type, Tuple{Int}),
    "the_environment" => (Mistakes.reads_the_environment, Tuple{Int}),
    "deep_down" => (Mistakes.deep, Tuple{Int}),
    "an_argument_that_stays" => (isopen, Tuple{IOStream}),
]

# Without what differs from clone to clone and from one Julia build to the next.
portable(text) = replace(replace(text, GOLDEN * "/" => ""), r"(\.jl):\d+(?=\n|$)(?<!mistakes\.jl:\d)(?<!mistakes\.jl:\d\d)" => s"\1") * "\n"

@testset "$name" for (name, (f, types)) in MISTAKES
    # What of Julia's own code leads to a cause differs between its versions; where that shows, a version has a text of its own.
    own = joinpath(GOLDEN, "$(VERSION.major).$(VERSION.minor)", name * ".txt")
    file = isfile(own) ? own : joinpath(GOLDEN, name * ".txt")
    report = BitCode.explain(f, types)
    text = portable(repr("text/plain", report))
    get(ENV, "BITCODE_GOLDEN", "") == "write" && write(file, text)
    @test text == read(file, String)
    # One root cause for each line of the user's.
    @test allunique([(reason.file, reason.line) for reason in report.reasons])
end
