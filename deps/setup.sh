#!/usr/bin/env bash
# Everything a machine needs to build and run BitCode.jl, and nothing twice.
#
#     bash deps/setup.sh          or: make setup
#     bash deps/setup.sh aarch64  what deps/aarch64.sh needs besides
#
# On Debian 12, down to a bare debootstrap tree, it installs what is missing: build tools, UCX, LLVM 19, libclang,
# the C libraries that Julia code calls on a node and, when there is no recent enough cargo, Debian's own Rust (rustc-web); then, when there is no usable julia on the
# PATH, it fills .julia-prefix/ (deps/julia.sh). On any other system it names what is missing and stops.
# It asks nothing, and where nothing is missing it only looks (about a second).
#
#   BITCODE_APT_MIRROR=URL        for Julia 1.5.3 (deps/julia.sh)
#   BITCODE_SECURITY_MIRROR=URL   for Debian 12's current Rust, when the machine's apt sources have no bookworm-security
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=tools.sh disable=SC1091
. "$root/deps/tools.sh"

say() {
    echo "deps/setup.sh: $*" >&2
}

# What is needed, by what it can do rather than by package name; for each, Debian 12's packages.
# A function succeeds when the thing is there.
have_compiler() { command -v cc >/dev/null && [ -e /usr/include/stdio.h ]; }
# For a test: that libbitcode's header can be included by C++ as well.
have_cplusplus() { echo | cc -x c++ -fsyntax-only - 2>/dev/null; }
have_make() { command -v make >/dev/null; }
have_pkg_config() { command -v pkg-config >/dev/null; }
have_certificates() { [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki/tls/certs ] || [ -n "${SSL_CERT_FILE:-}" ]; }
have_ucx() { pkg-config --exists 'ucx >= 1.12' 2>/dev/null; }
have_llvm() {
    local config
    for config in llvm-config-19 /usr/lib/llvm-19/bin/llvm-config llvm-config; do
        case "$("$config" --version 2>/dev/null)" in
            19.*) [ -e "$("$config" --includedir)/llvm-c/Core.h" ] && return 0 ;;
        esac
    done
    return 1
}
# What llvm-sys tells the linker besides LLVM itself.
have_llvm_libraries() {
    printf 'int main(void){return 0;}' | cc -x c - -lstdc++ -lffi -o /dev/null 2>/dev/null
}
# bindgen needs the library and the compiler's own headers (stddef.h), not the compiler.
have_libclang() {
    local headers library
    headers=$(compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' || compgen -G '/usr/lib*/clang/*/include/stddef.h' || true)
    library=$(compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' || compgen -G '/usr/lib*/libclang*.so*' ||
        compgen -G '/usr/lib/*/libclang-*.so*' || true)
    [ -n "${LIBCLANG_PATH:-}" ] || { [ -n "$headers" ] && [ -n "$library" ]; }
}
# As the node will look for them (rust/jit/src/libraries/known.rs).
have_c_libraries() {
    local known wanted
    known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null)
    for wanted in 'libopenblas64_\?\.so\.0' 'libgmp\.so\.10' 'libmpfr\.so\.6' 'libpcre2-8\.so\.0' 'libdSFMT' 'libutf8proc\.so\.[23]'; do
        grep -q "^[[:space:]]*$wanted" <<<"$known" || return 1
    done
}
have_cargo() { find_cargo >/dev/null; }
have_rustfmt() { beside_cargo rustfmt cargo-fmt; }
have_clippy() { beside_cargo clippy-driver cargo-clippy; }
have_shellcheck() { command -v shellcheck >/dev/null; }
have_ip() { PATH=$PATH:/usr/sbin:/sbin command -v ip >/dev/null; }
have_cross_compiler() { command -v aarch64-linux-gnu-gcc >/dev/null; }
have_emulator() { command -v qemu-aarch64-static >/dev/null; }
beside_cargo() {
    local cargo tool
    cargo=$(find_cargo) || return 1
    for tool in "$@"; do
        [ -x "$(dirname "$cargo")/$tool" ] || return 1
    done
}

needs=(
    # function|what to call it|Debian 12's packages
    'have_compiler|a C compiler and the C library headers|gcc libc6-dev'
    'have_cplusplus|a C++ compiler|g++'
    'have_make|make|make'
    'have_pkg_config|pkg-config|pkg-config'
    'have_certificates|CA certificates (cargo fetches crates over https)|ca-certificates'
    'have_ucx|UCX 1.12 or newer, with headers|libucx-dev'
    'have_llvm|LLVM 19, with headers|llvm-19-dev'
    'have_llvm_libraries|libstdc++ and libffi to link with|libstdc++-12-dev libffi-dev'
    'have_libclang|libclang, for bindgen|libclang1-19 libclang-common-19-dev'
    'have_c_libraries|the C libraries that Julia code calls on a node (OpenBLAS, GMP, MPFR, PCRE2, dSFMT, utf8proc)|libopenblas64-0-pthread libgmp10 libmpfr6 libpcre2-8-0 libdsfmt-19937-1 libutf8proc2'
    "have_cargo|cargo and rustc $(bitcode_rust_wanted) or newer|cargo-web rustc-web"
    'have_rustfmt|rustfmt|rustfmt-web'
    'have_clippy|clippy|rust-web-clippy'
    'have_shellcheck|shellcheck|shellcheck'
    'have_ip|ip, for nodes in network namespaces (tests, benchmarks)|iproute2'
)
if [ "${1:-}" = aarch64 ]; then
    needs+=(
        'have_cross_compiler|a C compiler and a linker for aarch64|gcc-aarch64-linux-gnu'
        'have_emulator|qemu for programs of aarch64|qemu-user-static'
    )
fi

# Fills missing_names and missing_packages.
look() {
    local need check name packages
    missing_names=() missing_packages=()
    for need in "${needs[@]}"; do
        IFS='|' read -r check name packages <<<"$need"
        "$check" && continue
        missing_names+=("$name")
        # shellcheck disable=SC2206 # a list of names
        missing_packages+=($packages)
    done
}

is_debian_12() {
    # shellcheck disable=SC1091
    [ -r /etc/os-release ] && [ "$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")" = 'debian 12' ]
}

list() {
    printf '  - %s\n' "$@"
}

# Root's own hands, or sudo's when it asks nothing.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

# Options with which apt sees bookworm-security as well. Debian 12's Rust comes from there: its main has 1.85. A machine
# without that suite keeps its own sources as they are; the extra one lives as long as this script.
with_security() {
    local sources mirror
    if apt-get indextargets --format "\$(RELEASE)" 'Created-By: Packages' | grep -qx bookworm-security; then
        return
    fi
    mirror=$(apt-get indextargets --format "\$(RELEASE) \$(REPO_URI)" 'Created-By: Packages' | awk '$1 == "bookworm" && !seen++ { print $2 }')
    mirror=${BITCODE_SECURITY_MIRROR:-${mirror%/}-security}
    sources=$scratch/sources.list.d
    mkdir -p "$sources"
    cp -a /etc/apt/sources.list.d/. "$sources/" 2>/dev/null || true
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-security main" > "$sources/bitcode-security.list"
    say "taking Debian's current Rust from $mirror (BITCODE_SECURITY_MIRROR names another)"
    echo "-o Dir::Etc::sourceparts=$sources"
}

install() {
    local options command
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    trap 'rm -rf "$scratch"' EXIT
    # shellcheck disable=SC2207 # two words without blanks in them
    options=($(with_security))
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        command="apt-get install ${missing_packages[*]}"
        say "missing:"
        list "${missing_names[@]}" >&2
        say "not root, and sudo is not there or asks for a password. As root, run
    $command
and then this script again."
        exit 1
    fi
    say "installing: ${missing_packages[*]}"
    as_root apt-get -q "${options[@]}" -o Acquire::Retries=3 update
    # --no-remove: a package of the user's that is in the way is the user's to remove.
    as_root apt-get -q -y --no-install-recommends --no-remove "${options[@]}" -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 install "${missing_packages[@]}" ||
        {
            say "apt could not install: ${missing_packages[*]}
  When it says that rustc-web or cargo-web conflicts with an older rustc, cargo or rustup of Debian's, remove that one, or
  install a Rust $(bitcode_rust_wanted) or newer by rustup: it is found on the PATH and in ~/.cargo/bin."
            exit 1
        }
}

look
if [ ${#missing_names[@]} -gt 0 ]; then
    if is_debian_12; then
        install
        look
    fi
    if [ ${#missing_names[@]} -gt 0 ]; then
        say "missing on this machine:"
        list "${missing_names[@]}" >&2
        is_debian_12 || say "this script installs on Debian 12 only; install these by your system's means and run it again."
        exit 1
    fi
fi

if ! find_julia >/dev/null; then
    if [ -n "${JULIA:-}" ]; then
        say "JULIA=$JULIA is not a program"
        exit 1
    elif is_debian_12; then
        bash "$root/deps/julia.sh"
    else
        say "missing on this machine:"
        list "a working julia 1.5 on the PATH" >&2
        exit 1
    fi
fi

echo "cargo: $(find_cargo) ($("$(find_cargo)" --version))"
echo "julia: $(find_julia) ($("$(find_julia)" --version))"
