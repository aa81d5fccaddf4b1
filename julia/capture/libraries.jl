# C libraries that Julia's own code calls: their names on a node, and what of Julia's state around them means something in this process
# only. State that is kept for each thread (buffers, generators of random numbers) is each call's own on a node; objects that hold
# pointers into a library's memory are described by what the pointers mean.

# Names

"""
Libraries that nodes allow unless told otherwise (rust/jit/src/libraries/known.rs), by the names that archives give them.
"""
const KNOWN_LIBRARIES = ("libgmp", "libmpfr", "libpcre2-8", "libdSFMT", "libutf8proc", "libopenblas64_", "libopenblas")

# Others that the user said nodes have.
const ALLOWED_LIBRARIES = Set{String}()

"""
    BitCode.allow_library(name)

Let shipped functions call the C library `name`, a soname such as `"libz.so.1"`. Nodes must have it, and be started with
`--allow-library` (or `launch(allow_library = …)`) and the same name; what they lack is an error before anything runs. The libraries of Julia's own code (BLAS and LAPACK, GMP, MPFR, PCRE2, dSFMT, utf8proc) need no allowing.
"""
function allow_library(name::AbstractString)
    occursin('/', name) && throw(ArgumentError("a library is named without its directory, such as \"libz.so.1\""))
    push!(ALLOWED_LIBRARIES, String(name))
    return nothing
end

allowed_libraries() = union(ALLOWED_LIBRARIES, KNOWN_LIBRARIES)

# "/usr/lib/julia/libgmp.so" → "libgmp"; of others the soname: "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13" → "libz.so.1".
function library_name(path::AbstractString)
    name = basename(path)
    stem = replace(name, r"\.so[.\d]*$" => "")
    startswith(stem, "libdSFMT") && return "libdSFMT"
    return stem in KNOWN_LIBRARIES ? String(stem) : soname(name)
end

# Functions that come with libjulia's own dependencies are called without the name of a library.
implied_library(symbol::AbstractString) = startswith(symbol, "utf8proc_") ? "libutf8proc" : ""

# State of threads

"The generator that shipped code uses when it names none: one for each call, seeded by the operating system."
function default_generator()
    slot = ccall("extern bc_call_slot", llvmcall, Ptr{Any}, (Int32,), 0)
    if unsafe_load(Ptr{Ptr{Cvoid}}(slot)) == C_NULL
        generator = Random.MersenneTwister(random_seed())
        unsafe_store!(slot, generator)
        return generator
    end
    return unsafe_load(slot)::Random.MersenneTwister
end
default_generator(thread::Int) = default_generator()

function random_seed()
    seed = Vector{UInt32}(undef, 4)
    GC.@preserve seed ccall("extern bc_random_bytes", llvmcall, Cvoid, (Ptr{UInt32}, UInt), pointer(seed), sizeof(seed))
    return seed
end

# Since 1.7 a task holds the state of its generator. A node has no tasks: of a call's task shipped code has the state alone, in fields of the same names.
mutable struct CallGenerator
    rngState0::UInt64
    rngState1::UInt64
    rngState2::UInt64
    rngState3::UInt64
    rngState4::UInt64
end

function generator_of_call()
    slot = ccall("extern bc_call_slot", llvmcall, Ptr{Any}, (Int32,), 0)
    if unsafe_load(Ptr{Ptr{Cvoid}}(slot)) == C_NULL
        generator = CallGenerator(0, 0, 0, 0, 0)
        GC.@preserve generator ccall("extern bc_random_bytes", llvmcall, Cvoid, (Ptr{Cvoid}, UInt), pointer_from_objref(generator), sizeof(CallGenerator))
        unsafe_store!(slot, generator)
        return generator
    end
    return unsafe_load(slot)::CallGenerator
end

# Does statement `i` ask for the task, and everybody who uses it only for its generator's state?
function holds_generator(body::Body, i::Int, @nospecialize(call))
    is_foreign_call(call) && foreign_name(body, call) == "jl_get_current_task" || return false
    task = Core.SSAValue(i)
    return all(statement -> !(task in operands_of(statement)) || uses_generator(body, call_of(statement), task), body.source.code)
end

function uses_generator(body::Body, @nospecialize(call), task::Core.SSAValue)
    is_call(call) && count(operand -> operand === task, call.args) == 1 && length(call.args) >= 3 && call.args[2] === task || return false
    f, name = constant(body, call.args[1]), constant(body, call.args[3])
    (f === nothing || name === nothing) && return false
    return something(f) in (getfield, setfield!) && something(name) in fieldnames(CallGenerator)
end

# Products of matrices without BLAS go through tiles, which are buffers for each thread.
tile() = Vector{UInt8}(undef, LinearAlgebra.tilebufsize)

# What is shipped for the element of a constant array which `arrayref` is called for, if that is a thread's own: a function without
# arguments, or `nothing`.
function element_stand_in(body::Body, operands)
    length(operands) == 3 || return nothing
    array = constant(body, operands[2])
    array === nothing && return nothing
    return any(buffers -> buffers === something(array), thread_buffers()) ? tile : nothing
end

# Regular expressions

# The node's `pcre2_compile` is one of its own: the code is not to be freed. With this in place of a context it lasts for ever, else as
# long as the call.
const LASTING = Ptr{Cvoid}(1)

"Compiles a `Regex` where it is first used: one that came as a constant for good."
function compile_regex(regex::Regex)
    if regex.regex == C_NULL
        regex.regex = compile_pattern(regex.pattern, regex.compile_options, is_lasting(regex) ? LASTING : C_NULL)
    end
    return regex
end

function compile_pattern(pattern::String, options::Integer, context::Ptr{Cvoid})
    code, place = Ref{Cint}(0), Ref{Csize_t}(0)
    made = ccall((:pcre2_compile_8, Base.PCRE.PCRE_LIB), Ptr{Cvoid},
        (Ptr{UInt8}, Csize_t, UInt32, Ref{Cint}, Ref{Csize_t}, Ptr{Cvoid}), pattern, ncodeunits(pattern), options, code, place, context)
    made == C_NULL && error("PCRE compilation error: $(Base.PCRE.err_message(code[])) at offset $(place[])")
    return made
end

# Constants have both low bits of their tag set (docs/ABI.md).
is_lasting(@nospecialize(object)) = unsafe_load(Ptr{UInt}(pointer_from_objref(object)) - sizeof(UInt)) & 3 == 3

# The node's `pcre2_match` has a context for each thread.
match_context() = C_NULL

# Big numbers as text

# Without a number after its point, a format asks for as many digits as it takes to read the number back in MPFR 4.1, and for none in
# 4.2. Without the point it is the former in both.
const SHORTEST, POINT_ALONE = "%Re", "%.Re"

"`Base.MPFR.string_mpfr`, which makes the text of a `BigFloat`. Nodes have C's locale, so there is no comma to be replaced."
function text_of_big(x::BigFloat, format::String)
    place = Ref{Ptr{UInt8}}(C_NULL)
    bytes = ccall((:mpfr_asprintf, :libmpfr), Cint, (Ptr{Ptr{UInt8}}, Ptr{UInt8}, Ref{BigFloat}...), place, format == POINT_ALONE ? SHORTEST : format, x)
    bytes < 0 && error("MPFR cannot write the number as ", format)
    text = unsafe_string(place[], bytes)
    ccall((:mpfr_free_str, :libmpfr), Cvoid, (Ptr{UInt8},), place[])
    return text
end

FUNCTION_STAND_INS[Base.MPFR.string_mpfr] = text_of_big
haskey(FUNCTIONS_OF_THREADS, :generator) && (FUNCTION_STAND_INS[FUNCTIONS_OF_THREADS.generator] = default_generator)
FUNCTION_STAND_INS[Random.make_seed] = random_seed
FUNCTION_STAND_INS[Base.compile] = compile_regex
FUNCTION_STAND_INS[Base.PCRE.get_local_match_context] = match_context

# Objects with pointers

# Memory that an object points to, by its words.
mutable struct Words
    words::Vector{UInt}
end
# The type that such memory has in a manifest: as good as a primitive type of that many words.
struct WordsType
    count::Int
end

"""
The pointers in an object of Julia's own that mean something to a node: the offset of each, and the `Words` that it points to, or
`nothing` for a null pointer. `nothing` if the object is none of that kind.
"""
known_pointers(@nospecialize(object)) = nothing
known_pointers(regex::Regex) = [(UInt32(fieldoffset(Regex, 4)), nothing)]
known_pointers(x::BigInt) = [(UInt32(fieldoffset(BigInt, 3)), Words(limbs(x.d, abs(Int(x.size)))))]
known_pointers(x::BigFloat) = [(UInt32(fieldoffset(BigFloat, 4)), Words(limbs(x.d, cld(Int(x.prec), 8sizeof(UInt)))))]

limbs(data::Ptr, count::Int) = UInt[UInt(unsafe_load(data, i)) for i in 1:count]

function describe_words(table::ObjectTable, words::Words)
    count = max(1, length(words.words))
    bytes = zeros(UInt8, count * sizeof(UInt))
    copyto!(bytes, reinterpret(UInt8, words.words))
    return DataDescriptor(number(describe!(table, WordsType(count))), bytes, Tuple{UInt32,UInt32}[])
end

describe_words_type(type::WordsType) = TypeDescriptor("BitCode.Words{$(type.count)}", BITS | PRIMITIVE | CONCRETE,
    type.count * sizeof(UInt), sizeof(UInt), UInt32[], 0, 0, 0, 0, 0, 0, NTuple{4,UInt32}[])
