# Every figure of BitCode.jl, measured in one run on one machine: `make bench`, or `make bench NAME=latency`.
#
#     julia --project=. bench/run.jl [--quick] [latency|cold|load|speed|alloc|bandwidth|archive|xrdma]…
#
# `--quick` goes through everything with too few rounds to say anything: the tests see to it that it still runs.
# Absolute numbers depend on the machine and on what else it does, so each is held against a rival that is measured in the same
# minutes: a bare UCX active-message ping-pong (bench/src/raw_am.rs), Distributed, the same loop in this Julia. The figures that
# scripts read stand alone on a line, `RESULT name value unit`; the whole report is left in bench/out/report.txt.

using BitCode

include("report.jl")
include("raw.jl")
include("latency.jl")
include("stages.jl")
include("cold.jl")
include("load.jl")
include("speed.jl")
include("alloc.jl")
include("bandwidth.jl")
include("archive.jl")
include("increments.jl")
include("shipped_chase.jl")
include("networks.jl")
include("xrdma.jl")

const BENCHMARKS = ["archive" => bench_archive, "latency" => bench_latency, "cold" => bench_cold, "load" => bench_load, "speed" => bench_speed,
                    "alloc" => bench_alloc, "bandwidth" => bench_bandwidth, "xrdma" => bench_xrdma]

function main(arguments)
    quick = "--quick" in arguments
    names = filter(!=("--quick"), arguments)
    known = first.(BENCHMARKS)
    for name in names
        name in known || exit_with("no benchmark is called $name; there are: $(join(known, ", "))")
    end
    report = Report()
    describe_machine(report)
    for (name, benchmark) in BENCHMARKS
        (isempty(names) || name in names) || continue
        heading(report, name)
        before = report.results
        benchmark(report; quick = quick)
        report.results > before || error("$name printed no result")
    end
    quick || write_report(report, joinpath(@__DIR__, "out", "report.txt"))
end

exit_with(message) = (println(stderr, message); exit(2))

main(ARGS)
