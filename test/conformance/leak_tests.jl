# Many calls with strings and dictionaries leave nothing behind, on either side.

using BitCode, Test

const CALLS = parse(Int, get(ENV, "BITCODE_TEST_CALLS", "100000"))
const SLACK = 32 * 2^20 # bytes: far less than one word kept for each object of the calls measured

# Takes and gives strings and dictionaries, allocates more than it gives, and throws now and then.
function census(words, counts)
    for word in words
        counts[word] = get(counts, word, 0) + length(word)
    end
    isempty(words) && throw(KeyError(join(sort!(collect(keys(counts))), ' ')))
    return counts, [uppercase(word) * string(n) for (word, n) in counts]
end

words_of(i) = ["word$(i % 17)", "ä$(i % 5)", repeat("long", i % 40)]

function exchange(node, range)
    wrong = 0
    for i in range
        if i % 100 == 0
            try
                remotecall_fetch(census, node, String[], Dict("left$(i)" => i))
                wrong += 1
            catch e
                wrong += !(e isa RemoteException && e.exception == KeyError("left$(i)"))
            end
        else
            counts, names = remotecall_fetch(census, node, words_of(i), Dict("begin" => i))
            wrong += !(counts["begin"] == i && "BEGIN$i" in names)
        end
    end
    return wrong
end

resident(pid) = parse(Int, split(read("/proc/$pid/statm", String))[2]) * 4096
function measured(node)
    GC.gc()
    return (node = resident(node.pid), origin = resident(getpid()))
end

node = launch()
@testset "$CALLS calls with strings and dictionaries" begin
    warm = max(CALLS ÷ 10, 1000)
    @test exchange(node, 1:warm) == 0
    before = measured(node)
    @test exchange(node, warm+1:CALLS) == 0
    after = measured(node)
    println("grown by ", (after.node - before.node) ÷ 1024, " KiB on the node, ", (after.origin - before.origin) ÷ 1024, " KiB at the origin")
    @test after.node - before.node < SLACK
    @test after.origin - before.origin < SLACK
    @test isopen(node)
end
close(node)
