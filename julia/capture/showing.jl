# How values are shown: Base's functions that look at types when they run (`show` of arrays, pairs, tuples, structs, numbers inside of
# others), as functions that look at them when they are captured. What they write is what Base's write, to the letter.
#
# Base keeps in the context of a stream, as `:typeinfo`, the type that the reader can already tell from what was written, so that it need not be
# written again: the element type, while the elements of an array are shown. Base asks that type for its parameters. A node cannot, but
# it can compare types; so each function here asks whether what is known is exactly the type of its own value. The two are the same
# as long as what is known of a collection is its concrete type, or nothing about collections at all (`is_telling`).

known_type(io::IO) = get(io, :typeinfo, Any)

# Can what is to be known be compared only? Not if it is, say, `AbstractVector{Int}`: an element type is known then, too.
is_telling(@nospecialize(T)) = isconcretetype(T) || !any(C -> T <: C, COLLECTIONS)
const COLLECTIONS = (AbstractArray, AbstractDict, AbstractSet, Tuple, Pair, NamedTuple)

# `io` in which `T` is known of what is shown next; refused, like all questions about types that come too late, if that is not enough.
@generated function knowing(io::IO, ::Type{T}) where {T}
    is_telling(T) || return :(type_details(T, :parameters); io)
    return :(IOContext(io, Pair{Symbol,Any}(:typeinfo, T)))
end

# --- types -----------------------------------------------------------------------------------------------------------------------

# Names of types are known when the code is captured.
type_text(@nospecialize(T), compact::Bool) = sprint(show, T; context=:compact => compact)
@generated function show_type(io::IO, ::Type{T}) where {T}
    full, compact = type_text(T, false), type_text(T, true)
    full == compact && return :(write(io, $full); nothing)
    return :(write(io, get(io, :compact, false)::Bool ? $compact : $full); nothing)
end

# `string(T)`, and the name of `T` without parameters, if the call is one of these.
function type_as_text(body::Body, @nospecialize(call))
    (is_invoke(call) || is_call(call)) || return nothing
    f, operands = called(call)
    length(operands) == 1 || return nothing
    known, operand = constant(body, f), constant(body, operands[1])
    if operand === nothing && operands[1] isa Core.SSAValue
        operand = known_detail(body, call_of(body.source.code[operands[1].id]))
    end
    (known === nothing || operand === nothing || !(something(known) in (string, Base.print_to_string))) && return nothing
    return something(operand) isa Union{Type,Core.TypeName} ? Some(string(something(operand))) : nothing
end

# The name of a type without its parameters, as Base shows it. (`string` of a `TypeName` is another text since 1.9.)
name_text(@nospecialize(T)) = sprint(Base.show_type_name, Base.unwrap_unionall(T).name)

# What stands before the elements of a collection, and whether their type can be told from them.
@generated function type_prefix(io::IO, x::T) where {T}
    E = eltype(T)
    is_telling(E) || return :(type_details(T, :parameters); ("", false))
    name, full = name_text(T), string(T)
    if T <: AbstractDict
        implicit = Base.typeinfo_implicit(keytype(T)) && Base.typeinfo_implicit(valtype(T))
        return :(known_type(io) === T ? ($name, false) : $implicit && !isempty(x) ? ($name, true) : ($full, false))
    end
    element = Base.print_without_params(E) ? name_text(E) : string(E)
    counts = T <: Union{AbstractArray,AbstractSet}
    return :($counts && known_type(io) === T ? ("", false) : $(Base.typeinfo_implicit(E)) && !isempty(x) ? ("", true) : ($element, false))
end

# --- values ----------------------------------------------------------------------------------------------------------------------

show_value(io::IO, ::Type{T}) where {T} = show_type(io, T)

function show_value(io::IO, x::T, untyped::Bool=false, from_print::Bool=false) where {T<:Base.IEEEFloat}
    compact = get(io, :compact, false)::Bool
    typed = !(untyped || compact || known_type(io) === T)
    exponent = T === Float32 && !from_print ? UInt8('f') : UInt8('e')
    text = Base.StringVector(Base.Ryu.neededdigits(T))
    next = Base.Ryu.writeshortest(text, 1, x, false, false, true, -1, exponent, false, UInt8('.'), typed, compact)
    write(io, resize!(text, next - 1))
    return nothing
end

# A struct is shown field by field: they are counted out here.
@generated function show_struct(io::IO, x::T) where {T}
    n, bytes = fieldcount(T), sizeof(T)
    parts = Any[:(show(io, T)), :(print(io, '('))]
    if n == 0 && bytes != 0
        push!(parts, :(print(io, "0x", string(reinterpret($(bits_type(bytes)), x), base=16, pad=$(2bytes)))))
    elseif n > 0
        fields = Any[]
        for i in 1:n
            push!(fields, :(isdefined(x, $i) ? show(inner, getfield(x, $i)) : print(io, Base.undef_ref_str)))
            i < n && push!(fields, :(print(io, ", ")))
        end
        push!(parts, quote
            if !Base.show_circular(io, x)
                inner = IOContext(io, Pair{Symbol,Any}(:SHOWN_SET, x), Pair{Symbol,Any}(:typeinfo, Any))
                $(fields...)
            end
        end)
    end
    return Expr(:block, parts..., :(print(io, ')')))
end
bits_type(bytes::Int) = get(Dict(1 => UInt8, 2 => UInt16, 4 => UInt32, 8 => UInt64, 16 => UInt128), bytes, UInt8)

# `a => b`, unless its type has to be said: when it is wider than what is in it, and not known.
function show_value(io::IO, p::Pair{A,B}) where {A,B}
    known = known_type(io) === Pair{A,B}
    if !(known || (isconcretetype(A) && isconcretetype(B)))
        return show_struct(io, p)
    elseif known
        show_part(knowing(io, A), p.first)
        print(io, get(io, :compact, false)::Bool ? "=>" : " => ")
        show_part(knowing(io, B), p.second)
    else
        show_part(knowing(io, Any), p.first)
        print(io, get(io, :compact, false)::Bool ? "=>" : " => ")
        show_part(knowing(io, Any), p.second)
    end
    return nothing
end

function show_part(io::IO, part)
    alone = Base.isdelimited(io, part)
    alone || print(io, '(')
    show(io, part)
    alone || print(io, ')')
    return nothing
end
is_delimited(io::IO, ::Pair{A,B}) where {A,B} = !((isconcretetype(A) && isconcretetype(B)) || known_type(io) === Pair{A,B})

# What is known of the types of a pair's parts from what is known of the pair's.
function pair_types(io::IO, ::Pair{A,B}) where {A,B}
    return known_type(io) === Pair{A,B} ? (A => B) : (Any => Any)
end

show_value(io::IO, t::Tuple) = show_items(io, t, '(', ',', ')', true)

# A tuple's elements `first` to `last`, each by the type that it has: a loop over them would find that out when it runs.
@generated function show_items(io::IO, t::T, open, delimiter, close, delimits_one, first=1, last=typemax(Int)) where {T<:Tuple}
    n = fieldcount(T)
    items(context) = Any[:(if first <= $k <= last
            show($(context(k)), getfield(t, $k))
            if $k < min($n, last)
                print(io, delimiter, ' ')
            elseif delimits_one && $k == first
                print(io, delimiter)
            end
        end) for k in 1:n]
    return quote
        print(io, open)
        if !Base.show_circular(io, t)
            inner = IOContext(io, Pair{Symbol,Any}(:SHOWN_SET, t))
            known = known_type(io)
            if known === T
                $(items(k -> :(knowing(inner, $(fieldtype(T, k)))))...)
            else
                $(items(k -> :(IOContext(inner, Pair{Symbol,Any}(:typeinfo, known))))...)
            end
        end
        print(io, close)
    end
end

# The items `first` to `last` of what has no indices.
function show_items(io::IO, collection, open, delimiter, close, delimits_one, first=1, last=typemax(Int))
    print(io, open)
    if !Base.show_circular(io, collection)
        inner, shown = IOContext(io, Pair{Symbol,Any}(:SHOWN_SET, collection)), 0
        for (k, item) in enumerate(collection)
            k < first && continue
            k > last && break
            shown > 0 && print(io, delimiter, ' ')
            show(inner, item)
            shown += 1
        end
        delimits_one && shown == 1 && print(io, delimiter)
    end
    print(io, close)
    return nothing
end

# A vector, or what looks like one: with `:limit`, the first and the last ten of more than twenty.
function show_list(io::IO, list, open='[', close=']')
    prefix, implicit = type_prefix(io, list)
    print(io, prefix)
    inner = implicit ? io : knowing(io, eltype(list))
    if get(io, :limit, false)::Bool && length(list) > 20
        first, last = Base.first(Base.axes1(list)), Base.last(Base.axes1(list))
        Base.show_delim_array(inner, list, open, ",", "", false, first, first + 9)
        print(io, "  …  ")
        Base.show_delim_array(inner, list, "", ",", close, false, last - 9, last)
    else
        Base.show_delim_array(inner, list, open, ",", close, false)
    end
    return nothing
end
show_value(io::IO, v::Vector) = show_list(io, v)
function show_value(io::IO, a::Array{T,N}) where {T,N}
    N == 0 && return Base.show_zero_dim(io, a)
    prefix, implicit = type_prefix(io, a)
    inner = implicit ? io : knowing(io, T)
    isempty(a) ? Base._show_empty(inner, a) : Base._show_nonempty(inner, a, prefix)
    return nothing
end

const BETWEEN_PAIRS = occursin(", ", sprint(show, Dict(1 => 1, 2 => 2))) ? ", " : "," # since 1.6 with a space

function show_value(io::IO, d::Union{Dict,IdDict,Base.ImmutableDict})
    print(io, type_prefix(io, d)[1], '(')
    if !isempty(d) && !Base.show_circular(io, d)
        inner = knowing(IOContext(io, Pair{Symbol,Any}(:SHOWN_SET, d)), eltype(d))
        limit, shown = get(io, :limit, false)::Bool, 0
        for pair in d
            shown > 0 && print(io, BETWEEN_PAIRS)
            show(inner, pair)
            shown += 1
            limit && shown >= 10 && (print(io, '…'); break)
        end
    end
    print(io, ')')
    return nothing
end

# With its type, where that is wider than what is in it.
@generated function show_value(io::IO, t::T) where {names,T<:NamedTuple{names}}
    isempty(names) && return :(print(io, "NamedTuple()"))
    all(isconcretetype, fieldtypes(T)) || return :(show_type(io, T); print(io, '('); show(io, Tuple(t)); print(io, ')'))
    items(context) = Any[:(print(io, $(string(k == 1 ? "" : ", ", names[k], " = "))); show($(context(k)), getfield(t, $k))) for k in 1:length(names)]
    return quote
        print(io, '(')
        if known_type(io) === T
            $(items(k -> :(knowing(io, $(fieldtype(T, k)))))...)
        else
            $(items(k -> :(knowing(io, Any)))...)
        end
        print(io, $(length(names) == 1 ? ",)" : ")"))
    end
end

show_value(io::IO, s::Symbol) = show_symbol(io, s)
function show_symbol(io::IO, s::Symbol, indent::Int=0, precedence::Int=0, quotes::Int=0)
    if s in (:(:), :(::), :(:=), :(=), :(==), :(===), :(=>))
        print(io, ":(", s, ')')
    else
        name = String(s)
        if Base.isidentifier(name) || (Base.isoperator(s) && s !== Symbol("'"))
            print(io, ':', s)
        else
            print(io, "Symbol(")
            show(io, name)
            print(io, ')')
        end
    end
    return nothing
end

# As plain text. (Which type another name of a format stands for would be known when the code runs.)
function show_value(io::IO, format::AbstractString, x)
    format == "text/plain" || throw(MethodError(show, (io, format, x)))
    show(io, MIME("text/plain"), x)
    return nothing
end

# How large a screen is, where `:limit` asks for it and the stream does not say.
@generated size_of_screen() = displaysize()

for (f, stand_in) in (displaysize => size_of_screen, Base.show => show_value, Base.show_datatype => show_type, Base._show_default => show_struct,
        Base.typeinfo_prefix => type_prefix, Base.show_vector => show_list, Base.gettypeinfos => pair_types, Base.isdelimited => is_delimited,
        Base.show_delim_array => show_items,
        Base.show_unquoted_quote_expr => show_symbol)
    FUNCTION_STAND_INS[f] = stand_in
end
