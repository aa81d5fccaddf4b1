# Images for other kinds of machines. Code is captured as Julia's code generator makes it for this processor; most of it means the same on
# any little-endian machine with 64-bit pointers, and is made into an image of such a machine here: triple, data layout and what is said
# of the processor. What does not mean the same is found first, and refused with the user's line: C functions that take or return
# structures by value where the two machines do that differently, instructions of this processor by name, types that only it has.
#
# Structures keep this machine's layout over there, 128-bit integers included (rust/jit/src/lower/layout.rs sees to that). What was a
# constant here stays the constant it was: `Sys.ARCH` is the architecture of the origin.

struct Target
    triple::String
    layout::String
end

# From x86-64: that is where Julia 1.5 runs here, and whose C ABI the code is checked against.
const TARGETS = Dict(
    "aarch64" => Target("aarch64-unknown-linux-gnu", "e-m:e-i8:8:32-i16:16:32-i64:64-i128:128-n32:64-S128"),
)

"""
    archive_for(shipped, name, arch) -> Vector{UInt8}

The archive of a captured function for nodes of the architecture `arch`; that of this machine if `arch` is empty. Throws a `CaptureError` if
the code cannot be made to mean there what it means here.
"""
function archive_for(shipped::Shipped, name::String, arch::String)
    isempty(arch) && return shipped.archive
    target = Sys.ARCH === :x86_64 ? get(TARGETS, arch, nothing) : nothing
    target === nothing && throw(CaptureError(name, [Reason(Offence(:target, "code captured on $(Sys.ARCH) cannot be made into code for $arch",
        "call a node of another architecture" * (Sys.ARCH === :x86_64 ? ": $(Sys.ARCH) or $(join(sort!(collect(keys(TARGETS))), ", "))" : "")))]))
    portable = Portable(only(read_archive(shipped.archive).images).code)
    try
        reasons = tied_to_this_machine(shipped, portable, arch)
        isempty(reasons) || throw(CaptureError(name, reasons))
        retarget!(portable, target)
        return with_images(shipped.archive, [Image(IMAGE_BITCODE, target.triple, "", "", bitcode_of(portable.mod))])
    finally
        close(portable)
    end
end

function retarget!(portable::Portable, target::Target)
    LLVM.SetTarget(portable.mod, target.triple)
    LLVM.SetDataLayout(portable.mod, target.layout)
    forget_extended_results!(portable)
end

# On x86-64 who calls may take a narrow integer that a C function returns for extended to the whole register; elsewhere its upper bits
# are anything. (Narrow arguments are extended by who calls, which every machine allows.)
function forget_extended_results!(portable::Portable)
    kinds = [LLVM.GetEnumAttributeKindForName(name, ncodeunits(name)) for name in ("signext", "zeroext")]
    for f in LLVM.Functions(portable.mod)
        is_definition(f) && continue
        foreach(kind -> LLVM.RemoveEnumAttributeAtIndex(f, 0, kind), kinds)
    end
    for f in LLVM.Functions(portable.mod), block in LLVM.Blocks(f), instruction in LLVM.Instructions(block)
        is_call_instruction(instruction) || continue
        target = uncast(LLVM.GetCalledValue(instruction))
        LLVM.GetValueKind(target) == LLVM.KIND_FUNCTION && is_definition(target) && continue
        foreach(kind -> LLVM.RemoveCallSiteEnumAttribute(instruction, 0, kind), kinds)
    end
end

# What in the code means something else, or nothing, on a machine of `arch`.
function tied_to_this_machine(shipped::Shipped, portable::Portable, arch::String)
    intrinsics = processor_intrinsics(portable)
    symbols = Set{String}(shipped.imports)
    foreach(library -> union!(symbols, library.symbols), shipped.dependencies)
    reasons = Reason[]
    named = Set{String}()
    for code in shipped.codes
        source = inferred_source(code.def, shipped.checked)
        source === nothing && continue
        look_at_body!(reasons, named, Body(code.def, source), arch, symbols, intrinsics)
    end
    # Whose line was not found.
    for intrinsic in sort!(collect(setdiff(intrinsics, named)))
        push!(reasons, Reason(intrinsic_offence(intrinsic, arch)))
    end
    has_own_types(portable) && push!(reasons, Reason(Offence(:target, "the code uses numbers of a kind that only this processor has",
        "use Float64 or integers, which every node has")))
    return unique(reason -> (reason.message, reason.file, reason.line), reasons)
end

function look_at_body!(reasons::Vector{Reason}, named::Set{String}, body::Body, arch::String, symbols::Set{String}, intrinsics::Set{String})
    for (i, statement) in enumerate(body.source.code)
        call = call_of(statement)
        if is_foreign_call(call)
            name = foreign_name(body, call)
            name in symbols || continue
            problem = passed_differently(foreign_signature(call)...)
            problem === nothing || push!(reasons, Reason(structure_offence(name, problem, arch), [frame_at(body, i)]))
        elseif is_call(call) && constant(body, called(call)[1]) === Some(Core.Intrinsics.llvmcall)
            text = llvm_text(body, called(call)[2])
            for intrinsic in intrinsics
                occursin(intrinsic, text) || continue
                push!(named, intrinsic)
                push!(reasons, Reason(intrinsic_offence(intrinsic, arch), [frame_at(body, i)]))
            end
        end
    end
end

function frame_at(body::Body, i::Int)
    file, line = line_of(body, i)
    return Frame(function_of(body, i), file, line)
end

# The text of an `llvmcall`: a string, or declarations and a string.
function llvm_text(body::Body, arguments)
    isempty(arguments) && return ""
    text = first(arguments)
    made = text isa Core.SSAValue ? call_of(body.source.code[text.id]) : nothing
    parts = is_call(made) && constant(body, called(made)[1]) === Some(Core.tuple) ? called(made)[2] : (text,)
    found = [constant(body, part) for part in parts]
    return join([flat_text(something(part)) for part in found if part !== nothing], '\n')
end
flat_text(text) = text isa Tuple ? join(text, '\n') : string(text)

structure_offence(name::String, T, arch::String) = Offence(:target,
    "`$name` takes or returns a $T by value, which C does in another way on $arch than on $(Sys.ARCH)",
    "pass a pointer to it (`Ref`), or call nodes of this architecture")

intrinsic_offence(name::String, arch::String) = Offence(:target,
    "`$name` is an instruction of $(Sys.ARCH) processors, and the node is $arch",
    "write it in Julia, which is compiled for the processor of each node, or call nodes of this architecture")

# --- C's rules ---------------------------------------------------------------------------------------------------------------

# The first type of a C function's signature that is passed on x86-64 (System V) otherwise than on aarch64 (AAPCS64), or `nothing`. Numbers
# and pointers are passed alike. Of structures, so are those of at most two words that are all integers, all `Float64`, or one number; others
# are taken apart differently. Where registers run out, so do the similarities.
function passed_differently(result, arguments)
    all_types = Any[result; arguments]
    for T in all_types
        is_structure(T) && !passed_alike(T) && return T
    end
    words = sum(Int[is_structure(T) ? cld(sizeof(T), 8) : 1 for T in arguments])
    first_structure = findfirst(is_structure, arguments)
    return words > 6 && first_structure !== nothing ? arguments[first_structure] : nothing
end

is_structure(@nospecialize(T)) = T isa DataType && isbitstype(T) && !isprimitivetype(T) && sizeof(T) > 0

function passed_alike(@nospecialize(T))
    sizeof(T) <= 16 || return false
    leaves = number_types!(Any[], T)
    length(leaves) == 1 && return true
    return all(is_register_integer, leaves) || all(leaf -> leaf === Float64, leaves)
end

is_register_integer(@nospecialize(T)) = sizeof(T) <= 8 && !(T <: AbstractFloat)

function number_types!(found::Vector{Any}, @nospecialize(T))
    if isprimitivetype(T)
        push!(found, T)
    else
        foreach(F -> number_types!(found, F), fieldtypes(T))
    end
    return found
end

# --- the processor's own -----------------------------------------------------------------------------------------------------

const PROCESSOR_PREFIX = Dict(:x86_64 => "llvm.x86.", :aarch64 => "llvm.aarch64.")

function processor_intrinsics(portable::Portable)
    prefix = get(PROCESSOR_PREFIX, Sys.ARCH, "llvm.$(Sys.ARCH).")
    return Set{String}(LLVM.name_of(f) for f in LLVM.Functions(portable.mod) if is_used(f) && startswith(LLVM.name_of(f), prefix))
end

# Eighty-bit numbers and MMX registers.
function has_own_types(portable::Portable)
    for f in LLVM.Functions(portable.mod), block in LLVM.Blocks(f), instruction in LLVM.Instructions(block)
        LLVM.GetTypeKind(LLVM.TypeOf(instruction)) in LLVM.PROCESSOR_TYPES && return true
    end
    return false
end
