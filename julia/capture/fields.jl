# Questions about types and names that a node cannot answer, because it knows them only as far as a manifest describes them, become
# questions that it can: they are settled, or asked in pieces, where the types are known.

# `isa(x, Type{T})` asks for one object. Nodes have no types of types.
function is_type_test(body::Body, @nospecialize(call))
    is_call(call) && length(call.args) == 3 || return false
    f, T = constant(body, call.args[1]), constant(body, call.args[3])
    return f !== nothing && something(f) === isa && T !== nothing && is_type_of_type(something(T))
end

# `Type{T}` for one `T` that is always the same object.
is_type_of_type(@nospecialize(T)) = T isa DataType && T.name === Base.unwrap_unionall(Type).name && has_one_object(T.parameters[1])
has_one_object(@nospecialize(T)) = T isa DataType ? !has_type_variables(T) : T isa UnionAll && T === Base.unwrap_unionall(T).name.wrapper

type_test(body::Body, call::Expr) = Expr(:call, ===, call.args[2], something(constant(body, call.args[3])).parameters[1])

"`getfield(x, name)` where the name is only known when the code runs, as in every `getproperty` of one's own."
@generated function field_by_name(x, name::Symbol)
    missing_field = string("type ", nameof(x), " has no field ")
    found = :(error($missing_field, name))
    for k in fieldcount(x):-1:1
        found = :(name === $(QuoteNode(fieldname(x, k))) ? getfield(x, $k) : $found)
    end
    return found
end

"`isdefined(x, name)`, likewise, as in `haskey` of a NamedTuple."
@generated function defined_by_name(x, name::Symbol)
    found = false
    for k in fieldcount(x):-1:1
        found = :(name === $(QuoteNode(fieldname(x, k))) ? isdefined(x, $k) : $found)
    end
    return found
end

# A field may be declared to hold any text, as `msg` of Julia's own exceptions is. It holds one of two kinds, or the code ends there.
function text_field(x, ::Val{K}) where {K}
    text = getfield(x, K)
    return text isa String ? text : text isa SubString{String} ? text : refuse_text()
end
@noinline refuse_text() =
    throw(ArgumentError("a field of type AbstractString holds neither a String nor a SubString{String}: shipped code reads no other texts from there"))

# The number of such a field, if that is what `getfield` is asked for by name.
function number_of_text_field(body::Body, operands)
    length(operands) == 2 || return nothing
    T, name = operand_type(body, operands[1]), constant(body, operands[2])
    (name !== nothing && T isa DataType && isconcretetype(T) && something(name) isa Symbol && hasfield(T, something(name))) || return nothing
    return fieldtype(T, something(name)) === AbstractString ? Base.fieldindex(T, something(name)) : nothing
end

# What a type consists of: settled where the type is known, refused where it is not (`type_details`).
# What else a type says of itself in plain values. A node's types say the same; but of a type that is one constant Julia's compiler looks it
# up by name.
const TYPE_TRAITS = filter(name -> isbitstype(fieldtype(DataType, name)) && fieldtype(DataType, name) != Ptr{Cvoid}, fieldnames(DataType))

# The name of the detail, if the call is such a question, put by `question` (`getfield` or `isdefined`).
function asked_detail(body::Body, @nospecialize(call), question = getfield)
    is_call(call) && length(call.args) == 3 || return nothing
    f, name = constant(body, call.args[1]), constant(body, call.args[3])
    (f === nothing || something(f) !== question || name === nothing) && return nothing
    detail = something(name)
    detail in TYPE_DETAILS || detail in TYPE_TRAITS || detail === :name || return nothing
    T = operand_type(body, call.args[2])
    return T isa Type && (T <: Type || T <: Core.TypeName) ? detail : nothing
end

# The answer, where the type is known: `Some(list)`, or `Some(whether there is one)`. What is not there is not read: the question whether
# it is comes first.
function known_detail(body::Body, @nospecialize(call))
    for question in (getfield, isdefined)
        detail = asked_detail(body, call, question)
        detail === nothing && continue
        operand = call.args[2]
        of = constant(body, operand)
        if of === nothing && operand isa Core.SSAValue
            of = known_detail(body, call_of(body.source.code[operand.id]))
        end
        (of === nothing || !(something(of) isa Union{DataType,Core.TypeName})) && continue
        there = isdefined(something(of), detail)
        return Some(question === isdefined ? there : there ? getfield(something(of), detail) : Core.svec())
    end
    return nothing
end

function is_field_by_name(body::Body, operands)
    length(operands) == 2 || return false
    T = operand_type(body, operands[1])
    T isa DataType && isconcretetype(T) && !(T <: Tuple) && T !== Module || return false
    return operand_type(body, operands[2]) === Symbol && constant(body, operands[2]) === nothing
end
