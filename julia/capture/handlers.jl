# Shipped code that catches an exception and looks into it must find the text that a local catch finds, not one that is made later at
# the origin. So what runs inside such a `try` leaves no texts to the origin (errorpaths.jl): their code is shipped, if it can be. A first attempt at a
# capture tells who calls whom, and from inside which `try`; if texts were left to the origin where they may be looked into, there is a second one.

# What a capture finds out about handlers, and goes by.
mutable struct Handlers
    unwatched::Union{Nothing,Base.IdSet{Core.MethodInstance}} # bodies that may leave texts to the origin; `nothing`: all
    calls::IdDict{Core.MethodInstance,Base.IdSet{Core.MethodInstance}}
    watched::Base.IdSet{Core.MethodInstance}   # called inside a `try` whose handler looks into exceptions
    deferring::Base.IdSet{Core.MethodInstance} # bodies that leave texts to the origin
    defers_watched::Bool                       # some of them inside such a `try` of their own
    blocked::Bool                              # something that would be left to the origin may be looked into, and cannot be shipped
end
Handlers(unwatched) = Handlers(unwatched, IdDict{Core.MethodInstance,Base.IdSet{Core.MethodInstance}}(), Base.IdSet{Core.MethodInstance}(),
                               Base.IdSet{Core.MethodInstance}(), false, false)

# Does `body` catch an exception and do more with it than ask for its type, throw it again or hand it to the node?
function examines_exceptions(body::Body)
    code = body.source.code
    caught = Set{Int}(i for i in eachindex(code) if is_caught_exception(code[i]))
    isempty(caught) && return false
    for (i, statement) in enumerate(code), operand in operands_of(statement)
        operand isa Core.SSAValue && operand.id in caught || continue
        if statement isa Core.PiNode
            push!(caught, i)
        elseif !is_harmless_use(body, call_of(statement))
            return true
        end
    end
    return false
end

function is_harmless_use(body::Body, @nospecialize(call))
    is_foreign_call(call) && return foreign_name(body, call) == "extern bc_throw"
    (is_invoke(call) || is_call(call)) || return call isa Expr && call.head === :pop_exception
    f = constant(body, called(call)[1])
    return f !== nothing && something(f) in (isa, ===, typeof, throw, rethrow)
end

# The statements that such handlers of `body` watch.
function watched_statements(body::Body)
    code = body.source.code
    watched = falses(length(code))
    examines_exceptions(body) || return watched
    for k in eachindex(code)
        handler_target(code[k]) > k && (watched[k+1:handler_target(code[k])-1] .= true)
    end
    return watched
end

# Notes what `body` calls, and what it leaves to the origin, once its calls are settled.
function note_calls!(handlers::Handlers, body::Body, watched::BitVector)
    calls = get!(Base.IdSet{Core.MethodInstance}, handlers.calls, body.instance)
    for i in eachindex(watched)
        call = call_of(body.source.code[i])
        if is_invoke(call)
            push!(calls, invoked(call))
            watched[i] && push!(handlers.watched, invoked(call))
        elseif is_call(call) && leaves_to_origin(body, call)
            push!(handlers.deferring, body.instance)
            handlers.defers_watched |= watched[i]
        end
    end
end

leaves_to_origin(body::Body, call::Expr) = (f = constant(body, called(call)[1]); f !== nothing && is_deferral(something(f)))

# All that may run in a `try` whose handler looks into exceptions.
function all_watched(handlers::Handlers)
    found = Base.IdSet{Core.MethodInstance}()
    left = collect(Core.MethodInstance, handlers.watched)
    while !isempty(left)
        instance = pop!(left)
        instance in found && continue
        push!(found, instance)
        append!(left, get(handlers.calls, instance, ()))
    end
    return found
end

# The bodies that may leave texts to the origin, in a second attempt after this one; `nothing` if this one will do.
function unwatched(handlers::Handlers)
    watched = all_watched(handlers)
    any(instance -> instance in watched, handlers.deferring) || handlers.defers_watched || return nothing
    found = Base.IdSet{Core.MethodInstance}()
    foreach(instance -> instance in watched || push!(found, instance), keys(handlers.calls))
    return found
end

# Which statements of `body` may leave texts to the origin.
function may_defer(handlers::Handlers, body::Body, watched::BitVector)
    handlers.unwatched === nothing && return trues(length(watched))
    return body.instance in handlers.unwatched ? .!watched : falses(length(watched))
end
