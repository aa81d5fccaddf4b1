# libbitcode: finding it, opening it, and every one of its functions (rust/ffi/include/bitcode.h).
#
# Two floors. `API` is mechanical: one Julia function for each C function, no more than a ccall. Above it: the errors, and the
# few wrappers that turn statuses, C strings and owned pointers into Julia values. No other file calls libbitcode.

using Libdl: Libdl

"""
    BitCodeError(code::Symbol, message::String, trail = Int[])

A call or a connection that failed for a reason that is not the shipped function's own: the node died, the key is wrong, time ran
out, the code could not be linked there… `code` names the reason (`:peer_died`, `:auth_failed`, `:timeout`, …). `trail` says where a call went
that moved from node to node: their numbers in order, as [`BitCode.Hop.here`](@ref) says them, with 0 for hops that nobody remembers.
"""
struct BitCodeError <: Exception
    code::Symbol
    message::String
    trail::Vector{Int}
end

BitCodeError(code::Symbol, message::AbstractString) = BitCodeError(code, message, Int[])

Base.showerror(io::IO, e::BitCodeError) = print(io, "BitCodeError (", replace(string(e.code), '_' => ' '), "): ", e.message)

module API

using Libdl: Libdl

# Where each function was found; filled by `open_library`.
const FUNCTIONS = Pair{Symbol,Base.RefValue{Ptr{Cvoid}}}[]

# `@bc name(argument::Type, …)::Result`: the C function `name`.
macro bc(signature)
    call, result = signature.args
    name = call.args[1]
    arguments = [a.args[1] for a in call.args[2:end]]
    types = [a.args[2] for a in call.args[2:end]]
    place = Symbol(name, "_place")
    return esc(quote
        const $place = Ref{Ptr{Cvoid}}(C_NULL)
        push!(FUNCTIONS, $(QuoteNode(name)) => $place)
        @inline $name($(arguments...)) = ccall($place[], $result, ($(types...),), $(arguments...))
    end)
end

const Handle = Ptr{Cvoid}

# bc_segment
struct Segment
    base::Ptr{UInt8}
    length::Csize_t
end

# bc_timings
struct Timings
    total_ns::UInt64
    queue_ns::UInt64
    decode_ns::UInt64
    parse_ns::UInt64
    link_ns::UInt64
    optimise_ns::UInt64
    emit_ns::UInt64
    run_ns::UInt64
    archive_sent::UInt32
    need_code::UInt32
end

# bc_limits
struct Limits
    deadline_ms::UInt32
    hop_budget::UInt32
    fan_out::UInt32
end

# bc_output
struct Output
    session::UInt64
    call::UInt64
    stream::UInt32
    open::UInt32
    address_length::UInt32
    text_length::UInt32
end

const ABI_VERSION = 1

const VALUE = Cint(0)
const PENDING = Cint(1)
const THROW = Cint(2)
const ERROR = Cint(3)
const BUSY = Cint(-13)
const NO_RESULT = UInt32(2)
const SHOW = UInt32(8)

@bc bc_abi_version()::UInt32
@bc bc_version()::Cstring
@bc bc_error_code(error::Handle)::Cint
@bc bc_error_message(error::Handle)::Cstring
@bc bc_error_free(error::Handle)::Cvoid
@bc bc_client_new(transport::Cstring, out::Ref{Handle}, error::Ref{Handle})::Cint
@bc bc_client_free(client::Handle)::Cvoid
@bc bc_client_transport(client::Handle)::Cstring
@bc bc_connect(client::Handle, address::Cstring, key::Ptr{UInt8}, key_length::Csize_t, timeout_ms::UInt64, out::Ref{Handle}, error::Ref{Handle})::Cint
@bc bc_session_info(session::Handle)::Cstring
@bc bc_session_is_open(session::Handle)::Cint
@bc bc_session_number(session::Handle)::Cint
@bc bc_session_close(session::Handle)::Cint
@bc bc_session_free(session::Handle)::Cvoid
@bc bc_session_stats(session::Handle)::Ptr{UInt8}
@bc bc_string_free(string::Ptr{UInt8})::Cvoid
@bc bc_code_new_linked(client::Handle, archive::Ptr{UInt8}, length::Csize_t, links::Ptr{Handle}, link_count::Csize_t, id::Ptr{UInt8}, out::Ref{Handle}, error::Ref{Handle})::Cint
@bc bc_code_free(code::Handle)::Cvoid
@bc bc_hash(bytes::Ptr{UInt8}, length::Csize_t, out::Ptr{UInt8})::Cint
@bc bc_call(session::Handle, code::Handle, segments::Ptr{Segment}, n::Csize_t, flags::UInt32, limits::Ptr{Limits}, spin_ns::UInt64, result::Ptr{UInt8}, capacity::Csize_t, result_length::Ptr{Csize_t}, pending::Ptr{Handle})::Cint
@bc bc_call_state(call::Handle)::Cint
@bc bc_call_result(call::Handle, out::Ref{Ptr{UInt8}}, length::Ref{Csize_t})::Cint
@bc bc_call_error(call::Handle, code::Ref{Cint})::Cstring
@bc bc_call_notify(call::Handle, callback::Ptr{Cvoid}, argument::Ptr{Cvoid})::Cint
@bc bc_call_wait(call::Handle, timeout_ns::UInt64)::Cint
@bc bc_call_timings(call::Handle, out::Ref{Timings})::Cint
@bc bc_call_trail(call::Handle)::Ptr{UInt8}
@bc bc_call_free(call::Handle)::Cint
@bc bc_output_notify(client::Handle, callback::Ptr{Cvoid}, argument::Ptr{Cvoid})::Cint
@bc bc_output_take(client::Handle, out::Ref{Output}, buffer::Ptr{UInt8}, capacity::Csize_t)::Cint
@bc bc_remote_new(session::Handle, length::UInt64, out::Ref{Handle}, error::Ref{Handle})::Cint
@bc bc_remote_attach(session::Handle, number::UInt64, out::Ref{Handle}, error::Ref{Handle})::Cint
@bc bc_remote_number(remote::Handle)::UInt64
@bc bc_remote_length(remote::Handle)::UInt64
@bc bc_remote_is_open(remote::Handle)::Cint
@bc bc_remote_read(remote::Handle, offset::UInt64, to::Ptr{UInt8}, length::Csize_t, error::Ref{Handle})::Cint
@bc bc_remote_write(remote::Handle, offset::UInt64, from::Ptr{UInt8}, length::Csize_t, error::Ref{Handle})::Cint
@bc bc_remote_update(remote::Handle, offset::UInt64, update::UInt32, operand::UInt64, expected::UInt64, before::Ref{UInt64}, error::Ref{Handle})::Cint
@bc bc_remote_close(remote::Handle, error::Ref{Handle})::Cint
@bc bc_remote_free(remote::Handle)::Cvoid

end # module API

# --- finding and opening -----------------------------------------------------------------------------------------------------

const PACKAGE_ROOT = dirname(dirname(@__DIR__))
const PACKAGE_VERSION = VersionNumber(match(r"^version = \"(.*)\""m, read(joinpath(PACKAGE_ROOT, "Project.toml"), String))[1])

# deps/build.jl writes where it put libbitcode and bitcode-node.
const DEPS = joinpath(PACKAGE_ROOT, "deps", "deps.jl")
include_dependency(DEPS)

module Deps
using ..BitCode: DEPS
if isfile(DEPS)
    include(DEPS)
else
    const libbitcode = ""
    const bitcode_node = ""
    const bitcode_archive = ""
end
# A file of an older build does not name it.
@isdefined(bitcode_archive) || (const bitcode_archive = "")
end

# What the library is missing for, or `nothing` once it is open.
const library_trouble = Ref{Union{Nothing,String}}("BitCode was not initialised")

library_path() = get(ENV, "BITCODE_LIB", Deps.libbitcode)

build_advice() = "Build it with `make build` in $PACKAGE_ROOT, or with `using Pkg; Pkg.build(\"BitCode\")`."

# Called by `__init__`. A package that cannot find its library still loads: what needs no node (`explain`, `code_llvm`) works.
function open_library()
    path = library_path()
    library_trouble[] = if isempty(path)
        "libbitcode has not been built yet. " * build_advice()
    elseif !isfile(path)
        "libbitcode is not at $path any more. " * build_advice()
    else
        load_library(path)
    end
    return nothing
end

function load_library(path)
    library = Libdl.dlopen(path, Libdl.RTLD_LAZY | Libdl.RTLD_LOCAL; throw_error = false)
    library === nothing && return "libbitcode at $path could not be opened: $(dlopen_message(path)). " * build_advice()
    for (name, place) in API.FUNCTIONS
        found = Libdl.dlsym(library, name; throw_error = false)
        found === nothing && return "libbitcode at $path has no `$name`: it is of another version than this package ($PACKAGE_VERSION). " * build_advice()
        place[] = found
    end
    version = unsafe_string(API.bc_version())
    if API.bc_abi_version() != API.ABI_VERSION || VersionNumber(version) != PACKAGE_VERSION
        return "libbitcode at $path is version $version (ABI $(API.bc_abi_version())), but this package is version $PACKAGE_VERSION (ABI $(API.ABI_VERSION)). " *
               build_advice()
    end
    return nothing
end

function dlopen_message(path)
    try
        Libdl.dlopen(path)
        return "unknown reason"
    catch e
        return sprint(showerror, e)
    end
end

function require_library()
    trouble = library_trouble[]
    trouble === nothing || throw(BitCodeError(:not_built, trouble))
    return nothing
end

# --- errors ------------------------------------------------------------------------------------------------------------------

const CLIENT_CODES = (:bad_argument, :connect_refused, :auth_failed, :key_required, :version_mismatch, :timeout, :peer_died,
                      :session_closed, :transport, :remote, :internal, :too_large, :busy, :segment_gone)
const NODE_CODES = (:bad_archive, :bad_hash, :bad_image, :no_image, :unresolved_symbol, :bad_payload, :out_of_memory, :deadline,
                    :fault, :shutting_down, :too_large, :unsupported, :internal, :bad_abi,
                    :hop_budget, :unreachable, :fan_out)

# Negative: found on this side. Positive: said by the node. A code that is not known keeps its number.
function code_name(code::Integer)
    names = code < 0 ? CLIENT_CODES : NODE_CODES
    return 1 <= abs(code) <= length(names) ? names[abs(code)] : Symbol(code < 0 ? "client_error_" : "node_error_", abs(code))
end

# Throws what an owned error says, and frees it.
@noinline function throw_owned(status::Cint, error::API.Handle)
    error == C_NULL && throw(BitCodeError(code_name(status), "libbitcode gave no message"))
    message = unsafe_string(API.bc_error_message(error))
    code = code_name(API.bc_error_code(error))
    API.bc_error_free(error)
    throw(BitCodeError(code, message))
end

# --- wrappers ----------------------------------------------------------------------------------------------------------------

# Calls `f(out, error)` and returns the handle that it wrote to `out`.
function new_handle(f)
    out = Ref{API.Handle}(C_NULL)
    error = Ref{API.Handle}(C_NULL)
    status = f(out, error)
    status == 0 || throw_owned(status, error[])
    return out[]
end

new_client(transport::String) = new_handle((out, error) -> API.bc_client_new(transport, out, error))

function new_session(client::API.Handle, address::String, key::Vector{UInt8}, timeout_ms::Integer)
    return new_handle() do out, error
        GC.@preserve key API.bc_connect(client, address, isempty(key) ? Ptr{UInt8}(C_NULL) : pointer(key), length(key), timeout_ms, out, error)
    end
end

# The handle and the 32 bytes of the code id. `links` are handles of the code that the archive links to.
function new_code(client::API.Handle, archive::Vector{UInt8}, links::Vector{API.Handle} = API.Handle[])
    id = Vector{UInt8}(undef, 32)
    code = new_handle() do out, error
        GC.@preserve archive id links API.bc_code_new_linked(client, pointer(archive), length(archive), pointer(links), length(links), pointer(id), out, error)
    end
    return code, id
end

"""
    blake3(bytes::Vector{UInt8}) -> Vector{UInt8}

The 32 bytes of the BLAKE3 hash: what a code id is.
"""
function blake3(bytes::Vector{UInt8})
    require_library()
    out = Vector{UInt8}(undef, 32)
    status = GC.@preserve bytes out API.bc_hash(pointer(bytes), length(bytes), pointer(out))
    status == 0 || throw(BitCodeError(code_name(status), "the bytes could not be hashed"))
    return out
end

# Calls `f(error)`, which answers with a status.
function must(f)
    error = Ref{API.Handle}(C_NULL)
    status = f(error)
    status == 0 || throw_owned(status, error[])
    return nothing
end

session_info(session::API.Handle) = parse_json(unsafe_string(API.bc_session_info(session)))

session_stats(session::API.Handle) = owned_json(API.bc_session_stats(session))

# What an owned string says, which is freed.
function owned_json(text::Ptr{UInt8})
    try
        return parse_json(unsafe_string(text))
    finally
        API.bc_string_free(text)
    end
end

# Where the result (or the exception's graph) of a finished call lies; it lives as long as the call.
function call_bytes(call::API.Handle)
    place = Ref{Ptr{UInt8}}(C_NULL)
    length = Ref{Csize_t}(0)
    status = API.bc_call_result(call, place, length)
    status == 0 || throw(BitCodeError(code_name(status), "the result of a call could not be read"))
    return place[], Int(length[])
end

# What a call in state ERROR says.
function call_error(call::API.Handle)
    code = Ref{Cint}(0)
    message = API.bc_call_error(call, code)
    message == C_NULL && return BitCodeError(:internal, "a call failed without a message")
    return BitCodeError(code_name(code[]), unsafe_string(message))
end

# Where a call went that has failed, as libbitcode's JSON says it; `nothing` of a call that cannot have moved.
function call_trail(call::API.Handle)
    text = API.bc_call_trail(call)
    return text == C_NULL ? nothing : owned_json(text)
end

# `libuv` wakes the task that waits for `async`; that is all it does, so any thread may call it.
wake_by(async::Base.AsyncCondition, call::API.Handle) =
    API.bc_call_notify(call, cglobal(:uv_async_send), Base.unsafe_convert(Ptr{Cvoid}, async))

# The same for output of shipped code. Never ended: `async` lives as long as the client.
notify_output(client::API.Handle, async::Base.AsyncCondition) =
    API.bc_output_notify(client, cglobal(:uv_async_send), Base.unsafe_convert(Ptr{Cvoid}, async))

# The next piece of output, which is then in `buffer`, or `nothing`.
function take_output(client::API.Handle, buffer::Vector{UInt8})
    piece = Ref{API.Output}()
    status = GC.@preserve buffer API.bc_output_take(client, piece, pointer(buffer), length(buffer))
    status < 0 && throw(BitCodeError(code_name(status), "output of a node could not be taken"))
    return status == 1 ? piece[] : nothing
end

# Counts up whenever a method is defined: what was captured before may be stale then.
@inline world_counter() = ccall(:jl_get_world_counter, UInt, ())
