#!/bin/sh
# HELP
# usage: ./dev bench [--list] [NAME [ARGUMENT...]]
#
# Builds the benchmarks of bench/ (release) and runs all of them, or the one that is named, with its arguments. Each prints
# what it measured, on which machine, and the command that repeats it. Figures are worth comparing on an idle machine only.
set -eu
. tools/dev/lib.sh
case ${1:-} in -h | --help) dev_help "$0" "$@" ;; esac

# An executable in build/release/bench is a benchmark; its name is the path below that folder.
bench_list() {
  find build/release/bench -type f -perm -u+x ! -name '*.so*' ! -path '*/CMakeFiles/*' 2>/dev/null |
    sed 's|^build/release/bench/||' | sort
}

dev_need_build
dev_build release >"$DEV_STATE/logs/bench-build.log" 2>&1 || {
  tail -n 50 "$DEV_STATE/logs/bench-build.log" >&2
  die "bench: the benchmarks do not build"
}
case ${1:-} in
  --list) bench_list ;;
  -*) die "bench: unknown option '$1' (see ./dev bench --help)" ;;
  '')
    names=$(bench_list)
    [ -n "$names" ] || die "bench: there are no benchmarks in bench/"
    for name in $names; do
      say "== $name"
      "build/release/bench/$name"
    done
    ;;
  *)
    name=$1
    shift
    [ -x "build/release/bench/$name" ] || die "bench: there is no benchmark '$name' (see ./dev bench --list)"
    exec "build/release/bench/$name" "$@"
    ;;
esac
