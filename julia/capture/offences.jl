# What is left in the finished code that no node can do: symbols nobody offers, constants nobody can describe, assembly, thread state.

# The offending instructions of the module with what is wrong with each.
function find_offences(work)
    offenders = offending_symbols(work)
    found = Tuple{LLVM.ValueRef,Offence}[]
    for f in LLVM.Functions(work.portable.mod), block in LLVM.Blocks(f), instruction in LLVM.Instructions(block)
        offence = offence_of(work, instruction, offenders)
        offence === nothing || push!(found, (instruction, offence))
    end
    return found
end

# Declarations that are used and not offered (with their offence, or `nothing` where that depends on the call).
function offending_symbols(work)
    offenders = Dict{LLVM.ValueRef,Union{Offence,Nothing}}()
    for f in LLVM.Functions(work.portable.mod)
        (is_definition(f) || !is_used(f)) && continue
        is_offered(work, LLVM.name_of(f)) || (offenders[f] = nothing)
    end
    table = ObjectTable()
    for g in LLVM.Globals(work.portable.mod)
        (is_definition(g) || !is_used(g)) && continue
        k = constant_position(g)
        if k == 0
            is_offered(work, LLVM.name_of(g)) || (offenders[g] = nothing)
            continue
        end
        constant = work.constants[k]
        if constant.offence !== nothing
            offenders[g] = constant.offence
        else
            try
                describe!(table, constant.object)
            catch exception
                exception isa Undescribable || rethrow()
                offenders[g] = constant_offence(exception)
            end
        end
    end
    work.table = table
    return offenders
end

function is_offered(work, symbol::String)
    startswith(symbol, "llvm.") && return true
    symbol in SUPPORTED && return true
    library = get(work.libraries, symbol, "")
    return !isempty(library) && library in work.allowed_libraries
end

function offence_of(work, instruction::LLVM.ValueRef, offenders)
    if is_call_instruction(instruction)
        target = LLVM.GetCalledValue(instruction)
        LLVM.GetValueKind(target) == LLVM.KIND_INLINE_ASM && return ASSEMBLY_OFFENCE
        f = uncast(target)
        if haskey(offenders, f)
            known = offenders[f]
            return known === nothing ? symbol_offence(work, LLVM.name_of(f), instruction) : known
        end
    end
    reads_thread_state(instruction) && return THREAD_STATE_OFFENCE
    isempty(offenders) && return nothing
    for i in 0:LLVM.GetNumOperands(instruction)-1
        found = offender_in(LLVM.GetOperand(instruction, i), offenders)
        LLVM.isnull(found) && continue
        known = offenders[found]
        return known === nothing ? symbol_offence(work, LLVM.name_of(found), LLVM.NO_VALUE) : known
    end
    return nothing
end

# The offending symbol inside a constant, or `NO_VALUE`.
function offender_in(value::LLVM.ValueRef, offenders)
    haskey(offenders, value) && return value
    is_compound_constant(LLVM.GetValueKind(value)) || return LLVM.NO_VALUE
    for i in 0:LLVM.GetNumOperands(value)-1
        found = offender_in(LLVM.GetOperand(value, i), offenders)
        LLVM.isnull(found) || return found
    end
    return LLVM.NO_VALUE
end

# The thread's state is a block of memory whose layout is Julia's own business. Nodes have few of its fields.
function reads_thread_state(instruction::LLVM.ValueRef)
    LLVM.GetInstructionOpcode(instruction) == LLVM.GEP || return false
    is_thread_state(LLVM.GetOperand(instruction, 0)) || return false
    index = LLVM.GetOperand(instruction, 1)
    LLVM.GetValueKind(index) == LLVM.KIND_CONSTANT_INT || return true
    element = LLVM.GetElementType(LLVM.TypeOf(LLVM.GetOperand(instruction, 0)))
    width = LLVM.GetTypeKind(element) == LLVM.INTEGER_TYPE ? Int(LLVM.GetIntTypeWidth(element)) ÷ 8 : 8
    offset = Int(LLVM.ConstIntGetZExtValue(index) % Int64) * width
    return is_used(instruction) && !any(range -> offset in range, THREAD_STATE)
end

function is_thread_state(value::LLVM.ValueRef)
    while is_opcode(value, LLVM.BIT_CAST)
        value = LLVM.GetOperand(value, 0)
    end
    is_opcode(value, LLVM.CALL) || return false
    target = callee(value)
    return !LLVM.isnull(target) && LLVM.name_of(target) == "julia.ptls_states"
end

# Cuts off what cannot be done and leads to a throw anyway: the exception is thrown there, with what is known of it. True if anything
# was cut.
function cut_error_paths!(work, offences)
    any_cut = false
    doomed = Dict{LLVM.ValueRef,Set{LLVM.BlockRef}}()
    for (instruction, offence) in offences
        block = LLVM.GetInstructionParent(instruction)
        f = LLVM.GetBasicBlockParent(block)
        block in get!(() -> doomed_blocks(f), doomed, f) || continue
        throw_before!(work, instruction)
        any_cut = true
    end
    return any_cut
end

# Blocks of `f` from which every path ends without a return, and none goes round in a circle.
function doomed_blocks(f::LLVM.ValueRef)
    blocks = collect(LLVM.Blocks(f))
    position = Dict(block => k for (k, block) in enumerate(blocks))
    successors = map(blocks) do block
        terminator = LLVM.GetBasicBlockTerminator(block)
        [position[LLVM.GetSuccessor(terminator, i)] for i in 0:Int(LLVM.GetNumSuccessors(terminator))-1]
    end
    doomed = falses(length(blocks))
    changed = true
    # The least set: a block is in it when all its successors are, or when it has none and does not return.
    while changed
        changed = false
        for k in length(blocks):-1:1
            doomed[k] && continue
            ends = isempty(successors[k]) ? LLVM.GetInstructionOpcode(LLVM.GetBasicBlockTerminator(blocks[k])) == LLVM.UNREACHABLE :
                   all(s -> doomed[s], successors[k])
            ends && (doomed[k] = changed = true)
        end
    end
    return Set(blocks[doomed])
end

function throw_before!(work, instruction::LLVM.ValueRef)
    portable = work.portable
    at = instruction
    while is_opcode(at, LLVM.PHI)
        at = LLVM.GetNextInstruction(at)
    end
    LLVM.PositionBuilderBefore(portable.builder, at)
    null = LLVM.ConstNull(LLVM.PointerType(LLVM.Int8TypeInContext(portable.context), 0))
    final_call!(portable, "bc_throw_static", LLVM.VoidTypeInContext(portable.context), [null, null])
    is_used(instruction) && LLVM.ReplaceAllUsesWith(instruction, LLVM.GetUndef(LLVM.TypeOf(instruction)))
    LLVM.InstructionEraseFromParent(instruction)
end
