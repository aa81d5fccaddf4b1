# Builds libbitcode, bitcode-node and bitcode-archive with cargo, and writes deps.jl, which tells the package where they are.
#
# Run by Pkg.build("BitCode") and by `make build`. deps.jl is written only when its text changes, so that a rebuild alone does
# not make Julia precompile the package again.

const root = dirname(@__DIR__)
# Not inside the command literal below: there `@__DIR__` is the working directory.
const tools = joinpath(@__DIR__, "tools.sh")

# tools.sh is the one place that knows which cargo is new enough.
function find_cargo()
    path = try
        readchomp(`bash $tools cargo`)
    catch
        ""
    end
    isempty(path) && error("no cargo that is new enough for Cargo.toml's rust-version was found. ",
                           "On Debian 12 run `make setup` (deps/setup.sh) in ", root, "; elsewhere install Rust by rustup.")
    return path
end

# `cargo` and what it starts: the rustc beside it, and none of this Julia's libraries.
function cargo_command(cargo, arguments)
    path = string(dirname(cargo), ':', get(ENV, "PATH", ""))
    return setenv(`$cargo $arguments`, merge(Dict(ENV), Dict("PATH" => path)); dir = root)
end

function target_directory(cargo)
    metadata = read(cargo_command(cargo, `metadata --no-deps --format-version 1 --locked`), String)
    found = match(r"\"target_directory\":\"((?:[^\"\\]|\\.)*)\"", metadata)
    found === nothing && error("`cargo metadata` named no target directory")
    return unescape_string(found[1])
end

function write_if_changed(path, text)
    isfile(path) && read(path, String) == text && return
    write(path, text)
    return
end

cargo = find_cargo()
run(cargo_command(cargo, `build --release --locked -p bitcode-ffi -p bitcode-node -p bitcode-archive`))

release = joinpath(target_directory(cargo), "release")
libbitcode = joinpath(release, Sys.isapple() ? "libbitcode.dylib" : "libbitcode.so")
bitcode_node = joinpath(release, "bitcode-node")
bitcode_archive = joinpath(release, "bitcode-archive")
for file in (libbitcode, bitcode_node, bitcode_archive)
    isfile(file) || error("cargo succeeded but left no ", file)
end

write_if_changed(joinpath(@__DIR__, "deps.jl"), """
# Written by deps/build.jl; not kept in git.
const libbitcode = $(repr(libbitcode))
const bitcode_node = $(repr(bitcode_node))
const bitcode_archive = $(repr(bitcode_archive))
""")
