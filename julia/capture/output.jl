# Output of shipped code: `print` and its like, where they print to a standard stream, become the functions below, which write to the
# call's origin through the node. What they print is made on the node by the same code of Julia's that makes it here.

"""
    NodeStream

Standard output (1) or standard error (2) of a shipped call: an `IO` whose bytes go to the call's origin, line by line. Only shipped code can
write to it.
"""
struct NodeStream <: IO
    number::Int64
end

Base.unsafe_write(stream::NodeStream, bytes::Ptr{UInt8}, n::UInt) =
    ccall("extern bc_write", llvmcall, Int64, (Int64, Ptr{UInt8}, UInt64), stream.number, bytes, n)
function Base.write(stream::NodeStream, byte::UInt8)
    place = Ref(byte)
    return GC.@preserve place unsafe_write(stream, Base.unsafe_convert(Ptr{UInt8}, place), UInt(1))
end
Base.isopen(::NodeStream) = true
Base.iswritable(::NodeStream) = true
Base.isreadable(::NodeStream) = false
Base.flush(::NodeStream) = nothing
Base.displaysize(::NodeStream) = (24, 80)

# The global variables that hold the streams, and the values that take their place in shipped code.
const NODE_OUTPUT, NODE_ERRORS = NodeStream(1), NodeStream(2)

# One by one, so that each argument has its own type.
node_print(stream::NodeStream) = nothing
node_print(stream::NodeStream, x, rest...) = (print(stream, x); node_print(stream, rest...))
node_println(stream::NodeStream, xs...) = (node_print(stream, xs...); write(stream, 0x0a); nothing)
node_show(stream::NodeStream, x) = show(stream, x)
node_write(stream::NodeStream, x) = write(stream, x)
node_flush(stream::NodeStream) = nothing
# What BitCode.@show does.
node_show_value(stream::NodeStream, label, x) = (print(stream, label); show(stream, x); write(stream, 0x0a); x)

"""
Julia functions that print => what is shipped in place of a call that prints to a standard stream: the stream, or nothing, comes first.
"""
const PRINTERS = IdDict{Any,Any}(print => node_print, println => node_println, show => node_show, write => node_write, flush => node_flush)

# Those of them that print to standard output when they are given no stream.
const PRINTS_BY_ITSELF = Base.IdSet{Any}([print, println, show])

# The stand-in of a call of the printing function `f`, or `nothing`, and its arguments.
function output_stand_in(body::Body, @nospecialize(f), operands)
    stand_in = PRINTERS[f]
    number = isempty(operands) ? 0 : standard_stream(body, operands[1])
    number > 0 && return (stand_in, Any[NodeStream(number), operands[2:end]...])
    f in PRINTS_BY_ITSELF || return (nothing, ())
    (isempty(operands) || !(operand_type(body, operands[1]) <: IO)) || return (nothing, ())
    # `show(x)` alone; `show(io, x)` with an `io` that is only known when it runs is something else.
    f === show && length(operands) != 1 && return (nothing, ())
    maybe_stream = !isempty(operands) && f !== show && typeintersect(operand_type(body, operands[1]), IO) !== Union{}
    maybe_stream && return (nothing, ())
    return (stand_in, Any[NodeStream(1), operands...])
end

# 1 if the operand is the variable `stdout`, or what stands for it, 2 if it is `stderr`, else 0.
function standard_stream(body::Body, @nospecialize(operand))
    operand isa Core.SSAValue && (operand = body.source.code[operand.id])
    operand isa QuoteNode && (operand = operand.value)
    operand isa NodeStream && return operand.number
    operand isa GlobalRef || return 0
    operand.name in (:stdout, :stderr) && isdefined(operand.mod, operand.name) || return 0
    Base.binding_module(operand.mod, operand.name) === Base || return 0
    return operand.name === :stdout ? 1 : 2
end
