# What a node does between the arrival of code and its first result, stage by stage.

# What a finished first call took on the node.
function node_stages(future)
    timings = Ref{BitCode.API.Timings}()
    BitCode.API.bc_call_timings(future.flight.call, timings) == 0 || error("the call has no timings")
    times = timings[]
    return ["node: " * String(name)[1:end-3] => Float64(getfield(times, name))
            for name in (:queue_ns, :decode_ns, :parse_ns, :link_ns, :optimise_ns, :emit_ns, :run_ns)]
end

# Samples by stage, in the order in which the stages first came.
struct Split
    order::Vector{String}
    samples::Dict{String,Vector{Float64}}
end

Split() = Split(String[], Dict{String,Vector{Float64}}())

function Base.push!(split::Split, found)
    for (name, time) in found
        name in split.order || push!(split.order, name)
        push!(get!(Vector{Float64}, split.samples, name), time)
    end
end

rows(report::Report, split::Split) = foreach(name -> row(report, "  " * name, split.samples[name]), split.order)

const ALL_STAGES = "node: all of these"
const LOADING = "node: all but waiting and running"

# The node's stages of the call that `start` makes, the first of its function there.
function first_call(start)
    future = start()
    BitCode.wait_for(future.flight)
    found = node_stages(future)
    fetch(future)
    loading = [last(stage) for stage in found if !(first(stage) in ("node: queue", "node: run"))]
    return [found; LOADING => sum(loading); ALL_STAGES => sum(last, found)]
end

function check_nothing_compiled(split)
    all(iszero, [split.samples["node: optimise"]; split.samples["node: emit"]]) || error("the node compiled")
end
