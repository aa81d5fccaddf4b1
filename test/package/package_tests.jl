# The package as a whole: documented, quiet, and its rooms apart.

using BitCode, Test

const ROOT = dirname(dirname(@__DIR__))
julia_sources() = [joinpath(folder, file) for part in ("src", "julia") for (folder, _, files) in walkdir(joinpath(ROOT, part)) for file in files if endswith(file, ".jl")]

@testset "every exported name is documented" begin
    for name in names(BitCode)
        text = string(Base.Docs.doc(Base.Docs.Binding(BitCode, name)))
        @test !occursin("No documentation found", text)
        # With an example, but for the types that are only caught.
        name in (:CaptureError,) || @test occursin("```", text)
    end
end

@testset "documented though not exported" begin
    for name in (:explain, :code_llvm, :archive_info, :statistics, :node_log, :Future, :BitCodeError, :crossable)
        text = string(Base.Docs.doc(Base.Docs.Binding(BitCode, name)))
        @test !occursin("No documentation found", text)
    end
end

@testset "foreign calls have their rooms" begin
    # `ccall` only in julia/abi (test/house sees to that); what is shipped itself calls is here: what an entry asks the node for.
    called = Set(m[1] for path in julia_sources() if occursin("marshal", path) for m in eachmatch(r"ccall\((.*?),", read(path, String)))
    @test called == Set(["\"extern bc_$name\"" for name in ("result", "throw", "unpack", "return", "table")])
end

@testset "files are rooms" begin
    for path in julia_sources()
        text = read(path, String)
        @test countlines(path) <= 800
        @test startswith(text, '#') || startswith(text, "\"\"\"")
    end
end

@testset "nothing ambiguous, nothing unbound" begin
    @test isempty(filter(pair -> all(m -> parentmodule(m.module) === BitCode || m.module === BitCode, pair), Test.detect_ambiguities(BitCode)))
end

@testset "it loads without having been built" begin
    program = """
        using BitCode, Test
        e = try launch() catch e; e end
        @test e isa BitCode.BitCodeError && e.code == :not_built && occursin("make build", e.message)
        @test isempty(BitCode.explain(+, Tuple{Int,Int}).reasons)
        """
    for missing_library in ("/no/such/libbitcode.so", joinpath(ROOT, "Project.toml"))
        command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $program`
        environment = merge(Dict(ENV), Dict("BITCODE_LIB" => missing_library))
        @test success(pipeline(setenv(command, environment); stderr = stderr))
    end
end
