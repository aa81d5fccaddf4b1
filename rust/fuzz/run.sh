#!/usr/bin/env bash
# Runs one fuzz target on a stable toolchain:  rust/fuzz/run.sh TARGET [SECONDS] [libFuzzer options…]
#
# What cargo-fuzz would ask of a nightly compiler, apart from AddressSanitizer, is coverage counters from LLVM's own pass;
# stable rustc runs that pass when told to. A C++ compiler builds libFuzzer itself. Inputs that break a target are kept in
# rust/fuzz/artifacts/, inputs that reached something new in rust/fuzz/corpus/.
set -euo pipefail
cd "$(dirname "$0")"

target=${1:?usage: run.sh TARGET [SECONDS] [libFuzzer options…]}
seconds=${2:-60}
shift $(($# < 2 ? $# : 2))

triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares \
-Ccodegen-units=1"
# An explicit target keeps the counters out of build scripts and macros.
cargo build --release --target "$triple" --bin "$target"

mkdir -p "corpus/$target" "artifacts/$target"
exec "${CARGO_TARGET_DIR:-target}/$triple/release/$target" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" "$@" "corpus/$target" ../../test/fixtures/wire
