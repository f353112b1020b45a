#!/usr/bin/env python3
"""Checks a shared library as it is shipped: what it exports, what it may call, how large it is.

    check_library.py LIBRARY EXPORT_MAP [--nm nm] [--strip strip]

- exactly the functions of the export map are exported;
- it calls nothing that ends, signals or prints for its host, and names no standard stream;
- it needs libc only (and the loader);
- stripped it is smaller than 1 MiB.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 1 << 20
# Names as the dynamic symbol table has them, without versions; also the checked variants of glibc (__printf_chk).
ENDS = {"abort", "exit", "_exit", "_Exit", "quick_exit", "__assert_fail", "__assert", "__stack_chk_fail_local", "err",
        "errx", "verr", "verrx", "raise", "kill", "tgkill", "pthread_kill", "pthread_exit", "atexit", "longjmp"}
SIGNALS = {"signal", "sigaction", "sigset", "bsd_signal", "sysv_signal", "__sysv_signal", "sigprocmask", "siginterrupt",
           "sigaltstack", "alarm", "setitimer", "timer_create"}
PRINTS = {"printf", "vprintf", "puts", "putchar", "putchar_unlocked", "fprintf", "vfprintf", "fputs", "fputc", "putc",
          "fwrite", "perror", "psignal", "dprintf", "vdprintf", "warn", "warnx", "vwarn", "syslog", "vsyslog", "stdout",
          "stderr", "stdin", "fopen", "error"}
FORBIDDEN = ENDS | SIGNALS | PRINTS


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exported(nm: str, library: Path) -> set[str]:
    names = set()
    for line in run(nm, "-D", "--defined-only", str(library)).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the name of the version itself
            names.add(name.split("@")[0])
    return names


def called(nm: str, library: Path) -> set[str]:
    return {line.split()[-1].split("@")[0] for line in run(nm, "-D", "--undefined-only", str(library)).splitlines()}


def plain(name: str) -> str:
    """printf for __printf_chk, stdout for stdout."""
    return re.sub(r"^__(\w+)_chk$", r"\1", name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("map", type=Path)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--strip", default="strip")
    arguments = parser.parse_args()
    failures = []
    described = set(re.findall(r"^\s+(keel_\w+);", arguments.map.read_text(encoding="utf-8"), re.M))
    names = exported(arguments.nm, arguments.library)
    if not described or names != described:
        failures.append(f"exports differ from {arguments.map.name}: only in the library: {sorted(names - described)}; "
                        f"only in the map: {sorted(described - names)}")
    calls = called(arguments.nm, arguments.library)
    if "malloc" not in calls and "aligned_alloc" not in calls and "calloc" not in calls:
        failures.append("the library seems to call nothing: nm was misread")
    wrong = sorted(name for name in calls if plain(name) in FORBIDDEN)
    if wrong:
        failures.append(f"calls that a guest must not make: {wrong}")
    needed = set(re.findall(r"NEEDED\s+(?:Shared library: \[)?([^\]\s]+)", run("readelf", "-d", str(arguments.library)).replace("(NEEDED)", "NEEDED")))
    beyond = {n for n in needed if not re.match(r"(libc|libpthread|ld-linux[\w-]*|libgcc_s)\.so", n)}
    if beyond:
        failures.append(f"needs libraries other than libc: {sorted(beyond)}")
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "stripped.so"
        run(arguments.strip, "-o", str(stripped), str(arguments.library))
        size = stripped.stat().st_size
    if size >= LIMIT:
        failures.append(f"stripped it has {size} bytes; at most {LIMIT - 1} are allowed")
    for failure in failures:
        print(f"{arguments.library.name}: {failure}", file=sys.stderr)
    if not failures:
        print(f"{arguments.library.name}: {len(names)} functions, {len(calls)} outside names, {size} bytes stripped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
