#!/bin/sh
# HELP
# usage: ./dev docs
#
# Checks the documentation: that the reference pages are what bindings/api/keel.yml says, and that every link of every Markdown
# file leads somewhere (files and headings inside the project; links elsewhere are counted only).
set -eu
. tools/dev/lib.sh
dev_help "$0" "$@"
[ $# = 0 ] || die "docs: unknown option '$1' (see ./dev docs --help)"

dev_need_python
status=0
.venv/bin/python tools/gen/main.py --check || status=1
.venv/bin/python tools/check_docs.py || status=1
exit "$status"
