# Serialization of plain data. Julia writes types, and structs field by field, by looking at them when it runs; here the steps are worked out for each type.

# Is what is written of this type the same everywhere? Of types of one's own, which another process need not have, Julia writes all that there is.
function is_plainly_written(@nospecialize(T))
    T isa DataType && isconcretetype(T) && Base.moduleroot(T.name.module) !== Main && !(T <: Function) || return false
    return all(p -> p isa Type ? (p === Any || is_plainly_written(p)) : p isa Union{Int,Bool,Symbol,Tuple{Vararg{Symbol}}}, T.parameters)
end

# What is written of a module: how its root is known, and the way from there.
function path_of(m::Module)
    parent = parentmodule(m)
    (parent === m || m === Base) || return [path_of(parent); nameof(m)]
    key = Base.root_module_key(m)
    return Any[key.uuid === nothing ? nothing : key.uuid.value, Symbol(key.name)]
end

"Functions of Serialization that write types and objects => what stands for them, with arguments of such types."
const WRITERS = IdDict{Any,Any}()

function written_stand_in(body::Body, @nospecialize(f), operands)
    haskey(WRITERS, f) && length(operands) >= 2 || return nothing
    T = operand_type(body, operands[2])
    writes_type = is_type_type(T)
    return is_plainly_written(writes_type ? T.parameters[1] : T) ? WRITERS[f] : nothing
end

for (_, m) in Base.loaded_modules
    nameof(m) === :Serialization || continue
    steps(items) = Any[item isa Type ? :(write_type(s, $item)) : :($(m.serialize)(s, $(QuoteNode(item)))) for item in items]
    function type_steps(@nospecialize(T))
        parameters = collect(Any, T.parameters)
        return quote
            $(m.serialize_cycle)(s, $T) && return nothing
            $(m.writetag)(s.io, $(m.DATATYPE_TAG))
            $(m.serialize)(s, $(QuoteNode(T.name.name)))
            $(m.writetag)(s.io, $(m.MODULE_TAG))
            $(steps(path_of(T.name.module))...)
            $(m.writetag)(s.io, $(m.EMPTYTUPLE_TAG))
            $(isempty(parameters) ? nothing : :(write(s.io, $(Int32(length(parameters))))))
            $(steps(parameters)...)
            return nothing
        end
    end
    tagged(@nospecialize(T)) = m.sertag(T) > 0
    @eval begin
        @generated write_type(s::$(m.Serializer), ::Type{T}) where {T} =
            $tagged(T) ? :($$(m.write_as_tag)(s.io, $($(m.sertag)(T)))) : $type_steps(T)
        @generated function write_type_of_object(s::$(m.Serializer), ::Type{T}, shared::Bool = false) where {T}
            $tagged(T) && return :($$(m.writetag)(s.io, $($(m.sertag)(T))))
            return :($$(m.writetag)(s.io, shared ? $$(m.REF_OBJECT_TAG) : $$(m.OBJECT_TAG)); write_type_data(s, T))
        end
        @generated write_type_data(s::$(m.Serializer), ::Type{T}) where {T} = $type_steps(T)
        write_head_of_object(s::$(m.Serializer), x::T) where {T} = $(m.serialize_cycle)(s, x) || (write_type_of_object(s, T, true); false)
        @generated function write_object(s::$(m.Serializer), x::T) where {T}
            isdefined(T, :instance) && $tagged(T.instance) && return :($$(m.write_as_tag)(s.io, $($(m.sertag)(T.instance))))
            fieldcount(T) == 0 && sizeof(T) > 0 && return :(write_type_of_object(s, T); write(s.io, x); nothing)
            fields = (:(isdefined(x, $i) ? $$(m.serialize)(s, getfield(x, $i)) : $$(m.writetag)(s.io, $$(m.UNDEFREF_TAG))) for i in 1:fieldcount(T))
            head = Codegen.is_mutable_type(T) ? :($$(m.serialize_cycle)(s, x) && return nothing; write_type_of_object(s, T, true)) : :(write_type_of_object(s, T))
            return :($head; $(fields...); nothing)
        end
    end
    WRITERS[m.serialize_type] = write_type_of_object
    WRITERS[m.serialize_type_data] = write_type_data
    WRITERS[m.serialize_any] = write_object
    WRITERS[m.serialize_cycle_header] = write_head_of_object
end
