# shellcheck shell=sh
# tools/dev/checks.sh: the checks that look at files rather than run programs; one function a suite, shared by
# `./dev check` and `./dev test`. Sourced after lib.sh.

check_layers() { python3 tools/check_layers.py; }

check_format() {
  dev_sources core capi tests bench examples python node | xargs clang-format-14 --dry-run -Werror &&
    say "format: $(dev_sources core capi tests bench examples python node | wc -l) files are as clang-format wants them"
}

check_shell() {
  set -- dev tools/dev/*.sh
  for script in .ci/run examples/demo/run.sh; do
    if [ -f "$script" ]; then set -- "$@" "$script"; fi
  done
  shellcheck -x "$@" && say "shell: $# scripts are clean"
}

check_generated() { sh tools/dev/gen.sh --check; }

check_tidy() {
  dev_configure clang && dev_sources core capi | grep '\.c$' |
    xargs -P "$(dev_jobs)" -n 4 clang-tidy-14 -p build/clang --quiet &&
    say "tidy: $(dev_sources core capi | grep -c '\.c$') files are clean"
}

check_docs() { python3 tools/check_docs.py; }
