# Julia's own libLLVM through its C API: the instructions, constants, modules and passes that julia/capture works on.
#
# Mechanical: a handle type for each C pointer type, and a Julia function for each C function, no more than a ccall. The one thing
# it knows is which library Julia itself generates code with; which LLVM that is (9 for Julia 1.5, 15 for Julia 1.10) shows where it says so.
# Pointers have types throughout: LLVM 15 still has them, on request.

module LLVM

using Libdl: Libdl

# The libLLVM that this Julia process generates code with; a Julia built with LLVM inside has it in libjulia.
function find_library()
    for path in Libdl.dllist()
        occursin("libLLVM", basename(path)) && return path
    end
    for path in Libdl.dllist()
        occursin("libjulia", basename(path)) && return path
    end
    error("this Julia process has no libLLVM loaded")
end

const libllvm = find_library()

# Passes that Julia adds to LLVM are exported by libjulia (not by libjulia-internal or libjulia-codegen, which it stands before since 1.6).
function find_libjulia()
    for path in Libdl.dllist()
        startswith(basename(path), r"libjulia\.") && return path
    end
    return ""
end
const libjulia = find_libjulia()

for name in (:Context, :Module, :Value, :Type, :Block, :Builder, :PassManager, :Buffer, :Attribute, :Use, :TargetData)
    handle = Symbol(name, :Ref)
    @eval begin
        struct $handle
            pointer::Ptr{Cvoid}
        end
    end
end
const Handle = Union{ContextRef,ModuleRef,ValueRef,TypeRef,BlockRef,BuilderRef,PassManagerRef,BufferRef,AttributeRef,UseRef,TargetDataRef}
isnull(handle::Handle) = handle.pointer == C_NULL
const NO_VALUE = ValueRef(C_NULL)

# `@llvm name(argument::CType, …)::CResult` is LLVM's C function `LLVM<name>`, here under `name`.
macro llvm(signature)
    call, result = signature.args
    name = call.args[1]
    arguments = [a.args[1] for a in call.args[2:end]]
    types = [a.args[2] for a in call.args[2:end]]
    return esc(:(@inline $name($(arguments...)) = ccall(($(QuoteNode(Symbol("LLVM", name))), libllvm), $result, ($(types...),), $(arguments...))))
end

# Contexts, modules, bitcode
@llvm ContextCreate()::ContextRef
@llvm ContextDispose(context::ContextRef)::Cvoid
@llvm ContextSetOpaquePointers(context::ContextRef, opaque::Cint)::Cvoid # LLVM 15 only
@llvm ContextSetDiscardValueNames(context::ContextRef, discard::Cint)::Cvoid
@llvm ModuleCreateWithNameInContext(name::Cstring, context::ContextRef)::ModuleRef
@llvm DisposeModule(mod::ModuleRef)::Cvoid
@llvm LinkModules2(destination::ModuleRef, source::ModuleRef)::Cint
@llvm SetModuleIdentifier(mod::ModuleRef, name::Ptr{UInt8}, length::Csize_t)::Cvoid
@llvm SetSourceFileName(mod::ModuleRef, name::Ptr{UInt8}, length::Csize_t)::Cvoid
@llvm GetTarget(mod::ModuleRef)::Cstring
@llvm SetTarget(mod::ModuleRef, triple::Cstring)::Cvoid
@llvm GetDataLayoutStr(mod::ModuleRef)::Cstring
@llvm SetDataLayout(mod::ModuleRef, layout::Cstring)::Cvoid
@llvm StripModuleDebugInfo(mod::ModuleRef)::Cint
@llvm PrintModuleToString(mod::ModuleRef)::Ptr{UInt8}
@llvm PrintValueToString(value::ValueRef)::Ptr{UInt8}
@llvm PrintTypeToString(type::TypeRef)::Ptr{UInt8}
@llvm DisposeMessage(message::Ptr{UInt8})::Cvoid
@llvm VerifyModule(mod::ModuleRef, action::Cint, message::Ptr{Ptr{UInt8}})::Cint
@llvm WriteBitcodeToMemoryBuffer(mod::ModuleRef)::BufferRef
@llvm CreateMemoryBufferWithMemoryRange(data::Ptr{UInt8}, length::Csize_t, name::Cstring, terminated::Cint)::BufferRef
@llvm GetBufferStart(buffer::BufferRef)::Ptr{UInt8}
@llvm GetBufferSize(buffer::BufferRef)::Csize_t
@llvm DisposeMemoryBuffer(buffer::BufferRef)::Cvoid
@llvm ParseBitcodeInContext2(context::ContextRef, buffer::BufferRef, mod::Ptr{ModuleRef})::Cint

# Walking a module
@llvm GetFirstFunction(mod::ModuleRef)::ValueRef
@llvm GetNextFunction(function_::ValueRef)::ValueRef
@llvm GetFirstGlobal(mod::ModuleRef)::ValueRef
@llvm GetNextGlobal(global_::ValueRef)::ValueRef
@llvm GetFirstGlobalAlias(mod::ModuleRef, )::ValueRef
@llvm GetFirstBasicBlock(function_::ValueRef)::BlockRef
@llvm GetNextBasicBlock(block::BlockRef)::BlockRef
@llvm GetEntryBasicBlock(function_::ValueRef)::BlockRef
@llvm GetFirstInstruction(block::BlockRef)::ValueRef
@llvm GetNextInstruction(instruction::ValueRef)::ValueRef
@llvm GetBasicBlockTerminator(block::BlockRef)::ValueRef
@llvm GetInstructionParent(instruction::ValueRef)::BlockRef
@llvm GetBasicBlockParent(block::BlockRef)::ValueRef
@llvm GetNumSuccessors(terminator::ValueRef)::Cuint
@llvm GetSuccessor(terminator::ValueRef, i::Cuint)::BlockRef
@llvm GetNamedFunction(mod::ModuleRef, name::Cstring)::ValueRef
@llvm GetNamedGlobal(mod::ModuleRef, name::Cstring)::ValueRef
@llvm GetInlineAsm(type::TypeRef, text::Ptr{UInt8}, n::Csize_t, constraints::Ptr{UInt8}, m::Csize_t, effects::Cint, align::Cint, dialect::Cint)::ValueRef

# Modules that threads share (ORC's): Julia hands its own out as such since 1.9.
const SharedModuleRef = Ptr{Cvoid}
@llvm OrcThreadSafeModuleWithModuleDo(shared::SharedModuleRef, action::Ptr{Cvoid}, data::Ptr{Cvoid})::Ptr{Cvoid}

# Values
@llvm GetValueKind(value::ValueRef)::Cint
@llvm TypeOf(value::ValueRef)::TypeRef
@llvm GetValueName2(value::ValueRef, length::Ptr{Csize_t})::Ptr{UInt8}
@llvm SetValueName2(value::ValueRef, name::Ptr{UInt8}, length::Csize_t)::Cvoid
@llvm ReplaceAllUsesWith(old::ValueRef, new::ValueRef)::Cvoid
@llvm GetFirstUse(value::ValueRef)::UseRef
@llvm GetNextUse(use::UseRef)::UseRef
@llvm GetUser(use::UseRef)::ValueRef
@llvm GetNumOperands(value::ValueRef)::Cint
@llvm GetOperand(value::ValueRef, i::Cuint)::ValueRef
@llvm SetOperand(value::ValueRef, i::Cuint, operand::ValueRef)::Cvoid
@llvm IsConstant(value::ValueRef)::Cint
@llvm IsAInlineAsm(value::ValueRef)::ValueRef
@llvm IsAFunction(value::ValueRef)::ValueRef

# Functions, globals, attributes
@llvm AddFunction(mod::ModuleRef, name::Cstring, type::TypeRef)::ValueRef
@llvm DeleteFunction(function_::ValueRef)::Cvoid
@llvm GetIntrinsicID(function_::ValueRef)::Cuint
@llvm AddGlobal(mod::ModuleRef, type::TypeRef, name::Cstring)::ValueRef
@llvm DeleteGlobal(global_::ValueRef)::Cvoid
@llvm GetInitializer(global_::ValueRef)::ValueRef
@llvm SetInitializer(global_::ValueRef, value::ValueRef)::Cvoid
@llvm SetGlobalConstant(global_::ValueRef, constant::Cint)::Cvoid
@llvm IsGlobalConstant(global_::ValueRef)::Cint
@llvm SetUnnamedAddress(global_::ValueRef, kind::Cint)::Cvoid
@llvm GetUnnamedAddress(global_::ValueRef)::Cint
@llvm SetAlignment(value::ValueRef, bytes::Cuint)::Cvoid
@llvm GetAlignment(value::ValueRef)::Cuint
@llvm GlobalGetValueType(global_::ValueRef)::TypeRef
@llvm IsDeclaration(global_::ValueRef)::Cint
@llvm GetLinkage(global_::ValueRef)::Cint
@llvm SetLinkage(global_::ValueRef, linkage::Cint)::Cvoid
@llvm GetParam(function_::ValueRef, i::Cuint)::ValueRef
@llvm CountParams(function_::ValueRef)::Cuint
@llvm RemoveStringAttributeAtIndex(function_::ValueRef, index::Cuint, name::Ptr{UInt8}, length::Cuint)::Cvoid
@llvm RemoveEnumAttributeAtIndex(function_::ValueRef, index::Cuint, kind::Cuint)::Cvoid
@llvm RemoveCallSiteEnumAttribute(call::ValueRef, index::Cuint, kind::Cuint)::Cvoid
@llvm GetEnumAttributeAtIndex(function_::ValueRef, index::Cuint, kind::Cuint)::AttributeRef
@llvm GetEnumAttributeKindForName(name::Ptr{UInt8}, length::Csize_t)::Cuint
@llvm CreateEnumAttribute(context::ContextRef, kind::Cuint, value::UInt64)::AttributeRef
@llvm GetAttributeCountAtIndex(function_::ValueRef, index::Cuint)::Cuint
@llvm GetAttributesAtIndex(function_::ValueRef, index::Cuint, attributes::Ptr{AttributeRef})::Cvoid
@llvm AddAttributeAtIndex(function_::ValueRef, index::Cuint, attribute::AttributeRef)::Cvoid
@llvm AddCallSiteAttribute(call::ValueRef, index::Cuint, attribute::AttributeRef)::Cvoid

# Instructions
@llvm GetInstructionOpcode(instruction::ValueRef)::Cint
@llvm InstructionEraseFromParent(instruction::ValueRef)::Cvoid
@llvm GetICmpPredicate(comparison::ValueRef)::Cint
@llvm GetCalledValue(call::ValueRef)::ValueRef
@llvm GetNumArgOperands(call::ValueRef)::Cuint
@llvm GetInstructionCallConv(call::ValueRef)::Cuint
@llvm SetInstructionCallConv(call::ValueRef, convention::Cuint)::Cvoid
@llvm GetCallSiteAttributeCount(call::ValueRef, index::Cuint)::Cuint
@llvm GetCallSiteAttributes(call::ValueRef, index::Cuint, attributes::Ptr{AttributeRef})::Cvoid
@llvm IsTailCall(call::ValueRef)::Cint
@llvm InstructionGetDebugLoc(instruction::ValueRef)::Ptr{Cvoid}
@llvm InstructionSetDebugLoc(instruction::ValueRef, location::Ptr{Cvoid})::Cvoid
@llvm GetMDKindIDInContext(context::ContextRef, name::Cstring, length::Cuint)::Cuint
@llvm GetMetadata(instruction::ValueRef, kind::Cuint)::ValueRef
@llvm SetMetadata(instruction::ValueRef, kind::Cuint, node::ValueRef)::Cvoid

# Debug information. Its nodes are bare pointers here.
@llvm GetSubprogram(function_::ValueRef)::Ptr{Cvoid}
@llvm SetSubprogram(function_::ValueRef, subprogram::Ptr{Cvoid})::Cvoid
@llvm DISubprogramGetLine(subprogram::Ptr{Cvoid})::Cuint
@llvm DIScopeGetFile(scope::Ptr{Cvoid})::Ptr{Cvoid}
@llvm DIFileGetFilename(file::Ptr{Cvoid}, length::Ptr{Cuint})::Ptr{UInt8}
@llvm CreateDIBuilder(mod::ModuleRef)::Ptr{Cvoid}
@llvm DIBuilderCreateFile(builder::Ptr{Cvoid}, name::Cstring, length::Csize_t, directory::Cstring, directory_length::Csize_t)::Ptr{Cvoid}
# Newer ones want to know of Apple's SDK, too.
@static if VERSION < v"1.9-"
    @llvm DIBuilderCreateCompileUnit(builder::Ptr{Cvoid}, language::Cint, file::Ptr{Cvoid}, producer::Cstring, producer_length::Csize_t, optimized::Cint, flags::Cstring, flags_length::Csize_t, version::Cuint, split_name::Cstring, split_length::Csize_t, kind::Cint, id::Cuint, split_inlining::Cint, for_profiling::Cint)::Ptr{Cvoid}
else
    @llvm DIBuilderCreateCompileUnit(builder::Ptr{Cvoid}, language::Cint, file::Ptr{Cvoid}, producer::Cstring, producer_length::Csize_t, optimized::Cint, flags::Cstring, flags_length::Csize_t, version::Cuint, split_name::Cstring, split_length::Csize_t, kind::Cint, id::Cuint, split_inlining::Cint, for_profiling::Cint, root::Cstring, root_length::Csize_t, sdk::Cstring, sdk_length::Csize_t)::Ptr{Cvoid}
    DIBuilderCreateCompileUnit(builder, language, file, producer, producer_length, optimized, flags, flags_length, version, split_name, split_length, kind, id, split_inlining, for_profiling) =
        DIBuilderCreateCompileUnit(builder, language, file, producer, producer_length, optimized, flags, flags_length, version, split_name, split_length, kind, id, split_inlining, for_profiling, "", 0, "", 0)
end
@llvm DIBuilderCreateSubroutineType(builder::Ptr{Cvoid}, file::Ptr{Cvoid}, types::Ptr{Cvoid}, n::Cuint, flags::Cint)::Ptr{Cvoid}
@llvm DIBuilderCreateFunction(builder::Ptr{Cvoid}, scope::Ptr{Cvoid}, name::Cstring, length::Csize_t, linkage::Cstring, linkage_length::Csize_t, file::Ptr{Cvoid}, line::Cuint, type::Ptr{Cvoid}, is_local::Cint, is_definition::Cint, scope_line::Cuint, flags::Cint, optimized::Cint)::Ptr{Cvoid}
@llvm DIBuilderCreateDebugLocation(context::ContextRef, line::Cuint, column::Cuint, scope::Ptr{Cvoid}, inlined_at::Ptr{Cvoid})::Ptr{Cvoid}
@llvm DIBuilderFinalize(builder::Ptr{Cvoid})::Cvoid
@llvm DisposeDIBuilder(builder::Ptr{Cvoid})::Cvoid
@llvm GetModuleFlag(mod::ModuleRef, key::Cstring, length::Csize_t)::Ptr{Cvoid}
@llvm AddModuleFlag(mod::ModuleRef, behaviour::Cint, key::Cstring, length::Csize_t, value::Ptr{Cvoid})::Cvoid
@llvm ValueAsMetadata(value::ValueRef)::Ptr{Cvoid}
@llvm MetadataAsValue(context::ContextRef, metadata::Ptr{Cvoid})::ValueRef
@llvm GetMDNodeNumOperands(node::ValueRef)::Cuint
@llvm GetMDNodeOperands(node::ValueRef, operands::Ptr{ValueRef})::Cvoid
@llvm GetMDString(node::ValueRef, length::Ptr{Cuint})::Ptr{UInt8}
@llvm DILocationGetInlinedAt(location::Ptr{Cvoid})::Ptr{Cvoid}
@llvm DILocationGetScope(location::Ptr{Cvoid})::Ptr{Cvoid}
@llvm DILocationGetLine(location::Ptr{Cvoid})::Cuint

# Constants
@llvm GetConstOpcode(constant::ValueRef)::Cint
@llvm ConstIntGetZExtValue(constant::ValueRef)::UInt64
@llvm ConstIntGetSExtValue(constant::ValueRef)::Int64
@llvm ConstInt(type::TypeRef, value::UInt64, signed::Cint)::ValueRef
@llvm ConstNull(type::TypeRef)::ValueRef
@llvm GetUndef(type::TypeRef)::ValueRef
@llvm ConstBitCast(constant::ValueRef, type::TypeRef)::ValueRef
@llvm ConstPtrToInt(constant::ValueRef, type::TypeRef)::ValueRef
@llvm ConstAddrSpaceCast(constant::ValueRef, type::TypeRef)::ValueRef
@llvm ConstInBoundsGEP(constant::ValueRef, indices::Ptr{ValueRef}, n::Cuint)::ValueRef
@llvm ConstStringInContext(context::ContextRef, text::Ptr{UInt8}, length::Cuint, unterminated::Cint)::ValueRef

# Types
@llvm GetTypeKind(type::TypeRef)::Cint
@llvm GetElementType(type::TypeRef)::TypeRef
@llvm GetPointerAddressSpace(type::TypeRef)::Cuint
@llvm GetIntTypeWidth(type::TypeRef)::Cuint
@llvm GetTypeContext(type::TypeRef)::ContextRef
@llvm CountStructElementTypes(type::TypeRef)::Cuint
@llvm GetStructName(type::TypeRef)::Ptr{UInt8}
@llvm StructGetTypeAtIndex(type::TypeRef, i::Cuint)::TypeRef
@llvm GetModuleDataLayout(mod::ModuleRef)::TargetDataRef
@llvm ABISizeOfType(layout::TargetDataRef, type::TypeRef)::Culonglong
@llvm OffsetOfElement(layout::TargetDataRef, type::TypeRef, i::Cuint)::Culonglong
@llvm PointerType(element::TypeRef, space::Cuint)::TypeRef
@llvm ArrayType(element::TypeRef, n::Cuint)::TypeRef
@llvm FunctionType(result::TypeRef, parameters::Ptr{TypeRef}, n::Cuint, variadic::Cint)::TypeRef
@llvm GetReturnType(type::TypeRef)::TypeRef
@llvm CountParamTypes(type::TypeRef)::Cuint
@llvm Int8TypeInContext(context::ContextRef)::TypeRef
@llvm Int32TypeInContext(context::ContextRef)::TypeRef
@llvm Int64TypeInContext(context::ContextRef)::TypeRef
@llvm VoidTypeInContext(context::ContextRef)::TypeRef

# Building
@llvm CreateBuilderInContext(context::ContextRef)::BuilderRef
@llvm DisposeBuilder(builder::BuilderRef)::Cvoid
@llvm PositionBuilderBefore(builder::BuilderRef, instruction::ValueRef)::Cvoid
@llvm SetInstDebugLocation(builder::BuilderRef, instruction::ValueRef)::Cvoid
@llvm BuildAlloca(builder::BuilderRef, type::TypeRef, name::Cstring)::ValueRef
@llvm BuildIntToPtr(builder::BuilderRef, value::ValueRef, type::TypeRef, name::Cstring)::ValueRef
@llvm BuildPtrToInt(builder::BuilderRef, value::ValueRef, type::TypeRef, name::Cstring)::ValueRef
@llvm BuildLoad(builder::BuilderRef, pointer::ValueRef, name::Cstring)::ValueRef
@llvm BuildStore(builder::BuilderRef, value::ValueRef, pointer::ValueRef)::ValueRef
@llvm BuildInBoundsGEP(builder::BuilderRef, pointer::ValueRef, indices::Ptr{ValueRef}, n::Cuint, name::Cstring)::ValueRef
@llvm BuildBitCast(builder::BuilderRef, value::ValueRef, type::TypeRef, name::Cstring)::ValueRef
@llvm BuildAddrSpaceCast(builder::BuilderRef, value::ValueRef, type::TypeRef, name::Cstring)::ValueRef
@llvm BuildCall(builder::BuilderRef, callee::ValueRef, arguments::Ptr{ValueRef}, n::Cuint, name::Cstring)::ValueRef

# Passes
@llvm CreatePassManager()::PassManagerRef
@llvm RunPassManager(manager::PassManagerRef, mod::ModuleRef)::Cint
@llvm DisposePassManager(manager::PassManagerRef)::Cvoid

# `@passes A B` : `A(manager)` adds LLVM's pass `LLVMAddAPass`.
macro passes(names...)
    return esc(Expr(:block, (:(@inline $name(manager::PassManagerRef) =
        ccall(($(QuoteNode(Symbol("LLVMAdd", name, "Pass"))), libllvm), Cvoid, (PassManagerRef,), manager)) for name in names)...))
end

@passes(AlwaysInliner, AggressiveDCE, BasicAliasAnalysis, CFGSimplification, CorrelatedValuePropagation, DeadStoreElimination,
    EarlyCSE, FunctionAttrs, FunctionInlining, GlobalDCE, GlobalOptimizer, GVN, IndVarSimplify, InstructionCombining, JumpThreading,
    LICM, LoopDeletion, LoopIdiom, LoopRotate, MemCpyOpt, PromoteMemoryToRegister, Reassociate,
    ScalarReplAggregates, SCCP, ScopedNoAliasAA, StripDeadPrototypes, StripSymbols, TypeBasedAliasAnalysis, ConstantMerge, DeadArgElimination)

# LLVM 15 has its successor only for the new pass manager; the node runs that one.
@static if VERSION < v"1.9-"
    @passes LoopUnswitch
else
    LoopUnswitch(manager::PassManagerRef) = nothing
end

# `@julia_passes A B` : `A(manager)` adds Julia's own pass `LLVMExtraAddA`.
macro julia_passes(names...)
    return esc(Expr(:block, (:(@inline $name(manager::PassManagerRef) =
        ccall(($(QuoteNode(Symbol("LLVMExtraAdd", name))), libjulia), Cvoid, (PassManagerRef,), manager)) for name in names)...))
end

@julia_passes AllocOptPass CombineMulAddPass LowerSimdLoopPass PropagateJuliaAddrspaces RemoveJuliaAddrspacesPass

# What the C library of the target does. LLVM 15 finds that out from the module.
@static if VERSION < v"1.9-"
    TargetLibraryInfoByTriple(triple::AbstractString, manager::PassManagerRef) =
        ccall((:LLVMExtraAddTargetLibraryInfoByTiple, libjulia), Cvoid, (Cstring, PassManagerRef), triple, manager)
else
    TargetLibraryInfoByTriple(triple::AbstractString, manager::PassManagerRef) = nothing
end

# The `i`-th entry of an instruction's location (0: its own, then what that was inlined into), or `nothing`.
@static if VERSION < v"1.9-"
    function source_location(instruction::ValueRef, i::Integer)
        name, file = Ref{Ptr{UInt8}}(C_NULL), Ref{Ptr{UInt8}}(C_NULL)
        line, column = Ref{Cuint}(0), Ref{Cuint}(0)
        found = ccall((:LLVMExtraGetSourceLocation, libjulia), Cint,
            (ValueRef, Cint, Ptr{Ptr{UInt8}}, Ptr{Ptr{UInt8}}, Ptr{Cuint}, Ptr{Cuint}), instruction, i, name, file, line, column)
        found == 0 && return nothing
        text(p) = p == C_NULL ? "" : unsafe_string(p)
        return (text(name[]), text(file[]), Int(line[]))
    end
else
    function source_location(instruction::ValueRef, i::Integer)
        location = InstructionGetDebugLoc(instruction)
        for _ in 1:i
            location == C_NULL || (location = DILocationGetInlinedAt(location))
        end
        location == C_NULL && return nothing
        scope = DILocationGetScope(location)
        return (subprogram_name(GetTypeContext(TypeOf(instruction)), scope), subprogram_file(scope), Int(DILocationGetLine(location)))
    end

    # The third operand of a subprogram's node is its name (LLVM's DebugInfoMetadata.h, DISubprogram); of the C API's questions none asks for it.
    function subprogram_name(context::ContextRef, subprogram::Ptr{Cvoid})
        node = MetadataAsValue(context, subprogram)
        operands = fill(NO_VALUE, GetMDNodeNumOperands(node))
        length(operands) < 3 && return ""
        GetMDNodeOperands(node, operands)
        isnull(operands[3]) && return ""
        length_ = Ref{Cuint}(0)
        text = GetMDString(operands[3], length_)
        return text == C_NULL ? "" : unsafe_string(text, length_[])
    end
end

function subprogram_file(subprogram::Ptr{Cvoid})
    file = DIScopeGetFile(subprogram)
    file == C_NULL && return ""
    length = Ref{Cuint}(0)
    name = DIFileGetFilename(file, length)
    return name == C_NULL ? "" : unsafe_string(name, length[])
end

# Gives a module without debug information a line table, and nothing else: each of `definitions` (function, line) begins at that line, and
# each of `calls` (function, call, line) is at that one.
function line_table!(context::ContextRef, mod::ModuleRef, definitions::Vector{Tuple{ValueRef,Int}}, calls::Vector{Tuple{ValueRef,ValueRef,Int}})
    flag = "Debug Info Version"
    if GetModuleFlag(mod, flag, sizeof(flag)) == C_NULL
        AddModuleFlag(mod, 1, flag, sizeof(flag), ValueAsMetadata(ConstInt(Int32TypeInContext(context), UInt64(3), 0)))
    end
    builder = CreateDIBuilder(mod)
    file = DIBuilderCreateFile(builder, "-", 1, "", 0)
    DIBuilderCreateCompileUnit(builder, LANGUAGE_C, file, "", 0, 1, "", 0, 0, "", 0, LINE_TABLES_ONLY, 0, 1, 0)
    type = DIBuilderCreateSubroutineType(builder, file, C_NULL, 0, 0)
    subprograms = Dict{ValueRef,Ptr{Cvoid}}()
    for (f, line) in definitions
        subprograms[f] = DIBuilderCreateFunction(builder, file, "", 0, "", 0, file, line, type, 1, 1, line, 0, 1)
        SetSubprogram(f, subprograms[f])
    end
    for (f, call, line) in calls
        InstructionSetDebugLoc(call, DIBuilderCreateDebugLocation(context, line, 0, subprograms[f], C_NULL))
    end
    DIBuilderFinalize(builder)
    DisposeDIBuilder(builder)
    return nothing
end
const LANGUAGE_C, LINE_TABLES_ONLY = Cint(1), Cint(2)

# LLVMValueKind
const KIND_ARGUMENT = Cint(0)
const KIND_FUNCTION = Cint(5)
const KIND_GLOBAL_VARIABLE = Cint(8)
const KIND_CONSTANT_EXPRESSION = Cint(10)
const KIND_CONSTANT_ARRAY = Cint(11)
const KIND_CONSTANT_STRUCT = Cint(12)
const KIND_CONSTANT_VECTOR = Cint(13)
const KIND_CONSTANT_INT = Cint(18)
const KIND_CONSTANT_NULL = Cint(20)
const KIND_INLINE_ASM = Cint(23)
const KIND_INSTRUCTION = Cint(24)

# LLVMOpcode
const RET, BR, SWITCH, UNREACHABLE = Cint(1), Cint(2), Cint(3), Cint(7)
const ALLOCA, LOAD, STORE, GEP = Cint(26), Cint(27), Cint(28), Cint(29)
const PTR_TO_INT, INT_TO_PTR, BIT_CAST = Cint(39), Cint(40), Cint(41)
const ICMP, PHI, CALL, SELECT, ADDRESS_SPACE_CAST = Cint(42), Cint(44), Cint(45), Cint(46), Cint(60)

# LLVMIntPredicate
const UNSIGNED_LESS = Cint(36)

# LLVMTypeKind
const PROCESSOR_TYPES = (Cint(4), Cint(6), Cint(15)) # X86_FP80, PPC_FP128, X86_MMX
const INTEGER_TYPE, FUNCTION_TYPE, STRUCT_TYPE, ARRAY_TYPE, POINTER_TYPE = Cint(8), Cint(9), Cint(10), Cint(11), Cint(12)

# LLVMLinkage
const EXTERNAL_LINKAGE, INTERNAL_LINKAGE, PRIVATE_LINKAGE = Cint(0), Cint(8), Cint(9)

# The name of a function or global.
function name_of(value::ValueRef)
    length = Ref{Csize_t}(0)
    text = GetValueName2(value, length)
    return unsafe_string(text, length[])
end

rename!(value::ValueRef, name::String) = GC.@preserve name SetValueName2(value, pointer(name), sizeof(name))

# The text of a message that LLVM made for us.
function take_message(message::Ptr{UInt8})
    text = unsafe_string(message)
    DisposeMessage(message)
    return text
end

# Iterating: functions and globals of a module, blocks of a function, instructions of a block, users of a value.
struct Walk{H}
    first::H
    next::Function
end
struct Functions
    mod::ModuleRef
end
struct Globals
    mod::ModuleRef
end
struct Blocks
    body::ValueRef
end
struct Instructions
    block::BlockRef
end
struct Users
    value::ValueRef
end
# `next` is asked for before the element is handed out, so that the loop's body may erase it.
for (walk, handle, first, next) in ((Functions, ValueRef, :(GetFirstFunction(w.mod)), :GetNextFunction),
                                    (Globals, ValueRef, :(GetFirstGlobal(w.mod)), :GetNextGlobal),
                                    (Blocks, BlockRef, :(GetFirstBasicBlock(w.body)), :GetNextBasicBlock),
                                    (Instructions, ValueRef, :(GetFirstInstruction(w.block)), :GetNextInstruction))
    @eval begin
        @inline Base.iterate(w::$walk, state::$handle=$first) = isnull(state) ? nothing : (state, $next(state))
        Base.IteratorSize(::Type{$walk}) = Base.SizeUnknown()
        Base.eltype(::Type{$walk}) = $handle
    end
end
@inline function Base.iterate(w::Users, state::UseRef=GetFirstUse(w.value))
    return isnull(state) ? nothing : (GetUser(state), GetNextUse(state))
end
Base.IteratorSize(::Type{Users}) = Base.SizeUnknown()
Base.eltype(::Type{Users}) = ValueRef

# A declaration of `name` with the type of the function `f`, and what its attributes say of arguments and result.
function declare_alike(mod::ModuleRef, name::String, f::ValueRef)
    declared = AddFunction(mod, name, GetElementType(TypeOf(f)))
    for index in 0:CountParams(f) # 0 is the result
        attributes = Vector{AttributeRef}(undef, GetAttributeCountAtIndex(f, index))
        GC.@preserve attributes GetAttributesAtIndex(f, index, pointer(attributes))
        foreach(attribute -> AddAttributeAtIndex(declared, index, attribute), attributes)
    end
    return declared
end

# Takes out of a module that somebody else owns what it holds.
function empty!(mod::ModuleRef)
    for walk in (Functions, Globals), value in walk(mod)
        ReplaceAllUsesWith(value, GetUndef(TypeOf(value)))
        walk === Functions ? DeleteFunction(value) : DeleteGlobal(value)
    end
    return nothing
end

end # module LLVM
