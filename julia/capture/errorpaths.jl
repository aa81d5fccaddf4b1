# The way to a throw. Messages of exceptions are made by code that is large and dynamic (string interpolation, `show`), and it would be
# a pity to ship it, or to refuse a function because of it. So where inferred code can only end in a throw, calls that make text are
# not shipped: the *call*, with its arguments, goes home with the exception, and is made there (docs/ABI.md, "deferred"). What a
# shipped function throws reads exactly like what the local one throws.
#
# This works on inferred code before it is emitted, statement by statement: a call is replaced by a call of one of the functions below,
# which jlcalls.jl turns into a call of the runtime.

"Called in place of `f(arguments…)::String`: a text that the origin makes when it receives the exception."
deferred_text(f, arguments...) = f(arguments...)
"Called in place of `f(arguments…)` where that is all there is left to do: throws a `T` that the origin replaces by what the call gives or throws."
deferred_throw(T, f, arguments...) = throw(f(arguments...))
"Called where not even that is possible: throws a `T`."
static_throw(T, message) = throw(ErrorException(string(message)))

"""
What stands for `f(arguments…)` in a deferral where `f` is a value that only the running code knows: the origin calls nothing that an archive
does not name, and does not have to, because a call that nothing but a throw comes of has, as a rule, no method.
"""
call_of_value(f, arguments...) = applicable(f, arguments...) ?
    ErrorException("this call of a $(typeof(f)) always throws, and its code was not shipped") : MethodError(f, arguments)

"Calls a function with collections' elements as its arguments; what `f(xs...)` becomes when it is deferred."
struct Splat{F} end
(::Splat{F})(collections...) where {F} = F.instance(Iterators.flatten(collections)...)

# Rewrites what leads to a throw in `body`, in place; `doomed` says which statements do, `deferrable` which of them may leave that to the origin.
function defer_messages!(narrowing, body::Body, doomed::BitVector, deferrable::BitVector)
    any(doomed) || return
    for i in eachindex(body.source.code)
        call = call_of(body.source.code[i])
        doomed[i] && (is_invoke(call) || is_call(call)) && is_plain_construction(narrowing, body, call) || continue
        f, arguments = called(call)
        replace_call!(body, i, Expr(:new, something(constant(body, f)), arguments...))
    end
    texts = deferrable_texts(body, deferrable)
    for i in eachindex(body.source.code)
        doomed[i] || continue
        call = call_of(body.source.code[i])
        (is_invoke(call) || is_call(call)) || continue
        if i in texts
            replace_call!(body, i, deferred_call(body, call, deferred_text))
            body.source.ssavaluetypes[i] = String
        elseif deferrable[i] && is_wordy_error(body, call)
            replace_call!(body, i, deferred_call(body, call, deferred_throw, ErrorException))
        end
    end
end

# Calls in `body` that are still open and lead to a throw anyway: there the exception is thrown.
function defer_open_call!(body::Body, i::Int, call::Expr)
    T = value_type(body, i)
    if T === Union{} || T <: Exception
        thrown = isconcretetype(T) ? T : constant(body, called(call)[1]) === nothing ? MethodError : thrown_type(body, i)
        replace_call!(body, i, deferred_call(body, call, deferred_throw, thrown))
    else
        replace_call!(body, i, Expr(:call, static_throw, thrown_type(body, i), nothing))
    end
end

# `error(a, b…)` makes a text of all its arguments, in a way that hides what it calls.
function is_wordy_error(body::Body, call::Expr)
    f, arguments = called(call)
    known = constant(body, f)
    known !== nothing && something(known) === error || return false
    return !(length(arguments) == 1 && operand_type(body, arguments[1]) <: AbstractString) && all(a -> can_go_home(body, a), arguments)
end

function replace_call!(body::Body, i::Int, replacement::Expr)
    statement = body.source.code[i]
    body.source.code[i] = statement isa Expr && statement.head === :(=) ? Expr(:(=), statement.args[1], replacement) : replacement
end

function deferred_call(body::Body, call::Expr, @nospecialize(deferral), leading...)
    f, arguments = called(call)
    splat = splatted(body, call)
    splat === nothing || return Expr(:call, deferral, leading..., Splat{typeof(splat[1])}(), splat[2]...)
    constant(body, f) === nothing && return Expr(:call, deferral, leading..., call_of_value, f, arguments...)
    return Expr(:call, deferral, leading..., f, arguments...)
end

# Function and collections of a call `f(xs...)` or `Base.invokelatest(f, xs...)`, if the function is known.
function splatted(body::Body, @nospecialize(call))
    is_call(call) || return nothing
    f, arguments = called(call)
    known = constant(body, f)
    known === nothing && return nothing
    first = something(known) === Core._apply_iterate ? 2 : something(known) === CALL_LATEST ? 1 : 0
    (first == 0 || length(arguments) < first) && return nothing
    target = constant(body, arguments[first])
    target === nothing && return nothing
    g = something(target)
    return isdefined(typeof(g), :instance) ? (g, view(arguments, first+1:length(arguments))) : nothing
end

# Statements after which nothing but a throw can come: no return is reached, and no circle.
function doomed_statements(body::Body)
    code = body.source.code
    n = length(code)
    doomed = falses(n)
    any(is_unreachable, code) || return doomed
    # The least set, as a statement is in it only when all its successors are known to be; backward jumps are not. (Jumps may have the
    # type of what never returns, too: the inliner makes such.)
    for i in n:-1:1
        statement = code[i]
        if is_unreachable(statement)
            doomed[i] = true
        elseif goto_target(statement) > 0
            target = goto_target(statement)
            doomed[i] = target > i && doomed[target]
        elseif branch_target(statement) > 0
            target = branch_target(statement)
            doomed[i] = target > i && i < n && doomed[target] && doomed[i+1]
        elseif is_return(statement) || handler_target(statement) > 0
            doomed[i] = false
        elseif makes_call(statement) && value_type(body, i) === Union{}
            doomed[i] = true
        else
            doomed[i] = i < n && doomed[i+1]
        end
    end
    return doomed
end

makes_call(@nospecialize(statement)) = (call = call_of(statement); is_call(call) || is_invoke(call) || is_foreign_call(call))

# Statements that make a text which goes nowhere but into an exception, or into another such text.
function deferrable_texts(body::Body, doomed::BitVector)
    texts = Set{Int}()
    for i in eachindex(body.source.code)
        doomed[i] && body.source.ssavaluetypes isa Vector && makes_text(body, i) && push!(texts, i)
    end
    isempty(texts) && return texts
    for i in eachindex(body.source.code)
        doomed[i] && joins_texts(body, i, texts) && push!(texts, i)
    end
    changed = true
    while changed
        changed = false
        for i in eachindex(body.source.code), operand in operands_of(body.source.code[i])
            operand isa Core.SSAValue && operand.id in texts || continue
            (doomed[i] && takes_text(body, i, texts)) && continue
            delete!(texts, operand.id)
            changed = true
        end
    end
    return texts
end

operands_of(@nospecialize(statement)) =
    statement isa Expr ? (statement.head === :(=) ? operands_of(statement.args[2]) : statement.args) :
    statement isa Core.PiNode ? Any[statement.val] :
    is_return(statement) ? Any[returned(statement)] : branch_target(statement) > 0 ? Any[branch_condition(statement)] :
    statement isa Core.PhiNode ? Any[statement.values[k] for k in eachindex(statement.values) if isassigned(statement.values, k)] :
    statement isa Core.PhiCNode ? statement.values : statement isa Core.UpsilonNode ? (isdefined(statement, :val) ? Any[statement.val] : Any[]) : Any[statement]

function makes_text(body::Body, i::Int)
    statement = body.source.code[i]
    is_invoke(statement) || is_call(statement) || return false
    all(operand -> can_go_home(body, operand), called(statement)[2]) || return false
    splat = splatted(body, statement)
    splat === nothing || return splat[1] in TEXT_MAKERS || value_type(body, i) === String && is_library_function(splat[1])
    f = constant(body, called(statement)[1])
    (value_type(body, i) in TEXTS && f !== nothing) || return false
    return is_invoke(statement) ? is_library_method(invoked(statement)) : is_dynamic(body, statement) && is_library_function(something(f))
end

# The user's own functions may do more than make a text, and are to do it on the node.
is_library_function(@nospecialize(f)) = is_library_module(parentmodule(f isa Type ? f : typeof(f)))

# Is it one of several texts, as it was made on one way or another?
joins_texts(body::Body, i::Int, texts::Set{Int}) =
    body.source.code[i] isa Core.PhiNode && value_type(body, i) === String &&
    any(operand -> operand isa Core.SSAValue && operand.id in texts, operands_of(body.source.code[i]))

# What they return is a `String` even where inference cannot see it.
const TEXT_MAKERS = (string, repr, Base.print_to_string)

# What a text may be: since 1.8 Julia's own code makes many a message of parts that are put together when somebody reads it.
const TEXTS = isdefined(Base, :LazyString) ? (String, Base.LazyString) : (String,)

# May the text that statement `i` uses be one that is only made at the origin?
function takes_text(body::Body, i::Int, texts::Set{Int})
    i in texts && return true
    statement = call_of(body.source.code[i])
    statement isa Expr || return false
    if statement.head === :new
        T = constant(body, statement.args[1])
        return T !== nothing && something(T) isa Type && something(T) <: Exception
    elseif is_invoke(statement) || is_call(statement)
        value_type(body, i) === Union{} && return true
        f = constant(body, called(statement)[1])
        return f !== nothing && something(f) isa Type && something(f) <: Exception && is_library_module(parentmodule(something(f)))
    end
    return false
end

# Constructors of Julia's own exceptions take their fields and are not specialised, so what converts the fields would be decided when
# the code runs. Where there is nothing to convert, the call is no more than `new`.
function is_plain_construction(narrowing, body::Body, call::Expr)
    f, arguments = called(call)
    known = constant(body, f)
    known === nothing && return false
    T = something(known)
    T isa DataType && isconcretetype(T) && T <: Exception || return false
    length(arguments) == fieldcount(T) > 0 || return false
    types = Any[operand_type(body, a) for a in arguments]
    all(k -> types[k] <: fieldtype(T, k), 1:fieldcount(T)) || return false
    return is_library_module(parentmodule(T)) || only_constructs(narrowing, T, types)
end

# Is that all that a constructor of the user's does? (Since 1.9 calls on the way to a throw are not inlined.)
function only_constructs(narrowing, T::DataType, types::Vector{Any})
    target = only_method(narrowing, Tuple{Type{T},types...})
    source = target === nothing ? nothing : inferred_source(target, narrowing.world)
    (source === nothing || length(source.code) != 2) && return false
    made, back = source.code
    is_return(back) && returned(back) === Core.SSAValue(1) && made isa Expr && made.head === :new || return false
    given = made.args[2:end]
    return length(given) == length(types) && all(k -> given[k] isa Parameter && parameter_number(given[k]) == k + 1, eachindex(given))
end

# A call that is decided when the code runs: neither a builtin nor an intrinsic.
function is_dynamic(body::Body, call::Expr)
    f = constant(body, called(call)[1])
    f === nothing && return true
    return !(something(f) isa Union{Core.Builtin,Core.IntrinsicFunction}) && !is_deferral(something(f))
end

is_deferral(@nospecialize(f)) = f === deferred_text || f === deferred_throw || f === static_throw

# Arguments of a deferred call travel inside the exception: no pointers, nothing that belongs to the node.
function can_go_home(body::Body, @nospecialize(operand))
    operand isa Core.SSAValue || return true
    T = value_type(body, operand.id)
    return !(T <: Union{Ptr,Task,IO})
end

# Code of Julia itself and its standard library makes texts without side effects.
is_library_method(instance::Core.MethodInstance) = instance.def isa Method && is_library_module(instance.def.module)
function is_library_module(m::Module)
    root = Base.moduleroot(m)
    (root === Base || root === Core) && return true
    file = pathof(root)
    return file !== nothing && startswith(file, Sys.STDLIB)
end

# The type of what is thrown in the end on the way from statement `i`, if that is plain to see; else `nothing`.
function thrown_type(body::Body, i::Int)
    for k in i:length(body.source.code)
        call = call_of(body.source.code[k])
        is_call(call) || continue
        f = constant(body, called(call)[1])
        f !== nothing && something(f) === throw || continue
        operand = called(call)[2][1]
        T = operand isa Core.SSAValue ? value_type(body, operand.id) : Any
        return T isa DataType && isconcretetype(T) && T <: Exception ? T : nothing
    end
    return nothing
end
