# What differs between Julia versions, for Julia 1.9 to 1.11, tried on 1.10 (julia15.jl says what such a file defines).
#
# Since 1.9 the code generator takes all inferred code from a table (`CodegenParams.lookup`), so bodies are rewritten before it is called;
# it shares its modules between threads, and leaves other marks in its code for the passes that come after it: `normalise!` makes those the
# ones that 1.5 leaves, which are the ones that nodes know (docs/ABI.md).

# Inferred code

is_return(@nospecialize(statement)) = statement isa Core.ReturnNode && isdefined(statement, :val)
returned(statement::Core.ReturnNode) = statement.val
is_unreachable(@nospecialize(statement)) = statement isa Core.ReturnNode && !isdefined(statement, :val)
# Where a branch jumps to if its condition is false, 0 if the statement is no branch.
branch_target(@nospecialize(statement)) = statement isa Core.GotoIfNot ? statement.dest : 0
branch_condition(statement::Core.GotoIfNot) = statement.cond

# A parameter of the function, as an operand.
const Parameter = Union{Core.SlotNumber,Core.Argument}
parameter_number(operand::Core.SlotNumber) = operand.id
parameter_number(operand::Core.Argument) = operand.n

# `Base.invokelatest` and its like are calls of this.
const CALL_LATEST = Core._call_latest

# What a builtin function or an intrinsic gives for arguments of these types.
function builtin_type(@nospecialize(f), types::Vector{Any}, world::UInt)
    type = Core.Compiler.builtin_tfunction(Core.Compiler.NativeInterpreter(world), f, types, nothing)
    return type isa TypeVar ? type.ub : is_const(type) ? type : widened(type)
end

# A copy of the inferred code of `instance`, or `nothing`.
function inferred_source(instance::Core.MethodInstance, world::UInt)
    source = Core.Compiler.typeinf_ext(Core.Compiler.NativeInterpreter(world), instance)
    source isa Core.CodeInfo || return nothing
    source = copy(source)
    # A constant is returned without a body, and its types are counted only.
    source.ssavaluetypes isa Vector || (source.ssavaluetypes = Any[Any for _ in source.code])
    return source
end

# What a method returns when it is called with arguments of these types, or `nothing`.
return_type(method::Method, @nospecialize(types), environment::Core.SimpleVector, world::UInt) =
    Core.Compiler.typeinf_type(Core.Compiler.NativeInterpreter(world), method, types, environment)

# Infers `instance` if that has not been done, so that its result is known.
function infer!(instance::Core.MethodInstance, world::UInt)
    code = Codegen.inferred(instance, world)
    code === nothing || return code
    Core.Compiler.typeinf_ext(Core.Compiler.NativeInterpreter(world), instance)
    return Codegen.inferred(instance, world)
end

# Inference leaves alone what leads to a throw (`unoptimize_throw_blocks` of Core.Compiler.InferenceParams): it is asked for the types there.
function infer_throws!(body, doomed::BitVector, world::UInt)
    for i in eachindex(body.source.code)
        call = call_of(body.source.code[i])
        doomed[i] && is_call(call) && value_type(body, i) === Any || continue
        f, arguments = called(call)
        known = constant(body, f)
        known === nothing && continue
        body.source.ssavaluetypes[i] = result_type(something(known), Any[operand_type(body, a) for a in arguments], world)
    end
end

function result_type(@nospecialize(f), types::Vector{Any}, world::UInt)
    f in TEXT_MAKERS && return String
    f isa Union{Core.Builtin,Core.IntrinsicFunction} && return builtin_type(f, types, world)
    return Core.Compiler._return_type(Core.Compiler.NativeInterpreter(world), Tuple{Core.Typeof(f),types...})
end

# Emission

# The code generator asks a C function, and that has no closure: one capture emits at a time.
const EMITTING = ReentrantLock()
const EMITTED_BODIES = Ref(IdDict{Core.MethodInstance,Core.CodeInstance}())
body_to_emit(instance, first_world::UInt, last_world::UInt) = get(EMITTED_BODIES[], instance, nothing)

# Emits `instances` and all that they call. `rewrite!(body)` sees every inferred body before it is emitted and may replace
# statements in place, one by one.
function emit(instances::Vector{Core.MethodInstance}, world::UInt, rewrite!)
    bodies = IdDict{Core.MethodInstance,Core.CodeInstance}()
    order, waiting = Core.MethodInstance[], copy(instances)
    while !isempty(waiting)
        instance = popfirst!(waiting)
        (haskey(bodies, instance) || !(instance.def isa Method)) && continue
        source = inferred_source(instance, world)
        source === nothing && continue
        rewrite!(Body(instance, source))
        bodies[instance] = rewritten(instance, source)
        push!(order, instance)
        for statement in source.code
            call = call_of(statement)
            is_invoke(call) && push!(waiting, invoked(call))
        end
    end
    lock(EMITTING)
    try
        EMITTED_BODIES[] = bodies
        return emit_bodies(instances, order, bodies, world)
    finally
        EMITTED_BODIES[] = IdDict{Core.MethodInstance,Core.CodeInstance}()
        unlock(EMITTING)
    end
end

# What the code generator takes for the result of inference.
rewritten(instance::Core.MethodInstance, source::Core.CodeInfo) =
    Core.CodeInstance(instance, source.rettype, nothing, source, Int32(0), source.min_world, source.max_world, UInt32(0), UInt32(0), nothing, 0x00)

function emit_bodies(instances::Vector{Core.MethodInstance}, order::Vector{Core.MethodInstance}, bodies, world::UInt)
    parameters = Base.CodegenParams(track_allocations=false, code_coverage=false, prefer_specsig=true, gnu_pubnames=false,
        debug_info_kind=Cint(2), safepoint_on_entry=false, gcstack_arg=false,
        lookup=@cfunction(body_to_emit, Any, (Any, UInt, UInt)))
    native = GC.@preserve instances Codegen.create_native(instances, parameters, world)
    names = Tuple{String,String}[Codegen.function_names(native, bodies[instance]) for instance in order]
    bitcode = Codegen.with_module(bitcode_of, native)
    Codegen.dispose(native)
    return Emitted(bitcode, order, names)
end

# A new LLVM context whose pointers have types, as the code generator's have.
function typed_context()
    context = LLVM.ContextCreate()
    LLVM.ContextSetOpaquePointers(context, 0)
    return context
end

# Conventions

# Nothing makes calls with these any more; `normalise!` does, in place of calls of `julia.call` and `julia.call2`.
const JLCALL = Cuint(37)       # f(F, arguments…)           for  f(F, arguments*, n)
const JLCALL_EXTRA = Cuint(38) # f(extra, F, arguments…)    for  f(F, arguments*, n, extra)

# Is a pointee type one that the code generator gives to objects only? (The empty structure, and that of arrays.)
function is_object_type(type::LLVM.TypeRef)
    LLVM.GetTypeKind(type) == LLVM.STRUCT_TYPE || return false
    name = LLVM.GetStructName(type)
    name == C_NULL && return LLVM.CountStructElementTypes(type) == 0
    return startswith(unsafe_string(name), "jl_array_t")
end

# The name of a function of libjulia, as archives have it: libjulia-internal calls its own functions by a name with an "i" before it.
function runtime_name(symbol::String)
    name = startswith(symbol, "ijl_") ? symbol[2:end] : symbol
    name == "uv_os_getpid" && return "jl_getpid" # what `getpid` asks since 1.9
    return name == "jl_get_ptls_states" ? "julia.ptls_states" : name
end

# Memory

is_binding_tag(tag::UInt) = tag == Codegen.address_of_object(Core.Binding)

# The binding at `address`, an object since 1.9.
function binding_at(address::UInt)
    ref = Codegen.object_at(address).globalref
    return Binding(ref.name, ref.mod)
end

# Nothing of the thread's state may be read: what the code generator reads of it lies elsewhere in each version.
const THREAD_STATE = ()

# Fields of types that a node does not have, or elsewhere.
const TYPE_DETAILS = (:types, :names, :parameters, :instance, :layout, :hash, :flags,
    :wrapper, :Typeofwrapper, :atomicfields, :constfields, :cache, :mt)

# Julia's library

# Constant arrays of buffers, one for each thread.
thread_buffers() = ()

# Functions that give what is kept for each thread or task, by what it is. (Random numbers come out of the task itself.)
const FUNCTIONS_OF_THREADS = NamedTuple()
