# Printing that means the same here and on a node. This file comes first: in this module, `print` and `println` are these functions.

"""
    BitCode.print([io,] xs...)
    BitCode.println([io,] xs...)

Print as `Base.print` and `Base.println` do. In a shipped function, what is printed to standard output appears at the call's origin, each line
marked with the node: whole lines, in order, never mixed with another's.

```julia
@remote node BitCode.println("hello from ", 1 + 1)
#       From node 127.0.0.1:40123:	hello from 2
```
"""
@noinline print(xs::Vararg{Any,N}) where {N} = Base.print(xs...)

"See [`BitCode.print`](@ref)."
@noinline println(xs::Vararg{Any,N}) where {N} = Base.println(xs...)

# With a stream they are no more than Base's.
print(io::IO, xs...) = Base.print(io, xs...)
println(io::IO, xs...) = Base.println(io, xs...)

# An expression's value after its text.
@noinline show_value(label::String, x) = (Base.println(label, repr(x)); x)

"""
    BitCode.@show expressions...

Print each expression with its value, as `Base.@show` does, and return the last value. In a shipped function this appears at the call's origin; see
[`BitCode.print`](@ref).
"""
macro show(expressions...)
    shown = [:($show_value($(sprint(Base.show_unquoted, e) * " = "), $(esc(e)))) for e in expressions]
    return Expr(:block, shown...)
end
