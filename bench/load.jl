# From nothing to a first result: a new process of this Julia loads BitCode, launches a node, and calls it. Each round is a process of its own, because a
# process loads a package once and keeps what it has inferred.

const FIRST_CALL = """
    begun = time_ns()
    using BitCode
    loaded = time_ns()
    node = launch()
    launched = time_ns()
    f(x) = x > 0 ? muladd(x, 2, 1) : x - 2
    (@remote node f(3)) == 7 || error("the node is wrong")
    println("FIRST ", loaded - begun, " ", launched - loaded, " ", time_ns() - launched)
    close(node)
    """

# Nanoseconds that one such process took to load, to launch, and to call.
function first_call_of_a_process()
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $FIRST_CALL`
    line = only(filter(startswith("FIRST "), split(read(command, String), '\n')))
    return parse.(Float64, split(line)[2:4])
end

function bench_load(report; quick = false, rounds = quick ? 1 : 5)
    # The first one may have to precompile the package.
    first_call_of_a_process()
    samples = [first_call_of_a_process() for _ in 1:rounds]
    note(report, "new processes of Julia $VERSION:")
    for (i, name) in enumerate(("using BitCode", "launch()", "first @remote"))
        row(report, name, getindex.(samples, i))
    end
    result(report, "load_ms", median_of(getindex.(samples, 1)) / 1e6, "ms"; bound = "at most 500")
    result(report, "time_to_first_remote_ms", median_of([s[1] + s[3] for s in samples]) / 1e6, "ms")
end
