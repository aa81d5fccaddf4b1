# Shipped code that catches an exception and looks into it must find the text that a local catch finds, not one that is made later at
# the origin. So where that happens, texts are not deferred (errorpaths.jl) but their code is shipped, if it can be.

# Does `body` catch an exception and do more with it than ask for its type or throw it again?
function examines_exceptions(body::Body)
    code = body.source.code
    caught = Set{Int}(i for i in eachindex(code) if is_caught_exception(code[i]))
    isempty(caught) && return false
    for (i, statement) in enumerate(code), operand in operands_of(statement)
        operand isa Core.SSAValue && operand.id in caught || continue
        if statement isa Core.PiNode
            push!(caught, i)
        elseif !is_harmless_use(body, call_of(statement))
            return true
        end
    end
    return false
end

function is_harmless_use(body::Body, @nospecialize(call))
    (is_invoke(call) || is_call(call)) || return call isa Expr && call.head === :pop_exception
    f = constant(body, called(call)[1])
    return f !== nothing && something(f) in (isa, ===, typeof, throw, rethrow)
end
