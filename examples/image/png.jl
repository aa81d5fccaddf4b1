# A PNG file from pixels, in a page: its one compression is none ("stored" blocks), so that no library is needed.

const CRC_TABLE = map(UInt32(0):UInt32(255)) do n
    for _ in 1:8
        n = isodd(n) ? (n >> 1) ⊻ 0xedb88320 : n >> 1
    end
    n
end

crc32(bytes) = ~foldl((crc, byte) -> CRC_TABLE[(crc ⊻ byte) & 0xff + 1] ⊻ (crc >> 8), bytes; init = 0xffffffff)

function adler32(bytes)
    a, b = UInt32(1), UInt32(0)
    for byte in bytes
        a = (a + byte) % 65521
        b = (b + a) % 65521
    end
    return b << 16 | a
end

big_endian(n) = reinterpret(UInt8, [hton(UInt32(n))])

function chunk(io, kind, data)
    body = [codeunits(kind); data]
    write(io, big_endian(length(data)), body, big_endian(crc32(body)))
end

# zlib's wrapping of blocks of at most 65535 bytes.
function stored(bytes)
    io = IOBuffer()
    write(io, 0x78, 0x01)
    for start in 1:65535:length(bytes)
        block = view(bytes, start:min(start + 65534, length(bytes)))
        final = UInt8(last(start:start+length(block)-1) == length(bytes))
        write(io, final, htol(UInt16(length(block))), htol(~UInt16(length(block))), block)
    end
    write(io, big_endian(adler32(bytes)))
    return take!(io)
end

"""
    write_png(path, pixels)

`pixels` is an array of 3 × width × height bytes: red, green, blue.
"""
function write_png(path, pixels::Array{UInt8,3})
    _, width, height = size(pixels)
    # Each line begins with the number of its filter: none.
    lines = reduce(vcat, [[0x00; vec(view(pixels, :, :, y))] for y in 1:height])
    open(path, "w") do io
        write(io, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
        chunk(io, "IHDR", [big_endian(width); big_endian(height); [0x08, 0x02, 0x00, 0x00, 0x00]])
        chunk(io, "IDAT", stored(lines))
        chunk(io, "IEND", UInt8[])
    end
    return path
end
