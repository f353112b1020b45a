#!/usr/bin/env python3
"""Makes the amalgamation from the tree as it is, twice, compiles it with each compiler that is here, and runs it.

    check_amalgamation.py ROOT [--cc gcc] [--cc clang-14]

- both runs write the same bytes;
- keel.c compiles alone, as C11, without a warning;
- a program links with it and -lpthread only, and stores and reads a row;
- as a shared library it passes check_library.py.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "keel.h"
int main(void) {
  keel_error error;
  keel_db db;
  keel_keyspace keyspace;
  keel_txn txn;
  const void *value;
  size_t size;
  if (keel_open(":memory:", NULL, &db, &error) != KEEL_OK) return 1;
  if (keel_keyspace_open(db, "ks", 2, NULL, &keyspace, &error) != KEEL_OK) return 2;
  if (keel_begin(db, NULL, &txn, &error) != KEEL_OK) return 3;
  if (keel_put(txn, keyspace, "k", 1, "value", 5, &error) != KEEL_OK) return 4;
  if (keel_get(txn, keyspace, "k", 1, &value, &size, &error) != KEEL_OK) return 5;
  if (size != 5 || memcmp(value, "value", 5) != 0) return 6;
  if (keel_commit(txn, NULL, &error) != KEEL_OK) return 7;
  if (keel_keyspace_close(keyspace, &error) != KEEL_OK || keel_close(db, &error) != KEEL_OK) return 8;
  return printf("Keel %s\n", keel_version()) > 0 ? 0 : 9;
}
"""


def run(*command: str | Path) -> None:
    subprocess.run([str(c) for c in command], check=True)


def check(root: Path, compiler: str, folder: Path) -> None:
    (folder / "program.c").write_text(PROGRAM, encoding="utf-8")
    keel, binary, shared = folder / "keel.o", folder / "program", folder / "libkeel.so"
    run(compiler, *WARNINGS, "-fno-strict-aliasing", "-O2", "-fPIC", "-c", folder / "keel.c", "-o", keel)
    run(compiler, *WARNINGS, "-I", folder, folder / "program.c", keel, "-lpthread", "-o", binary)
    run(binary)
    run(compiler, "-shared", "-Wl,-z,defs", keel, "-lpthread", "-o", shared)
    run(sys.executable, root / "tests/abi/check_library.py", shared, root / "capi/keel.map")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--cc", action="append", default=[])
    arguments = parser.parse_args()
    compilers = [c for c in arguments.cc if shutil.which(c)]
    if not compilers:
        print("no compiler", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        for folder in (first, second):
            run(sys.executable, arguments.root / "tools/amalgamate.py", "--out", folder)
        for name in ("keel.c", "keel.h"):
            if (Path(first) / name).read_bytes() != (Path(second) / name).read_bytes():
                print(f"{name} differs from run to run", file=sys.stderr)
                return 1
        for compiler in compilers:
            check(arguments.root, compiler, Path(first))
    return 0


if __name__ == "__main__":
    sys.exit(main())
