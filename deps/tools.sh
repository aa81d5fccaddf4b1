# shellcheck shell=bash
# Which cargo and which julia this clone uses: the one place that knows.
#
# Sourced by setup.sh, the Makefile and test/all.sh, or run for one answer:
#
#     bash deps/tools.sh cargo      path of a cargo that is new enough, or nothing and status 1
#     bash deps/tools.sh julia      path of a Julia that BitCode.jl can capture from, or the same
#
# It looks only; deps/setup.sh is what installs.

bitcode_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# The oldest Rust that the workspace builds with, as Cargo.toml says.
bitcode_rust_wanted() {
    sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' "$bitcode_root/Cargo.toml" | head -n 1
}

# version_at_least HAVE WANTED: compares dotted numbers.
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# A cargo counts when it, and the rustc beside it, are new enough.
cargo_is_usable() {
    local cargo=$1 rustc version
    [ -x "$cargo" ] || return 1
    rustc=$(dirname "$cargo")/rustc
    [ -x "$rustc" ] || return 1
    for tool in "$cargo" "$rustc"; do
        version=$("$tool" --version 2>/dev/null | sed -n 's/^[a-z]* \([0-9][0-9.]*\).*/\1/p')
        [ -n "$version" ] && version_at_least "$version" "$(bitcode_rust_wanted)" || return 1
    done
}

find_cargo() {
    local candidate
    for candidate in "${CARGO:-}" "$(command -v cargo || true)" "${HOME:-/root}/.cargo/bin/cargo" /usr/bin/cargo; do
        if [ -n "$candidate" ] && cargo_is_usable "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

# A Julia counts when capture was tried on it (julia/abi/version.jl), and when exceptions work: Debian 11's
# Julia beside Debian 12's libunwind dies on nearly every one of them (JuliaLang/julia#43520).
julia_is_usable() {
    # `ref` hides the error's value from constant folding; the exit code is the answer.
    # shellcheck disable=SC2016
    "$1" --startup-file=no --history-file=no -e '
        (VERSION.major, VERSION.minor) in ((1, 5), (1, 10)) || get(ENV, "BITCODE_UNTESTED_JULIA", "") == "1" || exit(3)
        ref = Ref(-1.0)
        caught = try sqrt(ref[]); false catch e; e isa DomainError end
        exit(caught ? 0 : 4)' >/dev/null 2>&1
}

# $JULIA is taken at its word: who sets it knows why.
find_julia() {
    local candidate
    if [ -n "${JULIA:-}" ]; then
        command -v "$JULIA"
        return
    fi
    for candidate in "$(command -v julia || true)" "$bitcode_root/.julia-prefix/bin/julia"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] && julia_is_usable "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

# Sets CARGO, JULIA and PATH. For the Makefile and the tests.
use_tools() {
    CARGO=$(find_cargo) || { echo "no cargo $(bitcode_rust_wanted) or newer: run deps/setup.sh (or make setup)" >&2; return 1; }
    JULIA=$(find_julia) || { echo "no usable julia 1.5 or 1.10${JULIA:+ at JULIA=$JULIA}: run deps/setup.sh (or make setup)" >&2; return 1; }
    # cargo runs the rustc, rustdoc and clippy-driver of the PATH: let them be its own.
    PATH=$(dirname "$CARGO"):$PATH
    export CARGO JULIA PATH
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case "${1:-}" in
        cargo) find_cargo ;;
        julia) find_julia ;;
        *) echo "usage: bash deps/tools.sh cargo|julia" >&2; exit 2 ;;
    esac
fi
