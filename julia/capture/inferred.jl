# Inferred code: what its statements do and what is known of their values. The same for all Julia versions; how a version writes a return or a
# branch, and how it is asked to infer something, is in versions/.

# Statements

# Where a statement jumps to, 0 if it is none of the kind.
goto_target(@nospecialize(statement)) = statement isa Core.GotoNode ? statement.label : 0
handler_target(@nospecialize(statement)) = statement isa Expr && statement.head === :enter ? statement.args[1]::Int : 0
is_caught_exception(@nospecialize(statement)) = statement isa Expr && statement.head === :the_exception

# The expression of a call in a statement: what it invokes and with what, whether or not its value is assigned.
call_of(@nospecialize(statement)) =
    statement isa Expr && statement.head === :(=) ? statement.args[2] : statement
is_invoke(@nospecialize(statement)) = statement isa Expr && statement.head === :invoke
is_call(@nospecialize(statement)) = statement isa Expr && statement.head === :call

invoked(statement::Expr) = statement.args[1]::Core.MethodInstance
# Function and arguments of a call or an invoke.
function called(statement::Expr)
    first = statement.head === :invoke ? 2 : 1
    return statement.args[first], view(statement.args, first+1:length(statement.args))
end

# A `ccall`: its function, return type, argument types, …, the arguments, and then objects to keep alive.
is_foreign_call(@nospecialize(statement)) = statement isa Expr && statement.head === :foreigncall
foreign_operands(call::Expr) = view(call.args, 6:5+length(call.args[3]))
kept_alive(call::Expr) = view(call.args, 6+length(call.args[3]):length(call.args))
# The types that it returns and takes.
foreign_signature(call::Expr) = call.args[2], collect(Any, call.args[3])

# `Type{T}`, the type of the value `T` alone.
is_type_type(@nospecialize(T)) = T isa DataType && T.name === Type.body.name && !(T.parameters[1] isa TypeVar)

# The inferred code of a method instance.
struct Body
    instance::Core.MethodInstance
    source::Core.CodeInfo
end

widened(@nospecialize(type)) = type isa Core.Compiler.Const ? Core.Typeof(type.val) : type isa Type ? type : Core.Compiler.widenconst(type)

# The type of the value that statement `i` gives.
value_type(body::Body, i::Int) = widened(body.source.ssavaluetypes[i])

# The value of an operand that is the same at each execution, wrapped in `Some`, or `nothing`.
function constant(body::Body, @nospecialize(operand))
    if operand isa Core.SSAValue
        type = body.source.ssavaluetypes[operand.id]
        type isa Core.Compiler.Const && return Some(type.val)
        type isa DataType && isdefined(type, :instance) && return Some(type.instance)
        is_type_type(type) && return Some(type.parameters[1])
        statement = body.source.code[operand.id]
        return statement isa Union{GlobalRef,QuoteNode} ? constant(body, statement) : nothing
    elseif operand isa Parameter
        type = operand_type(body, operand)
        is_type_type(type) && return Some(type.parameters[1])
        return type isa DataType && isdefined(type, :instance) ? Some(type.instance) : nothing
    elseif operand isa GlobalRef
        isdefined(operand.mod, operand.name) && isconst(operand.mod, operand.name) || return nothing
        return Some(getfield(operand.mod, operand.name))
    elseif operand isa QuoteNode
        return Some(operand.value)
    elseif operand isa Expr
        operand.head === :static_parameter || return nothing
        value = body.instance.sparam_vals[operand.args[1]::Int]
        return value isa TypeVar ? nothing : Some(value)
    elseif operand isa Union{Core.PhiNode,Core.PiNode}
        return nothing
    end
    return Some(operand)
end

# What inference knows of a value: that it is one value, or else its type.
is_const(@nospecialize(type)) = type isa Core.Compiler.Const
as_const(@nospecialize(value)) = Core.Compiler.Const(value)

# The C function that a `ccall` names, "" if it names none.
function foreign_name(body::Body, call::Expr)
    named = call.args[1]
    named isa Expr && named.head === :call && (named = named.args[2])
    found = constant(body, named)
    return found === nothing ? "" : name_in(something(found))
end
name_in(symbol::Union{Symbol,String}) = String(symbol)
name_in(pair::Tuple) = isempty(pair) ? "" : name_in(pair[1])
name_in(@nospecialize(other)) = ""

function operand_type(body::Body, @nospecialize(operand))
    operand isa Core.SSAValue && return value_type(body, operand.id)
    if operand isa Parameter
        parameters = Base.unwrap_unionall(body.instance.specTypes).parameters
        n, k = Int(body.instance.def.nargs), parameter_number(operand)
        (k < n || (k == n && !body.instance.def.isva)) && return parameters[k]
        return k == n ? Tuple{parameters[n:end]...} : Any # the last takes all that is left
    end
    known = constant(body, operand)
    return known === nothing ? Any : Core.Typeof(something(known))
end

# File and line that statement `i` comes from, wherever it was inlined.
function line_of(body::Body, i::Int)
    location = body.source.codelocs[i]
    location == 0 && return ("", 0)
    line = body.source.linetable[location]
    return (string(line.file), Int(line.line))
end

# The places in the source that statement `i` comes from, those that it was inlined into first.
function frames_at(body::Body, i::Int)
    frames, location = Frame[], Int(body.source.codelocs[i])
    while location > 0
        line = body.source.linetable[location]
        method = line.method
        pushfirst!(frames, Frame(readable_name(string(method isa Core.MethodInstance ? method.def.name : method isa Method ? method.name : method)),
                                 string(line.file), Int(line.line)))
        location = Int(line.inlined_at)
    end
    return frames
end

# The name of the function that statement `i` was written in.
function function_of(body::Body, i::Int)
    location = body.source.codelocs[i]
    location == 0 && return ""
    method = body.source.linetable[location].method
    return string(method isa Method ? method.name : method)
end

# What the code generator made of it: bitcode, the method instances in it, and the names of their functions.
struct Emitted
    bitcode::Vector{UInt8}
    instances::Vector{Core.MethodInstance}
    names::Vector{Tuple{String,String}} # (through jlcall, specialised)
end

# A global variable.
struct Binding
    name::Symbol
    owner::Module
end
