#!/bin/sh
# HELP
# usage: ./dev test [--quick] [--only SUITE]... [--list]
#
# Builds everything and runs every test, whatever fails on the way; ends with a table of suites and "N passed, N failed".
# The exit status is 0 when nothing failed. Installs what it needs first.
#
#   --quick        one build (debug), without crash loops, sanitizers, fuzzers and lint
#   --only SUITE   only this suite; may be given several times
#   --list         the names of the suites
#
# Suites: files (layers, generated, format, shell, docs, tools), the C tests in three builds (release, asan = address and
# undefined behaviour, tsan = data races), a build with clang and clang-tidy (clang, tidy), short runs of the fuzzers (fuzz),
# then python, go and node. Logs are in build/dev/logs. Test programs take their seed from KEEL_TEST_SEED and print it
# when they fail.
set -eu
. tools/dev/lib.sh
. tools/dev/suites.sh
. tools/dev/checks.sh
dev_help "$0" "$@"

FULL="layers generated format shell docs tools release asan tsan clang tidy fuzz python go node"
QUICK="layers generated format docs tools debug python go node"
wanted=$FULL
only=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) wanted=$QUICK ;;
    --only)
      [ $# -ge 2 ] || die "test: --only needs the name of a suite"
      case " $FULL $QUICK " in *" $2 "*) ;; *) die "test: there is no suite '$2' (see ./dev test --list)" ;; esac
      only="$only $2"
      shift
      ;;
    --list)
      for name in $FULL debug; do say "$name"; done
      exit 0
      ;;
    *) die "test: unknown option '$1' (see ./dev test --help)" ;;
  esac
  shift
done
wanted=${only:-$wanted}
wants() { case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac; }

# Thread sanitizer of gcc 12 cannot place its shadow memory under the wide address randomisation of some kernels.
without_aslr() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then setarch "$(uname -m)" -R "$@"; else "$@"; fi
}

# run_ctest PRESET [CTEST-OPTION...]: builds and runs C tests; one more at once than there are processors, as the one that takes
# longest, stress_full_disk, mostly waits.
run_ctest() {
  preset=$1
  shift
  dev_build "$preset" && without_aslr ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
    -j "$(($(dev_jobs) + 1))" "$@"
}

run_python() {
  .venv/bin/python -m pip install -q --no-deps --no-build-isolation --force-reinstall ./python || return 1
  if [ -d python/src/keel ] && [ -f python/pyproject.toml ]; then
    (cd python && ../.venv/bin/python -m mypy src/keel) || return 1
  fi
  (cd python && ../.venv/bin/python -m pytest tests) # pyproject.toml has the options
}
run_go() {
  # gofmt lies beside the go that is used, which need not be on the PATH. raw.go is as SWIG writes it.
  unformatted=$(cd go && "$(go env GOROOT)/bin/gofmt" -l . | grep -v '^raw\.go$')
  [ -z "$unformatted" ] || { say "gofmt would change: $unformatted"; return 1; }
  (cd go && go vet ./... && go test ./...)
}
run_node() { (cd node && npm test); }
run_tools() { .venv/bin/python -m pytest -q tools; }
run_fuzz() { sh tools/dev/fuzz.sh --seconds "${KEEL_FUZZ_SECONDS:-10}"; }

# Everything that can be missing is asked for before the first suite, so that a gap shows in the first minute.
dev_need_build
dev_need_python
if wants format || wants shell || wants clang || wants tidy; then dev_need_packages clang check; fi
if wants fuzz; then dev_need_packages clang; fi
if wants node && [ -f node/package.json ]; then dev_need_node; fi
if wants go && [ -f go/go.mod ]; then dev_need_go; fi

if wants layers; then suite layers check_layers; fi
if wants generated; then suite generated check_generated; fi
if wants format; then suite format check_format; fi
if wants shell; then suite shell check_shell; fi
if wants docs; then suite docs check_docs; fi
if wants tools; then suite tools run_tools; fi
if wants debug; then suite debug run_ctest debug -LE crash; fi
if wants release; then suite release run_ctest release; fi
if wants asan; then suite asan run_ctest asan -LE crash; fi
# Programs of one thread have no races to find; the longest of them are left out there.
one_thread='^test_(db_(damage|spill|verify)|space|space_damage|space_faults|tree_model|tree_hostile|extent|delta_model|cache_policies)$'
one_thread="$one_thread|^test_drain_(damage|model|move|move_faults|faults|compact|parts_model|parts_faults|parts_slices)\$"
if wants tsan; then suite tsan run_ctest tsan -LE "crash|fuzz" -E "$one_thread"; fi
if wants clang; then suite clang dev_build clang; fi
if wants tidy; then suite tidy check_tidy; fi
if wants fuzz; then suite fuzz run_fuzz; fi
if wants python; then suite python run_python; fi
if wants go; then suite go run_go; fi
if wants node; then suite node run_node; fi
suites_end
