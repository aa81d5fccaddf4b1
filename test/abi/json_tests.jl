using BitCode, Test
using BitCode: parse_json

@testset "what libbitcode and bitcode-node write" begin
    ready = parse_json("""{"bitcode_node":"ready","address":"127.0.0.1:40123","pid":123,"transport":"posix","version":"0.1.0"}""")
    @test ready == Dict("bitcode_node" => "ready", "address" => "127.0.0.1:40123", "pid" => 123, "transport" => "posix", "version" => "0.1.0")
    @test parse_json(" { \"a\" : [ 1 , -2.5e3 , true , false , null ] , \"b\" : { } } ") ==
          Dict("a" => Any[1, -2500.0, true, false, nothing], "b" => Dict())
    @test parse_json("[]") == []
    @test parse_json("\"\"") == ""
    @test parse_json("18446744073709551615") == 1.8446744073709552e19
end

@testset "strings" begin
    @test parse_json("\"a\\n\\t\\\\\\\"\\/\\u00e9\"") == "a\n\t\\\"/é"
    @test parse_json("\"\\ud83d\\ude00\"") == "😀"
    @test parse_json("\"bits → bytes\"") == "bits → bytes"
end

@testset "anything else is refused" begin
    for text in ("", "{", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud83d\"", "tru", "1 2", "{} x", "-", "1e", "'a'")
        @test_throws ArgumentError parse_json(text)
    end
end
