# Where the bytes of a value lie. A payload (and a result) is
#
#     head  ‖  tail
#
# The head has the same size for every value of a type: numbers lie in it as in memory, an array leaves its dimensions and
# the place of its elements there. The tail holds the elements of the arrays, each run 64-byte aligned, so that a node can use them
# where they arrived. Both ends run this same code, so the layout is nobody else's business (docs/ABI.md says only that much).
#
# That is for flat values. What holds references travels as a graph (graph.jl), the whole payload or the whole result at once, so that
# identities are kept between arguments, too.

# Every run of elements in the tail starts at a multiple of this.
const TAIL_ALIGNMENT = 64

@inline align_up(n::Int, to::Int) = (n + to - 1) & -to

"""
    head_size(T) -> Int

Bytes that a value of type `T` takes in the head.
"""
function head_size(@nospecialize(T))
    kind = crossing(T)
    kind == NOTHING_TO_SEND && return 0
    kind == BITS && return sizeof(T)
    kind == ARRAY && return 8 * (ndims(T) + 1)
    kind == RECORD && return last(field_places(fieldtypes(T)))
    kind == CHOICE && return choice_place(T) + greatest(head_size, Base.uniontypes(T))
    throw(ArgumentError("values of type $T cannot cross: " * join((o.message for o in obstacles(T, "it")), "; ")))
end

"""
    head_alignment(T) -> Int

Alignment of a value of type `T` in the head: that of Julia's own layout, so that a struct lies there alike whether it is taken as a whole or field
by field.
"""
function head_alignment(@nospecialize(T))
    kind = crossing(T)
    kind == BITS && return Int(Base.datatype_alignment(T))
    kind == ARRAY && return 8
    kind == RECORD && return max(1, greatest(head_alignment, fieldtypes(T)))
    kind == CHOICE && return max(1, greatest(head_alignment, Base.uniontypes(T)))
    return 1
end

greatest(f, types) = mapreduce(f, max, types; init = 0)

# Offsets of the given types one after the other, and, last, the size of the whole.
function field_places(types)
    places = Int[]
    at = 0
    alignment = 1
    for T in types
        at = align_up(at, head_alignment(T))
        push!(places, at)
        at += head_size(T)
        alignment = max(alignment, head_alignment(T))
    end
    return push!(places, align_up(at, alignment))
end

# A Union: one byte that says which member, the member after it at its alignment.
choice_place(@nospecialize(T)) = max(1, head_alignment(T))

"""
    array_count(T) -> Int

How many arrays a value of type `T` holds at most. Zero: the value is its head.
"""
function array_count(@nospecialize(T))
    kind = crossing(T)
    kind == ARRAY && return 1
    kind == RECORD && return sum(Int[array_count(F) for F in fieldtypes(T)])
    kind == CHOICE && return greatest(array_count, Base.uniontypes(T))
    return 0
end

# The same for compiled code, where they are constants. Pure indeed: `crossing` looks at nothing but the structure of types.
Base.@pure head_bytes(T) = head_size(T)
Base.@pure has_arrays(T) = array_count(T) > 0
Base.@pure takes_bytes(T) = crossing(T) != NOTHING_TO_SEND
Base.@pure is_graph(T) = crossing(T) == GRAPH
