# The part of Julia's optimisation that only the capturing side can do, because it needs Julia's own passes: allocations that need not
# be, loops marked @simd, fused multiply-add, pointers' address spaces. It follows the order of Julia's own pipeline up to where that
# vectorises; vectorising, unrolling and everything that depends on a processor is the node's work.

function run_passes!(add!, portable::Portable)
    manager = LLVM.CreatePassManager()
    LLVM.TargetLibraryInfoByTriple(triple_of(portable), manager)
    add!(manager)
    LLVM.RunPassManager(manager, portable.mod)
    LLVM.DisposePassManager(manager)
    nothing
end

function optimise!(portable::Portable)
    run_passes!(portable) do m
        know_aliasing!(m)
        simplify_functions!(m)
        LLVM.FunctionInlining(m)
        LLVM.GlobalDCE(m)
        LLVM.ScalarReplAggregates(m)
    end
    restore_references!(portable)
    run_passes!(portable) do m
        know_aliasing!(m)
        remove_allocations!(m)
        simplify_loops!(m)
        remove_redundancy!(m)
    end
    restore_references!(portable)
    run_passes!(portable) do m
        know_aliasing!(m)
        clean_up!(m)
    end
end

function know_aliasing!(m)
    LLVM.ScopedNoAliasAA(m)
    LLVM.TypeBasedAliasAnalysis(m)
    LLVM.BasicAliasAnalysis(m)
end

function simplify_functions!(m)
    LLVM.PropagateJuliaAddrspaces(m)
    LLVM.CFGSimplification(m)
    LLVM.AggressiveDCE(m)
    LLVM.ScalarReplAggregates(m)
    LLVM.AlwaysInliner(m)
    LLVM.AllocOptPass(m)
    LLVM.InstructionCombining(m)
    LLVM.CFGSimplification(m)
    LLVM.EarlyCSE(m)
end

function remove_allocations!(m)
    LLVM.AllocOptPass(m)
    LLVM.CFGSimplification(m)
    LLVM.ScalarReplAggregates(m)
    LLVM.JumpThreading(m)
    LLVM.Reassociate(m)
    LLVM.EarlyCSE(m)
    LLVM.AllocOptPass(m)
end

# LoopRotate drops what marks a loop, so @simd loops are annotated after it.
function simplify_loops!(m)
    LLVM.LoopRotate(m)
    LLVM.LoopIdiom(m)
    LLVM.LowerSimdLoopPass(m)
    LLVM.LICM(m)
    LLVM.LoopUnswitch(m)
    LLVM.LICM(m)
    LLVM.IndVarSimplify(m)
    LLVM.LoopDeletion(m)
end

function remove_redundancy!(m)
    LLVM.AllocOptPass(m)
    LLVM.ScalarReplAggregates(m)
    LLVM.GVN(m)
    LLVM.MemCpyOpt(m)
    LLVM.SCCP(m)
    LLVM.InstructionCombining(m)
    LLVM.JumpThreading(m)
    LLVM.DeadStoreElimination(m)
end

function clean_up!(m)
    LLVM.AllocOptPass(m)
    LLVM.CFGSimplification(m)
    LLVM.LoopDeletion(m)
    LLVM.InstructionCombining(m)
    LLVM.AggressiveDCE(m)
    LLVM.CombineMulAddPass(m)
    LLVM.GlobalDCE(m)
end

# After calls that do not return were put in: what follows them goes.
prune!(portable::Portable) = run_passes!(portable) do m
    LLVM.CFGSimplification(m)
    LLVM.AggressiveDCE(m)
    LLVM.GlobalDCE(m)
end

# Julia's address spaces are only for its own passes: pointers in them may not be turned into numbers, which others do all the same.
function forget_address_spaces!(portable::Portable)
    layout = unsafe_string(LLVM.GetDataLayoutStr(portable.mod))
    LLVM.SetDataLayout(portable.mod, replace(layout, r"-ni:[\d:]+" => ""))
end

# Julia's address spaces mean nothing to the node.
function finish!(portable::Portable)
    run_passes!(portable) do m
        LLVM.RemoveJuliaAddrspacesPass(m)
        LLVM.InstructionCombining(m)
        LLVM.CFGSimplification(m)
        LLVM.GlobalDCE(m)
        LLVM.StripDeadPrototypes(m)
        LLVM.ConstantMerge(m)
    end
    order_data!(portable)
end

# Constants in the order in which the code uses them. (Of equal ones LLVM keeps the last, and where that is follows the code generator's tables, whose order is that of addresses.)
function order_data!(portable::Portable)
    seen, ordered = Set{LLVM.ValueRef}(), LLVM.ValueRef[]
    each_instruction(portable) do f, instruction
        foreach(i -> note_data!(ordered, seen, LLVM.GetOperand(instruction, i)), 0:LLVM.GetNumOperands(instruction)-1)
    end
    for old in ordered
        new = LLVM.AddGlobal(portable.mod, LLVM.GlobalGetValueType(old), "")
        LLVM.SetInitializer(new, LLVM.GetInitializer(old))
        LLVM.SetLinkage(new, LLVM.GetLinkage(old))
        LLVM.SetGlobalConstant(new, LLVM.IsGlobalConstant(old))
        LLVM.SetUnnamedAddress(new, LLVM.GetUnnamedAddress(old))
        LLVM.SetAlignment(new, LLVM.GetAlignment(old))
        LLVM.ReplaceAllUsesWith(old, new)
        LLVM.DeleteGlobal(old)
    end
end

function note_data!(ordered::Vector{LLVM.ValueRef}, seen::Set{LLVM.ValueRef}, value::LLVM.ValueRef)
    kind = LLVM.GetValueKind(value)
    is_data = kind == LLVM.KIND_GLOBAL_VARIABLE && is_definition(value)
    (is_data || is_compound_constant(kind)) && !(value in seen) || return
    push!(seen, value)
    is_data && push!(ordered, value)
    foreach(i -> note_data!(ordered, seen, LLVM.GetOperand(value, i)), 0:LLVM.GetNumOperands(value)-1)
end
