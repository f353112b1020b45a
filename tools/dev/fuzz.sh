#!/bin/sh
# HELP
# usage: ./dev fuzz [--target NAME]... [--seconds N] [--seed S] [--list]
#
# Builds the libFuzzer targets of tests/fuzz (clang, with address and undefined-behaviour sanitizers) and runs each for N
# seconds (default 60), on one core each. What a run discovers is kept in build/fuzz/found/NAME and used by the next one; an
# input that fails is kept in build/fuzz/failures and should be added to tests/fuzz/corpus/NAME with the fix.
#
#   --target NAME   only this one, e.g. fuzz_commit_record; may be given several times
#   --seconds N     time for each target
#   --seed S        seed of the fuzzer; the default differs from run to run, and is printed
#   --list          the names of the targets
set -eu
. tools/dev/lib.sh
. tools/dev/suites.sh
dev_help "$0" "$@"

targets=
seconds=60
seed=
while [ $# -gt 0 ]; do
  case $1 in
    --list)
      for file in tests/fuzz/fuzz_*.c; do basename "$file" .c; done
      exit 0
      ;;
    --target | --seconds | --seed) [ $# -ge 2 ] || die "fuzz: $1 needs a value" ;;
    *) die "fuzz: unknown option '$1' (see ./dev fuzz --help)" ;;
  esac
  case $1 in
    --target)
      [ -f "tests/fuzz/$2.c" ] || die "fuzz: there is no target '$2' (see ./dev fuzz --list)"
      targets="$targets $2"
      ;;
    --seconds) seconds=$2 ;;
    --seed) seed=$2 ;;
  esac
  case $1 in --seconds | --seed) case $2 in '' | *[!0-9]*) die "fuzz: $1 needs a number, not '$2'" ;; esac ;; esac
  shift 2
done
if [ -z "$targets" ]; then
  for file in tests/fuzz/fuzz_*.c; do targets="$targets $(basename "$file" .c)"; done
fi
if [ -z "$seed" ]; then seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); fi

dev_need_build
dev_need_packages clang
# shellcheck disable=SC2086 # a list of words
dev_build fuzz $targets >"$DEV_STATE/logs/fuzz-build.log" 2>&1 || {
  tail -n 50 "$DEV_STATE/logs/fuzz-build.log" >&2
  die "fuzz: the targets do not build"
}

run_target() {
  found=build/fuzz/found/$1
  mkdir -p "$found" build/fuzz/failures "tests/fuzz/corpus/$1"
  "build/fuzz/tests/fuzz/$1" -seed="$seed" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
    -artifact_prefix="build/fuzz/failures/$1-" -print_final_stats=1 "$found" "tests/fuzz/corpus/$1" 2>&1 &&
    say "fuzz: 0 failures in $1, $seconds s, seed $seed"
}
for target in $targets; do suite "$target" run_target "$target"; done
suites_end
