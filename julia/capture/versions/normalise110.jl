# What the code generator of Julia 1.10 leaves to its own later passes, made into what that of 1.5 leaves to them; nodes know that one.
#
#   julia.call(f, F, arguments…)            a call of f in the convention JLCALL; julia.call2 has one argument more, and JLCALL_EXTRA
#   tags of objects                         since 1.10 small numbers for some types, else addresses: here symbols of types, as a node has them
#   julia.get_pgcstack()                    where the task keeps its frames: what is reached from there, the code of a node does not need
#   julia.cpu.have_fma.f64()                the answer of this processor, so that a remote call gives the bits of the local one
#   alias.scope, noalias                    gone: what is read of an argument and what its caller writes are in scopes apart
#   ijl_…                                   jl_…

function normalise!(work)
    portable = work.portable
    take_calls_apart!(work)
    name_tags!(work)
    forget_tasks!(portable)
    answer_for_processor!(portable)
    forget_scopes!(portable)
    keep_throws_apart!(portable)
    name_runtime!(portable)
end

calls_of(portable::Portable, name::String) =
    (f = LLVM.GetNamedFunction(portable.mod, name); LLVM.isnull(f) ? LLVM.ValueRef[] : [c for c in LLVM.Users(f) if is_opcode(c, LLVM.CALL)])

replace_value!(old::LLVM.ValueRef, new::LLVM.ValueRef) = (LLVM.ReplaceAllUsesWith(old, new); LLVM.InstructionEraseFromParent(old))

# Calls

function take_calls_apart!(work)
    portable = work.portable
    for (name, convention, leading) in (("julia.call", JLCALL, 1), ("julia.call2", JLCALL_EXTRA, 2)), call in calls_of(portable, name)
        target = LLVM.GetOperand(call, 0)
        operands = LLVM.ValueRef[LLVM.GetOperand(call, i) for i in 1:LLVM.GetNumArgOperands(call)-1]
        LLVM.PositionBuilderBefore(portable.builder, call)
        made = runtime_call!(portable, target, LLVM.TypeOf(call), operands)
        LLVM.SetInstructionCallConv(made, convention)
        replace_value!(call, made)
    end
    # LLVM believes what it sees of a function's body, and takes a call in another convention for one that never comes.
    lower_jlcalls!(call -> (f = callee(call); !LLVM.isnull(f) && is_definition(f)), work)
end

# Tags

# An object's tag is asked for by `julia.typeof`, and compared with numbers: as a number itself, or in the test whether it is a small one.
function name_tags!(work)
    tags = LLVM.ValueRef[]
    for call in calls_of(work.portable, "julia.typeof")
        numbers_from!(tags, call)
    end
    seen = Set{LLVM.ValueRef}()
    while !isempty(tags)
        tag = pop!(tags)
        tag in seen && continue
        push!(seen, tag)
        for user in collect(LLVM.Users(tag))
            is_instruction(user) || continue
            opcode = LLVM.GetInstructionOpcode(user)
            if opcode == LLVM.ICMP && LLVM.GetICmpPredicate(user) == LLVM.UNSIGNED_LESS
                replace_value!(user, LLVM.ConstNull(LLVM.TypeOf(user)))
            elseif opcode in (LLVM.ICMP, LLVM.PHI, LLVM.SELECT)
                name_constant_tags!(work, user)
                opcode == LLVM.ICMP ? append!(tags, joined_tags(user)) : push!(tags, user)
            end
        end
        is_opcode(tag, LLVM.PHI) || is_opcode(tag, LLVM.SELECT) || continue
        name_constant_tags!(work, tag)
        append!(tags, joined_tags(tag))
    end
    for call in calls_of(work.portable, "julia.gc_alloc_obj")
        name_allocated_type!(work, call)
    end
    for name in ("ijl_egal__unboxed", "jl_egal__unboxed"), call in calls_of(work.portable, name)
        name_constant_tag!(work, call, 2)
    end
end

# The numbers that a pointer is made into.
function numbers_from!(numbers::Vector{LLVM.ValueRef}, pointer::LLVM.ValueRef)
    for user in LLVM.Users(pointer)
        is_instruction(user) || continue
        opcode = LLVM.GetInstructionOpcode(user)
        if opcode == LLVM.PTR_TO_INT
            push!(numbers, user)
        elseif opcode == LLVM.BIT_CAST || opcode == LLVM.ADDRESS_SPACE_CAST ||
               (opcode == LLVM.CALL && (f = callee(user); !LLVM.isnull(f) && LLVM.name_of(f) == "julia.pointer_from_objref"))
            numbers_from!(numbers, user)
        end
    end
end

joined_tags(value::LLVM.ValueRef) = LLVM.ValueRef[operand for operand in tag_operands(value) if is_opcode(operand, LLVM.PHI) || is_opcode(operand, LLVM.SELECT)]
tag_operands(value::LLVM.ValueRef) = (LLVM.GetOperand(value, i) for i in tag_places(value))
tag_places(value::LLVM.ValueRef) = (LLVM.GetInstructionOpcode(value) == LLVM.SELECT ? 1 : 0):LLVM.GetNumOperands(value)-1

# Among the operands of a comparison (or of what joins tags) a number is a type; zero is none.
function name_constant_tags!(work, value::LLVM.ValueRef)
    foreach(i -> name_constant_tag!(work, value, i), tag_places(value))
end

function name_constant_tag!(work, value::LLVM.ValueRef, i::Int)
    operand = LLVM.GetOperand(value, i)
    LLVM.GetValueKind(operand) == LLVM.KIND_CONSTANT_INT || return
    tag = LLVM.ConstIntGetZExtValue(operand)
    tag == 0 && return
    LLVM.SetOperand(value, i, LLVM.ConstPtrToInt(type_symbol(work, Codegen.type_of_tag(tag)), LLVM.TypeOf(operand)))
end

function name_allocated_type!(work, call::LLVM.ValueRef)
    operand = LLVM.GetOperand(call, 2)
    literal = uncast(operand)
    LLVM.GetValueKind(literal) == LLVM.KIND_CONSTANT_EXPRESSION && LLVM.GetConstOpcode(literal) == LLVM.INT_TO_PTR || return
    number = LLVM.GetOperand(literal, 0)
    LLVM.GetValueKind(number) == LLVM.KIND_CONSTANT_INT || return
    symbol = type_symbol(work, Codegen.type_of_tag(LLVM.ConstIntGetZExtValue(number)))
    LLVM.SetOperand(call, 2, pointer_as(symbol, LLVM.TypeOf(operand)))
end

function type_symbol(work, @nospecialize(T))
    address = Codegen.address_of_object(T)
    k = get(work.by_address, address, 0)
    return k == 0 ? add_constant!(work, address, Constant(T, nothing)) : constant_global(work, k)
end

# Tasks

# Allocation is told the task: a node knows who asks. Nothing else of a task is there.
function forget_tasks!(portable::Portable)
    for call in calls_of(portable, "julia.gc_alloc_obj")
        LLVM.SetOperand(call, 0, LLVM.ConstNull(LLVM.TypeOf(LLVM.GetOperand(call, 0))))
    end
    foreach(erase_unused!, calls_of(portable, "julia.get_pgcstack"))
    # Asked for once, where the function begins: what is left is asked for where it is wanted, which has a line, and may be on the way to a throw.
    for call in calls_of(portable, "julia.get_pgcstack")
        for user in collect(LLVM.Users(call))
            LLVM.PositionBuilderBefore(portable.builder, user)
            again = LLVM.BuildCall(portable.builder, LLVM.GetCalledValue(call), LLVM.ValueRef[], 0, "")
            for i in 0:LLVM.GetNumOperands(user)-1
                LLVM.GetOperand(user, i) == call && LLVM.SetOperand(user, i, again)
            end
        end
        LLVM.InstructionEraseFromParent(call)
    end
end

# Erases what only computes, if nobody uses it in the end.
function erase_unused!(value::LLVM.ValueRef)
    for user in collect(LLVM.Users(value))
        is_instruction(user) && LLVM.GetInstructionOpcode(user) in (LLVM.BIT_CAST, LLVM.GEP, LLVM.LOAD, LLVM.PTR_TO_INT, LLVM.ADDRESS_SPACE_CAST) && erase_unused!(user)
    end
    is_used(value) || LLVM.InstructionEraseFromParent(value)
    return nothing
end

# The processor

function answer_for_processor!(portable::Portable)
    for (name, T) in (("julia.cpu.have_fma.f32", Float32), ("julia.cpu.have_fma.f64", Float64)), call in calls_of(portable, name)
        replace_value!(call, LLVM.ConstInt(LLVM.TypeOf(call), UInt64(Core.Intrinsics.have_fma(T)), 0))
    end
end

# Since 1.9 `Threads.nthreads()` looks into a list of the sizes of the pools of threads: shipped code has no interactive threads (the first
# pool), and one other.
function settle_pools!(portable::Portable)
    pools = LLVM.GetNamedGlobal(portable.mod, "jl_n_threads_per_pool")
    (LLVM.isnull(pools) || !is_used(pools)) && return
    sizes = constant_bytes(portable, collect(reinterpret(UInt8, Int32[0, 1])), 4)
    list = LLVM.AddGlobal(portable.mod, LLVM.TypeOf(sizes), "pools")
    LLVM.SetInitializer(list, sizes)
    LLVM.SetLinkage(list, LLVM.PRIVATE_LINKAGE)
    LLVM.SetGlobalConstant(list, 1)
    LLVM.SetUnnamedAddress(list, 2)
    LLVM.ReplaceAllUsesWith(pools, LLVM.ConstBitCast(list, LLVM.TypeOf(pools)))
    return
end

# Memory

# Since 1.9 the code generator also says by scopes that memory which never changes is not the memory that is written. As with the other marks of
# what never changes (invariance.jl) that ends where a function is inlined into the one that wrote its arguments.
function forget_scopes!(portable::Portable)
    kinds = [LLVM.GetMDKindIDInContext(portable.context, kind, ncodeunits(kind)) for kind in ("alias.scope", "noalias")]
    each_instruction(portable) do f, instruction
        foreach(kind -> LLVM.SetMetadata(instruction, kind, LLVM.NO_VALUE), kinds)
    end
end

# Throws

# LLVM would make one call of several that end a function in the same way; of one call a backtrace could not say which it was.
function keep_throws_apart!(portable::Portable)
    nomerge = LLVM.CreateEnumAttribute(portable.context, LLVM.GetEnumAttributeKindForName("nomerge", 7), UInt64(0))
    each_instruction(portable) do f, instruction
        is_call_instruction(instruction) && has_site(instruction) && never_returns(instruction) || return
        LLVM.AddCallSiteAttribute(instruction, FUNCTION_ATTRIBUTES, nomerge)
    end
end

# Behind calls that Julia's inference knows to throw there is a trap.
function never_returns(call::LLVM.ValueRef)
    after = LLVM.GetNextInstruction(call)
    is_opcode(after, LLVM.CALL) && (f = callee(after); !LLVM.isnull(f) && LLVM.name_of(f) == "llvm.trap") && return true
    return is_opcode(after, LLVM.UNREACHABLE)
end

# Names

function name_runtime!(portable::Portable)
    for walk in (LLVM.Functions, LLVM.Globals), value in walk(portable.mod)
        is_definition(value) && continue
        name = LLVM.name_of(value)
        plain = runtime_name(name)
        plain == name && continue
        twin = walk === LLVM.Functions ? LLVM.GetNamedFunction(portable.mod, plain) : LLVM.GetNamedGlobal(portable.mod, plain)
        if LLVM.isnull(twin)
            LLVM.rename!(value, plain)
        else
            LLVM.ReplaceAllUsesWith(value, LLVM.ConstBitCast(twin, LLVM.TypeOf(value)))
        end
    end
end
