#!/bin/sh
# HELP
# usage: ./dev demo
#
# Installs what it needs and runs examples/demo: a public data set goes in from one language, the other three answer questions
# about it, and a writer that is killed at a random moment turns out to have lost nothing that it was promised.
set -eu
. tools/dev/lib.sh
dev_help "$0" "$@"

[ -f examples/demo/run.sh ] || die "demo: examples/demo/run.sh is not in this tree"
dev_need_build
dev_need_python
dev_need_node
dev_need_go
exec sh examples/demo/run.sh "$@"
