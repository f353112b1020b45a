#!/bin/sh
# HELP
# usage: ./dev check
#
# What can be said about the tree without running it: floors (tools/check_layers.py), generated files, clang-format, scripts
# (shellcheck), links in the documentation, clean builds with gcc and clang under the project's warnings, clang-tidy over core/
# and capi/. Ends with a table; all of it is part of ./dev test, too.
set -eu
. tools/dev/lib.sh
. tools/dev/suites.sh
. tools/dev/checks.sh
dev_help "$0" "$@"
[ $# = 0 ] || die "check: unknown option '$1' (see ./dev check --help)"

dev_need_build
dev_need_python
dev_need_packages clang check

suite layers check_layers
suite generated check_generated
suite format check_format
suite shell check_shell
suite docs check_docs
suite gcc dev_build release
suite clang dev_build clang
suite tidy check_tidy
suites_end
