# What the tests of capture share: entries that need no marshalling, and looking into archives.

using BitCode, Test
using BitCode: Capture, capture, isvalid, CaptureError, Shipped

# An entry that calls `f` with what it is given, and packs nothing: enough to look at the code.
struct Calling{F} end
(::Calling{F})(arguments...) where {F} = (keep(F.instance(arguments...)); Int32(0))
keep(x) = ccall("extern bc_throw", llvmcall, Cvoid, (Int64, Any), 0, x)

shipped(f, types...; options...) = capture(Calling{typeof(f)}(), Tuple{types...}; name = string(f), options...)

# The image's text.
function code(s::Shipped)
    portable = Capture.Portable(only(BitCode.read_archive(s.archive).images).code)
    text = Capture.text_of(portable)
    @test Capture.verify(portable) == ""
    close(portable)
    return text
end

# Numbers in the code that could be addresses of this process.
function suspicious_numbers(text)
    found = UInt64[]
    for m in eachmatch(r"(?<![\w.-])\d{9,}(?![\w.])", text)
        n = tryparse(UInt64, m.match)
        n !== nothing && Capture.may_be_address(n) && Capture.holds(n) && push!(found, n)
    end
    return found
end
