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
create_native(instances::Vector{MethodInstance}, parameters::Base.CodegenParams) =
    ccall(:jl_create_native, NativeCode, (Vector{MethodInstance}, Base.CodegenParams, Cint), instances, parameters, 1)

llvm_module(native::NativeCode) = ccall(:jl_get_llvm_module, ModuleRef, (NativeCode,), native)

# The names of the function that is called through `jlcall`'s convention and of the specialised one, "" where there is none.
function function_names(native::NativeCode, code::CodeInstance)
    generic, special = Ref{Int32}(-3), Ref{Int32}(0)
    ccall(:jl_get_function_id, Cvoid, (NativeCode, Any, Ptr{Int32}, Ptr{Int32}), native, code, generic, special)
    name(id) = id > 0 ? LLVM.name_of(ccall(:jl_get_llvm_function, ValueRef, (NativeCode, UInt32), native, id - 1)) : ""
    return (name(generic[]), name(special[]))
end

# The module is the code's only large part. Nothing exported frees the descriptor around it (two small tables).
dispose(native::NativeCode) = LLVM.DisposeModule(llvm_module(native))

# Is this process writing the package's precompiled file?
is_precompiling() = ccall(:jl_generating_output, Cint, ()) != 0

# Is there a method for a call of these types?
has_method(@nospecialize(types)) = ccall(:jl_gf_invoke_lookup, Any, (Any, UInt), types, typemax(UInt)) !== nothing

# Modules

# The module whose variable `name` is in `m`, or `nothing`.
owner_of(m::Module, name::Symbol) = ccall(:jl_binding_owner, Any, (Any, Any), m, name)::Union{Module,Nothing}

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
assembly_at(address::UInt) =
    ccall(:jl_dump_fptr_asm, Ref{String}, (UInt64, Cint, Cstring, Cstring), address, 0, "att", "none")

# Objects

# The word before an object, without the collector's bits: the address of its type.
tag_at(address::UInt) = unsafe_load(Ptr{UInt}(address - sizeof(UInt))) & ~UInt(15)

address_of_object(@nospecialize(object)) = UInt(ccall(:jl_value_ptr, Ptr{Cvoid}, (Any,), object))

object_at(address::UInt) = unsafe_pointer_to_objref(Ptr{Cvoid}(address))

# The bytes after the elements of an array of a union of bits types, which say what each element is.
selectors_of(array::Array) = ccall(:jl_array_typetagdata, Ptr{UInt8}, (Any,), array)

end # module Codegen
