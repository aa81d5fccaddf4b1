# Saying why a function cannot be shipped: the words for everything that may be in the way, and the place in the source where it is.

# Where Julia's own code and ours lives: locations there are the way to a cause, not the place to mend.
is_own_code(frame::Frame) = frame.name != "eval" && !is_base_file(frame.file) && !startswith(frame.file, PACKAGE_DIRECTORY)
const PACKAGE_DIRECTORY = dirname(@__DIR__)
is_base_file(file::AbstractString) = occursin("/stdlib/v", file) || file == "boot.jl" ||
    (!isabspath(file) && !startswith(file, "REPL[") && file != "none" && isfile(joinpath(base_directory(), file)))
base_directory() = joinpath(Sys.BINDIR, Base.DATAROOTDIR, "julia", "base")

# Offences

function binding_offence(binding::Binding)
    binding.owner === Base && binding.name in (:stdout, :stderr, :stdin) && return Offence(:io,
        "`$(binding.name)` is used: nodes have no terminal", "read it here and pass it as an argument")
    return Offence(:global, "`$(binding.owner).$(binding.name)` is a global variable, and not a constant one",
        "declare it `const`, or pass it to the function as an argument")
end

dispatch_offence(words::String) = Offence(:dynamic_dispatch, "the method of $words is only known when the code runs",
    "make the types known: annotate fields, make globals constant, convert what comes in (@code_warntype shows where a type is lost)")

address_offence(address::UInt64) = Offence(:address,
    "the code holds an address of this process ($(address_name(address)))",
    "pass the data itself, not a pointer to it")
address_name(address::UInt64) = (library = Codegen.library_at(address); isempty(library) ? "of memory" : "in $(basename(library))")

constant_offence(refused::Undescribable) = Offence(:constant,
    "the code refers to a constant that cannot be sent: $(refused.reason)",
    "make it on the node, inside the shipped function, or pass what is needed of it as an argument")

library_offence(symbol::String, library::String) = Offence(:library,
    "`$symbol` is called, a C function of $library, a library that nodes do not open by themselves",
    "use a Julia implementation, or start the nodes with --allow-library $library and call BitCode.allow_library(\"$library\") here")

const ASSEMBLY_OFFENCE = Offence(:assembly, "inline assembly", "nodes may have another processor: write it in Julia")
const THREAD_STATE_OFFENCE = Offence(:task, "the current task or thread is asked for", "tasks, locks and task-local storage are this process's own: start the task here and make the remote call in it")

const DISPATCHERS = ("jl_apply_generic", "jl_invoke", "jl_f__apply_iterate", "jl_f__apply", "jl_f__apply_latest", "jl_f__call_latest", "jl_f_invoke",
    "jl_f_applicable", "jl_f_invoke_kwsorter", "jl_f__apply_pure")

# What nodes do not offer, by the symbols that it is called through: kind, message (% is the symbol), advice.
const RUNTIME_OFFENCES = (
    (r"^(jl_toplevel_eval|jl_eval|jl_parse|jl_load)", :runtime_call, "code is evaluated or loaded: nodes have no Julia compiler",
        "write the code as a function, and ship that"),
    (r"^(jl_copy_ast|jl_f__expr|jl_expand)", :runtime_call, "expressions are made: nodes have no Julia compiler", "write the code as a function, and ship that"),
    (r"^(jl_get_backtrace|jl_backtrace|jl_lookup_code)", :runtime_call, "a backtrace is asked for: nodes know no Julia source",
        "let the exception through: a RemoteException says where it was thrown"),
    (r"^jl_gc_new_weakref", :runtime_call, "a weak reference is made: nodes collect no garbage that it could tell of", "use the object itself"),
    (r"^(getenv|setenv|unsetenv|environ)$", :runtime_call, "the environment (`ENV`) is asked for, which is this process's own",
        "read it here and pass the value as an argument"),
    (r"^(jl_spawn|uv_spawn|uv_process|jl_process_(?!events)|jl_pipe)", :io, "a program is run: processes belong to this one", "run it here, and ship what works on its output"),
    (r"^(uv_|jl_uv_|ios_|jl_ios|jl_fs_|jl_sock|jl_tty|jl_static_show)", :io, "`%` is called: files, streams and output belong to this process",
        "return the data and do the output here"),
    (r"^jl_(new_task|process_events|get_next_task|switch|set_next_task|task|enqueue|threading|thread|get_task|yield|wakeup|get_current_task|finish_task|schedule|profile)", :task,
        "`%` is called: tasks and threads belong to this process", THREAD_STATE_OFFENCE.advice),
    (r"^bc_type_details$", :runtime_call, "a type that is only known when the code runs is asked for its fields or parameters",
        "ask where the type is known: a constant, or the type of an argument"),
    (r"^julia.get_pgcstack", :task, THREAD_STATE_OFFENCE.message, THREAD_STATE_OFFENCE.advice),
    (r"^jl_boundp$", :global, "it is asked whether a global variable exists", "decide that here"),
    (r"^jl_f_(apply_type|_typevar)|^jl_(type_union|apply_type|type_intersection)", :runtime_call, "a type is made whose parameters are only known when the code runs",
        "make the parameters known: constants, or types of arguments (`where {T}`)"))

# A symbol that no node offers, called by `instruction` (or `NO_VALUE`).
function symbol_offence(work, symbol::String, instruction::LLVM.ValueRef)
    library = get(work.libraries, symbol, "")
    isempty(library) || return library_offence(symbol, library)
    symbol in ("jl_f__apply_latest", "jl_f__call_latest") && return Offence(:dynamic_dispatch, "`Base.invokelatest` is called: what it calls is only known when the code runs",
        "call the function itself")
    symbol == "jl_get_binding_or_error" && return missing_offence(work, instruction)
    symbol in DISPATCHERS && return dispatch_offence(dispatched_name(work, instruction))
    for (pattern, kind, message, advice) in RUNTIME_OFFENCES
        occursin(pattern, symbol) && return Offence(kind, replace(message, "%" => symbol), advice)
    end
    what = occursin(r"^(jl_|bc_)", symbol) ? "a function of Julia's runtime" : "a C function"
    return Offence(:runtime_call, "`$symbol` is called, $what that nodes do not offer", "avoid it in shipped code; BitCode.explain shows what leads to it")
end

# A variable that does not exist, by its name.
function missing_offence(work, instruction::LLVM.ValueRef)
    name = LLVM.isnull(instruction) || LLVM.GetNumArgOperands(instruction) < 2 ? nothing : constant_object(work, LLVM.GetOperand(instruction, 1))
    what = name === nothing ? "a global variable is used" : "`$(something(name))` is used, a global variable"
    return Offence(:global, "$what that does not exist", "look for a spelling mistake, define it, or pass it to the function as an argument")
end

# "`f`": what a dynamic call calls, as far as that is constant.
function dispatched_name(work, instruction::LLVM.ValueRef)
    f = dispatched_function(work, instruction)
    return f === nothing ? "a call" : "`$(callable_words(something(f)))`"
end

function dispatched_function(work, instruction::LLVM.ValueRef)
    (LLVM.isnull(instruction) || !is_jlcall(instruction)) && return nothing
    k = LLVM.GetInstructionCallConv(instruction) == JLCALL_EXTRA ? 1 : 0
    for i in k:LLVM.GetNumArgOperands(instruction)-1
        found = constant_object(work, LLVM.GetOperand(instruction, i))
        found !== nothing && something(found) isa Union{Function,Type} && return found
    end
    return nothing
end

# The same with the types of the arguments, if the call is known from inferred code.
function dispatch_in_words(work, instruction::LLVM.ValueRef, frames::Vector{Frame}, left_open::Vector{OpenCall})
    isempty(frames) && return nothing
    f = dispatched_function(work, instruction)
    for open in left_open
        open.file == frames[end].file && open.line == frames[end].line || continue
        (f === nothing || open.callee === nothing || open.callee === something(f)) && return "`$(open.words)`"
    end
    return nothing
end

# Locations

# Frames of an instruction, outermost first: what its function was inlined into.
function frames_of(instruction::LLVM.ValueRef)
    frames = Frame[]
    i = 0
    while true
        found = LLVM.source_location(instruction, i)
        found === nothing && return reverse!(frames)
        frame = Frame(readable_name(found[1]), found[2], found[3])
        (isempty(frames) || frame != frames[end]) && push!(frames, frame)
        i += 1
    end
end

# Names as the source has them: "julia_sum_12" and "#sum#627" are parts of `sum`.
function readable_name(name::AbstractString)
    name = replace(rstrip(String(name), ';'), r"^(julia|japi1)_|_\d+;?$" => "")
    found = match(r"^#(.+)#\d+$", name)
    return replace(found === nothing ? name : found.captures[1], "##kw" => "")
end

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

# Reasons with their places.
function locate(work, offences, left_open::Vector{OpenCall})
    reached = callers(work.portable)
    reasons, ways = Reason[], Vector{Frame}[]
    for (instruction, offence) in offences
        frames = whole_way(instruction, reached)
        if offence.kind === :dynamic_dispatch
            words = dispatch_in_words(work, instruction, frames, left_open)
            words === nothing || (offence = dispatch_offence(words))
        end
        reason = Reason(offence, frames)
        push!(reasons, offence.kind in (:io, :task) ? in_words_of_the_caller(reason) : reason)
        push!(ways, frames)
    end
    # What has no place in the source helps nobody who has other places to look at.
    any(reason -> reason.line > 0, reasons) && filter!(reason -> reason.line > 0, reasons)
    return main_reasons(without_consequences(reasons, ways))
end

# "`open` is called", not what `open` does in the end.
function in_words_of_the_caller(reason::Reason)
    k = findfirst(frame -> frame.name != "macro expansion", view(reason.frames, 2:length(reason.frames)))
    k === nothing && return reason
    message = replace(reason.message, r"^`\w+` is called" => "`$(reason.frames[k+1].name)` is called")
    return Reason(reason.kind, message, reason.advice, reason.name, reason.file, reason.line, reason.frames)
end

# Types are lost because of something else, more often than not. So an open call is not worth a word where the way to another reason
# leads through its line.
function without_consequences(reasons::Vector{Reason}, ways::Vector{Vector{Frame}})
    lines = Set((frame.file, frame.line) for (reason, way) in zip(reasons, ways) if reason.kind !== :dynamic_dispatch for frame in way)
    return filter(reason -> reason.kind !== :dynamic_dispatch || !((reason.file, reason.line) in lines), reasons)
end

# What is most likely to be what the user has to mend, first.
const KINDS = (:io, :task, :library, :global, :runtime_call, :constant, :address, :assembly, :dynamic_dispatch)

# One line of the user's has one reason: what is in the line itself, rather than what it leads to. The rest follows from it: one call
# of `open` is locks, tasks, streams and more.
function main_reasons(reasons::Vector{Reason})
    kept = Reason[]
    for place in unique((r.file, r.line) for r in reasons)
        here = sort!([r for r in reasons if (r.file, r.line) == place], by=r -> (something(findfirst(==(r.kind), KINDS), 0), length(r.frames)))
        direct = findfirst(r -> length(r.frames) <= 1, here)
        push!(kept, here[something(direct, 1)])
    end
    return sort!(kept, by=r -> r.kind === :dynamic_dispatch)
end
