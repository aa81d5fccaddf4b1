# Archives read again, and libraries: files of archives with what only their origin knows of them (docs/ARCHIVE.md, "Libraries of functions").
# The same in Rust: rust/wire/src/{archive,manifest,library}.rs.

const LIBRARY_VERSION = UInt16(1)

# Bytes that are read from the front. What is cut off is an error, not a shorter value.
mutable struct Cursor
    bytes::Vector{UInt8}
    at::Int
    stop::Int
end
Cursor(bytes::Vector{UInt8}) = Cursor(bytes, 0, length(bytes))

function advance!(from::Cursor, count::Integer)
    count <= from.stop - from.at || throw(ArgumentError("the bytes end in the middle of a value, at byte $(from.at)"))
    from.at += count
    return from.at - Int(count)
end

function read_number(from::Cursor, T::Type{<:Unsigned})
    start = advance!(from, sizeof(T))
    return foldr((byte, value) -> value << 8 | T(byte), view(from.bytes, start+1:start+sizeof(T)); init = zero(T))
end

read_word(from::Cursor) = read_number(from, UInt32)

function read_bytes(from::Cursor)
    count = Int(read_word(from))
    start = advance!(from, count)
    return from.bytes[start+1:start+count]
end

function read_text(from::Cursor)
    found = String(read_bytes(from))
    Base.isvalid(String, found) || throw(ArgumentError("a text is not UTF-8, before byte $(from.at)"))
    return found
end

function read_list(item, from::Cursor, T::Type)
    count = read_word(from)
    # Each takes a byte at least.
    count <= from.stop - from.at || throw(ArgumentError("a list is longer than what is there, at byte $(from.at)"))
    return T[item(from) for _ in 1:count]
end

# A part of the bytes by itself, all of which has to be read.
function read_nested(read, from::Cursor)
    count = Int(read_word(from))
    start = advance!(from, count)
    inner = Cursor(from.bytes, start, start + count)
    value = read(inner)
    inner.at == inner.stop || throw(ArgumentError("bytes follow where a value should have ended, at byte $(inner.at)"))
    return value
end

function opening(from::Cursor, magic::String, version::UInt16, what::String)
    start = advance!(from, 4)
    String(from.bytes[start+1:start+4]) == magic || throw(ArgumentError("this is no $what of BitCode.jl"))
    found = read_number(from, UInt16)
    found == version || throw(ArgumentError("$what of format version $found; this BitCode.jl reads version $version"))
    read_number(from, UInt16) == 0 || throw(ArgumentError("$what with flags that this BitCode.jl does not know"))
    return nothing
end

# --- archives ----------------------------------------------------------------------------------------------------------------

const IMAGE_OBJECT = 0x02

"""
    read_archive(archive) -> (manifest = bytes, images = Vector{Image})

The container alone.
"""
function read_archive(archive::Vector{UInt8})
    from = Cursor(archive)
    opening(from, "BCAR", ARCHIVE_VERSION, "archive")
    manifest = read_bytes(from)
    images = read_list(from -> Image(read_number(from, UInt8), read_text(from), read_text(from), read_text(from), read_bytes(from)), from, Image)
    from.at == from.stop || throw(ArgumentError("bytes follow the archive"))
    return (manifest = manifest, images = images)
end

# The archive with other images.
function with_images(archive::Vector{UInt8}, images::Vector{Image})
    from = Cursor(archive)
    opening(from, "BCAR", ARCHIVE_VERSION, "archive")
    read_bytes(from)
    io = IOBuffer()
    write(io, view(archive, 1:from.at))
    put_list(io, images)
    return take!(io)
end

function read_manifest(manifest::Vector{UInt8})
    from = Cursor(manifest)
    words = [read_text(from) for _ in 1:6]
    imports = read_list(read_text, from, String)
    dependencies = read_list(from -> Dependency(read_text(from), read_list(read_text, from, String)), from, Dependency)
    objects = read_list(read_descriptor, from, Descriptor)
    return Manifest(words..., imports, dependencies, objects)
end

function read_descriptor(from::Cursor)
    kind = read_number(from, UInt8)
    kind == 0x01 && return read_type(from)
    kind == 0x02 && return InstanceDescriptor(read_word(from))
    kind == 0x03 && return SymbolDescriptor(read_text(from))
    kind == 0x04 && return StringDescriptor(read_bytes(from))
    kind == 0x05 && return DataDescriptor(read_word(from), read_bytes(from), read_list(from -> (read_word(from), read_word(from)), from, Tuple{UInt32,UInt32}))
    kind == 0x06 && return ArrayDescriptor(read_word(from), read_list(from -> read_number(from, UInt64), from, UInt64), read_bytes(from), read_list(read_word, from, UInt32))
    # Capture writes none, and nothing here could use one.
    kind == 0x07 && return OpaqueDescriptor("slot for object $(read_word(from))", 0)
    kind == 0x08 && return OpaqueDescriptor(read_text(from), read_number(from, UInt64))
    throw(ArgumentError("an object of unknown kind $kind"))
end

function read_type(from::Cursor)
    return TypeDescriptor(read_text(from), read_word(from), read_word(from), read_number(from, UInt16), read_list(read_word, from, UInt32), read_word(from), read_word(from),
        read_word(from), read_word(from), read_word(from), read_word(from),
        read_list(from -> (read_word(from), read_word(from), UInt32(read_number(from, UInt8)), read_word(from)), from, NTuple{4,UInt32}))
end

# --- libraries ---------------------------------------------------------------------------------------------------------------

"""
    Notes

What the origin of an archive knows of it, and no node needs: canonical names of the types of arguments, keyword arguments and result; which
objects (by their number in the manifest) may be called here for the text of an exception; the places in the source that its sites stand for.
"""
struct Notes
    arguments::String
    keywords::String
    result::String
    deferrable::Vector{UInt32}
    sites::Vector{Site}
end

# An archive of a library; its notes may have been stripped.
struct Saved
    archive::Vector{UInt8}
    notes::Union{Nothing,Notes}
end

put(io::IO, frame::Frame) = (put(io, frame.name); put(io, frame.file); put(io, frame.line % UInt32))
put(io::IO, site::Site) = put_list(io, site)
function put(io::IO, notes::Notes)
    put(io, notes.arguments); put(io, notes.keywords); put(io, notes.result)
    put_list(io, notes.deferrable)
    put_list(io, notes.sites)
end
function put(io::IO, saved::Saved)
    put_bytes(io, saved.archive)
    inner = IOBuffer()
    saved.notes === nothing || put(inner, saved.notes)
    put_bytes(io, take!(inner))
end

function library_bytes(functions::Vector{Saved})
    io = IOBuffer()
    write(io, "BCLB")
    put(io, LIBRARY_VERSION)
    put(io, UInt16(0))
    put_list(io, functions)
    return take!(io)
end

# A library, or an archive by itself.
function read_library(file::Vector{UInt8})
    length(file) >= 4 && file[1:4] == b"BCAR" && return Saved[Saved(file, nothing)]
    from = Cursor(file)
    opening(from, "BCLB", LIBRARY_VERSION, "library")
    functions = read_list(from -> Saved(read_bytes(from), read_nested(read_notes, from)), from, Saved)
    from.at == from.stop || throw(ArgumentError("bytes follow the library"))
    return functions
end

function read_notes(from::Cursor)
    from.at == from.stop && return nothing
    frame(from) = Frame(read_text(from), read_text(from), Int(read_word(from)))
    return Notes(read_text(from), read_text(from), read_text(from), read_list(read_word, from, UInt32), read_list(from -> read_list(frame, from, Frame), from, Site))
end
