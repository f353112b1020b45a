#!/bin/sh
# HELP
# usage: ./dev bench [--list] [NAME [ARGUMENT...]]
#        ./dev bench --report [ARGUMENT...]
#
# Builds the benchmarks of bench/ (release) and runs all of them, or the one that is named, with its arguments. Each prints
# what it measured, on which machine, and the command that repeats it. Figures are worth comparing on an idle machine only.
#
#   --list     the names of the benchmarks
#   --report   runs engine/bench_engine, Keel beside other engines, with these arguments, and puts its report into
#              docs/performance.md (between the two marks; the rest of that file stays), and its figures, round by
#              round, into build/dev/bench-engine.json
#
# Installs the other engines from Debian first; where that is not possible, those that are not there are left out.
set -eu
. tools/dev/lib.sh
case ${1:-} in -h | --help) dev_help "$0" "$@" ;; esac

# An executable in build/release/bench is a benchmark; its name is the path below that folder.
bench_list() {
  find build/release/bench -type f -perm -u+x ! -name '*.so*' ! -path '*/CMakeFiles/*' 2>/dev/null |
    sed 's|^build/release/bench/||' | sort
}

# bench_run NAME ARGUMENT...
bench_run() {
  name=$1
  shift
  # Its stores go below build/, unless the arguments say otherwise.
  case $name in engine/bench_engine) set -- --dir build/dev "$@" ;; esac
  "build/release/bench/$name" "$@"
}

BENCH_BEGIN='<!-- figures of ./dev bench --report: begin -->'
BENCH_END='<!-- figures of ./dev bench --report: end -->'

# bench_put_report FILE: puts FILE between the marks of docs/performance.md, and makes that page when there is none.
bench_put_report() {
  page=docs/performance.md
  if [ ! -f "$page" ]; then
    cat >"$page" <<END
# Performance

Keel beside other engines, in one run of \`./dev bench --report\` on a machine with nothing else to do. What is measured, and
how: [bench/README.md](../bench/README.md).

$BENCH_BEGIN
$BENCH_END
END
  fi
  if ! grep -qxF "$BENCH_BEGIN" "$page" || ! grep -qxF "$BENCH_END" "$page"; then
    die "bench: $page has lost its marks, two lines: $BENCH_BEGIN and $BENCH_END"
  fi
  awk -v begin="$BENCH_BEGIN" -v end="$BENCH_END" -v report="$1" '
    $0 == end { while ((getline line < report) > 0) print line; skipping = 0 }
    !skipping { print }
    $0 == begin { skipping = 1 }' "$page" >"$DEV_STATE/performance.md"
  mv "$DEV_STATE/performance.md" "$page"
  say "bench: the report is in $page"
}

dev_need_build
new=$(dev_missing bench)
(dev_need_packages bench) || say "bench: going on without the engines that are missing"
# What CMake did not find before is looked for again.
if [ -n "$new" ] && [ -f build/release/build.ninja ]; then cmake build/release >"$DEV_STATE/logs/bench-build.log"; fi
dev_build release >"$DEV_STATE/logs/bench-build.log" 2>&1 || {
  tail -n 50 "$DEV_STATE/logs/bench-build.log" >&2
  die "bench: the benchmarks do not build"
}
case ${1:-} in
  --list) bench_list ;;
  --report)
    shift
    bench_run engine/bench_engine --json "$DEV_STATE/bench-engine.json" "$@" >"$DEV_STATE/bench-report.md" ||
      die "bench: no report, because the run failed"
    bench_put_report "$DEV_STATE/bench-report.md"
    ;;
  -*) die "bench: unknown option '$1' (see ./dev bench --help)" ;;
  '')
    names=$(bench_list)
    [ -n "$names" ] || die "bench: there are no benchmarks in bench/"
    for name in $names; do
      say "== $name"
      bench_run "$name"
    done
    ;;
  *)
    [ -x "build/release/bench/$1" ] || die "bench: there is no benchmark '$1' (see ./dev bench --list)"
    bench_run "$@"
    ;;
esac
