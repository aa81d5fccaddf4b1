# All Julia tests: a process for each file, so that what one file leaves behind (or a crash) stays there. The last line says how many
# tests passed and failed; the status is zero only when none failed.
#
#     julia --project=. test/runtests.jl [name…]      only the files whose path holds one of the names

const HERE = @__DIR__
const ROOT = dirname(HERE)
const DEADLINE = 900 # seconds for one file

# What conformance files said: "tier: 12 of 13, 2 refused, …". Shown at the end.
const CONFORMANCE = String[]

in_folder(folder, ending) = isdir(folder) ? [joinpath(folder, file) for file in sort(readdir(folder)) if endswith(file, ending)] : String[]

# Every room of test/ that has Julia tests, the ground floors first.
function test_files()
    order = ["package", "abi", "marshal", "capture", "node", "segments", "hop", "conformance"]
    rooms = [order; setdiff(filter(room -> isdir(joinpath(HERE, room)), readdir(HERE)), order)]
    return [reduce(vcat, in_folder(joinpath(HERE, room), "_tests.jl") for room in rooms); in_folder(joinpath(ROOT, "examples"), ".jl")]
end

# Run one file to its end or to its deadline; what it passed and failed. A process that dies without a count is one failure.
function run_file(path)
    command = `$(Base.julia_cmd()) --startup-file=no --depwarn=error --project=$(Base.active_project()) $(joinpath(HERE, "run_file.jl")) $path`
    counts = Pipe()
    # Output is passed on as it comes; the counts have a line of their own, which is not.
    process = run(pipeline(ignorestatus(command); stdin = devnull, stdout = counts, stderr = stderr); wait = false)
    close(counts.in)
    late = Timer(_ -> kill(process, Base.SIGKILL), DEADLINE)
    passed, failed, counted = 0, 0, false
    for line in eachline(counts)
        m = match(r"^COUNT ([0-9]+) ([0-9]+)$", line)
        if startswith(line, "CONFORMANCE ")
            push!(CONFORMANCE, line[length("CONFORMANCE ")+1:end])
        elseif m === nothing
            println(line)
        else
            passed, failed, counted = parse(Int, m[1]), parse(Int, m[2]), true
        end
    end
    wait(process)
    isopen(late) || println("it was stopped after ", DEADLINE, " seconds")
    close(late)
    died = !counted || (process.exitcode != 0 && failed == 0) || process.termsignal != 0
    died && println(relpath(path, ROOT), " ended without a result (exit code $(process.exitcode), signal $(process.termsignal))")
    return passed, failed + died
end

function main(names)
    files = filter(path -> isempty(names) || any(name -> occursin(name, relpath(path, ROOT)), names), test_files())
    isempty(files) && error("no test file has a name like ", join(names, ", "))
    results = map(files) do path
        println("\n== ", relpath(path, ROOT))
        flush(stdout)
        seconds = @elapsed result = run_file(path)
        println("-- ", relpath(path, ROOT), ": ", result[1], " passed, ", result[2], " failed (", round(seconds; digits = 1), " s)")
        return result
    end
    println()
    isempty(CONFORMANCE) || println("Conformance: calls that end as they do locally, per tier")
    foreach(line -> println("  ", line), CONFORMANCE)
    println()
    for (path, (passed, failed)) in zip(files, results)
        println(rpad(relpath(path, ROOT), 44), lpad(passed, 6), " passed", failed > 0 ? lpad(failed, 6) * " failed" : "")
    end
    passed, failed = sum(Int[r[1] for r in results]), sum(Int[r[2] for r in results])
    println(passed, " passed, ", failed, " failed")
    return failed == 0
end

const ALL_PASSED = main(ARGS)
# `Pkg.test` wants an exception or a status; `exit(0)` would be in the way of whoever includes this file.
ALL_PASSED || exit(1)
