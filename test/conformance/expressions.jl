# Random functions: typed expressions over integers, floats, strings, arrays and dictionaries. They always have a type that inference
# finds; they may well throw.

using Random

# `build` makes the expression from those of `parts`. Shrinking puts parts, or leaves, in the place of a term.
struct Term
    type::Symbol
    build::Function
    parts::Vector{Term}
end

expression(term::Term) = term.build(map(expression, term.parts)...)

const ARGUMENTS = [:a => :Int, :b => :Int, :x => :Float, :s => :String, :v => :Ints, :w => :Strings]
const TYPES = [:Int, :Float, :Bool, :String, :Ints, :Floats, :Strings, :Dict]

const LEAVES = Dict(
    :Int => Any[0, 1, 2, 3, 7, -1, -5, 100, typemax(Int)],
    :Float => Any[0.0, 1.0, 0.5, -2.25, 1.0e10, Inf],
    :Bool => Any[true, false],
    :String => Any["", "a", "hello", "12", "x y z", "äß", "a,b,,c"],
    :Ints => Any[:(Int[]), :([1]), :([3, 1, 2]), :([5, -5, 5])],
    :Floats => Any[:(Float64[]), :([1.5]), :([2.0, -1.0])],
    :Strings => Any[:(String[]), :(["b", "a"]), :(["one", "two", "one"])],
    :Dict => Any[:(Dict{String,Int}()), :(Dict("a" => 1, "b" => 2))],
)

leaf(type, value) = Term(type, () -> value, Term[])

# Each rule: the types of its parts, and the expression. `i_`, `t_`, … are bound by the expression itself; parts that may use them are
# marked `part => [name => type, …]`.
const RULES = Dict(
    :Int => [
        ([:Int, :Int], (p, q) -> :($p + $q)), ([:Int, :Int], (p, q) -> :($p - $q)), ([:Int, :Int], (p, q) -> :($p * $q)),
        ([:Int, :Int], (p, q) -> :(div($p, $q))), ([:Int, :Int], (p, q) -> :(mod($p, $q))), ([:Int, :Int], (p, q) -> :(max($p, $q))),
        ([:Int, :Int], (p, q) -> :($p & $q)), ([:Int, :Int], (p, q) -> :(gcd($p, $q))), ([:Int], p -> :(abs($p))),
        ([:Bool, :Int, :Int], (c, p, q) -> :($c ? $p : $q)), ([:String], p -> :(length($p))), ([:Ints], p -> :(length($p))),
        ([:Strings], p -> :(length($p))), ([:Dict], p -> :(length($p))), ([:Ints], p -> :(sum($p))), ([:Ints], p -> :(maximum($p))),
        ([:Ints, :Int], (p, q) -> :($p[$q])), ([:Ints, :Int], (p, q) -> :($p[mod1($q, max(1, length($p)))])), ([:Ints], p -> :(pop!($p))),
        ([:Dict, :String, :Int], (d, p, q) -> :(get($d, $p, $q))), ([:Dict, :String], (d, p) -> :($d[$p])), ([:String], p -> :(parse(Int, $p))),
        ([:String, :Int], (p, q) -> :(something(tryparse(Int, $p), $q))), ([:Float], p -> :(Int($p))), ([:Float], p -> :(floor(Int, $p))),
        ([:Int, :Int], (p, q) -> :(try $p catch; $q end)), ([:Int, :Int => [:i_ => :Int]], (p, q) -> :(let i_ = $p; $q end)),
        ([:Int, :Int, :Int => [:i_ => :Int, :t_ => :Int]], (n, p, q) -> :(let t_::Int = $p; for i_ in 1:mod($n, 6); t_ = $q; end; t_ end)),
        ([:Ints, :Int => [:i_ => :Int]], (p, q) -> :(mapreduce(i_ -> $q, +, $p; init = 0))), ([:Ints, :Bool => [:i_ => :Int]], (p, q) -> :(count(i_ -> $q, $p))),
        ([:Ints, :Int, :Int => [:i_ => :Int]], (p, q, r) -> :(let t_::Int = $q; foreach(i_ -> (t_ += $r), $p); t_ end)),
        ([:Ints, :Int], (p, q) -> :(foldl(-, $p; init = $q))), ([:Ints, :Int], (p, q) -> :(something(findfirst(==($q), $p), 0))),
        ([:Int, :Strings], (p, w) -> :(try $p finally push!($w, "end") end)), ([:String], p -> :(Int(first($p)))),
    ],
    :Float => [
        ([:Float, :Float], (p, q) -> :($p + $q)), ([:Float, :Float], (p, q) -> :($p * $q)), ([:Float, :Float], (p, q) -> :($p / $q)),
        ([:Int, :Int], (p, q) -> :($p / $q)), ([:Int], p -> :(float($p))), ([:Float], p -> :(sqrt($p))), ([:Float], p -> :(sqrt(abs($p)))),
        ([:Float], p -> :(round($p; digits = 2))), ([:Bool, :Float, :Float], (c, p, q) -> :($c ? $p : $q)), ([:Floats, :Int], (p, q) -> :($p[$q])),
        ([:String], p -> :(parse(Float64, $p))), ([:Floats], p -> :(maximum($p))), ([:Float, :Float], (p, q) -> :(try $p catch; $q end)),
        ([:Float, :Float], (p, q) -> :(min($p, $q))), ([:Floats, :Float], (p, q) -> :(foldl(+, $p; init = $q))), ([:Float], p -> :(exp(-abs($p)))),
    ],
    :Bool => [
        ([:Int, :Int], (p, q) -> :($p < $q)), ([:Int, :Int], (p, q) -> :($p == $q)), ([:Float, :Float], (p, q) -> :($p <= $q)), ([:Bool], p -> :(!$p)),
        ([:Bool, :Bool], (p, q) -> :($p && $q)), ([:Bool, :Bool], (p, q) -> :($p || $q)), ([:String, :String], (p, q) -> :($p == $q)),
        ([:String, :String], (p, q) -> :($p < $q)), ([:String], p -> :(isempty($p))), ([:Int, :Ints], (p, q) -> :($p in $q)),
        ([:Dict, :String], (d, p) -> :(haskey($d, $p))), ([:String, :String], (p, q) -> :(startswith($p, $q))), ([:String, :String], (p, q) -> :(occursin($p, $q))),
        ([:String, :Strings], (p, q) -> :($p in $q)), ([:Ints, :Ints], (p, q) -> :($p == $q)), ([:Dict, :Dict], (p, q) -> :($p == $q)),
        ([:Ints, :Bool => [:i_ => :Int]], (p, q) -> :(any(i_ -> $q, $p))), ([:Strings, :Strings], (p, q) -> :($p == $q)), ([:Int], p -> :(iseven($p))),
    ],
    :String => [
        ([:String, :String], (p, q) -> :($p * $q)), ([:Int], p -> :(string($p))), ([:Float], p -> :(string($p))), ([:Bool], p -> :(string($p))),
        ([:String], p -> :(uppercase($p))), ([:String], p -> :(reverse($p))), ([:String, :Int], (p, q) -> :(repeat($p, mod($q, 4)))),
        ([:String, :Int], (p, q) -> :(string($p, ":", $q))), ([:String, :Int, :Int], (p, q, r) -> :($p[$q:$r])), ([:Strings], p -> :(join($p, "-"))),
        ([:Strings], p -> :(first($p))), ([:Strings, :Int], (p, q) -> :($p[$q])), ([:Bool, :String, :String], (c, p, q) -> :($c ? $p : $q)),
        ([:String, :String, :String], (p, q, r) -> :(replace($p, $q => $r))), ([:String, :Int], (p, q) -> :(lpad($p, mod($q, 9), '.'))),
        ([:String], p -> :(strip($p) |> String)), ([:String, :Int], (p, q) -> :(first($p, max(0, $q)))), ([:Strings], p -> :(foldl(*, $p; init = ""))),
        ([:String, :String], (p, q) -> :(try $p catch; $q end)), ([:String], p -> :(filter(isletter, $p))), ([:String], p -> :(String(sort(collect($p))))),
        ([:Int, :String, :String => [:i_ => :Int, :r_ => :String]], (n, p, q) -> :(let r_::String = $p; for i_ in 1:mod($n, 4); r_ = first($q, 40); end; r_ end)),
    ],
    :Ints => [
        ([:Int, :Int], (p, q) -> :([$p, $q])), ([:Ints, :Int], (p, q) -> :(push!($p, $q))), ([:Ints, :Int], (p, q) -> :(pushfirst!(copy($p), $q))),
        ([:Ints, :Ints], (p, q) -> :(vcat($p, $q))), ([:Ints], p -> :(sort($p))), ([:Ints], p -> :(reverse($p))), ([:Ints], p -> :(unique($p))),
        ([:Ints, :Int => [:i_ => :Int]], (p, q) -> :(map(i_ -> $q, $p))), ([:Ints, :Bool => [:i_ => :Int]], (p, q) -> :(filter(i_ -> $q, $p))),
        ([:Ints, :Int => [:i_ => :Int]], (p, q) -> :([$q for i_ in $p])), ([:Ints, :Int], (p, q) -> :($p .+ $q)), ([:Int], p -> :(collect(1:mod($p, 7)))),
        ([:Strings], p -> :([length(s_) for s_ in $p])), ([:Ints], p -> :(cumsum($p))), ([:Ints, :Int], (p, q) -> :($p[1:$q])), ([:Ints, :Ints], (p, q) -> :($p .* $q)),
        ([:Dict], p -> :(sort(collect(values($p))))), ([:Ints, :Int], (p, q) -> :(deleteat!($p, $q))), ([:Ints, :Ints], (p, q) -> :(try $p catch; $q end)),
        ([:Bool, :Ints, :Ints], (c, p, q) -> :($c ? $p : $q)), ([:Ints], p -> :(sort($p; by = i_ -> -i_))), ([:Ints, :Ints], (p, q) -> :(intersect($p, $q))),
    ],
    :Floats => [
        ([:Ints], p -> :(float.($p))), ([:Float, :Float], (p, q) -> :([$p, $q])), ([:Floats, :Float], (p, q) -> :($p .* $q)), ([:Floats], p -> :(sqrt.($p))),
        ([:Ints, :Float => [:i_ => :Int]], (p, q) -> :(map(i_ -> $q, $p))), ([:Floats], p -> :(sort($p))), ([:Floats, :Float], (p, q) -> :(push!($p, $q))),
    ],
    :Strings => [
        ([:String, :String], (p, q) -> :([$p, $q])), ([:String], p -> :(String.(split($p)))), ([:String], p -> :(String.(split($p, ',')))),
        ([:Strings, :String], (p, q) -> :(push!($p, $q))), ([:Strings], p -> :(sort($p))), ([:Strings], p -> :(map(uppercase, $p))), ([:Strings], p -> :(unique($p))),
        ([:Ints], p -> :(string.($p))), ([:Strings, :Bool => [:r_ => :String]], (p, q) -> :(filter(r_ -> $q, $p))), ([:Dict], p -> :(sort(collect(keys($p))))),
        ([:Strings, :Strings], (p, q) -> :(vcat($p, $q))), ([:Strings, :String => [:r_ => :String]], (p, q) -> :([$q for r_ in $p])), ([:Strings], p -> :(sort($p; by = length))),
    ],
    :Dict => [
        ([:String, :Int], (p, q) -> :(Dict($p => $q))), ([:Dict, :String, :Int], (d, p, q) -> :(let d_ = copy($d); d_[$p] = $q; d_ end)),
        ([:Strings], p -> :(Dict(r_ => length(r_) for r_ in $p))), ([:Dict, :Dict], (p, q) -> :(merge($p, $q))), ([:Dict, :String], (d, p) -> :(delete!($d, $p))),
        ([:Strings], p -> :(let d_ = Dict{String,Int}(); for r_ in $p; d_[r_] = get(d_, r_, 0) + 1; end; d_ end)),
        ([:Dict, :Int], (d, q) -> :(filter(p_ -> p_.second > $q, $d))), ([:Dict, :Dict], (p, q) -> :(try $p catch; $q end)),
    ],
)

part_type(part::Symbol) = part
part_type(part::Pair) = part.first
bound(part::Symbol) = Pair{Symbol,Symbol}[]
bound(part::Pair) = part.second

function random_term(rng, type, scope, depth)
    names = [name for (name, t) in scope if t == type]
    if depth == 0 || rand(rng) < 0.15
        !isempty(names) && rand(rng) < 0.7 && return leaf(type, rand(rng, names))
        return leaf(type, rand(rng, LEAVES[type]))
    end
    parts, build = rand(rng, RULES[type])
    return Term(type, build, [random_term(rng, part_type(part), [scope; bound(part)], depth - 1) for part in parts])
end

make_function(term) = Core.eval(Main, Expr(:->, Expr(:tuple, first.(ARGUMENTS)...), Expr(:block, expression(term))))

random_arguments(rng) = (rand(rng, -3:9), rand(rng, (0, 1, 4, typemin(Int), 255)), rand(rng, (0.0, -1.5, 2.25, 1.0e18)), randstring(rng, "ab,1 ß", rand(rng, 0:8)),
                         rand(rng, -2:5, rand(rng, 0:4)), [randstring(rng, "abc", rand(rng, 0:3)) for _ in 1:rand(rng, 0:3)])

# --- shrinking ---------------------------------------------------------------------------------------------------------------

count_terms(term::Term) = 1 + sum(Int[count_terms(p) for p in term.parts])

# Terms that are smaller in one place.
function smaller(term::Term)
    out = Term[p for p in term.parts if p.type == term.type]
    isempty(term.parts) || push!(out, leaf(term.type, first(LEAVES[term.type])))
    for (i, part) in enumerate(term.parts), less in smaller(part)
        push!(out, Term(term.type, term.build, [term.parts[1:i-1]; less; term.parts[i+1:end]]))
    end
    return out
end

# The smallest term that `fails` and that a few steps lead to.
function shrink(fails, term::Term, steps = 60)
    progress = true
    while progress && steps > 0
        progress = false
        for less in sort!(smaller(term); by = count_terms)
            (steps -= 1) > 0 || break
            count_terms(less) < count_terms(term) && fails(less) || continue
            term, progress = less, true
            break
        end
    end
    return term
end
