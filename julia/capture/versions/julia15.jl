# What differs between Julia versions, for Julia 1.5 to 1.8: the shape of inferred code, how the code generator is asked for a method
# instance with all it calls, how its calls look in LLVM, and where things lie in memory. No other file of this room knows a version.
#
# The seam, which the file of every version range defines:
#   statements   is_return, is_unreachable, goto_target, branch_target, handler_target, is_caught_exception, call_of, is_invoke, is_call, invoked, called
#   C calls      is_foreign_call, foreign_operands, foreign_signature, foreign_name
#   bodies       Body, value_type, operand_type, constant, line_of, function_of, is_const, as_const, builtin_type, return_type, inferred_source
#   emission     emit(instances, world, rewrite!) -> Emitted, infer!
#   conventions  JLCALL, JLCALL_EXTRA (calling conventions), jlcall_arguments
#   memory       BINDING_TAG, binding_at, THREAD_STATE, field_description, reference_offsets, has_padding, type_hash, zero_initialised

# Inferred code: statements

is_return(@nospecialize(statement)) = statement isa Expr && statement.head === :return
is_unreachable(@nospecialize(statement)) = statement isa Expr && statement.head === :unreachable

# Where a statement jumps to, 0 if it is none of the kind.
goto_target(@nospecialize(statement)) = statement isa Core.GotoNode ? statement.label : 0
branch_target(@nospecialize(statement)) = statement isa Expr && statement.head === :gotoifnot ? statement.args[2]::Int : 0
is_caught_exception(@nospecialize(statement)) = statement isa Expr && statement.head === :the_exception
handler_target(@nospecialize(statement)) = statement isa Expr && statement.head === :enter ? statement.args[1]::Int : 0

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
    elseif operand isa Core.SlotNumber
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

# What a builtin function or an intrinsic gives for arguments of these types.
function builtin_type(@nospecialize(f), types::Vector{Any}, world::UInt)
    type = Core.Compiler.builtin_tfunction(f, types, nothing, Core.Compiler.Params(world))
    return type isa TypeVar ? type.ub : is_const(type) ? type : widened(type)
end

# A copy of the inferred code of `instance`, or `nothing`.
function inferred_source(instance::Core.MethodInstance, world::UInt)
    source = Core.Compiler.typeinf_ext(instance, world)
    (source isa Core.CodeInfo && source.ssavaluetypes isa Vector) || return nothing
    source = copy(source)
    source.code, source.ssavaluetypes = copy(source.code), copy(source.ssavaluetypes)
    return source
end

# What a method returns when it is called with arguments of these types, or `nothing`.
return_type(method::Method, @nospecialize(types), environment::Core.SimpleVector, world::UInt) =
    Core.Compiler.typeinf_type(method, types, environment, Core.Compiler.Params(world))

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
    if operand isa Core.SlotNumber
        parameters = Base.unwrap_unionall(body.instance.specTypes).parameters
        n = Int(body.instance.def.nargs)
        (operand.id < n || (operand.id == n && !body.instance.def.isva)) && return parameters[operand.id]
        return operand.id == n ? Tuple{parameters[n:end]...} : Any # the last takes all that is left
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

# The name of the function that statement `i` was written in.
function function_of(body::Body, i::Int)
    location = body.source.codelocs[i]
    location == 0 && return ""
    method = body.source.linetable[location].method
    return string(method isa Method ? method.name : method)
end

# Emission

# What the code generator made: bitcode, the method instances in it, and the names of their functions.
struct Emitted
    bitcode::Vector{UInt8}
    instances::Vector{Core.MethodInstance}
    names::Vector{Tuple{String,String}} # (through jlcall, specialised)
end

# Emits `instances` and all that they call. `rewrite!(body)` sees every inferred body before it is emitted and may replace
# statements in place, one by one.
function emit(instances::Vector{Core.MethodInstance}, world::UInt, rewrite!)
    seen = Core.MethodInstance[]
    undo = Tuple{Core.CodeInfo,Vector{Any},Any}[]
    failure = Ref{Any}(nothing)
    # An exception may not cross the code generator. A body that is also in Julia's own cache is put back after its emission.
    before = function (instance, source)
        try
            push!(seen, instance)
            is_cached(instance, source) && push!(undo, (source, copy(source.code), copy(source.ssavaluetypes)))
            rewrite!(Body(instance, source))
        catch exception
            failure[] === nothing && (failure[] = exception)
        end
        nothing
    end
    after = function (instance, source)
        while !isempty(undo) && undo[end][1] === source
            _, code, types = pop!(undo)
            copyto!(source.code, code)
            copyto!(source.ssavaluetypes, types)
        end
        nothing
    end
    parameters = Base.CodegenParams(track_allocations=false, code_coverage=false, static_alloc=true, prefer_specsig=true,
        gnu_pubnames=false, debug_info_kind=Cint(2), emit_function=before, emitted_function=after)
    native = GC.@preserve before after instances Codegen.create_native(instances, parameters)
    failure[] === nothing || (Codegen.dispose(native); throw(failure[]))
    names = map(seen) do instance
        code = Codegen.inferred(instance, world)
        code === nothing ? ("", "") : Codegen.function_names(native, code)
    end
    mod = Codegen.llvm_module(native)
    bitcode = bitcode_of(mod)
    Codegen.dispose(native)
    return Emitted(bitcode, seen, names)
end

function is_cached(instance::Core.MethodInstance, source::Core.CodeInfo)
    isdefined(instance, :cache) || return false
    code = instance.cache
    while true
        isdefined(code, :inferred) && code.inferred === source && return true
        isdefined(code, :next) || return false
        code = code.next
    end
end

# Infers `instance` if that has not been done, so that calls of it are direct.
function infer!(instance::Core.MethodInstance, world::UInt)
    code = Codegen.inferred(instance, world)
    code === nothing || return code
    Core.Compiler.typeinf_ext(instance, world)
    return Codegen.inferred(instance, world)
end

# Conventions

const JLCALL = Cuint(37)       # f(F, arguments…)           for  f(F, arguments*, n)
const JLCALL_EXTRA = Cuint(38) # f(extra, F, arguments…)    for  f(F, arguments*, n, extra)

# Memory

# Bindings are raw memory of the collector, which says so with this tag where objects have their type.
const BINDING_TAG = UInt(0x4eadc000)

struct Binding
    name::Symbol
    value::UInt
    owner::Module
    constant::Bool
end

# The binding at `address`: name, value, cached GlobalRef, owner, flags.
function binding_at(address::UInt)
    word(i) = unsafe_load(Ptr{UInt}(address), i)
    return Binding(Codegen.object_at(word(1)), word(2), Codegen.object_at(word(4)), unsafe_load(Ptr{UInt8}(address + 32)) & 1 == 1)
end
const BINDING_VALUE = UInt(8)

# Bytes of the thread's state that shipped code may read: thread id, address of the safepoint page.
const THREAD_STATE = (16:17, 32:39)

# A type's layout: a header of 16 bytes, a description of 2, 4 or 8 bytes for each field, an offset in words for each reference.
const LAYOUT_HEADER = 16
layout_width(@nospecialize(T::DataType)) = 1 << Base.datatype_fielddesc_type(T)

read_unsigned(address::Ptr{Cvoid}, width::Int) =
    width == 1 ? UInt32(unsafe_load(Ptr{UInt8}(address))) : width == 2 ? UInt32(unsafe_load(Ptr{UInt16}(address))) : unsafe_load(Ptr{UInt32}(address))

# Is field `i` a reference, and how many bytes does it take?
function field_description(@nospecialize(T::DataType), i::Int)
    width = layout_width(T)
    word = read_unsigned(T.layout + LAYOUT_HEADER + 2 * width * (i - 1), width)
    return (word & 1 == 1, Int(word >> 1))
end

# Offsets of all references in an object of the concrete type `T`, those of inline fields too.
function reference_offsets(@nospecialize(T::DataType))
    has_layout(T) || return UInt32[]
    header = unsafe_load(Ptr{Base.DataTypeLayout}(T.layout))
    header.nfields == 0 && return UInt32[]
    width = layout_width(T)
    first = T.layout + LAYOUT_HEADER + 2 * width * Int(header.nfields)
    return UInt32[8 * read_unsigned(first + width * (k - 1), width) for k in 1:Int(header.npointers)]
end

has_padding(@nospecialize(T::DataType)) = has_layout(T) && Base.datatype_haspadding(T)
has_layout(@nospecialize(T::DataType)) = T.layout != C_NULL
type_hash(@nospecialize(T::DataType)) = T.hash
zero_initialised(@nospecialize(T::DataType)) = T.zeroinit
symbol_hash(symbol::Symbol) = GC.@preserve symbol unsafe_load(Ptr{UInt64}(Codegen.address_of_object(symbol) + 16))
