# What a benchmark says: samples with their median and 99th percentile, and RESULT lines.

using Printf

mutable struct Report
    text::IOBuffer
    results::Int
end

Report() = Report(IOBuffer(), 0)

# To the terminal at once, and to the file at the end.
function say(report::Report, line)
    println(line)
    flush(stdout)
    println(report.text, line)
end

function heading(report::Report, name)
    say(report, "")
    say(report, "== $name")
end

function describe_machine(report::Report)
    cpu = Sys.cpu_info()[1].model
    say(report, "BitCode.jl, Julia $VERSION, $(strip(cpu)), $(Sys.CPU_THREADS) cores, load $(round(Sys.loadavg()[1]; digits = 1))")
    say(report, "Quote ratios: the times are this machine's, and today's.")
end

function quantile_of(samples, share)
    sorted = sort(samples)
    return sorted[clamp(ceil(Int, share * length(sorted)), 1, length(sorted))]
end

median_of(samples) = quantile_of(samples, 0.5)

# One line of a table: nanoseconds in, the unit that reads best out.
function row(report::Report, name, nanoseconds)
    say(report, @sprintf("  %-34s median %-10s p99 %-10s n=%d", name, time_text(median_of(nanoseconds)),
                         time_text(quantile_of(nanoseconds, 0.99)), length(nanoseconds)))
end

row(report::Report, name, median, p99, n) =
    say(report, @sprintf("  %-34s median %-10s p99 %-10s n=%d", name, time_text(median), time_text(p99), n))

note(report::Report, text) = say(report, "  " * text)

function time_text(nanoseconds)
    nanoseconds < 1e3 && return @sprintf("%.0f ns", nanoseconds)
    nanoseconds < 1e6 && return @sprintf("%.2f us", nanoseconds / 1e3)
    nanoseconds < 1e9 && return @sprintf("%.2f ms", nanoseconds / 1e6)
    return @sprintf("%.2f s", nanoseconds / 1e9)
end

# A figure that scripts read. `bound` says what the project asks for, for people.
function result(report::Report, name, value, unit; bound = "")
    report.results += 1
    isempty(bound) || note(report, "$name: asked for is $bound")
    say(report, @sprintf("RESULT %s %s %s", name, value isa Integer ? string(value) : @sprintf("%.3f", value), unit))
end

function write_report(report::Report, path)
    mkpath(dirname(path))
    write(path, take!(report.text))
    println("\nreport: ", relpath(path))
end
