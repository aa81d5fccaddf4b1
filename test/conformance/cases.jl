# What a conformance case is, and how tables of them are written. What each call has to give is not written anywhere: it is what the same
# call gives locally (compare.jl).

struct Case
    group::String # "strings: building": tier and group
    text::String
    f::Any
    arguments::Tuple
    keywords::NamedTuple
    compare::Any
end

tier(case) = String(first(split(case.group, ':')))

const TABLE = Case[]

# Calls that no node runs yet: each ends in a `CaptureError`. Whoever lifts one of these limits moves its call to the table.
const REFUSED = Case[]

# Calls that end otherwise than they do locally: mistakes that are known and not mended yet.
const MISTAKEN = Case[]

# The calls of a block, each as an expression that makes a `Case`.
function cases(group, block, compare)
    return map(filter(e -> e isa Expr, block.args)) do e
        e.head == :call || error("not a call: $e")
        parameters = filter(a -> a isa Expr && a.head in (:parameters, :kw), e.args[2:end])
        positional = filter(a -> !(a isa Expr && a.head in (:parameters, :kw)), e.args[2:end])
        keywords = [k for p in parameters for k in (p.head == :kw ? [p] : p.args)]
        names = Tuple(k.args[1] for k in keywords)
        values = Expr(:tuple, (k.args[2] for k in keywords)...)
        text = replace(string(e), r"\s+" => " ")
        :(Case($group, $text, $(e.args[1]), ($(positional...),), NamedTuple{$names}($values), $compare))
    end
end

# `@calls "tier: group" begin f(x); g(y; k = v); … end`: one case for each call; `@calls "tier: group" (≈) begin … end` compares otherwise
# than by bits.
macro calls(group, arguments...)
    compare = length(arguments) == 2 ? arguments[1] : :same
    return esc(Expr(:block, (:(push!(TABLE, $case)) for case in cases(group, arguments[end], compare))...))
end

# `@refused "tier: why" begin f(x); … end`
macro refused(why, block)
    return esc(Expr(:block, (:(push!(REFUSED, $case)) for case in cases(why, block, :same))...))
end

# `@mistaken "tier: group" begin f(x); … end`
macro mistaken(group, block)
    return esc(Expr(:block, (:(push!(MISTAKEN, $case)) for case in cases(group, block, :same))...))
end
