# Lines of streams. What `eachline` calls when a stream has ended is a function that only the running code knows, and for all streams that a node can
# have it does nothing.

const DOES_NOTHING = (typeof(eachline(IOBuffer()).ondone), typeof(Base.EachLine(IOBuffer()).ondone))

end_of_lines(ondone) = ondone isa DOES_NOTHING[1] || ondone isa DOES_NOTHING[2] ? nothing : error("shipped code cannot go through the lines of a file")

# Is it the call of `lines.ondone()`?
function ends_lines(body::Body, @nospecialize(callee), operands)
    callee isa Core.SSAValue && isempty(operands) || return false
    asked = body.source.code[callee.id]
    is_call(asked) && length(asked.args) == 3 || return false
    f, field = constant(body, asked.args[1]), constant(body, asked.args[3])
    return f !== nothing && something(f) === getfield && field !== nothing && something(field) === :ondone &&
        operand_type(body, asked.args[2]) <: Base.EachLine
end
