# Arguments that are structures are passed by reference, and Julia marks what is read of them as never changing: true as long as the
# function is a function. Julia's own pipeline does not inline; ours and the node's do, and then the memory is a variable of the caller,
# which was written just before. So those marks come off.

function forget_invariance!(portable::Portable)
    invariant = LLVM.GetMDKindIDInContext(portable.context, "invariant.load", 14)
    tbaa = LLVM.GetMDKindIDInContext(portable.context, "tbaa", 4)
    for f in LLVM.Functions(portable.mod)
        is_definition(f) || continue
        for i in 0:LLVM.CountParams(f)-1
            argument = LLVM.GetParam(f, i)
            LLVM.GetTypeKind(LLVM.TypeOf(argument)) == LLVM.POINTER_TYPE && unmark_loads!(argument, invariant, tbaa)
        end
    end
end

function unmark_loads!(pointer::LLVM.ValueRef, invariant::Cuint, tbaa::Cuint)
    for user in LLVM.Users(pointer)
        is_instruction(user) || continue
        opcode = LLVM.GetInstructionOpcode(user)
        if opcode == LLVM.BIT_CAST || opcode == LLVM.ADDRESS_SPACE_CAST || opcode == LLVM.GEP
            unmark_loads!(user, invariant, tbaa)
        elseif opcode == LLVM.LOAD && !LLVM.isnull(LLVM.GetMetadata(user, invariant))
            LLVM.SetMetadata(user, invariant, LLVM.NO_VALUE)
            LLVM.SetMetadata(user, tbaa, LLVM.NO_VALUE)
        end
    end
end
