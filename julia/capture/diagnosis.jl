# Saying why a function cannot be shipped: the words for everything that may be in the way, and the place in the source where it is.

# Where Julia's own code and ours lives: locations there are the way to a cause, not the place to mend.
is_own_code(frame::Frame) = !is_base_file(frame.file) && !startswith(frame.file, PACKAGE_DIRECTORY)
const PACKAGE_DIRECTORY = dirname(dirname(@__DIR__))
is_base_file(file::AbstractString) = occursin("/stdlib/v", file) || file == "boot.jl" ||
    (!isabspath(file) && !startswith(file, "REPL[") && file != "none" && isfile(joinpath(base_directory(), file)))
base_directory() = joinpath(Sys.BINDIR, Base.DATAROOTDIR, "julia", "base")

# Offences

binding_offence(binding::Binding) = Offence(:global,
    "`$(binding.owner).$(binding.name)` is a global variable, and not a constant one",
    "declare it `const`, or pass it to the function as an argument")

address_offence(address::UInt64) = Offence(:address,
    "the code holds an address of this process ($(address_name(address)))",
    "pass the data itself, not a pointer to it")
address_name(address::UInt64) = (library = Codegen.library_at(address); isempty(library) ? "of memory" : "in $(basename(library))")

constant_offence(refused::Undescribable) = Offence(:constant,
    "the code refers to a constant that cannot be sent: $(refused.reason)",
    "make it on the node, inside the shipped function, or pass what is needed of it as an argument")

library_offence(symbol::String, library::String) = Offence(:library,
    "`$symbol` is called, a C function of $library, which nodes do not have",
    "use a Julia implementation, or allow the library on the node")

const ASSEMBLY_OFFENCE = Offence(:assembly, "inline assembly", "nodes may have another processor: write it in Julia")
const THREAD_STATE_OFFENCE = Offence(:task, "the current task or thread is asked for", "tasks, locks and task-local storage are this process's own: start the task here and make the remote call in it")

const DISPATCHERS = ("jl_apply_generic", "jl_invoke", "jl_f__apply_iterate", "jl_f__apply", "jl_f__apply_latest", "jl_f_invoke",
    "jl_f_applicable", "jl_f_invoke_kwsorter", "jl_f__apply_pure")

# A symbol that no node offers, called by `instruction` (or `NO_VALUE`).
function symbol_offence(work, symbol::String, instruction::LLVM.ValueRef)
    library = get(work.libraries, symbol, "")
    isempty(library) || return library_offence(symbol, library)
    if symbol in DISPATCHERS
        subject = dispatched_name(work, instruction)
        return Offence(:dynamic_dispatch,
            "the method of $subject is only known when the code runs",
            "make the argument types known: annotate fields and globals, or convert what comes in; @code_warntype shows where types are lost")
    elseif occursin(r"^(uv_|jl_uv_|ios_|jl_ios|jl_fs_|jl_sock|jl_tty|jl_pipe|jl_spawn|jl_process|jl_static_show)", symbol)
        return Offence(:io, "`$symbol` is called: files, streams and output belong to this process", "return the data and do the output here")
    elseif occursin(r"^jl_(new_task|get_next_task|switch|set_next_task|task|enqueue|threading|thread|yield|wakeup|get_current_task|finish_task|schedule|profile)", symbol)
        return Offence(:task, "`$symbol` is called: tasks and threads belong to this process", THREAD_STATE_OFFENCE.advice)
    elseif symbol == "jl_get_binding_or_error"
        return Offence(:global, "a global variable is used that does not exist", "define it, or pass it to the function as an argument")
    end
    what = occursin(r"^(jl_|bc_)", symbol) ? "a function of Julia's runtime" : "a C function"
    return Offence(:runtime_call, "`$symbol` is called, $what that nodes do not offer", "avoid it in shipped code; BitCode.explain shows what leads to it")
end

# "`f`": what a dynamic call calls, as far as that is constant.
function dispatched_name(work, instruction::LLVM.ValueRef)
    LLVM.isnull(instruction) && return "a call"
    is_jlcall(instruction) || return "a call"
    k = LLVM.GetInstructionCallConv(instruction) == JLCALL_EXTRA ? 1 : 0
    for i in k:LLVM.GetNumArgOperands(instruction)-1
        found = constant_object(work, LLVM.GetOperand(instruction, i))
        found === nothing && continue
        object = something(found)
        (object isa Function || object isa Type) && return "`$(object)`"
    end
    return "a call"
end

# Locations

# Frames of an instruction, outermost first: what its function was inlined into.
function frames_of(instruction::LLVM.ValueRef)
    frames = Frame[]
    i = 0
    while true
        found = LLVM.source_location(instruction, i)
        found === nothing && return reverse!(frames)
        name, file, line = found
        push!(frames, Frame(readable_name(name), file, line))
        i += 1
    end
end

readable_name(name::AbstractString) = replace(rstrip(String(name), ';'), r"^(julia|japi1)_|_\d+;?$" => "")

# How each function of the module is reached first: the call of it nearest to the entry.
function callers(portable::Portable)
    reached = Dict{LLVM.ValueRef,LLVM.ValueRef}()
    queue = [LLVM.GetNamedFunction(portable.mod, ENTRY_SYMBOL)]
    while !isempty(queue)
        f = popfirst!(queue)
        for block in LLVM.Blocks(f), instruction in LLVM.Instructions(block)
            is_call_instruction(instruction) || continue
            target = callee(instruction)
            (LLVM.isnull(target) || !is_definition(target) || haskey(reached, target)) && continue
            reached[target] = instruction
            push!(queue, target)
        end
    end
    return reached
end

# The whole way from the entry to `instruction`.
function whole_way(instruction::LLVM.ValueRef, reached::Dict{LLVM.ValueRef,LLVM.ValueRef})
    frames = frames_of(instruction)
    seen = Set{LLVM.ValueRef}()
    while true
        f = LLVM.GetBasicBlockParent(LLVM.GetInstructionParent(instruction))
        (f in seen || !haskey(reached, f)) && return frames
        push!(seen, f)
        instruction = reached[f]
        prepend!(frames, frames_of(instruction))
    end
end
