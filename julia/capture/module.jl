# The LLVM module of a capture, in a context of its own: nothing that is done to it can reach the modules Julia itself works on, and
# closing it frees everything.

# How the node finds the entry.
const ENTRY_SYMBOL = "bitcode_entry"

mutable struct Portable
    context::LLVM.ContextRef
    mod::LLVM.ModuleRef
    builder::LLVM.BuilderRef
    lasting::Bool
end

# The module in `bitcode`, without names of local values.
function Portable(bitcode::Vector{UInt8}; lasting::Bool=false)
    context = lasting ? lasting_context() : new_context()
    mod = Ref(LLVM.ModuleRef(C_NULL))
    buffer = LLVM.CreateMemoryBufferWithMemoryRange(pointer(bitcode), length(bitcode), "bitcode", 0)
    failed = GC.@preserve bitcode LLVM.ParseBitcodeInContext2(context, buffer, mod)
    LLVM.DisposeMemoryBuffer(buffer)
    if failed != 0
        lasting || LLVM.ContextDispose(context)
        throw(InternalCaptureError("the code generator's bitcode could not be read back"))
    end
    return Portable(context, mod[], LLVM.CreateBuilderInContext(context), lasting)
end

function new_context()
    context = typed_context()
    LLVM.ContextSetDiscardValueNames(context, 1)
    return context
end

# Julia's pass that removes address spaces remembers types for ever, by their addresses. So what it works on must never be freed; it is
# only given finished code, of which a context keeps little (types and some constants) when the module goes.
const LASTING_CONTEXT = Ref(LLVM.ContextRef(C_NULL))
function lasting_context()
    if LLVM.isnull(LASTING_CONTEXT[])
        LASTING_CONTEXT[] = new_context()
        foreach(kind -> LLVM.GetMDKindIDInContext(LASTING_CONTEXT[], kind, ncodeunits(kind)), METADATA_KINDS)
    end
    return LASTING_CONTEXT[]
end

# Kinds of metadata that Julia adds to LLVM's own. Bitcode lists all kinds that its context has ever seen: if the context knew them only from the first
# code that has one (a `@simd` loop), the same function would be other bytes, another code id, from then on.
const METADATA_KINDS = ("julia.loopinfo",)

function Base.close(portable::Portable)
    LLVM.isnull(portable.context) && return
    LLVM.DisposeBuilder(portable.builder)
    LLVM.DisposeModule(portable.mod)
    portable.lasting || LLVM.ContextDispose(portable.context)
    portable.context = LLVM.ContextRef(C_NULL)
    nothing
end

function bitcode_of(mod::LLVM.ModuleRef)
    buffer = LLVM.WriteBitcodeToMemoryBuffer(mod)
    bytes = unsafe_wrap(Array, LLVM.GetBufferStart(buffer), LLVM.GetBufferSize(buffer)) |> copy
    LLVM.DisposeMemoryBuffer(buffer)
    return bytes
end

text_of(portable::Portable) = LLVM.take_message(LLVM.PrintModuleToString(portable.mod))

# What LLVM's verifier says against the module, "" if nothing.
function verify(portable::Portable)
    message = Ref(Ptr{UInt8}(C_NULL))
    bad = LLVM.VerifyModule(portable.mod, 2, message)
    text = LLVM.take_message(message[])
    return bad == 0 ? "" : text
end

triple_of(portable::Portable) = unsafe_string(LLVM.GetTarget(portable.mod))

is_definition(value::LLVM.ValueRef) = LLVM.IsDeclaration(value) == 0
is_used(value::LLVM.ValueRef) = !LLVM.isnull(LLVM.GetFirstUse(value))

# Keeps what the function `entry` needs, and what others are to link to, in the order in which it is first needed. (The code generator's own order follows addresses.)
# Linking takes internal functions only when somebody refers to them, so it does both at once.
function keep_reachable!(portable::Portable, entry::String, exported::String)
    roots = [entry => ENTRY_SYMBOL]
    isempty(exported) || push!(roots, exported => FUNCTION_SYMBOL)
    kept = map(roots) do (name, symbol)
        f = LLVM.GetNamedFunction(portable.mod, name)
        LLVM.isnull(f) && throw(InternalCaptureError("the code generator made no function $name"))
        LLVM.rename!(f, symbol)
        return f
    end
    # Since 1.9 the code generator leaves everything external, for its linker to find.
    for walk in (LLVM.Functions, LLVM.Globals), value in walk(portable.mod)
        is_definition(value) && LLVM.GetLinkage(value) == LLVM.EXTERNAL_LINKAGE && LLVM.SetLinkage(value, LLVM.INTERNAL_LINKAGE)
    end
    foreach(f -> LLVM.SetLinkage(f, LLVM.EXTERNAL_LINKAGE), kept)
    reachable = LLVM.ModuleCreateWithNameInContext("bitcode", portable.context)
    LLVM.SetTarget(reachable, LLVM.GetTarget(portable.mod))
    LLVM.SetDataLayout(reachable, LLVM.GetDataLayoutStr(portable.mod))
    LLVM.LinkModules2(reachable, portable.mod) == 0 || throw(InternalCaptureError("linking failed"))
    portable.mod = reachable
    return nothing
end

# The code generator numbers its names through the whole session: number them by their order in the module instead.
function number_names!(portable::Portable)
    k = 0
    for f in LLVM.Functions(portable.mod)
        is_definition(f) && LLVM.GetLinkage(f) != LLVM.EXTERNAL_LINKAGE || continue
        k += 1
        LLVM.rename!(f, string(plain_name(LLVM.name_of(f)), '.', k))
    end
    k = 0
    for g in LLVM.Globals(portable.mod)
        is_definition(g) || continue
        k += 1
        LLVM.rename!(g, string("data.", k))
    end
end

# Names of types (which would differ from one capture to the next) and of values go, and debug information with them; `names` are given
# back to the functions, in order.
function strip_names!(portable::Portable)
    names = String[LLVM.name_of(f) for f in LLVM.Functions(portable.mod)]
    run_passes!(LLVM.StripSymbols, portable)
    for (f, name) in zip(LLVM.Functions(portable.mod), names)
        LLVM.rename!(f, name)
    end
end

# "julia_sort!_1234" → "sort!"
function plain_name(name::String)
    name = replace(name, r"_\d+$" => "")
    return replace(name, r"^(julia|japi1|japi3|jfptr|j|j1)_" => "")
end

# Every instruction of every function, as `action(function, instruction)`; the instruction may be erased.
function each_instruction(action, portable::Portable)
    for f in LLVM.Functions(portable.mod), block in LLVM.Blocks(f), instruction in LLVM.Instructions(block)
        action(f, instruction)
    end
end

is_call_instruction(value::LLVM.ValueRef) = LLVM.GetInstructionOpcode(value) == LLVM.CALL
is_instruction(value::LLVM.ValueRef) = LLVM.GetValueKind(value) == LLVM.KIND_INSTRUCTION
is_opcode(value::LLVM.ValueRef, opcode::Cint) = is_instruction(value) && LLVM.GetInstructionOpcode(value) == opcode

# `value` without the casts that constants wrap around it.
function uncast(value::LLVM.ValueRef)
    while LLVM.GetValueKind(value) == LLVM.KIND_CONSTANT_EXPRESSION
        opcode = LLVM.GetConstOpcode(value)
        opcode == LLVM.BIT_CAST || opcode == LLVM.ADDRESS_SPACE_CAST || return value
        value = LLVM.GetOperand(value, 0)
    end
    return value
end

# The function that a call names, or `NO_VALUE`.
function callee(call::LLVM.ValueRef)
    target = uncast(LLVM.GetCalledValue(call))
    return LLVM.GetValueKind(target) == LLVM.KIND_FUNCTION ? target : LLVM.NO_VALUE
end

# A declaration of the C function `name`; as the `type` of pointer that is wanted.
function external_function(portable::Portable, name::String, type::LLVM.TypeRef)
    found = LLVM.GetNamedFunction(portable.mod, name)
    LLVM.isnull(found) && (found = LLVM.AddFunction(portable.mod, name, LLVM.GetElementType(type)))
    return LLVM.TypeOf(found) == type ? found : LLVM.ConstBitCast(found, type)
end
