# Functions and variables of Julia that belong to a process, with an equivalent for shipped code: the streams, the clock, the machine,
# names of types, buffers that are kept for a task. Shipped code has the equivalent in their place.

# --- variables ---------------------------------------------------------------------------------------------------------------

# Variables that are not constant here, and the value that they have on a node, or the function that gives it.
struct Asked
    f::Function
end

cpu_threads() = Int(ccall("extern bc_cpu_threads", llvmcall, Int32, ()))

# By name; then by module. (Names keep their hashes when the package is precompiled, modules do not.)
const GLOBAL_STAND_INS = Dict{Symbol,Pair{Module,Any}}(
    :stdout => Base => NODE_OUTPUT, :stderr => Base => NODE_ERRORS, :Main => Core => Main, :CPU_THREADS => Base.Sys => Asked(cpu_threads))

function global_stand_in(m::Module, name::Symbol)
    found = get(GLOBAL_STAND_INS, name, nothing)
    return found !== nothing && found[1] === Codegen.owner_of(m, name) ? found[2] : nothing
end

# What is only kept for other processes to be told (`Distributed` seeds its workers alike): code that sets it on a node sets nothing.
is_kept_for_others(variable::GlobalRef) = variable.name === :GLOBAL_SEED && Codegen.owner_of(variable.mod, variable.name) === Random
is_kept_for_others(@nospecialize(variable)) = false

# What a variable of a module is read by.
const GETTERS = isdefined(Core, :getglobal) ? (getfield, getproperty, Core.getglobal) : (getfield, getproperty)

# The variable that an expression reads: `m.name`, or `getfield(m, :name)`.
function variable_read(body::Body, @nospecialize(e))
    e isa GlobalRef && return e
    (is_call(e) || is_invoke(e)) || return nothing
    f, arguments = called(e)
    length(arguments) == 2 || return nothing
    parts = map(x -> constant(body, x), (f, arguments[1], arguments[2]))
    any(isnothing, parts) && return nothing
    reads = something(parts[1]) in GETTERS && something(parts[2]) isa Module && something(parts[3]) isa Symbol
    return reads ? GlobalRef(something(parts[2]), something(parts[3])) : nothing
end

# Reads of those variables in `body`, wherever they stand, become their equivalents.
function stand_in_for_globals!(narrowing::Narrowing, body::Body)
    code = body.source.code
    for i in eachindex(code)
        if code[i] isa Expr && code[i].head === :(=) && is_kept_for_others(code[i].args[1])
            code[i] = code[i].args[2]
            continue
        end
        code[i] = with_equivalents(code[i])
        variable = variable_read(body, call_of(code[i]))
        found = variable === nothing ? nothing : global_stand_in(variable.mod, variable.name)
        if found isa Asked
            target = only_method(narrowing, Tuple{typeof(found.f)})
            infer!(target, narrowing.world)
            replace_call!(body, i, Expr(:invoke, target, found.f))
            body.source.ssavaluetypes[i] = Int
        elseif found !== nothing
            code[i] = QuoteNode(found)
            body.source.ssavaluetypes[i] = typeof(found)
        elseif variable !== nothing && !(code[i] isa GlobalRef) && isconst(variable.mod, variable.name)
            # `Main.Base.string` is two calls that say so, where nothing was inlined. (In an assignment the value stands for the call, too.)
            replace_value!(body, i, getfield(variable.mod, variable.name))
        end
    end
end

# Statement `i` gives this value, or assigns it.
function replace_value!(body::Body, i::Int, @nospecialize(value))
    statement = body.source.code[i]
    body.source.code[i] = statement isa Expr && statement.head === :(=) ? Expr(:(=), statement.args[1], QuoteNode(value)) : QuoteNode(value)
    body.source.ssavaluetypes[i] = Core.Typeof(value)
end

# A statement with what stands for values in the place of those variables.
function with_equivalents(statement::Expr)
    any(stands_for_value, statement.args) || return statement
    return Expr(statement.head, Any[equivalent(operand) for operand in statement.args]...)
end
with_equivalents(statement::Core.PiNode) = stands_for_value(statement.val) ? Core.PiNode(equivalent(statement.val), statement.typ) : statement
function with_equivalents(statement::Core.PhiNode)
    values = statement.values
    any(k -> isassigned(values, k) && stands_for_value(values[k]), eachindex(values)) || return statement
    new = copy(values)
    for k in eachindex(new)
        isassigned(new, k) && (new[k] = equivalent(new[k]))
    end
    return Core.PhiNode(statement.edges, new)
end
with_equivalents(@nospecialize(statement)) = statement

equivalent(@nospecialize(operand)) = stands_for_value(operand) ? QuoteNode(global_stand_in(operand.mod, operand.name)) : operand

function stands_for_value(@nospecialize(variable))
    variable isa GlobalRef || return false
    found = global_stand_in(variable.mod, variable.name)
    return found !== nothing && !(found isa Asked)
end

# --- functions ---------------------------------------------------------------------------------------------------------------

"`display` has no terminal to choose a way for: text, as a terminal would show it."
function display_text(x)
    show(IOContext(NODE_OUTPUT, :limit => true), MIME("text/plain"), x)
    print(NODE_OUTPUT, '\n')
    return nothing
end

# A `sleep` that was inlined is a timer that is waited for. Here the timer holds nothing but the time.
timer(interval::Real, ::Type{Timer}, seconds::Real) = bare_timer(reinterpret(Ptr{Cvoid}, Float64(seconds)))
@generated bare_timer(seconds::Ptr{Cvoid}) = Expr(:new, Timer, :seconds)
function wait_for_timer(t::Timer)
    ccall("extern bc_sleep", llvmcall, Cvoid, (Float64,), reinterpret(Float64, t.handle))
    return true
end
function sleep_here(seconds::Real)
    seconds >= 0 || throw(ArgumentError("cannot sleep for $seconds seconds"))
    ccall("extern bc_sleep", llvmcall, Cvoid, (Float64,), Float64(seconds))
    return nothing
end

# Fields of types are known when the code is captured. (On a node a type has neither names nor types of fields, nor parameters.)
answer_for_type(question, @nospecialize(T)) = try
    QuoteNode(question(T))
catch e
    e isa ArgumentError || rethrow()
    :(throw(ArgumentError($(e.msg))))
end
@generated field_names(::Type{T}) where {T} = answer_for_type(fieldnames, T)
@generated field_count(::Type{T}) where {T} = answer_for_type(fieldcount, T)
@generated function field_type(::Type{T}, i::Int) where {T}
    (isconcretetype(T) && !(T <: Type)) || return :(type_details(T, :types))
    answer = :(throw(BoundsError(T, i)))
    for k in fieldcount(T):-1:1
        answer = Expr(:if, :(i === $k), QuoteNode(fieldtype(T, k)), answer)
    end
    return answer
end
@generated field_types(::Type{T}) where {T} = answer_for_type(fieldtypes, T)

# What a type consists of, asked of a type that is only known when the code runs: no node knows it, and capture refuses the symbol
# (diagnosis.jl). Left alone, the code would read lists that are empty there.
type_details(type, name::Symbol) = ccall("extern bc_type_details", llvmcall, Any, (Any, Any), type, name)::Core.SimpleVector

# `a <: b` where one of them is no type.
function no_subtypes(a, b)
    a isa Type || throw(TypeError(:<:, "", Type, a))
    throw(TypeError(:<:, "", Type, b))
end
is_no_type(@nospecialize(T)) = isconcretetype(T) && !(T <: Type)
compares_no_types(body::Body, @nospecialize(f), operands) =
    f === (<:) && length(operands) == 2 && any(operand -> is_no_type(operand_type(body, operand)), operands)

# `T <: Complex` where `T` is one of a few types that are known: which of them are subtypes is known, too.
@generated is_one_of(T, ::Val{S}) where {S<:Tuple} = foldr((X, rest) -> :(T === $X || $rest), fieldtypes(S); init = false)
function known_subtypes(body::Body, @nospecialize(f), operands)
    (f === (<:) || f === isa) && length(operands) == 2 || return nothing
    T, super = operand_type(body, operands[1]), constant(body, operands[2])
    # `of isa Union{Type{Month},Type{Year}}`: the types themselves.
    f === isa && return super === nothing ? nothing : types_meant(something(super))
    T isa Union && all(is_type_type, Base.uniontypes(T)) && super !== nothing && something(super) isa Type || return nothing
    among = [M.parameters[1] for M in Base.uniontypes(T)]
    return Val(Tuple{filter(X -> X <: something(super), among)...})
end

function types_meant(@nospecialize(T))
    members = Base.uniontypes(T)
    length(members) > 1 && all(M -> is_type_type(M) && isconcretetype(M.parameters[1]), members) || return nothing
    return Val(Tuple{(M.parameters[1] for M in members)...})
end

# Floating-point numbers are printed by way of a buffer that is kept for each task; here it is made anew.
digits_buffer() = Vector{UInt8}(undef, 309 + 17)

no_finalizer(arguments...) = nothing

# Whether there is a method is known when the code is captured, too.
@generated has_method(::F, ::Type{T}) where {F,T<:Tuple} = Base.invokelatest(hasmethod, F.instance, T)::Bool
@generated method_for(::Type{T}, world::UInt) where {T<:Tuple} = Codegen.has_method(T) ? true : nothing
STAND_INS["jl_gf_invoke_lookup"] = method_for

function register_stand_ins!()
    for (f, stand_in) in (display => display_text, sleep => sleep_here, Base._trywait => wait_for_timer,
            hasmethod => has_method,
            fieldtype => field_type, fieldnames => field_names, fieldcount => field_count, fieldtypes => field_types)
        FUNCTION_STAND_INS[f] = stand_in
    end
    haskey(FUNCTIONS_OF_THREADS, :digits) && (FUNCTION_STAND_INS[FUNCTIONS_OF_THREADS.digits] = digits_buffer)
    # What inlining leaves of a function with keywords is its body. (Those of constructors have no name of their own since 1.10.)
    for name in names(Base; all=true)
        startswith(string(name), r"#(Timer|_)#") || continue
        T = getfield(Base, name)
        T isa DataType && isdefined(T, :instance) || continue
        any(m -> m.sig <: Tuple{Any,Any,Type{Timer},Vararg}, methods(T.instance)) && (FUNCTION_STAND_INS[T.instance] = timer)
    end
    # What finalizers would free goes with the call's heap. (A builtin since 1.9; before that the runtime has the C function.)
    isdefined(Core, :finalizer) && (FUNCTION_STAND_INS[Core.finalizer] = no_finalizer)
end
register_stand_ins!()
