# What differs between Julia versions, for Julia 1.5 to 1.8: the shape of inferred code, how the code generator is asked for a method
# instance with all it calls, how its calls look in LLVM, and where things lie in memory. No other file of this room knows a version.
#
# The seam, which the file of every version range defines:
#   statements   is_return, returned, is_unreachable, branch_target, branch_condition, Parameter, parameter_number
#   questions    builtin_type, inferred_source, return_type, infer!, infer_throws!, CALL_LATEST
#   emission     emit(instances, world, rewrite!) -> Emitted, typed_context, normalise!, settle_pools!
#   conventions  JLCALL, JLCALL_EXTRA (calling conventions), is_object_type, runtime_name
#   memory       is_binding_tag, binding_at, THREAD_STATE, TYPE_DETAILS
#   library      thread_buffers, FUNCTIONS_OF_THREADS

# Inferred code

is_return(@nospecialize(statement)) = statement isa Expr && statement.head === :return
returned(statement::Expr) = statement.args[1]
is_unreachable(@nospecialize(statement)) = statement isa Expr && statement.head === :unreachable
# Where a branch jumps to if its condition is false, 0 if the statement is no branch.
branch_target(@nospecialize(statement)) = statement isa Expr && statement.head === :gotoifnot ? statement.args[2]::Int : 0
branch_condition(statement::Expr) = statement.args[1]

# A parameter of the function, as an operand.
const Parameter = Core.SlotNumber
parameter_number(operand::Parameter) = operand.id

# `Base.invokelatest` and its like are calls of this.
const CALL_LATEST = Core._apply_latest

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

# What leads to a throw is inferred like anything else.
infer_throws!(body, doomed::BitVector, world::UInt) = nothing

# Emission

# Emits `instances` and all that they call. `rewrite!(body)` sees every inferred body before it is emitted and may replace
# statements in place, one by one.
function emit(instances::Vector{Core.MethodInstance}, world::UInt, rewrite!)
    seen = Core.MethodInstance[]
    undo = Tuple{Core.CodeInfo,Vector{Any},Any}[]
    failure = Ref{Any}(nothing)
    # An exception may not cross the code generator. A body that is also in Julia's own cache is put back after its emission.
    before = function (instance, source)
        try
            failure[] === nothing || return
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
    bitcode = Codegen.with_module(bitcode_of, native)
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

# A new LLVM context whose pointers have types, as the code generator's have.
typed_context() = LLVM.ContextCreate()

# The code generator's module is as the rest of this room wants it.
normalise!(work) = nothing

# There is one pool of threads, whose size is a number that nodes know.
settle_pools!(portable) = nothing

# Conventions

# Is a pointee type one that the code generator gives to objects only?
function is_object_type(type::LLVM.TypeRef)
    LLVM.GetTypeKind(type) == LLVM.STRUCT_TYPE || return false
    name = LLVM.GetStructName(type)
    name == C_NULL && return false
    text = unsafe_string(name)
    return startswith(text, "jl_value_t") || startswith(text, "jl_array_t")
end

# The name of a function of libjulia, as archives have it.
runtime_name(symbol::String) = symbol

const JLCALL = Cuint(37)       # f(F, arguments…)           for  f(F, arguments*, n)
const JLCALL_EXTRA = Cuint(38) # f(extra, F, arguments…)    for  f(F, arguments*, n, extra)

# Memory

# Bindings are raw memory of the collector, which says so with this tag where objects have their type.
is_binding_tag(tag::UInt) = tag == 0x4eadc000

# The binding at `address`. In memory: name, value, cached GlobalRef, owner, flags.
function binding_at(address::UInt)
    word(i) = unsafe_load(Ptr{UInt}(address), i)
    return Binding(Codegen.object_at(word(1)), Codegen.object_at(word(4)))
end

# Bytes of the thread's state that shipped code may read: thread id, address of the safepoint page.
const THREAD_STATE = (16:17, 32:39)

# Fields of types that a node does not have, or elsewhere.
const TYPE_DETAILS = (:types, :names, :parameters)

# Julia's library

# Constant arrays of buffers, one for each thread.
thread_buffers() = (LinearAlgebra.Abuf, LinearAlgebra.Bbuf, LinearAlgebra.Cbuf)

# Functions that give what is kept for each thread or task, by what it is.
const FUNCTIONS_OF_THREADS = (digits=Base.Grisu.getbuf, generator=Random.default_rng)
