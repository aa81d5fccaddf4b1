#!/usr/bin/env bash
# Fills a private prefix inside the clone (.julia-prefix/) with Debian 11's Julia 1.5.3.
#
# Debian 12 has no Julia. Debian 11's one runs there, with two cares:
#  - its libraries come along, above all libunwind8 1.3.2: with Debian 12's 1.6 nearly every exception is a
#    SIGSEGV (JuliaLang/julia#43520);
#  - they are given to Julia alone. The wrapper starts Julia through the dynamic linker with a library path, so no
#    LD_LIBRARY_PATH leaks into the programs that Julia starts (bitcode-node above all, which must not see them).
#
# Nothing outside .julia-prefix/ is written, and root is not needed: packages are fetched by apt with a state directory of
# its own, checked by apt against Debian's signatures, and unpacked, not installed.
#
#   BITCODE_APT_MIRROR=URL   a mirror that still has bullseye, when the machine's own no longer does
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd -P)
prefix=$root/.julia-prefix
suite=bullseye
# The system's own C and C++ runtime serves Julia as well: it is newer, and compatible by contract.
system_packages=' libc6 libgcc-s1 libstdc++6 libcrypt1 '
# Nothing in Julia 1.5 opens it, and it would bring half a directory service along.
unused_packages=' libcurl3-gnutls '

fail() {
    echo "deps/julia.sh: $*" >&2
    exit 1
}

# The machine's own Debian mirror, from apt itself: it reads .list and .sources files alike.
machine_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "bookworm" && !seen++ { print $2 }'
}

work=$(mktemp -d "$root/.julia-prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT

mirror=${BITCODE_APT_MIRROR:-$(machine_mirror)}
[ -n "$mirror" ] || fail "no Debian mirror found in this machine's apt sources; set BITCODE_APT_MIRROR=http://…/debian"

mkdir -p "$work"/{state/lists/partial,cache/archives/partial,debs,tree,staging}
: > "$work/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
echo "deb [signed-by=$keyring] $mirror $suite main" > "$work/sources.list"
apt_options=(
    -qq
    -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Install-Recommends=false
)
# apt's sandbox user cannot read a clone in somebody's home.
[ "$(id -u)" != 0 ] || apt_options+=(-o APT::Sandbox::User=root)

apt-get "${apt_options[@]}" update ||
    fail "$mirror does not serve Debian 11 ($suite) any more, or cannot be reached.
  Name a mirror that does (an archive mirror, once $suite has been retired):
      BITCODE_APT_MIRROR=http://HOST/debian make setup
  or put a Julia 1.5 of your own on the PATH."

# depends PACKAGE…: what they depend on, one name a line, first alternative only.
depends() {
    apt-cache "${apt_options[@]}" show --no-all-versions "$@" | sed -n 's/^Depends: //p' | tr ',' '\n' |
        sed 's/^ *//; s/[ :(|].*//' | sort -u
}

# fetch PACKAGE…: into debs/; apt checks each hash against the signed index.
fetch() {
    (cd "$work/debs" && apt-get "${apt_options[@]}" download "$@") || fail "could not download: $*"
}

# unpack PACKAGE DIRECTORY; all libraries under usr/lib, as on a system whose /lib is a link to it.
unpack() {
    dpkg-deb -x "$work/debs/$1"_*.deb "$2"
    if [ -d "$2/lib" ]; then
        mkdir -p "$2/usr/lib"
        cp -a "$2/lib/." "$2/usr/lib/"
        rm -r "${2:?}/lib"
    fi
}

taken=' '
take() {
    local package
    fetch "$@"
    for package in "$@"; do
        unpack "$package" "$work/tree"
        taken="$taken$package "
    done
}

direct=()
for package in $(depends julia libjulia1); do
    case "$system_packages$unused_packages" in *" $package "*) continue ;; esac
    direct+=("$package")
done
echo "fetching Julia 1.5.3 and its libraries (about 52 MB) from $mirror, suite $suite"
take julia "${direct[@]}"

libraries=$(cd "$work/tree/usr/lib" && echo */julia)
[ -d "$work/tree/usr/lib/$libraries" ] || fail "the julia package has no private library directory"
triplet=${libraries%/julia}

# Sonames that neither the tree nor the system has, for everything Julia may open.
missing_sonames() {
    local file
    find "$work/tree" -name '*.so*' -type f | while read -r file; do
        LD_LIBRARY_PATH="$work/tree/usr/lib/$triplet:$work/tree/usr/lib/$triplet/julia" ldd "$file" 2>/dev/null || true
    done | awk '/not found/ { print $1 }' | sort -u
}

# What the packages depend on is taken only where the system lacks it: its own libraries are newer and cared for.
while missing=$(missing_sonames) && [ -n "$missing" ]; do
    candidates=()
    # shellcheck disable=SC2086 # a list of names
    for package in $(depends $taken); do
        case "$system_packages$unused_packages$taken" in *" $package "*) continue ;; esac
        candidates+=("$package")
    done
    [ ${#candidates[@]} -gt 0 ] || fail "no package of $suite has: $missing"
    fetch "${candidates[@]}"
    found=
    for package in "${candidates[@]}"; do
        rm -rf "$work/staging" && mkdir "$work/staging"
        unpack "$package" "$work/staging"
        for soname in $missing; do
            if [ -n "$(find "$work/staging" -name "$soname")" ]; then
                cp -a "$work/staging/." "$work/tree/"
                found="$found $package"
                break
            fi
        done
    done
    [ -n "$found" ] || fail "no package of $suite has: $missing"
    taken="$taken${found# } "
done

# Julia opens libgmp.so by name, without a version; without the -dev package only libgmp.so.10 exists. The packages' own
# links say "../libgmp.so.10": where that is not in the prefix, it is the system's that is meant.
find "$work/tree/usr/lib/$triplet/julia" -xtype l | while read -r link; do
    target=$(basename "$(readlink "$link")")
    rm "$link"
    system=$(/sbin/ldconfig -p | awk -v name="$target" '$1 == name { print $NF; exit }')
    [ -z "$system" ] || ln -s "$system" "$link"
done

# The prefix is the packages' usr/, with the wrapper where the program was: Julia looks for everything beside bin/.
made=$work/prefix
mkdir "$made"
mv "$work/tree/usr/lib" "$work/tree/usr/bin" "$work/tree/usr/share" "$made/"
mv "$made/bin" "$made/libexec"
rm -rf "$made/share/doc" "$made/share/man" "$made/share/lintian" "$made/share/applications" "$made/share/icons" \
    "$made/share/bug" "$made/share/metainfo" "$made/share/appdata"
mkdir "$made/bin"
case "$(uname -m)" in
    x86_64) linker=/lib64/ld-linux-x86-64.so.2 ;;
    aarch64) linker=/lib/ld-linux-aarch64.so.1 ;;
    *) fail "Debian 11 has no Julia for $(uname -m)" ;;
esac
cat > "$made/bin/julia" <<WRAPPER
#!/bin/sh
# Debian 11's Julia with its own libraries, for itself alone (made by deps/julia.sh, which says why).
# -H tells Julia that its home is here: what it starts as "julia" is then this file again.
self=\$(readlink -f "\$0")
prefix=\${self%/bin/julia}
lib=\$prefix/lib/$triplet
export JULIA_DEPOT_PATH="\${JULIA_DEPOT_PATH:-\${prefix%/*}/.depot:\$prefix/share/julia}"
exec $linker --library-path "\$lib:\$lib/julia" "\$prefix/libexec/julia" -H "\$prefix/bin" "\$@"
WRAPPER
chmod 755 "$made/bin/julia"

# With no package registry at all, Pkg wants to fetch one before it does anything, even run a package's tests. An empty one
# will do: BitCode.jl uses the standard library only. (For the rest of the world: Pkg.Registry.add("General").)
mkdir -p "$made/share/julia/registries/Nothing"
cat > "$made/share/julia/registries/Nothing/Registry.toml" <<'REGISTRY'
name = "Nothing"
uuid = "2a3a5a0c-6f0c-4d46-8c55-7e5e3f0c9d11"
repo = ""
description = "An empty registry, so that Pkg works offline"

[packages]
REGISTRY

# It has to do what Julia does before it takes its place: exceptions, BLAS, GMP, MPFR, PCRE, libgit2, a child process.
# shellcheck disable=SC2016
"$made/bin/julia" --startup-file=no -e '
    using LinearAlgebra, Random, Serialization, LibGit2
    x = Ref(-1.0)
    @assert try sqrt(x[]); false catch e; e isa DomainError end
    @assert size(rand(3, 4) * rand(4, 2)) == (3, 2)
    @assert big"1.5" + 1 == big"2.5" && big(2)^100 == 1267650600228229401496703205376
    @assert match(r"a+", "baaa").match == "aaa"
    buffer = IOBuffer(); serialize(buffer, (1, "two")); @assert deserialize(seekstart(buffer)) == (1, "two")
    @assert LibGit2.version() isa VersionNumber
    @assert success(`$(Base.julia_cmd()) --startup-file=no -e "exit(try error() catch; 0 end)"`)
' || fail "the unpacked Julia does not work on this machine"

rm -rf "$prefix"
mv "$made" "$prefix"
echo "julia: $("$prefix/bin/julia" --version) in ${prefix#"$root"/}/"
