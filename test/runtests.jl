# All Julia tests: a process for each file, so that what one file leaves behind (or a crash) stays there. The last line says how many
# tests passed and failed; the status is zero only when none failed.
#
#     julia --project=. test/runtests.jl [name…]      only the files whose path holds one of the names
#
# Files that mostly compile, one thing after the other, run BITCODE_TEST_JOBS at a time (two, where there are two processors). What has
# many processes of its own, or measures memory, has the machine to itself.

import Dates

const HERE = @__DIR__
const ROOT = dirname(HERE)
const DEADLINE = 1800 # seconds for one file

const JOBS = parse(Int, get(ENV, "BITCODE_TEST_JOBS", string(min(2, Sys.CPU_THREADS))))
const SIDE_BY_SIDE = ("marshal", "capture", "conformance")
const ALONE = ("leak_tests.jl",)

# What conformance files said: "tier: 12 of 13, 2 refused, …". Shown at the end.
const CONFORMANCE = String[]

# What they said last, for each Julia that ran them on this clone: a file for each version, with a line "tier\tday\twhat it said" for each tier.
const CONFORMANCE_KEPT = joinpath(get(ENV, "CARGO_TARGET_DIR", joinpath(ROOT, "target")), "conformance")

in_folder(folder, ending) = isdir(folder) ? [joinpath(folder, file) for file in sort(readdir(folder)) if endswith(file, ending)] : String[]

# Every room of test/ that has Julia tests, the ground floors first.
function test_files()
    order = ["package", "abi", "marshal", "capture", "node", "segments", "hop", "conformance"]
    rooms = [order; setdiff(filter(room -> isdir(joinpath(HERE, room)), readdir(HERE)), order)]
    return [reduce(vcat, in_folder(joinpath(HERE, room), "_tests.jl") for room in rooms); in_folder(joinpath(ROOT, "examples"), ".jl")]
end

# Run one file to its end or to its deadline; what it passed and failed. A process that dies without a count is one failure. `say` is given
# each line of its output.
function run_file(say, path)
    command = `$(Base.julia_cmd()) --startup-file=no --depwarn=error --project=$(Base.active_project()) $(joinpath(HERE, "run_file.jl")) $path`
    output = Pipe()
    # Output is passed on as it comes; the counts have a line of their own, which is not.
    process = run(pipeline(ignorestatus(command); stdin = devnull, stdout = output, stderr = output); wait = false)
    close(output.in)
    late = Timer(_ -> kill(process, Base.SIGKILL), DEADLINE)
    passed, failed, counted = 0, 0, false
    for line in eachline(output)
        m = match(r"^COUNT ([0-9]+) ([0-9]+)$", line)
        if startswith(line, "CONFORMANCE ")
            push!(CONFORMANCE, line[length("CONFORMANCE ")+1:end])
        elseif m === nothing
            say(line)
        else
            passed, failed, counted = parse(Int, m[1]), parse(Int, m[2]), true
        end
    end
    wait(process)
    isopen(late) || say("it was stopped after $DEADLINE seconds")
    close(late)
    died = !counted || (process.exitcode != 0 && failed == 0) || process.termsignal != 0
    died && say("$(relpath(path, ROOT)) ended without a result (exit code $(process.exitcode), signal $(process.termsignal))")
    return passed, failed + died
end

# The same, with a heading and a last line. Side by side with others all of it is said at the end, in one piece.
function reported(path; side_by_side = false)
    name = relpath(path, ROOT)
    lines = String[]
    say = side_by_side ? line -> (push!(lines, line); nothing) : line -> (println(line); flush(stdout))
    say("\n== $name")
    seconds = @elapsed passed, failed = run_file(say, path)
    say("-- $name: $passed passed, $failed failed ($(round(seconds; digits = 1)) s)")
    foreach(println, lines)
    flush(stdout)
    return path => (passed, failed)
end

# Each tier as this Julia has it now, and below it as others had it, on the day that is said there.
function show_conformance()
    isempty(CONFORMANCE) && return
    file = keep_conformance()
    println("Conformance: calls that end as they do locally, per tier, with each Julia that was tried on this clone")
    kept = [name[1:end-4] => kept_conformance(joinpath(CONFORMANCE_KEPT, name)) for name in sort(readdir(dirname(file))) if endswith(name, ".txt")]
    for line in CONFORMANCE
        tier = first(split(line, ": "))
        println("  ", tier)
        for (julia, tiers) in kept
            haskey(tiers, tier) || continue
            day, said = tiers[tier]
            println("    ", rpad(julia, 16), rpad(julia == this_julia() ? "now" : day, 12), said)
        end
    end
end

this_julia() = "Julia $VERSION"

# "tier" => ("day", "what it said")
kept_conformance(file) = Dict{String,Tuple{String,String}}(String(tier) => (String(day), String(said)) for (tier, day, said) in split.(eachline(file), '\t'))

# Tiers that did not run this time stay as they were.
function keep_conformance()
    file = joinpath(mkpath(CONFORMANCE_KEPT), this_julia() * ".txt")
    tiers = isfile(file) ? kept_conformance(file) : Dict{String,Tuple{String,String}}()
    for line in CONFORMANCE
        tier, said = split(line, ": "; limit = 2)
        tiers[tier] = (string(Dates.today()), said)
    end
    write(file, join(string(tier, '\t', join(tiers[tier], '\t'), '\n') for tier in sort!(collect(keys(tiers)))))
    return file
end

runs_side_by_side(path) = JOBS > 1 && basename(dirname(path)) in SIDE_BY_SIDE && !(basename(path) in ALONE)

function main(names)
    files = filter(path -> isempty(names) || any(name -> occursin(name, relpath(path, ROOT)), names), test_files())
    isempty(files) && error("no test file has a name like ", join(names, ", "))
    # The last of these take longest: they begin.
    results = [asyncmap(path -> reported(path; side_by_side = true), reverse!(filter(runs_side_by_side, files)); ntasks = JOBS)
               map(reported, filter(!runs_side_by_side, files))]
    println()
    show_conformance()
    println()
    for (path, (passed, failed)) in results
        println(rpad(relpath(path, ROOT), 44), lpad(passed, 6), " passed", failed > 0 ? lpad(failed, 6) * " failed" : "")
    end
    passed, failed = sum(Int[r[1] for (_, r) in results]), sum(Int[r[2] for (_, r) in results])
    println(passed, " passed, ", failed, " failed")
    return failed == 0
end

const ALL_PASSED = main(ARGS)
# `Pkg.test` wants an exception or a status; `exit(0)` would be in the way of whoever includes this file.
ALL_PASSED || exit(1)
