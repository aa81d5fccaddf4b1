# Julia functions in a file, called by programs that have no Julia: one in C (examples/c), one in Rust (examples/rust).
#
#     julia --project=. examples/without_julia.jl

using BitCode, Test

# The mean of each element and its neighbours.
function smooth(signal::Vector{Float64}, width::Int)
    near(i) = max(1, i - width):min(length(signal), i + width)
    return [sum(signal[j] for j in near(i)) / length(near(i)) for i in 1:length(signal)]
end

const ROOT = dirname(@__DIR__)
const BUILT = dirname(BitCode.library_path())
const FOLDER = mktempdir()

# Bitcode for any node of this architecture, native code for those with AVX2 or more.
library = joinpath(FOLDER, "signal.bclib")
images = Sys.ARCH === :x86_64 ? [:bitcode, "x86_64:x86-64-v3"] : [:bitcode, "native"]
BitCode.save(library, BitCode.archive(smooth, Tuple{Vector{Float64},Int}; images = images))
run(`$(BitCode.archive_program()) list $library`)

# A node that anybody on this machine may call. It ends with its standard input.
node = open(`$(BitCode.node_program()) --exit-on-stdin-eof --log error`, "r+")
address = BitCode.parse_json(readline(node))["address"]

expected = [1.5, 2.0, 5.0, 16 / 3, 5.0, 2.0, 1.5]
numbers(line) = parse.(Float64, split(line))

# The C program prints six digits.
program = joinpath(FOLDER, "smooth")
run(`cc -std=c11 -Wall -Wextra -Werror -O2 -o $program $(joinpath(ROOT, "examples", "c", "smooth.c")) -I$(joinpath(ROOT, "rust", "ffi", "include"))
     -L$BUILT -lbitcode -Wl,-rpath,$BUILT -Wl,--allow-shlib-undefined`)
line = read(`$program $library $address`, String)
print("C:    ", line)
@test numbers(line) ≈ expected rtol = 1e-5

cargo = readchomp(`bash $(joinpath(ROOT, "deps", "tools.sh")) cargo`)
path = string(dirname(cargo), ':', ENV["PATH"])
line = withenv("PATH" => path) do
    read(setenv(`$cargo run --quiet --release --locked -p bitcode-smooth -- $library $address`; dir = ROOT), String)
end
print("Rust: ", line)
@test numbers(line) == expected

# Julia, of course, can do it as well.
there = connect(address)
smoothed = remotecall_fetch(BitCode.load(library, "smooth"), there, [1.0, 2, 3, 10, 3, 2, 1], 1)
println("Julia: ", join(smoothed, ' '))
@test smoothed == expected
close(there)
close(node)
