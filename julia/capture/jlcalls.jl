# Calls in Julia's own convention. The code generator leaves `f(F, arguments…)` with a calling convention of its own to a later pass,
# which turns it into `f(F, arguments*, n)`; that pass is not run on shipped code, so it is done here. Calls of the functions that stand
# for a deferred message (errorpaths.jl), and of builtins that the runtime has in another shape, become calls of the runtime.

# `wanted(call)` chooses among the calls in that convention.
function lower_jlcalls!(wanted, work)
    portable = work.portable
    for f in LLVM.Functions(portable.mod)
        calls = [i for b in LLVM.Blocks(f) for i in LLVM.Instructions(b) if is_jlcall(i) && wanted(i)]
        isempty(calls) && continue
        object = LLVM.TypeOf(first(calls)) # jl_value_t addrspace(10)*
        frame = argument_frame!(portable, f, object, maximum(LLVM.GetNumArgOperands(c) for c in calls))
        for call in calls
            lower_jlcall!(work, call, frame)
        end
    end
end

lower_deferrals!(work) = lower_jlcalls!(call -> deferral_of(work, LLVM.GetOperand(call, 0)) !== nothing || makes_tuple(work, call), work)

# `tuple(xs...)`, whatever `xs` are.
function makes_tuple(work, call::LLVM.ValueRef)
    target = callee(call)
    (LLVM.isnull(target) || LLVM.name_of(target) != "jl_f__apply_iterate") && return false
    is_object(k, object) = (found = constant_object(work, LLVM.GetOperand(call, k)); found !== nothing && something(found) === object)
    return LLVM.GetNumArgOperands(call) >= 3 && is_object(1, iterate) && is_object(2, tuple)
end

function is_jlcall(instruction::LLVM.ValueRef)
    is_call_instruction(instruction) || return false
    convention = LLVM.GetInstructionCallConv(instruction)
    return convention == JLCALL || convention == JLCALL_EXTRA
end

# Room for the arguments of the widest call of `f`.
function argument_frame!(portable::Portable, f::LLVM.ValueRef, object::LLVM.TypeRef, width)
    LLVM.PositionBuilderBefore(portable.builder, LLVM.GetFirstInstruction(LLVM.GetEntryBasicBlock(f)))
    return LLVM.BuildAlloca(portable.builder, LLVM.ArrayType(object, width), "")
end

function lower_jlcall!(work, call::LLVM.ValueRef, frame::LLVM.ValueRef)
    portable = work.portable
    operands = [LLVM.GetOperand(call, i) for i in 0:LLVM.GetNumArgOperands(call)-1]
    extra = LLVM.GetInstructionCallConv(call) == JLCALL_EXTRA ? popfirst!(operands) : LLVM.NO_VALUE
    F = popfirst!(operands)
    LLVM.PositionBuilderBefore(portable.builder, call)
    object = LLVM.TypeOf(call)
    deferral = deferral_of(work, F)
    if deferral !== nothing
        lowered = lower_deferral!(work, deferral, operands, frame, object)
    elseif makes_tuple(work, call)
        arguments, n = store_arguments!(portable, frame, operands[3:end], object)
        lowered = runtime_call!(portable, "bc_splat_tuple", object, [F, arguments, n])
    else
        arguments, n = store_arguments!(portable, frame, operands, object)
        all = LLVM.isnull(extra) ? [F, arguments, n] : [F, arguments, n, extra]
        lowered = runtime_call!(portable, uncast(LLVM.GetCalledValue(call)), object, all)
    end
    LLVM.ReplaceAllUsesWith(call, lowered)
    LLVM.InstructionEraseFromParent(call)
end

# Stores `operands` in the frame; the pointer to the first and the number of them.
function store_arguments!(portable::Portable, frame::LLVM.ValueRef, operands::Vector{LLVM.ValueRef}, object::LLVM.TypeRef)
    int = LLVM.Int32TypeInContext(portable.context)
    isempty(operands) && return LLVM.ConstNull(LLVM.PointerType(object, 0)), LLVM.ConstInt(int, UInt64(0), 0)
    place(k) = (indices = [LLVM.ConstInt(int, UInt64(0), 0), LLVM.ConstInt(int, UInt64(k), 0)];
                LLVM.BuildInBoundsGEP(portable.builder, frame, indices, 2, ""))
    for (k, operand) in enumerate(operands)
        LLVM.BuildStore(portable.builder, operand, place(k - 1))
    end
    return place(0), LLVM.ConstInt(int, UInt64(length(operands)), 0)
end

# A call of `target` (a function whatever it was declared as, or the name of one of the runtime's) with these arguments.
function runtime_call!(portable::Portable, target::Union{LLVM.ValueRef,String}, result::LLVM.TypeRef, arguments::Vector{LLVM.ValueRef})
    types = LLVM.TypeRef[LLVM.TypeOf(a) for a in arguments]
    type = LLVM.PointerType(LLVM.FunctionType(result, types, length(types), 0), 0)
    if target isa String
        target = external_function(portable, target, type)
    elseif LLVM.TypeOf(target) != type
        target = LLVM.IsConstant(target) == 1 ? LLVM.ConstBitCast(target, type) : LLVM.BuildBitCast(portable.builder, target, type, "")
    end
    return LLVM.BuildCall(portable.builder, target, arguments, length(arguments), "")
end

# Such a call of a function that does not return.
function final_call!(portable::Portable, name::String, result::LLVM.TypeRef, arguments::Vector{LLVM.ValueRef})
    call = runtime_call!(portable, name, result, arguments)
    kind = LLVM.GetEnumAttributeKindForName("noreturn", 8)
    LLVM.AddCallSiteAttribute(call, FUNCTION_ATTRIBUTES, LLVM.CreateEnumAttribute(portable.context, kind, UInt64(0)))
    return call
end
const FUNCTION_ATTRIBUTES = typemax(Cuint)

# Which deferral a call's function stands for, or `nothing`.
function deferral_of(work, F::LLVM.ValueRef)
    found = constant_object(work, F)
    found === nothing && return nothing
    object = something(found)
    return is_deferral(object) ? object : nothing
end

function lower_deferral!(work, @nospecialize(deferral), operands::Vector{LLVM.ValueRef}, frame::LLVM.ValueRef, object::LLVM.TypeRef)
    portable = work.portable
    if deferral === static_throw
        return final_call!(portable, "bc_throw_static", object, [or_null(work, operands[1]), or_null(work, operands[2])])
    end
    lead = deferral === deferred_text ? 1 : 2
    called = constant_object(work, operands[lead])
    called === nothing || push!(work.deferrable, something(called))
    arguments, n = store_arguments!(portable, frame, operands[lead+1:end], object)
    deferral === deferred_text && return runtime_call!(portable, "bc_defer", object, [operands[1], arguments, n])
    return final_call!(portable, "bc_throw_deferred", object, [or_null(work, operands[1]), operands[2], arguments, n])
end

# `nothing` as an argument of the runtime is a null reference.
function or_null(work, value::LLVM.ValueRef)
    found = constant_object(work, value)
    return found !== nothing && something(found) === nothing ? LLVM.ConstNull(LLVM.TypeOf(value)) : value
end

# The code generator tells the collector with operand bundles which objects a C call needs; nodes have no collector that asks.
function strip_bundles!(portable::Portable)
    each_instruction(portable) do f, instruction
        is_call_instruction(instruction) || return
        n = Int(LLVM.GetNumArgOperands(instruction))
        LLVM.GetNumOperands(instruction) > n + 1 || return
        LLVM.PositionBuilderBefore(portable.builder, instruction)
        arguments = LLVM.ValueRef[LLVM.GetOperand(instruction, i) for i in 0:n-1]
        call = LLVM.BuildCall(portable.builder, LLVM.GetCalledValue(instruction), arguments, n, "")
        LLVM.SetInstructionCallConv(call, LLVM.GetInstructionCallConv(instruction))
        for index in (FUNCTION_ATTRIBUTES, Cuint(0), (Cuint(k) for k in 1:n)...)
            count = LLVM.GetCallSiteAttributeCount(instruction, index)
            attributes = Vector{LLVM.AttributeRef}(undef, count)
            LLVM.GetCallSiteAttributes(instruction, index, attributes)
            foreach(attribute -> LLVM.AddCallSiteAttribute(call, index, attribute), attributes)
        end
        LLVM.ReplaceAllUsesWith(instruction, call)
        LLVM.InstructionEraseFromParent(instruction)
    end
end
