# Hash tables whose keys are found by their identity. An object that crosses is another object there, with another `objectid`, so such a
# table must be hashed anew where it arrives: in shipped code by the entry, for the tables that the types of arguments show; here for all.

const HashTable = Union{Dict,IdDict}

# Do hashes of `K`s depend on which object it is? `nothing`: some may.
function hashes_by_identity(@nospecialize(K), within::Vector{Any} = Any[])
    K isa Union && return either(Any[hashes_by_identity(M, within) for M in Base.uniontypes(K)])
    K isa DataType || return nothing
    K <: Union{String,Symbol,BigInt,BigFloat,Regex,Type,Module} && return false
    isconcretetype(K) || return nothing
    isbitstype(K) && return false
    any(W -> W === K, within) && return false
    push!(within, K)
    methods = Codegen.methods_for(Tuple{typeof(hash),K,UInt}, 1, typemax(UInt))
    method = methods === nothing || length(methods) != 1 ? nothing : methods[1][3]
    # A method of the user's may go by `objectid`. If it does not, hashing anew changes nothing.
    by_default = method === nothing || method.sig === DEFAULT_HASH || !Capture.is_library_module(method.module)
    # Of its parts, whoever mixes their hashes.
    K <: Array && return hashes_by_identity(eltype(K), within)
    by_default && Codegen.is_mutable_type(K) && return true
    return either(Any[hashes_by_identity(F, within) for F in fieldtypes(K)])
end

const DEFAULT_HASH = which(hash, Tuple{Any,UInt}).sig

either(found::Vector{Any}) = any(f -> f === true, found) ? true : any(f -> f === nothing, found) ? nothing : false

# Must tables of this type be hashed anew? `nothing`: some.
function table_by_identity(@nospecialize(T))
    T <: HashTable && isconcretetype(T) || return false
    by_identity = hashes_by_identity(keytype(T))
    # `objectid` is for everything, `hash` only for what the type of the keys tells.
    return T <: IdDict && by_identity === nothing ? true : by_identity
end

"""
    identity_tables(T) -> Vector{Any}

The types of tables in a `T` that the entry hashes anew.
"""
identity_tables(@nospecialize(T)) = filter(D -> table_by_identity(D) === true, reachable_types(T))

hash_anew!(table::Dict) = (Codegen.renew_hashes!(table); Base.rehash!(table, length(table.keys)); nothing)
hash_anew!(table::IdDict) = (Base.rehash!(table, length(table.ht)); nothing)
