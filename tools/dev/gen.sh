#!/bin/sh
# HELP
# usage: ./dev gen [--check]
#
# Writes every generated file anew: headers, constants, tables and reference pages from bindings/api/keel.yml (tools/gen),
# the raw layers of Python, Go and Node (SWIG 4.5.1, tools/swig), and the amalgamation (tools/amalgamate.py).
#
#   --check   write nothing; fail with a diff when a committed file differs from what would be written
set -eu
. tools/dev/lib.sh
dev_help "$0" "$@"
case "$*" in
  '' | --check) ;;
  *) die "gen: unknown option in '$*' (see ./dev gen --help)" ;;
esac
dev_need_python

# In this order: SWIG reads what tools/gen writes.
failed=0
for tool in tools/gen/main.py tools/swig/run.py tools/amalgamate.py; do
  [ -f "$tool" ] || continue
  if .venv/bin/python "$tool" "$@"; then
    say "gen: $tool: done"
  else
    say "gen: $tool failed" >&2
    failed=1
  fi
done
exit "$failed"
