# How things look.

using BitCode, Test

node = launch(; transport = "tcp")

@testset "text" begin
    @test repr(node) == "Node(\"$(node.address)\", open)"
    text = repr("text/plain", node)
    for words in (node.address, "open", "tcp", string(node.pid), node.cpu)
        @test occursin(words, text)
    end
    @test length(split(text, '\n')) == 5
    @test sprint(show, [node]) == "Node[$(repr(node))]" || occursin(repr(node), sprint(show, [node]))
end

@testset "html" begin
    html = repr("text/html", node)
    for words in (node.address, "open", "tcp", string(node.pid))
        @test occursin(words, html)
    end
    @test startswith(html, "<table") && endswith(html, "</table>")
    @test count("<tr>", html) == count("</tr>", html)
    @test BitCode.escape_html("<a href=\"x\">&") == "&lt;a href=&quot;x&quot;&gt;&amp;"
end

@testset "properties" begin
    @test node.pid isa Int
    @test node.transport isa String
    @test issubset((:address, :pid, :cpu, :transport), propertynames(node))
    @test_throws ArgumentError node.no_such_property
end

close(node)
@test occursin("closed", repr(node))
@test occursin("closed", repr("text/plain", node))

@testset "introspection" begin
    increment(x) = x + 1
    info = BitCode.archive_info(increment, Tuple{Int})
    @test 0 < info.bytes <= 4096
    @test occursin(r"^[0-9a-f]{64}$", info.id)
    @test length(info.images) == 1
    @test "bc_result" in info.symbols
    @test isempty(info.dependencies)
    text = repr("text/plain", info)
    @test occursin(info.id, text) && occursin(string(info.bytes), text)
    @test BitCode.archive_info(increment, Tuple{Int}).id == info.id
    @test BitCode.archive_info(increment, Tuple{Float64}).id != info.id
    llvm = sprint(io -> BitCode.code_llvm(io, increment, Tuple{Int}))
    @test occursin("define", llvm) && occursin("bitcode_entry", llvm)
    # No address of this process is in it.
    @test !occursin("inttoptr (i64", llvm)
end
