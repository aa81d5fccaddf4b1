# The places in the source that an archive numbers its calls by.

using BitCode, Test
using BitCode: capture, Job

plus_one(x) = x + 1
checked(v, i) = v[i]
@noinline part(v, i) = checked(v, i) + 1
whole(v) = part(v, 1) * part(v, 2)

sites(f, types) = capture(Job(f, types)).sites
names(site) = [frame.name for frame in site]

@testset "sites" begin
    # What cannot throw has none, and nothing of them in its archive.
    @test isempty(sites(plus_one, Tuple{Int}))
    @test BitCode.archive_info(plus_one, Tuple{Int}).bytes < 3000

    found = sites(whole, Tuple{Vector{Int}})
    @test ["getindex", "checked", "part"] in names.(found)
    @test ["whole"] in names.(found)
    @test allunique(found)
    frame = found[findfirst(==(["whole"]) ∘ names, found)][1]
    @test (frame.file, frame.line) == (@__FILE__, 9)

    # Names and files stay here; the same code gives the same archive.
    shipped = capture(Job(whole, Tuple{Vector{Int}}))
    again = capture(Job(whole, Tuple{Vector{Int}}))
    @test shipped.archive == again.archive && shipped.sites == again.sites
    @test !occursin("sites_tests", String(copy(shipped.archive)))

    # A backtrace that makes no sense is left out.
    bytes = UInt8[7, 7, 1, 0, 0, 0, 0xff, 0xff, 0, 0, 2, 0, 0, 0]
    @test length(BitCode.remote_backtrace!(bytes, shipped)) == length(found[1])
    @test bytes == [7, 7]
    for broken in (UInt8[], UInt8[1, 0, 0], UInt8[1, 0, 0, 0], fill(0xff, 12))
        copied = copy(broken)
        @test isempty(BitCode.remote_backtrace!(copied, shipped))
        @test copied == broken
    end
end
