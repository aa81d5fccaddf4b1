#!/usr/bin/env bash
# bitcode-node and libbitcode for aarch64, built on x86-64, and what runs them here: `make node-aarch64`.
#
# Everything for aarch64 goes to .aarch64/ in the clone, nothing of it into the system:
#
#   .aarch64/root/          a few of Debian 12's arm64 packages, unpacked: what the node is linked with, and finds when it runs
#   .aarch64/rust/          Debian's rustc with its standard library for both architectures (rustup's would do; Debian's is
#                           where apt is), beside whatever Rust the machine has
#   .aarch64/bin/           llvm-config, rustc and cc, as the cross build sees them
#   .aarch64/bitcode-node   what was built, and libbitcode.so
#
# Packages are fetched by apt with a state directory of its own, checked by apt against Debian's signatures, and unpacked, not
# installed: no foreign architecture is added to the machine. From the machine's own packages come the linker and the emulator
# (gcc-aarch64-linux-gnu, qemu-user-static), which deps/setup.sh installs.
#
#     bash deps/aarch64.sh          set up what is missing, then build
#     bash deps/aarch64.sh check    can this machine do that? Says why not, and has status 1
#
#   BITCODE_DEBIAN_MIRROR=URL     Debian 12, where the machine's own apt sources are no use
#   BITCODE_SECURITY_MIRROR=URL   and its bookworm-security
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=tools.sh disable=SC1091
. "$root/deps/tools.sh"

prefix=$root/.aarch64
triple=aarch64-unknown-linux-gnu
multiarch=aarch64-linux-gnu
suite=bookworm
# What the node is linked with; then the C libraries that Julia code calls on a node (rust/jit/src/libraries/known.rs).
target_packages=(
    libc6-dev libgcc-s1 libstdc++6 libffi8 libllvm19 libucx-dev
    libgmp10 libmpfr6 libpcre2-8-0 libdsfmt-19937-1 libutf8proc2 libopenblas64-0-pthread libopenblas0-pthread
)

fail() {
    echo "deps/aarch64.sh: $*" >&2
    exit 1
}

check() {
    [ "$(uname -m)" = x86_64 ] ||
        fail "this cross build starts from x86-64; on an aarch64 machine \`make build\` makes nodes of its own kind"
    # shellcheck disable=SC1091
    [ "$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")" = 'debian 12' ] ||
        fail "this cross build takes its parts from Debian 12's packages, and this is another system.
  A node built on an aarch64 machine (make build, there) serves this one just as well: connect(\"bitcode://host:port\")."
}

# The machine's own mirrors, from apt itself: it reads .list and .sources files alike.
mirror_of() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$1" '$1 == suite && !seen++ { print $2 }'
}

# apt, with a state of its own in $work, for both architectures.
private_apt() {
    local mirror security keyring
    mirror=${BITCODE_DEBIAN_MIRROR:-$(mirror_of $suite)}
    [ -n "$mirror" ] || fail "no Debian mirror found in this machine's apt sources; set BITCODE_DEBIAN_MIRROR=http://…/debian"
    security=${BITCODE_SECURITY_MIRROR:-$(mirror_of $suite-security)}
    security=${security:-${mirror%/}-security}
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial,debs}
    : > "$work/status"
    printf "deb [signed-by=$keyring] %s\n" "$mirror $suite main" "$security $suite-security main" > "$work/sources.list"
    apt_options=(
        -qq
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64
        -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
        -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Install-Recommends=false
    )
    # apt's sandbox user cannot read a clone in somebody's home.
    [ "$(id -u)" != 0 ] || apt_options+=(-o APT::Sandbox::User=root)
    apt-get "${apt_options[@]}" update || fail "$mirror or $security cannot be reached, or has no Debian 12"
}

# depends PACKAGE…: what they depend on, one name a line, first alternative only.
depends() {
    apt-cache "${apt_options[@]}" show --no-all-versions "$@" | sed -n 's/^Depends: //p' | tr ',' '\n' |
        sed 's/^ *//; s/[ :(|].*//' | sort -u
}

# fetch DIRECTORY PACKAGE…: apt checks each hash against the signed index.
fetch() {
    local directory=$1
    shift
    mkdir -p "$directory"
    (cd "$directory" && apt-get "${apt_options[@]}" download "$@") || fail "could not download: $*"
}

# All that a package needs, itself included, as apt would install it on a bare arm64 machine; of that, what holds libraries.
closure() {
    apt-get "${apt_options[@]}" --print-uris -y install "${@/%/:arm64}" |
        sed -n "s/^'[^']*' \([^_]*\)_.*_arm64\.deb .*/\1/p" | grep -E '^(lib|zlib|linux-libc-dev$)' | grep -v -- '-bin$'
}

fill_root() {
    local packages package link target
    mapfile -t packages < <(closure "${target_packages[@]}")
    [ ${#packages[@]} -ge ${#target_packages[@]} ] || fail "apt cannot say what ${target_packages[*]} need on arm64"
    fetch "$work/debs/arm64" "${packages[@]/%/:arm64}"
    # As on a system whose /lib is a link.
    mkdir -p "$made/root/usr/lib" "$work/tree"
    ln -s usr/lib "$made/root/lib"
    for package in "$work"/debs/arm64/*.deb; do
        dpkg-deb -x "$package" "$work/tree"
    done
    [ ! -d "$work/tree/lib" ] || cp -a "$work/tree/lib/." "$made/root/usr/lib/"
    cp -a "$work/tree/usr/lib/." "$made/root/usr/lib/"
    cp -a "$work/tree/usr/include" "$made/root/usr/"
    rm -r "$work/tree"
    # Links that start at / mean this tree.
    find "$made/root" -lname '/*' | while read -r link; do
        target=$made/root$(readlink "$link")
        ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$target")" "$link"
    done
    # Debian chooses between BLAS libraries with update-alternatives, which did not run.
    for package in openblas64 openblas; do
        find "$made/root/usr/lib/$multiarch" -path "*-pthread/lib$package.so.0" | while read -r link; do
            ln -sfn "${link#"$made/root/usr/lib/$multiarch/"}" "$made/root/usr/lib/$multiarch/lib$package.so.0"
        done
    done
    # What the linker looks for: the rest of these -dev packages is for other compilers.
    ln -sfn libffi.so.8 "$made/root/usr/lib/$multiarch/libffi.so"
    ln -sfn libstdc++.so.6 "$made/root/usr/lib/$multiarch/libstdc++.so"
}

fill_rust() {
    local standard compiler llvm package
    standard=$(depends libstd-rust-web-dev:amd64 | grep -E '^libstd-rust-web-[0-9]') || fail "libstd-rust-web-dev is not what it was"
    llvm=$(depends "$standard:amd64" | grep -E '^libllvm' || true)
    compiler=(rustc-web:amd64 libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64 "$standard:amd64" ${llvm:+"$llvm:amd64"})
    fetch "$work/debs/rust" "${compiler[@]}"
    mkdir "$made/rust"
    for package in "$work"/debs/rust/*.deb; do
        dpkg-deb -x "$package" "$made/rust"
    done
    rm -rf "$made/rust/usr/share"
}

# wrapper NAME TEXT: a program that finds the prefix from where it lies itself.
wrapper() {
    # shellcheck disable=SC2016 # the wrapper's own variable
    printf '#!/bin/sh\n# Made by deps/aarch64.sh.\nprefix=${0%%/bin/*}\n%s\n' "$2" > "$made/bin/$1"
    chmod 755 "$made/bin/$1"
}

# The single quotes hold the wrappers' own variables.
# shellcheck disable=SC2016
fill_bin() {
    local config
    config=$(command -v llvm-config-19 || echo /usr/lib/llvm-19/bin/llvm-config)
    mkdir "$made/bin"
    wrapper rustc 'LD_LIBRARY_PATH=$prefix/rust/usr/lib/x86_64-linux-gnu exec "$prefix/rust/usr/bin/rustc" "$@"'
    wrapper cc "exec $multiarch-gcc --sysroot=\"\$prefix/root\" \"\$@\""
    # The same LLVM, but its libraries are the other architecture's.
    wrapper llvm-config "for argument; do
    [ \"\$argument\" != --libdir ] || { echo \"\$prefix/root/usr/lib/$multiarch\"; exit 0; }
done
exec $config \"\$@\""
}

# Files the prefix, if it is not as this script would make it.
fill_prefix() {
    local stamp
    stamp=$(sed '/^# --- building/,$d' "$0" | sha256sum)
    if [ -e "$prefix/made-by" ] && [ "$(cat "$prefix/made-by")" = "$stamp" ]; then
        return
    fi
    work=$(mktemp -d "$root/.aarch64.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    made=$work/prefix
    mkdir "$made"
    echo "fetching Debian's arm64 libraries and a Rust that compiles for them (about 250 MB)"
    private_apt
    fill_root
    fill_rust
    fill_bin
    echo "$stamp" > "$made/made-by"
    rm -rf "$prefix"
    mv "$made" "$prefix"
    rm -rf "$work"
    trap - EXIT
}

# --- building ----------------------------------------------------------------------------------------------------------------

build() {
    local target=${CARGO_TARGET_DIR:-$root/target}/cross file
    (
        cd "$root"
        # Nothing that is meant for the machine's own compiler.
        unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS CC
        export RUSTC=$prefix/bin/rustc CARGO_TARGET_DIR=$target LLVM_SYS_191_PREFIX=$prefix
        export AARCH64_UNKNOWN_LINUX_GNU_UCX_DIR=$prefix/root/usr
        export CC_aarch64_unknown_linux_gnu=$prefix/bin/cc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$prefix/bin/cc
        export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu=--sysroot=$prefix/root
        "$CARGO" build --release --locked --target $triple -p bitcode-node -p bitcode-ffi --lib --bins
    )
    for file in bitcode-node libbitcode.so; do
        # Under a new name first: the old one may be running.
        cp "$target/$triple/release/$file" "$prefix/$file.new"
        mv "$prefix/$file.new" "$prefix/$file"
    done
}

check
[ "${1:-}" != check ] || exit 0
bash "$root/deps/setup.sh" aarch64 >/dev/null
use_tools
fill_prefix
build
version=$(qemu-aarch64-static -L "$prefix/root" "$prefix/bitcode-node" --version) || fail "the node that was built does not run under qemu-aarch64-static"
echo "aarch64: ${version%%$'\n'*} in .aarch64/"
