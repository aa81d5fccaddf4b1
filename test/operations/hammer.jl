# One of several origins: posts so many updates of an element that all of them update. The node's key comes on standard input.
#
#     julia --project=. hammer.jl ADDRESS TRANSPORT TALLIES WIDES ORIGIN UPDATES WIDE_UPDATES

using BitCode

include("tally.jl")

function main(address, transport, tallies, wides, origin, updates, wide_updates)
    node = connect(address; key = read(stdin), transport = transport)
    tally = BitCode.attach(node, tallies, Tally, 3)
    wide = BitCode.attach(node, wides, Wide, 2)
    for k in 1:updates
        remote_do(BitCode.update_on, node, note, tally, 2, sample(origin, k))
    end
    for k in 1:wide_updates
        remotecall_fetch(BitCode.update_on, node, note, wide, 2, sample(origin, k))
    end
    close(node)
end

main(ARGS[1], ARGS[2], parse.(Int128, ARGS[3:end])...)
