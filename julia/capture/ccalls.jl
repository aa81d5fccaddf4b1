# C functions that shipped code calls: found by name or by address, and sorted into those that every node has, those that come with a
# library which the node must have, and those that no node can offer.

# The runtime's symbols, by one list (see the file for its layout).
const SYMBOLS_FILE = joinpath(@__DIR__, "symbols.txt")
include_dependency(SYMBOLS_FILE)

function read_symbols(file)
    lines = (strip(first(split(line, '#'))) for line in eachline(file))
    return Set{String}(line for line in lines if !isempty(line))
end
const SUPPORTED = read_symbols(SYMBOLS_FILE)

# Some C functions have several names or are chosen when the process starts (memcpy…), so an address alone does not say which was
# meant: first ask what the supported names stand for in this process.
const SUPPORTED_ADDRESSES = Dict{UInt,String}()

function supported_at(address::UInt64)
    isempty(SUPPORTED_ADDRESSES) && for name in sort!(collect(SUPPORTED))
        found = Codegen.address_of(name)
        found == 0 || get!(SUPPORTED_ADDRESSES, found, name)
    end
    return get(SUPPORTED_ADDRESSES, address, "")
end

# Libraries whose functions need no dependency: the node has them, or its runtime stands in for them.
const PLAIN_LIBRARIES = ("libjulia", "libc.", "libm.", "libopenlibm", "libpthread", "libdl.", "libgcc_s", "ld-linux", "julia")

is_plain_library(path::AbstractString) = isempty(path) || any(prefix -> startswith(basename(path), prefix), PLAIN_LIBRARIES)

# The declaration of the C function at `address`.
function function_symbol(work, address::UInt64, type::LLVM.TypeRef)
    name = supported_at(address)
    if isempty(name)
        symbol = Codegen.symbol_at(address)
        if symbol === nothing
            k = get(work.by_address, address, 0)
            global_ = k == 0 ? add_constant!(work, address, Constant(nothing, address_offence(address))) : constant_global(work, k)
            return LLVM.ConstBitCast(global_, type)
        end
        name, library = runtime_name(symbol[1]), symbol[2]
        note_library!(work, name, library)
    end
    return external_function(work.portable, name, type)
end

# The declaration of the C variable `name`.
function external_variable(work, name::String, library::String, element::LLVM.TypeRef)
    name = runtime_name(name)
    note_library!(work, name, library)
    found = LLVM.GetNamedGlobal(work.portable.mod, name)
    LLVM.isnull(found) || return found
    named = LLVM.GetNamedFunction(work.portable.mod, name)
    LLVM.isnull(named) || return named
    return LLVM.AddGlobal(work.portable.mod, LLVM.Int8TypeInContext(work.portable.context), name)
end

function note_library!(work, name::String, library::AbstractString)
    implied = implied_library(name)
    if !isempty(implied)
        work.libraries[name] = implied
    elseif startswith(basename(library), "libblastrampoline")
        # Which library it leads to is this process's business; a node has one for each size of integers.
        work.libraries[name] = endswith(name, "64_") ? "libopenblas64_" : "libopenblas"
    elseif !is_plain_library(library)
        work.libraries[name] = library_name(library)
    end
    nothing
end

# "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13" → "libz.so.1": what a loader elsewhere looks for.
function soname(path::AbstractString)
    name = basename(path)
    found = match(r"^(.*\.so\.\d+)[.\d]*$", name)
    return found === nothing ? String(name) : String(found.captures[1])
end

"""
Functions that were not found when the code was made are looked up when it first runs, in a slot:

    slot = load @ccall_f_12; if null: slot = jl_load_and_lookup(library, "f", handle)

Each such slot is a function that we name.
"""
function name_lookups!(work)
    lookup = LLVM.GetNamedFunction(work.portable.mod, "jl_load_and_lookup")
    LLVM.isnull(lookup) && return
    for call in collect(LLVM.Users(lookup))
        is_instruction(call) && is_call_instruction(call) || continue
        library = literal_text(LLVM.GetOperand(call, 0))
        name = literal_text(LLVM.GetOperand(call, 1))
        isempty(name) && continue
        note_library!(work, name, library)
        slot = slot_of(call)
        type = called_type(call)
        target = LLVM.ConstBitCast(external_function(work.portable, name, type), LLVM.TypeOf(call))
        for user in collect(LLVM.Users(slot))
            if is_opcode(user, LLVM.LOAD)
                LLVM.ReplaceAllUsesWith(user, target)
                LLVM.InstructionEraseFromParent(user)
            elseif is_opcode(user, LLVM.STORE)
                LLVM.InstructionEraseFromParent(user)
            end
        end
        LLVM.ReplaceAllUsesWith(call, target)
        LLVM.InstructionEraseFromParent(call)
    end
end

# The text at a pointer that is written as a number, "" for null.
function literal_text(value::LLVM.ValueRef)
    LLVM.GetValueKind(value) == LLVM.KIND_CONSTANT_EXPRESSION || return ""
    LLVM.GetConstOpcode(value) == LLVM.INT_TO_PTR || return ""
    return unsafe_string(Ptr{UInt8}(LLVM.ConstIntGetZExtValue(LLVM.GetOperand(value, 0))))
end

# The slot that the looked-up function is kept in.
function slot_of(call::LLVM.ValueRef)
    for user in LLVM.Users(call)
        is_opcode(user, LLVM.STORE) && return LLVM.GetOperand(user, 1)
    end
    throw(InternalCaptureError("a C function that is looked up has no slot"))
end

# The pointer type that the looked-up function is called with: its value joins the slot's in a phi, and that is cast.
function called_type(call::LLVM.ValueRef)
    for user in LLVM.Users(call)
        is_opcode(user, LLVM.PHI) || continue
        for cast in LLVM.Users(user)
            is_opcode(cast, LLVM.BIT_CAST) && return LLVM.TypeOf(cast)
        end
    end
    return LLVM.TypeOf(call)
end
