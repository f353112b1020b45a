#!/usr/bin/env python3
"""Installs the build into a fresh folder and uses it as a stranger would.

    check_install.py BUILD ROOT [--cmake cmake] [--cc cc]

- the header, both libraries, keel.pc and the CMake package are there, and the shared library has its soname;
- examples/c/kv.c builds with pkg-config (shared, and static with --static) and with find_package(Keel) (both targets),
  and each of the programs does what examples/c/run_kv.sh expects.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CMAKE_LISTS = """\
cmake_minimum_required(VERSION 3.25)
project(stranger LANGUAGES C)
find_package(Keel 0.1 REQUIRED)
add_executable(kv_shared {source})
target_link_libraries(kv_shared PRIVATE Keel::keel)
add_executable(kv_static {source})
target_link_libraries(kv_static PRIVATE Keel::keel_static)
"""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(str(c) for c in command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--cc", default="cc")
    arguments = parser.parse_args()
    kv, script = arguments.root / "examples/c/kv.c", arguments.root / "examples/c/run_kv.sh"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prefix = folder / "prefix"
        run(arguments.cmake, "--install", arguments.build / "capi", "--prefix", prefix)
        library = next(prefix.rglob("libkeel.so"))
        lib = library.parent
        for needed in (prefix / "include/keel/keel.h", lib / "libkeel.a", lib / "libkeel.so.0", lib / "pkgconfig/keel.pc",
                       lib / "cmake/Keel/KeelConfig.cmake"):
            if not needed.exists():
                raise SystemExit(f"not installed: {needed.relative_to(prefix)}")
        if "[libkeel.so.0]" not in run("readelf", "-d", library):
            raise SystemExit("the soname is not libkeel.so.0")
        environment = dict(os.environ, LD_LIBRARY_PATH=str(lib))
        programs = []
        if shutil.which("pkg-config"):
            # The prefix in keel.pc is the configured one; pkg-config is told where the files lie instead.
            config = ["pkg-config", f"--define-variable=prefix={prefix}"]
            environment["PKG_CONFIG_PATH"] = str(lib / "pkgconfig")
            shared = run(*config, "--cflags", "--libs", "keel", env=environment).split()
            run(arguments.cc, kv, *shared, "-o", folder / "kv_pkg")
            static = run(*config, "--cflags", "--libs", "--static", "keel", env=environment).split()
            static = [str(lib / "libkeel.a") if word == "-lkeel" else word for word in static]
            run(arguments.cc, kv, *static, "-o", folder / "kv_pkg_static")
            programs += [folder / "kv_pkg", folder / "kv_pkg_static"]
        (folder / "CMakeLists.txt").write_text(CMAKE_LISTS.format(source=kv), encoding="utf-8")
        run(arguments.cmake, "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
        run(arguments.cmake, "--build", folder / "build")
        programs += [folder / "build/kv_shared", folder / "build/kv_static"]
        for program in programs:
            run("sh", script, program, env=environment)
        print(f"{len(programs)} programs built against the installed library")
    return 0


if __name__ == "__main__":
    sys.exit(main())
