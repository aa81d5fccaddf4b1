# π by throwing darts, on four nodes at once: futures, and a random generator that is plain arithmetic.

using BitCode

function hits(seed, throws)
    state = UInt64(seed) * 0x9e3779b97f4a7c15 + 1
    inside = 0
    for _ in 1:throws
        # xorshift64*: two numbers in [0, 1) from one of 64 bits.
        state ⊻= state >> 12
        state ⊻= state << 25
        state ⊻= state >> 27
        bits = state * 0x2545f4914f6cdd1d
        x = (bits >> 32) / 2.0^32
        y = (bits & 0xffffffff) / 2.0^32
        inside += x^2 + y^2 < 1
    end
    return inside
end

four = launch(4)
throws = 10_000_000
futures = [remotecall(hits, node, seed, throws) for (seed, node) in enumerate(four)]
estimate = 4 * sum(fetch, futures) / (length(four) * throws)
println("π is about ", estimate)
abs(estimate - π) < 1e-3 || error("that is not π")
foreach(close, four)
