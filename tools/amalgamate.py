#!/usr/bin/env python3
"""Writes the library as one file: go/keel.c and go/keel.h, for whoever wants to add Keel to a program without building it.

    python3 tools/amalgamate.py               write go/keel.c and go/keel.h
    python3 tools/amalgamate.py --check       write nothing; fail when the committed files differ
    python3 tools/amalgamate.py --out FOLDER  write into another folder

The order is that of core/LAYERS, then capi/; within a module by name. Modules that capi/ does not reach are left out. A header of ours is put in where it is first
included, and dropped afterwards. The simulated os is left out: it is for tests. Because everything becomes one
translation unit, names that are private to a file must be unique; a name that two files define is an error here, with both
places.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PUBLIC_HEADER = ROOT / "capi/include/keel/keel.h"
LEFT_OUT = (ROOT / "core/os/sim", ROOT / "capi/tool")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?P<what>"[^"]+"|<[^>]+>)')
CONDITION = re.compile(r"^[ \t]*#[ \t]*(?P<word>if|ifdef|ifndef|endif)\b")

BANNER = """\
/* keel.c: Keel {version}, an embedded, transactional, ordered database engine, as one file.
 *
 * Written by tools/amalgamate.py from core/ and capi/. Do not edit: change those and run `./dev gen`.
 * Copyright: the Keel authors. Licensed under the Apache License, Version 2.0.
 *
 * Compile this file, with keel.h beside it, as C11 or later, and link with -lpthread:
 *
 *     cc -O2 -fno-strict-aliasing -c keel.c
 *
 * Only what keel.h declares is visible outside of a shared library that is built from it. */
"""

PREAMBLE = """\
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POSIX.1-2008 and the Linux calls behind it */
#endif
#define KEEL_BUILDING 1

#if defined(__clang__)
/* Inline functions of internal headers that nothing calls here: clang tells them from those of a real header. */
#pragma clang diagnostic ignored "-Wunused-function"
#endif

"""

# A system header that is included under a condition stays where it is, and its names must not become hidden: they are
# another library's.
SHOWN = """#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
{line}
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
"""

# Every other system header comes first, so that only our own names become hidden.
HIDE = """
#include "keel.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif
"""

EPILOGUE = """
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
"""


class AmalgamationError(Exception):
    """The sources cannot become one file; the message says which and why."""


def needed(folder: Path, seen: set[Path]) -> None:
    """Adds to `seen` the module folder and those whose headers it includes, and so on."""
    if folder in seen or not folder.is_dir():
        return
    seen.add(folder)
    for file in (f for f in folder.rglob("*.[ch]") if not any(left in f.parents for left in LEFT_OUT)):
        for line in file.read_text(encoding="utf-8").splitlines():
            match = INCLUDE.match(line)
            if match and match["what"].startswith('"'):
                target = (file.parent / match["what"][1:-1]).resolve()
                if (ROOT / "core") in target.parents:
                    needed(ROOT / "core" / target.relative_to(ROOT / "core").parts[0], seen)


def modules() -> list[str]:
    """The modules of core/ that the library needs, lowest first: those that capi/ reaches. One that nothing above it
    includes yet is built and tested with the tree, and not shipped."""
    names = []
    for line in (ROOT / "core/LAYERS").read_text(encoding="utf-8").splitlines():
        names += line.split("#")[0].split()
    seen: set[Path] = set()
    needed(ROOT / "capi", seen)
    return [name for name in names if ROOT / "core" / name in seen]


def sources() -> list[Path]:
    """Every .c file that is shipped, in order."""
    files: list[Path] = []
    for folder in [ROOT / "core" / name for name in modules()] + [ROOT / "capi"]:
        found = sorted(folder.rglob("*.c"), key=lambda p: p.relative_to(ROOT).as_posix())
        files += [f for f in found if not any(left in f.parents for left in LEFT_OUT)]
    return files


def resolve(including: Path, what: str) -> Path:
    path = (including.parent / what).resolve()
    if not path.is_file():
        raise AmalgamationError(f"{including.relative_to(ROOT)}: includes \"{what}\", which does not exist")
    return path


class Writer:
    """Collects the text; knows which headers are in it already."""

    def __init__(self) -> None:
        self.done: set[Path] = {PUBLIC_HEADER}
        self.files: list[Path] = []
        self.system: set[str] = set()
        self.text: list[str] = []

    def add(self, path: Path) -> None:
        self.files.append(path)
        self.text.append(f"\n/* ---- {path.relative_to(ROOT).as_posix()} ---- */\n")
        depth, guard = 0, 1 if path.suffix == ".h" else 0
        for line in path.read_text(encoding="utf-8").splitlines():
            condition = CONDITION.match(line)
            if condition:
                depth += -1 if condition["word"] == "endif" else 1
            include = INCLUDE.match(line)
            if include and include["what"].startswith('"'):
                header = resolve(path, include["what"].strip('"'))
                if header not in self.done:
                    if depth > guard:
                        raise AmalgamationError(f"{path.relative_to(ROOT)}: includes {include['what']} under a condition")
                    self.done.add(header)
                    self.add(header)
                continue
            if include and depth <= guard:
                self.system.add(include["what"])
                continue
            self.text.append(SHOWN.format(line=line) if include else line + "\n")


# What makes a name at file scope. Good for this code base's style (clang-format), and only has to find collisions.
DEFINITIONS = (
    re.compile(r"^static (?:inline |const |_Noreturn )*[\w ]+?[ *]+(?P<name>\w+)\(", re.M),
    re.compile(r"^static (?:const |_Thread_local |_Atomic)*[\w() *]+?[ *]+(?P<name>\w+)(?:\[[^;=]*\])*(?: =|;)", re.M),
    re.compile(r"^#[ \t]*define[ \t]+(?P<name>\w+)", re.M),
    re.compile(r"^typedef [\w ]+[ *]+(?P<name>\w+);", re.M),
    re.compile(r"^\} (?P<name>\w+);", re.M),
)
TAG = re.compile(r"\b(?P<name>(?:struct|union|enum) \w+) \{")
ENUM = re.compile(r"\benum\b[^{};]*\{(?P<body>[^}]*)\}", re.S)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def names_of(path: Path) -> set[str]:
    text = COMMENT.sub("", path.read_text(encoding="utf-8"))
    names = {m["name"] for pattern in DEFINITIONS for m in pattern.finditer(text)}
    names |= {m["name"] for m in TAG.finditer(text)}
    for enum in ENUM.finditer(text):
        names |= {item.split("=")[0].strip() for item in enum["body"].split(",")} - {""}
    return names


def check_names(files: list[Path]) -> None:
    """Two .c files that define one private name, or a .c file and a header, would collide."""
    seen: dict[str, Path] = {}
    clashes = []
    for path in files:
        undone = set(re.findall(r"^#[ \t]*undef[ \t]+(\w+)", path.read_text(encoding="utf-8"), re.M))
        for name in sorted(names_of(path) - undone):
            other = seen.setdefault(name, path)
            both_headers = path.suffix == other.suffix == ".h" # which may repeat a typedef, but not a body
            if other != path and (" " in name or not both_headers):
                clashes.append(f"  {name}: {other.relative_to(ROOT)} and {path.relative_to(ROOT)}")
    if clashes:
        raise AmalgamationError("names that are defined in two files; give each its file's prefix:\n" + "\n".join(clashes))


def version() -> str:
    match = re.search(r'#define KEEL_VERSION "([^"]+)"', PUBLIC_HEADER.read_text(encoding="utf-8"))
    if match is None:
        raise AmalgamationError("keel.h has no KEEL_VERSION; run ./dev gen")
    return match[1]


def amalgamate() -> dict[str, str]:
    writer = Writer()
    for path in sources():
        writer.add(path)
    check_names(writer.files)
    includes = "".join(f"#include {name}\n" for name in sorted(writer.system))
    body = re.sub(r"\n{3,}", "\n\n", "".join(writer.text))
    text = BANNER.format(version=version()) + PREAMBLE + includes + HIDE + body + EPILOGUE
    return {"keel.c": text, "keel.h": PUBLIC_HEADER.read_text(encoding="utf-8")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail when the committed files differ")
    parser.add_argument("--out", type=Path, default=ROOT / "go", help="folder to write into (default: go)")
    arguments = parser.parse_args()
    try:
        files = amalgamate()
    except AmalgamationError as error:
        print(f"tools/amalgamate: {error}", file=sys.stderr)
        return 1
    status = 0
    for name, text in files.items():
        path = arguments.out / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if arguments.check:
            print(f"tools/amalgamate: {path} is out of date; run ./dev gen", file=sys.stderr)
            status = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path} ({text.count(chr(10))} lines)")
    return status


if __name__ == "__main__":
    sys.exit(main())
