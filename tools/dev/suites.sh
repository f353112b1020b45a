# shellcheck shell=sh
# tools/dev/suites.sh: runs suites one after the other, all of them whatever fails, and sums up. Sourced after lib.sh.

SUITES_PASSED=0
SUITES_FAILED=0
SUITES_TABLE=
SUITES_BEGAN=$(date +%s)

# The lines in which runners sum themselves up: ctest, pytest, go test, node --test, mypy, and our own tools.
SUITES_SUMMARY='tests passed,|^=+ .*(passed|failed|error).* =+$|^[0-9]+ (passed|failed)|^(ok|FAIL)[[:space:]]+[a-z]|^[#ℹ] (tests|pass|fail) |^(Success|Found [0-9]+ error)|^[a-z-]+: [0-9]+ '

# How failing tests and sanitizers announce themselves in the middle of a log, long before its end.
SUITES_TROUBLE='\*\*\*(Failed|Exception|Timeout|Not Run)|Subprocess aborted|broken invariant|(ERROR|WARNING): [A-Za-z]+Sanitizer|runtime error:|^--- FAIL|^not ok |^E  '

# suites_why LOG: what a reader needs of a failed suite's log: the places that name a failure, then the end.
suites_why() {
  grep -n -E -A 25 "$SUITES_TROUBLE" "$1" | head -n 200 || true
  printf '... the end:\n'
  tail -n 60 "$1"
}

# suite NAME COMMAND...: runs the command (a function, mostly) with its output in a log.
suite() {
  name=$1
  shift
  log=$DEV_STATE/logs/$name.log
  printf '== %s\n' "$name"
  began=$(date +%s)
  # In a subshell, so that a suite may change folder or die() without ending the others.
  if ("$@") >"$log" 2>&1; then
    result=passed
    SUITES_PASSED=$((SUITES_PASSED + 1))
    grep -E "$SUITES_SUMMARY" "$log" | sed 's/^/   /' || true
  else
    result=FAILED
    SUITES_FAILED=$((SUITES_FAILED + 1))
    suites_why "$log" | sed 's/^/   | /'
    printf '   the whole output is in %s\n' "$log"
  fi
  took=$(($(date +%s) - began))
  printf '   %s in %d s\n' "$result" "$took"
  SUITES_TABLE="$SUITES_TABLE$(printf '%-22s %-7s %5d' "$name" "$result" "$took")
"
}

# Prints the table; the exit status of the whole run.
suites_end() {
  printf '\n%-22s %-7s %5s\n%s' suite result sec "$SUITES_TABLE"
  printf 'total: %d s\n' "$(($(date +%s) - SUITES_BEGAN))"
  printf '%d passed, %d failed\n' "$SUITES_PASSED" "$SUITES_FAILED"
  [ "$SUITES_FAILED" = 0 ]
}
