# The archive's bytes (docs/ARCHIVE.md): manifest and images, little endian. The reader is rust/wire/src/{archive,manifest}.rs.

const ARCHIVE_VERSION = UInt16(1)
const IMAGE_BITCODE = 0x01

struct Dependency
    soname::String
    symbols::Vector{String}
end

struct Manifest
    abi::String
    producer::String
    entry::String
    name::String
    arguments::String
    result::String
    imports::Vector{String}
    dependencies::Vector{Dependency}
    objects::Vector{Descriptor}
end

struct Image
    kind::UInt8
    triple::String
    cpu::String
    features::String
    code::Vector{UInt8}
end

put(io::IO, number::Union{UInt8,UInt16,UInt32,UInt64}) = (write(io, htol(number)); nothing)
put(io::IO, text::String) = (put(io, UInt32(sizeof(text))); write(io, text); nothing)
put_bytes(io::IO, bytes::Vector{UInt8}) = (put(io, UInt32(length(bytes))); write(io, bytes); nothing)
function put_list(io::IO, items::Vector)
    put(io, UInt32(length(items)))
    for item in items
        put(io, item)
    end
end
put(io::IO, numbers::Tuple) = foreach(n -> put(io, n), numbers)

function put(io::IO, type::TypeDescriptor)
    put(io, 0x01); put(io, type.name); put(io, type.flags); put(io, type.size); put(io, type.align)
    put_list(io, type.pointers)
    put(io, type.element_size); put(io, type.element_flags); put(io, type.ndims); put(io, type.parent)
    put(io, type.hash); put(io, type.element_type)
    put(io, UInt32(length(type.fields)))
    for (offset, size, kind, field) in type.fields
        put(io, offset); put(io, size); put(io, UInt8(kind)); put(io, field)
    end
end
put(io::IO, instance::InstanceDescriptor) = (put(io, 0x02); put(io, instance.type))
put(io::IO, symbol::SymbolDescriptor) = (put(io, 0x03); put(io, symbol.name))
put(io::IO, string::StringDescriptor) = (put(io, 0x04); put_bytes(io, string.bytes))
put(io::IO, data::DataDescriptor) = (put(io, 0x05); put(io, data.type); put_bytes(io, data.bytes); put_list(io, data.relocations))
function put(io::IO, array::ArrayDescriptor)
    put(io, 0x06); put(io, array.type); put_list(io, array.dims); put_bytes(io, array.bytes); put_list(io, array.references)
end
put(io::IO, opaque::OpaqueDescriptor) = (put(io, 0x08); put(io, opaque.name); put(io, opaque.id))
put(io::IO, dependency::Dependency) = (put(io, dependency.soname); put_list(io, dependency.symbols))

function put(io::IO, manifest::Manifest)
    for text in (manifest.abi, manifest.producer, manifest.entry, manifest.name, manifest.arguments, manifest.result)
        put(io, text)
    end
    put_list(io, manifest.imports)
    put_list(io, manifest.dependencies)
    put_list(io, manifest.objects)
end

function put(io::IO, image::Image)
    put(io, image.kind); put(io, image.triple); put(io, image.cpu); put(io, image.features)
    put_bytes(io, image.code)
end

function archive_bytes(manifest::Manifest, images::Vector{Image})
    io = IOBuffer()
    write(io, "BCAR")
    put(io, ARCHIVE_VERSION)
    put(io, UInt16(0))
    inner = IOBuffer()
    put(inner, manifest)
    put_bytes(io, take!(inner))
    put_list(io, images)
    return take!(io)
end
