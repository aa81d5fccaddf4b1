# Why a function cannot be shipped: what is in the way, where (the user's own line first, then the way from there to the cause), and
# what to do about it. All reasons are collected before anything is said.

# A line of Julia: of a function, in a file.
struct Frame
    name::String
    file::String
    line::Int
end

Base.show(io::IO, frame::Frame) = print(io, isempty(frame.name) ? "top level" : frame.name, " at ", short_file(frame.file), ":", frame.line)

# Files of the standard library, wherever Julia was built, from their package on.
short_file(file::String) = replace(file, r"^.*/stdlib/v[\d.]+/" => "")

# Something that no node can do, wherever it is used.
struct Offence
    kind::Symbol
    message::String
    advice::String
end

"""
    Reason

One thing in the way of shipping a function. `kind` is one of

* `:dynamic_dispatch`: the method to call is only known when the code runs,
* `:global`: a global variable that is not constant,
* `:runtime_call`: a function of Julia's own runtime that nodes do not have,
* `:task`: tasks, threads and locks,
* `:io`: files, streams, output, processes,
* `:library`: a C library that nodes do not have,
* `:constant`: a constant object that cannot be described to a node,
* `:address`: an address of this process in the code,
* `:assembly`: inline assembly,
* `:target`: something that the node's kind of processor does in another way, or not at all,
* `:growth`: types that grow from call to call without end, or more code than a capture takes,
* `:type`: a value of a type that cannot cross,
* `:method`: no such method.

`name`, `file` and `line` are the user's own line; `frames` the way from there to the cause, outermost first; `message` says what is in
the way, `advice` what to do.
"""
struct Reason
    kind::Symbol
    message::String
    advice::String
    name::String
    file::String
    line::Int
    frames::Vector{Frame}
end

Reason(offence::Offence) = Reason(offence.kind, offence.message, offence.advice, "", "", 0, Frame[])

# `frames`, outermost first.
function Reason(offence::Offence, frames::Vector{Frame})
    # The way begins behind the entry.
    frames = frames[something(findfirst(frame -> !startswith(frame.file, PACKAGE_DIRECTORY), frames), 1):end]
    own = findlast(is_own_code, frames)
    at = own === nothing ? (isempty(frames) ? Frame("", "", 0) : frames[1]) : frames[own]
    return Reason(offence.kind, offence.message, offence.advice, at.name, at.file, at.line, frames[something(own, 1):end])
end

"""
    CaptureError(function_name, reasons)

A function that cannot be shipped to a node. Nothing was sent. `reasons` is a `Vector{BitCode.Reason}` with everything that is in the way.
"""
struct CaptureError <: Exception
    name::String
    reasons::Vector{Reason}
end

# Our own fault: the code generator gave us what we do not know.
struct InternalCaptureError <: Exception
    message::String
end

Base.showerror(io::IO, e::InternalCaptureError) =
    print(io, "BitCode.jl could not capture the function, and that is its own fault: ", e.message, " (Julia ", VERSION, ", LLVM ",
        Base.libllvm_version, "). Please report it with the function that shows it.")

function Base.showerror(io::IO, e::CaptureError)
    n = length(e.reasons)
    print(io, "CaptureError: ", e.name, " cannot be shipped", n == 1 ? ":" : ", for $n reasons:")
    for (k, reason) in enumerate(e.reasons)
        print(io, "\n\n")
        show_reason(io, reason, n == 1 ? "  " : string("  ", k, ". "))
    end
end

function show_reason(io::IO, reason::Reason, bullet::String)
    indent = " "^length(bullet)
    print(io, bullet, reason.message)
    if reason.line > 0
        print(io, "\n", indent, "in ", reason.name, " at ", reason.file, ":", reason.line)
        source = source_line(reason.file, reason.line)
        isempty(source) || print(io, "\n", indent, "   | ", source)
    end
    way = view(reason.frames, 2:length(reason.frames))
    for (k, frame) in enumerate(way)
        if length(way) <= 6 || k <= 2 || k > length(way) - 3
            print(io, "\n", indent, "  → ", frame)
        elseif k == 3
            print(io, "\n", indent, "  → …")
        end
    end
    print(io, "\n", indent, "help: ", reason.advice)
end

# The line as it is written, if the file is still there to be read.
function source_line(file::String, line::Int)
    (isabspath(file) && isfile(file)) || return ""
    for (k, text) in enumerate(eachline(file))
        k == line && return String(strip(text))
    end
    return ""
end
