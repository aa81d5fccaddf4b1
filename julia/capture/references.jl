# LLVM turns small memory copies into loads and stores of integers, also where what is copied is a reference to an object. Julia's pass
# that removes allocations does not expect that (it stops the process): such loads and stores become those of references again here.

struct Access
    instruction::LLVM.ValueRef
    pointer::LLVM.ValueRef
    offset::Int
    value::LLVM.TypeRef
end

# Before every run of AllocOpt that comes after an InstructionCombining.
function restore_references!(portable::Portable)
    allocate = LLVM.GetNamedFunction(portable.mod, "julia.gc_alloc_obj")
    LLVM.isnull(allocate) && return
    layout = LLVM.GetModuleDataLayout(portable.mod)
    for call in collect(LLVM.Users(allocate))
        is_instruction(call) || continue
        object = LLVM.TypeOf(call)
        accesses = Access[]
        collect_accesses!(accesses, call, 0, layout)
        references = Set(a.offset for a in accesses if is_reference_type(a.value, object))
        isempty(references) && continue
        for access in accesses
            access.offset in references && LLVM.GetTypeKind(access.value) == LLVM.INTEGER_TYPE || continue
            restore_reference!(portable, access, object)
        end
    end
end

is_reference_type(type::LLVM.TypeRef, object::LLVM.TypeRef) =
    LLVM.GetTypeKind(type) == LLVM.POINTER_TYPE && LLVM.GetPointerAddressSpace(type) == LLVM.GetPointerAddressSpace(object)

# Loads and stores through `pointer`, which lies `offset` bytes into an object, as far as casts and constant offsets lead.
function collect_accesses!(accesses::Vector{Access}, pointer::LLVM.ValueRef, offset::Int, layout::LLVM.TargetDataRef)
    for user in LLVM.Users(pointer)
        is_instruction(user) || continue
        opcode = LLVM.GetInstructionOpcode(user)
        if opcode == LLVM.BIT_CAST || opcode == LLVM.ADDRESS_SPACE_CAST
            collect_accesses!(accesses, user, offset, layout)
        elseif opcode == LLVM.GEP
            step = constant_offset(user, layout)
            step === nothing || collect_accesses!(accesses, user, offset + step, layout)
        elseif opcode == LLVM.LOAD
            push!(accesses, Access(user, pointer, offset, LLVM.TypeOf(user)))
        elseif opcode == LLVM.STORE && LLVM.GetOperand(user, 1) == pointer
            push!(accesses, Access(user, pointer, offset, LLVM.TypeOf(LLVM.GetOperand(user, 0))))
        end
    end
end

# How many bytes a GEP goes, if that is constant.
function constant_offset(gep::LLVM.ValueRef, layout::LLVM.TargetDataRef)
    type = LLVM.GetElementType(LLVM.TypeOf(LLVM.GetOperand(gep, 0)))
    offset = 0
    for i in 1:LLVM.GetNumOperands(gep)-1
        index = LLVM.GetOperand(gep, i)
        LLVM.GetValueKind(index) == LLVM.KIND_CONSTANT_INT || return nothing
        k = Int(LLVM.ConstIntGetSExtValue(index))
        if i == 1
            k == 0 || (offset += k * Int(LLVM.ABISizeOfType(layout, type)))
        elseif LLVM.GetTypeKind(type) == LLVM.STRUCT_TYPE
            offset += Int(LLVM.OffsetOfElement(layout, type, k))
            type = LLVM.StructGetTypeAtIndex(type, k)
        else
            type = LLVM.GetElementType(type)
            offset += k * Int(LLVM.ABISizeOfType(layout, type))
        end
    end
    return offset
end

function restore_reference!(portable::Portable, access::Access, object::LLVM.TypeRef)
    builder = portable.builder
    LLVM.PositionBuilderBefore(builder, access.instruction)
    plain = LLVM.PointerType(LLVM.GetElementType(object), 0)
    space = LLVM.GetPointerAddressSpace(LLVM.TypeOf(access.pointer))
    place = LLVM.BuildBitCast(builder, access.pointer, LLVM.PointerType(object, space), "")
    if LLVM.GetInstructionOpcode(access.instruction) == LLVM.STORE
        address = LLVM.BuildIntToPtr(builder, LLVM.GetOperand(access.instruction, 0), plain, "")
        LLVM.BuildStore(builder, LLVM.BuildAddrSpaceCast(builder, address, object, ""), place)
    else
        reference = LLVM.BuildLoad(builder, place, "")
        address = LLVM.BuildAddrSpaceCast(builder, reference, plain, "")
        LLVM.ReplaceAllUsesWith(access.instruction, LLVM.BuildPtrToInt(builder, address, LLVM.TypeOf(access.instruction), ""))
    end
    LLVM.InstructionEraseFromParent(access.instruction)
end
