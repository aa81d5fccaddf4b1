# Tables by identity, as `IdDict` has them: one vector of keys and values in turn, without holes for what was never there. Julia's
# runtime has them in C; shipped code has these in their place, with the same places for the same keys, so that a table may come
# from one side and be used on the other.

# How far from its place a key may be, in a table with so many pairs.
max_probe(pairs::Int) = pairs <= 1024 ? 16 : pairs >> 6

# Where `key` is (the index of the key), or 0. What was taken out has left `nothing`, and no value.
function eqtable_find(table::Vector{Any}, @nospecialize(key))
    pairs = length(table) >> 1
    pairs == 0 && return 0
    start = Int(Codegen.object_id(key) & (pairs - 1)) << 1
    at = start
    for _ in 0:max_probe(pairs)
        isassigned(table, at + 1) || return 0
        table[at+1] === key && isassigned(table, at + 2) && return at + 1
        at = (at + 2) & (length(table) - 1)
        at == start && return 0
    end
    return 0
end

# Where a new `key` may go, or 0 if the table is too full for it.
function eqtable_room(table::Vector{Any}, @nospecialize(key))
    pairs = length(table) >> 1
    pairs == 0 && return 0
    start = Int(Codegen.object_id(key) & (pairs - 1)) << 1
    at = start
    for _ in 0:max_probe(pairs)
        isassigned(table, at + 2) || return at + 1
        at = (at + 2) & (length(table) - 1)
        at == start && return 0
    end
    return 0
end

function eqtable_get(table::Vector{Any}, @nospecialize(key), @nospecialize(default))
    at = eqtable_find(table, key)
    return at != 0 ? table[at+1] : default
end

function eqtable_put(table::Vector{Any}, @nospecialize(key), @nospecialize(value), inserted::Ptr{Int32})
    at = eqtable_find(table, key)
    inserted == C_NULL || unsafe_store!(inserted, Int32(at == 0))
    if at == 0
        at = eqtable_room(table, key)
        while at == 0
            table = eqtable_rehash(table, grown(length(table)))
            at = eqtable_room(table, key)
        end
        table[at] = key
    end
    table[at+1] = value
    return table
end

grown(length::Int) = length < 32 ? 32 : length <= 1 << 8 || length >= 1 << 19 ? length << 1 : length << 2

eqtable_rehash(table::Vector{Any}, length::UInt64) = eqtable_rehash(table, Int(length))
function eqtable_rehash(table::Vector{Any}, wanted::Int)
    new = Vector{Any}(undef, wanted)
    for at in 1:2:length(table)
        isassigned(table, at + 1) || continue
        place = eqtable_room(new, table[at])
        place == 0 && return eqtable_rehash(table, grown(wanted))
        new[place], new[place+1] = table[at], table[at+1]
    end
    return new
end

function eqtable_pop(table::Vector{Any}, @nospecialize(key), @nospecialize(default), found::Ptr{Int32})
    at = eqtable_find(table, key)
    there = at != 0
    found == C_NULL || unsafe_store!(found, Int32(there))
    there || return default
    value = table[at+1]
    table[at] = nothing
    Base._unsetindex!(table, at + 1)
    return value
end

# The index (from 0) of the next key at or after `from`, or the largest number.
function eqtable_next(table::Vector{Any}, from::Integer)
    at = Int(from) + (Int(from) & 1)
    while at < length(table)
        isassigned(table, at + 2) && return at % UInt64
        at += 2
    end
    return typemax(UInt64)
end

merge!(STAND_INS, Dict{String,Any}("jl_eqtable_get" => eqtable_get, "jl_eqtable_put" => eqtable_put, "jl_eqtable_pop" => eqtable_pop,
    "jl_eqtable_nextind" => eqtable_next, "jl_idtable_rehash" => eqtable_rehash))
