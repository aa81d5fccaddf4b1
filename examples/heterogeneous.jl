# One call, two kinds of processors: nodes of this machine's kind, and nodes of aarch64 that qemu emulates. Julia is only here.
#
# Without emulated nodes (`make node-aarch64` builds them) it says what is missing, and shows the rest.

using BitCode

# Steps of Newton's method from many places of the complex plane towards the roots of z³ = 1: which root each one finds, added up.
function basins(n)
    found = zeros(Int, 3)
    for i in 1:n, j in 1:n
        z = complex(4i / n - 2, 4j / n - 2)
        for _ in 1:40
            iszero(z) && break
            z -= (z^3 - 1) / 3z^2
        end
        found[real(z) > 0 ? 1 : imag(z) > 0 ? 2 : 3] += 1
    end
    return found
end

cluster = launch(2)
try
    append!(cluster, launch(2; arch = :aarch64))
catch e
    # Not built, or no emulator.
    e isa Union{BitCode.BitCodeError,ArgumentError} || rethrow()
    println("No emulated nodes here: ", sprint(showerror, e), "\n")
end

results = @remote cluster basins(64)
println(rpad("node", 24), rpad("architecture", 14), rpad("CPU", 20), "result")
for (node, result) in zip(cluster, results)
    println(rpad(node.address, 24), rpad(node.arch, 14), rpad(node.cpu, 20), result)
end
all(result -> result == basins(64), results) || error("the nodes disagree with this process")
println("\nall ", length(cluster), " agree, to the last one")
foreach(close, cluster)
