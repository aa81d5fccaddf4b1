#!/usr/bin/env bash
# Every suite, one count: what `make test` runs.
#
#     bash test/all.sh [lint|rust|julia]…      some of the suites; all of them without an argument
#
# Each suite's output goes to the terminal and to a file under target/test-logs/. A step that has no count of its own (a
# lint, a build) counts as one test; a suite that dies without naming a failed test counts as one failure. The last line is
# "N passed, N failed" over everything, and the status is zero only when nothing failed.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root" || exit 1
# shellcheck source=../deps/tools.sh disable=SC1091
. deps/tools.sh
use_tools || exit 1

# One profile for everything: what the Julia tests run is what the Rust tests tested, and the dependencies are built once.
profile=(--release --locked)
logs=${CARGO_TARGET_DIR:-target}/test-logs
mkdir -p "$logs"
passed=0
failed=0
failures=()

# excerpt LOG: where its first failures are, and what each of them said. Whoever sees the end of the output only learns what failed.
excerpt() {
    grep -n -A 9 -m 3 -E 'Test Failed|Error During Test|it was stopped after|ended without a result| panicked at |^(error|warning)(\[|:)' "$1" | cut -c 1-300
    grep -E '^(-- )?(test|examples)/.*[1-9][0-9]* failed' "$1"
}

# count NAME PASSED FAILED
count() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    if [ "$3" -gt 0 ]; then
        failures+=("$1: $3 failed, see $logs/$1.log" "$(excerpt "$logs/$1.log")")
    fi
    echo "-- $1: $2 passed, $3 failed (${SECONDS}s since the start)"
}

# logged NAME COMMAND…: the command's own status, its output on the terminal and in the log.
logged() {
    local name=$1
    shift
    echo
    echo "== $name: $*"
    "$@" 2>&1 </dev/null | tee "$logs/$name.log"
    return "${PIPESTATUS[0]}"
}

# step NAME COMMAND…: one test, passed or failed.
step() {
    if logged "$@"; then
        count "$1" 1 0
    else
        count "$1" 0 1
        return 1
    fi
}

# cargo_counts LOG: passed and failed over all of its test binaries.
cargo_counts() {
    # "test result: ok. 12 passed; 0 failed; 1 ignored; …", once for each test binary and each crate's doctests.
    awk '/^test result: / {
             for (i = 1; i < NF; i++) {
                 if ($(i + 1) ~ /^passed/) passed += $i
                 if ($(i + 1) ~ /^failed/) failed += $i
             }
             if ($3 == "FAILED.") refused++
         }
         /^error: [0-9]+ targets? failed/ { targets = $2 }
         # A test binary that died (a signal, an abort) has no result line of its own.
         END { if (targets > refused) failed += targets - refused; print passed + 0, failed + 0 }' "$1"
}

cargo_suite() {
    local name=$1 status counts
    logged "$@"
    status=$?
    read -ra counts < <(cargo_counts "$logs/$name.log")
    if [ $status -ne 0 ] && [ "${counts[1]}" -eq 0 ]; then
        counts[1]=1
    fi
    count "$name" "${counts[@]}"
}

# The suite's own last "N passed, N failed" line.
julia_suite() {
    local name=$1 status counts
    logged "$@"
    status=$?
    read -ra counts < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' "$logs/$name.log" | tail -n 1)
    if [ ${#counts[@]} -ne 2 ]; then
        echo "test/all.sh: $name printed no count"
        counts=(0 1)
    elif [ $status -ne 0 ] && [ "${counts[1]}" -eq 0 ]; then
        counts[1]=1
    fi
    count "$name" "${counts[@]}"
}

lint() {
    step fmt "$CARGO" fmt --all --check
    step clippy "$CARGO" clippy "${profile[@]}" --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' step rustdoc "$CARGO" doc "${profile[@]}" --workspace --no-deps --document-private-items
    step shellcheck shellcheck deps/*.sh test/*.sh rust/fuzz/run.sh .ci/run
}

rust() {
    cargo_suite rust-tests "$CARGO" test "${profile[@]}" --workspace --no-fail-fast
}

julia() {
    step build "$JULIA" --startup-file=no --project=. deps/build.jl || return
    step bench-build "$CARGO" build "${profile[@]}" -p bitcode-bench && step bench "$JULIA" --startup-file=no --project=. bench/run.jl --quick
    # Tests on emulated nodes are skipped, and say so, where this cannot be built.
    if bash deps/aarch64.sh check; then
        step node-aarch64 bash deps/aarch64.sh
    fi
    julia_suite julia-tests "$JULIA" --startup-file=no --project=. test/runtests.jl
    # The same by Julia's own way in, offline; some of the files will do.
    step pkg-test "$JULIA" --startup-file=no --project=. -e 'using Pkg; Pkg.test("BitCode"; test_args = ["package"])'
}

suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(lint rust julia)
for suite in "${suites[@]}"; do
    case "$suite" in
        lint | rust | julia) "$suite" ;;
        *) echo "usage: bash test/all.sh [lint|rust|julia]…" >&2; exit 2 ;;
    esac
done

echo
printf '%s\n' "${failures[@]+"${failures[@]}"}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
