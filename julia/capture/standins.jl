# Julia code in place of C functions: the plain vector operations of BLAS, which `dot`, `norm` and their like call for arrays of floats (nodes
# need not have that library then), and what C calls in another way on each kind of machine. A call of the C function becomes a call of the
# Julia function with the same arguments, pointers and all, before the code is emitted; on the node it is compiled, and vectorised, like any other.

# The vector `x` with the step `inc`, as BLAS means them: with a negative step it starts at the far end.
struct Strided{T}
    first::Ptr{T}
    step::Int
end
@inline function strided(x::Ptr{T}, n::Int, inc::Int) where {T}
    return Strided{T}(inc < 0 ? x - (n - 1) * inc * sizeof(T) : x, inc)
end
@inline Base.getindex(v::Strided, i::Int) = unsafe_load(v.first, 1 + (i - 1) * v.step)
@inline Base.setindex!(v::Strided{T}, value, i::Int) where {T} = unsafe_store!(v.first, convert(T, value), 1 + (i - 1) * v.step)

@inline load(n::Ptr{<:Integer}) = Int(unsafe_load(n))
@inline load(n::Integer) = Int(n)

const Count = Union{Ptr{Int32},Ptr{Int64},Int32,Int64}

@inline function products(f, T, n::Int, x, dx::Int, y, dy::Int)
    sum = zero(T)
    if dx == 1 && dy == 1
        @simd for i in 1:n
            sum += f(unsafe_load(x, i), unsafe_load(y, i))
        end
    else
        xs, ys = strided(x, n, dx), strided(y, n, dy)
        for i in 1:n
            sum += f(xs[i], ys[i])
        end
    end
    return sum
end

blas_dot(n::Count, x::Ptr{T}, incx::Count, y::Ptr{T}, incy::Count) where {T} = products(*, T, load(n), x, load(incx), y, load(incy))
function blas_dotu_sub(n::Count, x, incx::Count, y, incy::Count, out::Ptr{T}) where {T<:Complex}
    unsafe_store!(out, products(*, T, load(n), Ptr{T}(x), load(incx), Ptr{T}(y), load(incy)))
    return nothing
end
function blas_dotc_sub(n::Count, x, incx::Count, y, incy::Count, out::Ptr{T}) where {T<:Complex}
    unsafe_store!(out, products((a, b) -> conj(a) * b, T, load(n), Ptr{T}(x), load(incx), Ptr{T}(y), load(incy)))
    return nothing
end

# With one vector and a step that does not lead forward BLAS does nothing: a norm is 0, no element the largest.
goes_forward(step::Count) = load(step) > 0

# Sums of squares are kept in twice the precision, so that the result is the one of exact arithmetic, rounded once.
function blas_nrm2(n::Count, x::Ptr{T}, incx::Count) where {T}
    goes_forward(incx) || return zero(real(T))
    count, v = load(n), strided(x, load(n), load(incx))
    largest = zero(real(T))
    for i in 1:count
        largest = max(largest, biggest(v[i]))
    end
    (iszero(largest) || !isfinite(largest)) && return not_finite(largest, count, v)
    scale = 2.0^exponent(Float64(largest))
    high, low = 0.0, 0.0
    for i in 1:count
        high, low = add_square(high, low, Float64(real(v[i])) / scale)
        T <: Complex && ((high, low) = add_square(high, low, Float64(imag(v[i])) / scale))
    end
    return convert(real(T), scale * sqrt(high + low))
end

@inline biggest(value::Real) = abs(value)
@inline biggest(value::Complex) = max(abs(real(value)), abs(imag(value)))

function not_finite(largest::R, count::Int, v) where {R}
    for i in 1:count
        isnan(v[i]) && return R(NaN)
    end
    return largest
end

@inline function add_square(high::Float64, low::Float64, value::Float64)
    square = value * value
    error = fma(value, value, -square)
    sum = high + square
    back = sum - high
    lost = (high - (sum - back)) + (square - back)
    return sum, low + (lost + error)
end

function blas_asum(n::Count, x::Ptr{T}, incx::Count) where {T}
    goes_forward(incx) || return zero(real(T))
    v, sum = strided(x, load(n), load(incx)), zero(real(T))
    for i in 1:load(n)
        sum += abs(real(v[i])) + abs(imag(v[i]))
    end
    return sum
end

function blas_axpy(n::Count, a::Ptr{T}, x::Ptr{T}, incx::Count, y::Ptr{T}, incy::Count) where {T}
    count, factor = load(n), unsafe_load(a)
    xs, ys = strided(x, count, load(incx)), strided(y, count, load(incy))
    for i in 1:count
        ys[i] = muladd(factor, xs[i], ys[i])
    end
    return nothing
end

function blas_scal(n::Count, a::Ptr{T}, x::Ptr{T}, incx::Count) where {T}
    goes_forward(incx) || return nothing
    count, factor = load(n), unsafe_load(a)
    xs = strided(x, count, load(incx))
    for i in 1:count
        xs[i] = factor * xs[i]
    end
    return nothing
end

function blas_amax(n::Count, x::Ptr{T}, incx::Count) where {T}
    (load(n) > 0 && goes_forward(incx)) || return 0
    v, at = strided(x, load(n), load(incx)), 1
    best = abs(real(v[1])) + abs(imag(v[1]))
    for i in 2:load(n)
        size = abs(real(v[i])) + abs(imag(v[i]))
        size > best && ((best, at) = (size, i))
    end
    return at
end

# Julia's readers of numbers return a structure of a Bool and a float by value: on x86-64 in two kinds of registers, on aarch64 in one. Those
# that julia.h has beside them leave the number in memory, which is the same everywhere.
function read_float64(text::Ptr{UInt8}, offset::Csize_t, length::Csize_t)
    number = Ref(0.0)
    missed = ccall("extern jl_substrtod", llvmcall, Cint, (Ptr{UInt8}, Csize_t, Csize_t, Ptr{Float64}), text, offset, length, number)
    return missed == 0, number[]
end

function read_float32(text::Ptr{UInt8}, offset::Csize_t, length::Csize_t)
    number = Ref(0.0f0)
    missed = ccall("extern jl_substrtof", llvmcall, Cint, (Ptr{UInt8}, Cint, Csize_t, Ptr{Float32}), text + offset, 0, length, number)
    return missed == 0, number[]
end

# BLAS's functions by their own names, without what builds with other sizes of integers append to them.
const STAND_INS = Dict{String,Any}(
    "ddot" => blas_dot, "sdot" => blas_dot, "cblas_zdotu_sub" => blas_dotu_sub, "cblas_cdotu_sub" => blas_dotu_sub,
    "cblas_zdotc_sub" => blas_dotc_sub, "cblas_cdotc_sub" => blas_dotc_sub,
    "dnrm2" => blas_nrm2, "snrm2" => blas_nrm2, "dznrm2" => blas_nrm2, "scnrm2" => blas_nrm2,
    "dasum" => blas_asum, "sasum" => blas_asum, "dzasum" => blas_asum, "scasum" => blas_asum,
    "daxpy" => blas_axpy, "saxpy" => blas_axpy, "zaxpy" => blas_axpy, "caxpy" => blas_axpy,
    "dscal" => blas_scal, "sscal" => blas_scal, "zscal" => blas_scal, "cscal" => blas_scal,
    "idamax" => blas_amax, "isamax" => blas_amax, "izamax" => blas_amax, "icamax" => blas_amax,
    "jl_try_substrtod" => read_float64, "jl_try_substrtof" => read_float32)

plain_blas_name(symbol::AbstractString) = replace(symbol, r"_?(64)?_?$" => "")

"""
    Keeping{F,N}()

Calls the function of type `F` with its first `N` arguments. The others are the objects that the pointers among these lead into: as arguments
of a call that is not inlined they live until it returns, and the code before it cannot see what is done to their memory.
"""
struct Keeping{F,N} end
@noinline (::Keeping{F,N})(arguments...) where {F,N} = F.instance(ntuple(i -> arguments[i], Val(N))...)

"""
Julia functions => Julia functions that are shipped in their place, where they have a method for the types of a call.
"""
const FUNCTION_STAND_INS = IdDict{Any,Any}()

# The functions of a module that a function with keywords consists of: they have its name, and a number.
function parts_of(m::Module, name::String)
    found = Any[]
    for part in names(m; all=true)
        startswith(string(part), string("#", name, "#")) || continue
        T = getfield(m, part)
        T isa Function && push!(found, T)
    end
    return found
end

"""
A Julia function of one argument, of which code that is captured gets a number: that of the argument, which must be a constant, among all that
the capture numbers.
"""
const NUMBERING = Ref{Any}(nothing)

# The number that a call asks for, or `nothing`.
function asked_number(narrowing::Narrowing, body::Body, @nospecialize(call))
    (is_invoke(call) || is_call(call)) || return nothing
    callee, operands = called(call)
    known = constant(body, callee)
    (known !== nothing && something(known) === NUMBERING[]) || return nothing
    asked = constant(body, only(operands))
    asked === nothing && return nothing
    value = something(asked)
    place = findfirst(other -> other === value, narrowing.numbered)
    place === nothing && (push!(narrowing.numbered, value); place = length(narrowing.numbered))
    return place - 1
end

# Calls of those C functions in `body` become calls of their stand-ins, and so do calls of Julia functions.
function stand_in!(narrowing::Narrowing, body::Body)
    for i in eachindex(body.source.code)
        call = call_of(body.source.code[i])
        if is_type_test(body, call)
            replace_call!(body, i, type_test(body, call))
            continue
        end
        detail = known_detail(body, call)
        if detail !== nothing && !(something(detail) isa Core.TypeName)
            body.source.code[i] = QuoteNode(something(detail))
            continue
        end
        if asks_whether_identity_free(body, i, call)
            body.source.code[i] = zero(IDENTITY_FREE)
            continue
        end
        number = asked_number(narrowing, body, call)
        if number !== nothing
            body.source.code[i] = number
            continue
        end
        text = type_as_text(body, call)
        if text !== nothing
            body.source.code[i] = QuoteNode(something(text))
            continue
        end
        f, operands = holds_generator(body, i, call) ? (generator_of_call, ()) : stand_in_of(body, call)
        f === nothing && continue
        types = Tuple{typeof(f),(operand_type(body, operand) for operand in operands)...}
        target = only_method(narrowing, types)
        target === nothing && continue
        infer!(target, narrowing.world)
        replace_call!(body, i, Expr(:invoke, target, f, operands...))
        f === generator_of_call && (body.source.ssavaluetypes[i] = CallGenerator)
    end
end

# A method of this package, which knows what it is replaced by: the words of BitCode.Hop.
is_own_method(instance::Core.MethodInstance) =
    instance.def isa Method && Base.moduleroot(instance.def.module) === Base.moduleroot(@__MODULE__)

# What a call is replaced by: the stand-in, or `nothing`, and its arguments.
function stand_in_of(body::Body, @nospecialize(call))
    if is_foreign_call(call)
        f, operands = get(STAND_INS, plain_blas_name(foreign_name(body, call)), nothing), foreign_operands(call)
        (f === nothing || !any(operand -> operand_type(body, operand) <: Ptr, operands)) && return (f, operands)
        return (Keeping{typeof(f),length(operands)}(), [operands; kept_alive(call)])
    elseif is_invoke(call) || is_call(call)
        callee, operands = called(call)
        ends_lines(body, callee, operands) && return (end_of_lines, Any[callee])
        known = constant(body, callee)
        known === nothing && return (nothing, ())
        f = something(known)
        printing = haskey(PRINTERS, f) ? output_stand_in(body, f, operands) : (nothing, ())
        printing[1] === nothing || return printing
        asked_detail(body, call) in TYPE_DETAILS && return (type_details, operands)
        f === getfield && is_field_by_name(body, operands) && return (field_by_name, operands)
        if f === getfield
            number = number_of_text_field(body, operands)
            return number === nothing ? (nothing, operands) : (text_field, Any[operands[1], Val(number)])
        end
        f === isdefined && return (is_field_by_name(body, operands) ? defined_by_name : nothing, operands)
        f === Core.arrayref && return (element_stand_in(body, operands), ())
        compares_no_types(body, f, operands) && return (no_subtypes, operands)
        among = known_subtypes(body, f, operands)
        among === nothing || return (is_one_of, Any[operands[1], among])
        is_cutting(body, f, operands) && return (cut_out!, view(operands, 1:2))
        written = written_stand_in(body, f, operands)
        written === nothing || return (written, operands)
        context = context_stand_in(body, f, operands)
        context === nothing || return (context, operands)
        # Methods that somebody else has added are not stood in for.
        is_invoke(call) && !is_library_method(invoked(call)) && !is_own_method(invoked(call)) && return (nothing, ())
        return (get(FUNCTION_STAND_INS, f, nothing), operands)
    end
    return (nothing, ())
end
