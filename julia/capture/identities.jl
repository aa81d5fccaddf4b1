# `objectid` on a node. It goes by the hashes of symbols and types: those of symbols are made otherwise since Julia 1.7, and those of types go by
# when Julia's own library was built, so every origin has its own. A node keeps symbols and built-in types once for all origins: code
# that asks for the identity of an object says along with it what this origin's Julia makes of them (docs/ABI.md, "Identities").

const IDENTITIES = ("jl_object_id" => "bc_object_id", "jl_object_id_" => "bc_object_id_of")

# The first word: whether hashes of symbols are mixed once more (src/symbol.c, `hash_symbol`), and undefined fields count as nothing.
identity_words() = UInt32[VERSION >= v"1.7-"; [T.hash % UInt32 for T in BUILTIN_TYPES]]

function tell_identities!(portable::Portable)
    words = LLVM.NO_VALUE
    for (julias, ours) in IDENTITIES
        asked = LLVM.GetNamedFunction(portable.mod, julias)
        LLVM.isnull(asked) && continue
        calls = LLVM.ValueRef[]
        each_instruction(portable) do f, instruction
            is_call_instruction(instruction) && callee(instruction) == asked && push!(calls, instruction)
        end
        for call in calls
            LLVM.isnull(words) && (words = constant_bytes(portable, collect(reinterpret(UInt8, identity_words())), 4))
            LLVM.PositionBuilderBefore(portable.builder, call)
            operands = LLVM.ValueRef[LLVM.GetOperand(call, i) for i in 0:LLVM.GetNumArgOperands(call)-1]
            told = runtime_call!(portable, ours, LLVM.TypeOf(call), [operands; words])
            LLVM.ReplaceAllUsesWith(call, told)
            LLVM.InstructionEraseFromParent(call)
        end
    end
end

# Of a symbol the code generator reads the hash itself, as the node keeps it.
mixed_identity(symbol::Symbol) = Base.hash_64_64(-unsafe_load(Ptr{UInt}(Codegen.address_of_object(symbol)), 3))
VERSION < v"1.7-" || (STAND_INS["jl_object_id"] = mixed_identity)

# Since 1.9 `objectid` asks the flags of types first whether the compiler may settle it (`Base.isidentityfree`), with one answer in the end. A node's
# types have no flags: does statement `i` ask for them in order to ask that?
const IDENTITY_FREE = 0x0200
function asks_whether_identity_free(body::Body, i::Int, @nospecialize(call))
    asked_detail(body, call) === :flags || return false
    flags = Core.SSAValue(i)
    return all(body.source.code) do statement
        flags in operands_of(statement) || return true
        user = call_of(statement)
        is_call(user) || return false
        f, operands = called(user)
        known = constant(body, f)
        return known !== nothing && something(known) === Base.and_int && length(operands) == 2 && operands[2] === IDENTITY_FREE
    end
end

# The address of these bytes, which are part of the code.
function constant_bytes(portable::Portable, bytes::Vector{UInt8}, alignment::Int)
    data = LLVM.ConstStringInContext(portable.context, pointer(bytes), length(bytes), 1)
    g = LLVM.AddGlobal(portable.mod, LLVM.TypeOf(data), "words")
    LLVM.SetInitializer(g, data)
    LLVM.SetLinkage(g, LLVM.PRIVATE_LINKAGE)
    LLVM.SetGlobalConstant(g, 1)
    LLVM.SetUnnamedAddress(g, 2)
    LLVM.SetAlignment(g, alignment)
    return LLVM.ConstBitCast(g, LLVM.PointerType(LLVM.Int8TypeInContext(portable.context), 0))
end
