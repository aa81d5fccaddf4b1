# A variable that a closure captures and somebody assigns afterwards lives in a `Core.Box`, of whose contents Julia's inference knows nothing. Here
# it is taken to hold what the function that declares it puts there, if that is of one type. Every read is checked when the code runs, and every
# assignment in the captured code while it is captured: if one of them may be of another type, the capture starts again without this.

is_spoiled(boxes::Boxes) = boxes.spoiled[]

"What the box of a variable holds, if that is a `T`."
@inline function contents(box::Core.Box, ::Type{T}) where {T}
    value = getfield(box, :contents)
    return value isa T ? value : refuse_contents()
end
@noinline refuse_contents() =
    throw(ArgumentError("a variable that a closure assigns holds a value of another type than the shipped code gives it: it came from elsewhere"))

# Reads of boxes in `body` become checked reads of what they hold.
function narrow_boxes!(narrowing::Narrowing, body::Body)
    boxes = narrowing.boxes
    boxes.enabled || return
    note_boxes!(boxes, body)
    for (i, statement) in enumerate(body.source.code)
        box = accessed_box(body, call_of(statement), getfield)
        box === nothing && continue
        T = held_type(boxes, body, something(box))
        T === nothing && continue
        target = only_method(narrowing, Tuple{typeof(contents),Core.Box,Type{T}})
        (target === nothing || infer!(target, narrowing.world) === nothing) && continue
        replace_call!(body, i, Expr(:invoke, target, contents, something(box), T))
        body.source.ssavaluetypes[i] = T
    end
end

# The boxes that `body` makes, and those that it gives to closures.
function note_boxes!(boxes::Boxes, body::Body)
    code = body.source.code
    for i in eachindex(code)
        is_new_box(body, code[i]) && note_box!(boxes, (body.instance, i), first_type(body, Core.SSAValue(i)))
    end
    for statement in code
        made = call_of(statement)
        (made isa Expr && made.head === :new) || continue
        C = constant(body, made.args[1])
        (C !== nothing && something(C) isa DataType && isconcretetype(something(C))) || continue
        for k in 1:length(made.args)-1
            fieldtype(something(C), k) === Core.Box && note_box!(boxes, (something(C), k), held_type(boxes, body, made.args[k+1]))
        end
    end
end

function note_box!(boxes::Boxes, place, @nospecialize(T))
    if haskey(boxes.held, place) && boxes.held[place] !== T
        boxes.spoiled[] = true
        T = nothing
    end
    boxes.held[place] = T
end

# The type of what `operand`, a box, holds; `nothing` if that is not known.
function held_type(boxes::Boxes, body::Body, @nospecialize(operand))
    operand isa Core.SSAValue || return nothing
    statement = body.source.code[operand.id]
    statement isa Core.PiNode && return held_type(boxes, body, statement.val)
    place = box_place(body, operand)
    return place === nothing ? nothing : get(boxes.held, place, nothing)
end

# What `Boxes` knows a box by: where it is made, or which field of which closure it is read from.
function box_place(body::Body, operand::Core.SSAValue)
    statement = body.source.code[operand.id]
    return is_new_box(body, statement) ? (body.instance, operand.id) : box_field(body, statement)
end

is_new_box(body::Body, @nospecialize(statement)) =
    statement isa Expr && statement.head === :new && (T = constant(body, statement.args[1]); T !== nothing && something(T) === Core.Box)

# Which field of which closure the statement reads.
function box_field(body::Body, @nospecialize(statement))
    (is_call(statement) && length(statement.args) == 3) || return nothing
    f, name = constant(body, statement.args[1]), constant(body, statement.args[3])
    (f !== nothing && something(f) === getfield && name !== nothing) || return nothing
    C = operand_type(body, statement.args[2])
    (C isa DataType && isconcretetype(C) && fieldcount(C) > 0) || return nothing
    k = something(name) isa Symbol ? Base.fieldindex(C, something(name), false) : something(name)
    return k isa Int && 1 <= k <= fieldcount(C) && fieldtype(C, k) === Core.Box ? (C, k) : nothing
end

# The one type of all that `body` itself puts in the box that it makes, as far as it is known yet; `nothing` if there is none, or more than one.
function first_type(body::Body, box::Core.SSAValue)
    found = nothing
    for statement in body.source.code
        call = call_of(statement)
        accessed_box(body, call, setfield!) == Some(box) || continue
        T = operand_type(body, call.args[4])
        isconcretetype(T) || continue
        (found === nothing || found === T) || return nothing
        found = T
    end
    return found
end

# The box whose contents the call reads (`getfield`) or assigns (`setfield!`).
function accessed_box(body::Body, @nospecialize(call), access)
    is_call(call) && length(call.args) == (access === setfield! ? 4 : 3) || return nothing
    f = constant(body, call.args[1])
    (f !== nothing && something(f) === access && operand_type(body, call.args[2]) === Core.Box) || return nothing
    return Some(call.args[2])
end

# Is what `body` puts into boxes, as far as is known in the end, what they are taken to hold?
function check_boxes!(boxes::Boxes, body::Body)
    boxes.enabled || return
    for statement in body.source.code
        call = call_of(statement)
        box = accessed_box(body, call, setfield!)
        box === nothing && continue
        place = something(box) isa Core.SSAValue ? box_place(body, something(box)) : nothing
        # A box that is only known as one could be any of those that others read; one of which nothing is known yet stays that way.
        T = place === nothing ? Union{} : get!(boxes.held, place, nothing)
        boxes.spoiled[] |= T !== nothing && !(operand_type(body, call.args[4]) <: T)
    end
end
