# What several origins update at once, and how: an element that a lost or doubled update would show in.

# 8 bytes: changed by an exchange.
struct Tally
    count::Int32
    check::UInt32
end

note(old::Tally, x::UInt32) = Tally(old.count + 1, xor(old.check, x))

# 64 bytes: changed by calls that have it to themselves.
struct Wide
    count::Int
    check::UInt
    last::NTuple{6,Int}
end

note(old::Wide, x::UInt32) = Wide(old.count + 1, xor(old.check, UInt(x)), (Base.tail(old.last)..., Int(x)))

# The update number `k` of origin `o`.
sample(o, k) = (UInt32(o) * 0x9E3779B9 + UInt32(k)) * 0x85EBCA6B
