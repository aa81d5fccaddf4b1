# A histogram that several nodes fill at once: the samples lie on the nodes, the bins on one of them, and each node adds its counts by atomic
# additions to that one's memory, with no code running there. The mean and the extremes come from the nodes' own parts.

using BitCode
using BitCode.Hop: fetch_add, localpart

# Runs on each node. Counting at home first makes one addition of many.
function count_into(bins, samples, low, high)
    counts = zeros(Int, length(bins))
    for x in localpart(samples)
        counts[clamp(ceil(Int, (x - low) / (high - low) * length(bins)), 1, length(bins))] += 1
    end
    for b in 1:length(bins)
        counts[b] > 0 && fetch_add(bins, b, counts[b])
    end
    return length(localpart(samples))
end

cluster = launch(3)
n = 30_000
xs = [sin(k) + sin(sqrt(2) * k) + sin(sqrt(3) * k) for k in 1.0:n]
samples = BitCode.alloc(cluster, Float64, n)
copyto!(samples, xs)
low, high = minimum(samples), maximum(samples)
println("$n samples from ", round(low; digits = 3), " to ", round(high; digits = 3), ", mean ", round(sum(samples) / n; digits = 3))

bins = BitCode.alloc(cluster[1], Int, 24)
counted = @remote cluster count_into(bins, samples, low, high)
counts = Array(bins)
for (b, count) in enumerate(counts)
    println(lpad(round(low + (b - 0.5) * (high - low) / length(counts); digits = 2), 7), " ", '#'^cld(60count, maximum(counts)))
end
sum(counts) == sum(counted) == n || error("$(sum(counts)) counted of $n")
foreach(close, cluster)
