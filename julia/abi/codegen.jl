# Julia's own code generator, method tables and object layouts, as libjulia exports them.
#
# Mechanical, like llvm.jl: what julia/capture asks of the running Julia, one function a question. Which of these questions a Julia
# version needs, and in what order, is known to julia/capture/versions/.

module Codegen

using ..LLVM: LLVM, ModuleRef, ValueRef
using Core: CodeInfo, CodeInstance, MethodInstance

# Methods and inference

# The method instance of `method` for the signature `types`, whose static parameters are `env`.
specialization(method::Method, @nospecialize(types), env::Core.SimpleVector) =
    ccall(:jl_specializations_get_linfo, Ref{MethodInstance}, (Any, Any, Any), method, types, env)

# What `types` and the signature of a method have in common, and the method's static parameters there.
function intersection(@nospecialize(types), @nospecialize(signature))
    found = ccall(:jl_type_intersection_with_env, Any, (Any, Any), types, signature)::Core.SimpleVector
    return found[1], found[2]::Core.SimpleVector
end

# What inference knows of `instance` in `world`, or `nothing`.
inferred(instance::MethodInstance, world::UInt) =
    ccall(:jl_rettype_inferred, Any, (Any, UInt, UInt), instance, world, world)::Union{CodeInstance,Nothing}

# Native code (LLVM IR, in truth) of method instances with all that they call

const NativeCode = Ptr{Cvoid}

# `policy` 1: for use outside of this process, so everything reachable is emitted anew.
@static if VERSION < v"1.9-"
    create_native(instances::Vector{MethodInstance}, parameters::Base.CodegenParams) =
        ccall(:jl_create_native, NativeCode, (Vector{MethodInstance}, Base.CodegenParams, Cint), instances, parameters, 1)

    # `action(module)`, where the module must not be kept.
    with_module(action, native::NativeCode) = action(ccall(:jl_get_llvm_module, ModuleRef, (NativeCode,), native))

    # The module is the code's only large part. Nothing exported frees the descriptor around it (two small tables).
    dispose(native::NativeCode) = with_module(LLVM.DisposeModule, native)
else
    # Into a module and a context of the code generator's own; addresses as numbers (`imaging_mode` 0), nothing shared with package images.
    create_native(instances::Vector{MethodInstance}, parameters::Base.CodegenParams, world::UInt) =
        ccall(:jl_create_native, NativeCode, (Vector{MethodInstance}, LLVM.SharedModuleRef, Ptr{Base.CodegenParams}, Cint, Cint, Cint, Csize_t),
            instances, C_NULL, Ref(parameters), 1, 0, 0, world)

    # `action(module)`, where the module must not be kept.
    function act_on_module(lent::Ptr{Cvoid}, mod::ModuleRef)
        place = unsafe_pointer_to_objref(lent)::Base.RefValue{Any}
        action = place[][1]
        place[] = (action, action(mod))
        return C_NULL
    end
    function with_module(action, native::NativeCode)
        shared = ccall(:jl_get_llvm_module, LLVM.SharedModuleRef, (NativeCode,), native)
        lent = Ref{Any}((action, nothing))
        GC.@preserve lent LLVM.OrcThreadSafeModuleWithModuleDo(shared, @cfunction(act_on_module, Ptr{Cvoid}, (Ptr{Cvoid}, ModuleRef)),
            pointer_from_objref(lent))
        return lent[][2]
    end

    # Nothing exported frees the descriptor, and the module belongs to it: what can be freed is what the module holds.
    dispose(native::NativeCode) = with_module(LLVM.empty!, native)
end

# The names of the function that is called through `jlcall`'s convention and of the specialised one, "" where there is none.
function function_names(native::NativeCode, code::CodeInstance)
    generic, special = Ref{Int32}(-3), Ref{Int32}(0)
    ccall(:jl_get_function_id, Cvoid, (NativeCode, Any, Ptr{Int32}, Ptr{Int32}), native, code, generic, special)
    name(id) = id > 0 ? LLVM.name_of(ccall(:jl_get_llvm_function, ValueRef, (NativeCode, UInt32), native, id - 1)) : ""
    return (name(generic[]), name(special[]))
end

# Is this process writing the package's precompiled file?
is_precompiling() = ccall(:jl_generating_output, Cint, ()) != 0

# The method for a call of these types, or `nothing`. For generated functions, too, which may not ask `which` since 1.9.
@static if VERSION < v"1.9-"
    function method_for(@nospecialize(types))
        found = ccall(:jl_gf_invoke_lookup, Any, (Any, UInt), types, typemax(UInt))
        return found isa Core.TypeMapEntry ? found.func : found # which of them, differs
    end
else
    # The largest number means no world there, and a generated function has a world of its own, whatever it calls (`in_pure_callback` of gf.c): so the
    # counter itself is read.
    newest_world() = unsafe_load(cglobal(:jl_world_counter, UInt))
    method_for(@nospecialize(types)) = ccall(:jl_gf_invoke_lookup, Any, (Any, Any, UInt), types, nothing, newest_world())
end

has_method(@nospecialize(types)) = method_for(types) !== nothing

# The methods that a call with arguments of these types may mean: (intersection, static parameters, method) each; `nothing` if they are more than `limit`.
@static if VERSION < v"1.6-"
    function methods_for(@nospecialize(types), limit::Int, world::UInt)
        found = Base._methods_by_ftype(types, limit, world)
        return found === false ? nothing : Found[(match[1], match[2], match[3]) for match in found]
    end
else
    function methods_for(@nospecialize(types), limit::Int, world::UInt)
        found = Base._methods_by_ftype(types, limit, world)
        return found isa Vector ? Found[(match.spec_types, match.sparams, match.method) for match in found] : nothing
    end
end
const Found = Tuple{Any,Core.SimpleVector,Method}

# Types

has_layout(@nospecialize(T::DataType)) = T.layout != C_NULL

# Bytes of an object of a concrete type, 0 where that depends on the object.
@static if VERSION < v"1.7-"
    type_size(@nospecialize(T::DataType)) = Int(T.size)
    is_mutable_type(@nospecialize(T::DataType)) = T.mutable
    is_abstract_type(@nospecialize(T::DataType)) = T.abstract
    zero_initialised(@nospecialize(T::DataType)) = T.zeroinit
    has_type_variables(@nospecialize(T::DataType)) = T.hasfreetypevars
    # How many of its fields, from the first on, every constructor sets.
    initialised_fields(@nospecialize(T::DataType)) = Int(T.ninitialized)
else
    # The size went into the layout with 1.9, the rest into bits of `flags` with 1.7 (src/julia.h, `jl_datatype_t`).
    type_size(@nospecialize(T::DataType)) = has_layout(T) ? Int(unsafe_load(Ptr{Base.DataTypeLayout}(T.layout)).size) : 0
    is_mutable_type(@nospecialize(T::DataType)) = ismutabletype(T)
    is_abstract_type(@nospecialize(T::DataType)) = isabstracttype(T)
    zero_initialised(@nospecialize(T::DataType)) = T.flags & 0x10 != 0
    has_type_variables(@nospecialize(T::DataType)) = T.flags & 0x01 != 0
    initialised_fields(@nospecialize(T::DataType)) = fieldcount(T) - Int(T.name.n_uninitialized)
end

# Modules

# The module whose variable `name` is in `m`, or `nothing`.
@static if VERSION < v"1.9-"
    owner_of(m::Module, name::Symbol) = ccall(:jl_binding_owner, Any, (Any, Any), m, name)::Union{Module,Nothing}
else
    function owner_of(m::Module, name::Symbol)
        owner = ccall(:jl_get_module_of_binding, Ptr{Cvoid}, (Any, Any), m, name)
        return owner == C_NULL ? nothing : unsafe_pointer_to_objref(owner)::Module
    end
end

# Symbols

struct SymbolInfo # Dl_info
    library::Ptr{UInt8}
    base::Ptr{Cvoid}
    name::Ptr{UInt8}
    address::Ptr{Cvoid}
end

# The C symbol that starts at `address` exactly and the library it is in, or `nothing`.
function symbol_at(address::UInt)
    info = Ref(SymbolInfo(C_NULL, C_NULL, C_NULL, C_NULL))
    ccall(:dladdr, Cint, (Ptr{Cvoid}, Ptr{SymbolInfo}), Ptr{Cvoid}(address), info) == 0 && return nothing
    found = info[]
    (found.name == C_NULL || UInt(found.address) != address) && return nothing
    return (unsafe_string(found.name), unsafe_string(found.library))
end

# The library that `address` lies in, or "".
function library_at(address::UInt)
    info = Ref(SymbolInfo(C_NULL, C_NULL, C_NULL, C_NULL))
    ccall(:dladdr, Cint, (Ptr{Cvoid}, Ptr{SymbolInfo}), Ptr{Cvoid}(address), info) == 0 && return ""
    return info[].library == C_NULL ? "" : unsafe_string(info[].library)
end

# The address that this process calls for `name`, 0 if it has no such symbol.
address_of(name::AbstractString) = UInt(ccall(:dlsym, Ptr{Cvoid}, (Ptr{Cvoid}, Cstring), C_NULL, name))

# The machine code at `address`, as text.
@static if VERSION < v"1.9-"
    assembly_at(address::UInt) =
        ccall(:jl_dump_fptr_asm, Ref{String}, (UInt64, Cint, Cstring, Cstring), address, 0, "att", "none")
else
    assembly_at(address::UInt) =
        ccall(:jl_dump_fptr_asm, Ref{String}, (UInt64, Bool, Cstring, Cstring, Bool), address, false, "att", "none", false)
end

# Objects

# The address of the type of the object at `address`: the word before it, without the collector's bits. Since 1.10 a few types stand there as a
# small number, the place of the type in a table (`jl_small_typeof`; src/julia.h, "smalltags").
@static if VERSION < v"1.10-"
    @inline tag_at(address::UInt) = unsafe_load(Ptr{UInt}(address - sizeof(UInt))) & ~UInt(15)
else
    @inline tag_at(address::UInt) = address_for_tag(unsafe_load(Ptr{UInt}(address - sizeof(UInt))) & ~UInt(15))
    @inline address_for_tag(tag::UInt) = tag < SMALL_TAGS << 4 ? unsafe_load(Ptr{UInt}(cglobal(:jl_small_typeof, UInt) + tag)) : tag
    type_of_tag(tag::UInt) = object_at(address_for_tag(tag))::DataType
    const SMALL_TAGS = UInt(64)
end

address_of_object(@nospecialize(object)) = UInt(ccall(:jl_value_ptr, Ptr{Cvoid}, (Any,), object))

# `objectid`, without the question whether the compiler may settle it.
object_id(@nospecialize(object)) = ccall(:jl_object_id, UInt, (Any,), object)

object_at(address::UInt) = unsafe_pointer_to_objref(Ptr{Cvoid}(address))

# What a table keeps of its keys' hashes becomes what they are now. Since 1.9 that is seven bits of each (base/dict.jl, `hashindex`), which `rehash!` believes.
@static if VERSION < v"1.9-"
    renew_hashes!(table::Dict) = nothing
else
    function renew_hashes!(table::Dict)
        for i in eachindex(table.slots)
            Base.isslotfilled(table, i) && (table.slots[i] = Base.hashindex(table.keys[i], length(table.keys))[2])
        end
        return nothing
    end
end

# The bytes after the elements of an array of a union of bits types, which say what each element is.
selectors_of(array::Array) = ccall(:jl_array_typetagdata, Ptr{UInt8}, (Any,), array)

end # module Codegen
