#!/usr/bin/env python3
"""Checks that every file of core/ and capi/ includes only what its floor may see.

    python3 tools/check_layers.py [ROOT]

The floors are the lines of core/LAYERS, lowest first. The rules:

  upwards    a file of core/ never includes a module of a higher floor
  sideways   modules that share a floor never include each other
  private    a header that is named *_private.h is included by its own module only
  capi       capi/ includes its own folder and core/db/db.h, nothing else; core/ includes nothing of capi/
  unlisted   a module of core/ that is missing in core/LAYERS has no floor
  outside    an include in quotes names a file of core/ or capi/, written literally

Prints one line per violation, `file:line: rule: what is wrong`, and exits with 1 when there is any, with 2 when core/LAYERS
itself cannot be used.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".c", ".h", ".inc")
CAPI_DOOR = Path("core/db/db.h")
_COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include(?:_next)?\b[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class LayersError(Exception):
    """core/LAYERS cannot be used."""


@dataclass(frozen=True, order=True)
class Violation:
    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def read_layers(path: Path) -> dict[str, int]:
    """Module -> number of its floor, counted from 0 at the bottom."""
    floors: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LayersError(f"cannot read {path}: {error.strerror}") from error
    floor = 0
    for number, line in enumerate(lines, 1):
        modules = line.split("#", 1)[0].split()
        for module in modules:
            if module in floors:
                raise LayersError(f"{path}:{number}: module '{module}' is listed twice")
            floors[module] = floor
        if modules:
            floor += 1
    if not floors:
        raise LayersError(f"{path}: lists no module")
    return floors


def without_comments(text: str) -> str:
    """The text with comments blanked; lines stay where they are, strings (the paths) stay as they are."""

    def blank(match: re.Match[str]) -> str:
        token = match.group()
        return token if token.startswith('"') else re.sub(r"[^\n]", " ", token)

    return _COMMENT_OR_STRING.sub(blank, text)


def includes(text: str) -> list[tuple[int, str]]:
    """(line, operand) of every #include; the operand still has its quotes or angle brackets."""
    text = without_comments(text.replace("\\\n", " \n"))
    return [(text.count("\n", 0, m.start()) + 1, m.group(1)) for m in _INCLUDE.finditer(text)]


class Checker:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.floors = read_layers(self.root / "core/LAYERS")
        self.violations: list[Violation] = []
        self.files = 0

    def report(self, path: Path, line: int, rule: str, text: str) -> None:
        self.violations.append(Violation(path.as_posix(), line, rule, text))

    def module(self, path: Path) -> str | None:
        """'wal' for core/wal/posix/x.c; None for a file that lies in no module."""
        return path.parts[1] if path.parts[0] == "core" and len(path.parts) > 2 else None

    def resolve(self, path: Path, operand: str) -> Path | None:
        """The included file relative to the root, as a compiler would find it; None when it is not ours."""
        name = operand[1:-1]
        bases = [self.root / path.parent] if operand.startswith('"') else []
        for base in (*bases, self.root, self.root / "core", self.root / "capi/include", self.root / "capi"):
            target = Path(os.path.normpath(base / name))
            if target.is_file() and target.is_relative_to(self.root):
                return target.relative_to(self.root)
        return None

    def check_include(self, path: Path, line: int, operand: str) -> None:
        if not re.fullmatch(r'"[^"]+"|<[^>]+>', operand):
            self.report(path, line, "outside", f"'#include {operand}' hides what it includes; write the path itself")
            return
        target = self.resolve(path, operand)
        if target is None:
            if operand.startswith('"'):
                self.report(path, line, "outside", f"{operand} is no file of this project; use <...> for system headers")
            return
        if path.parts[0] == "capi":
            self.check_capi(path, line, target)
        elif path.parts[0] == "core":
            self.check_core(path, line, target)

    def check_capi(self, path: Path, line: int, target: Path) -> None:
        if target.parts[0] != "capi" and target != CAPI_DOOR:
            self.report(path, line, "capi", f"includes {target}; capi/ may include its own folder and {CAPI_DOOR} only")

    def check_core(self, path: Path, line: int, target: Path) -> None:
        mine = self.module(path)
        if target.parts[0] != "core":
            rule = "capi" if target.parts[0] == "capi" else "outside"
            self.report(path, line, rule, f"includes {target}; core/ includes files of core/ only")
            return
        other = self.module(target)
        if mine == other or mine not in self.floors:
            return  # a module without a floor has been reported as such
        if other not in self.floors:
            self.report(path, line, "unlisted", f"includes {target}, whose module is not listed in core/LAYERS")
        elif self.floors[other] > self.floors[mine]:
            self.report(path, line, "upwards", f"includes {target}; '{other}' is above '{mine}' (core/LAYERS)")
        elif self.floors[other] == self.floors[mine]:
            self.report(path, line, "sideways", f"includes {target}; '{other}' and '{mine}' share a floor (core/LAYERS)")
        elif target.stem.endswith("_private"):
            self.report(path, line, "private", f"includes {target}, which belongs to '{other}' alone")

    def run(self) -> list[Violation]:
        unlisted: set[str | None] = set()
        for folder in ("core", "capi"):
            for file in sorted((self.root / folder).rglob("*")):
                if file.suffix not in SUFFIXES or not file.is_file():
                    continue
                self.files += 1
                path = file.relative_to(self.root)
                module = self.module(path)
                if folder == "core" and module not in self.floors and module not in unlisted:
                    unlisted.add(module)
                    name = f"module '{module}'" if module else "a file directly in core/"
                    self.report(path, 1, "unlisted", f"{name} has no floor; add the module to core/LAYERS")
                for line, operand in includes(file.read_text(encoding="utf-8")):
                    self.check_include(path, line, operand)
        return sorted(self.violations)


def main(arguments: list[str]) -> int:
    if any(a in ("-h", "--help") for a in arguments) or len(arguments) > 1:
        print((__doc__ or "").strip())
        return 0 if len(arguments) == 1 else 2
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    try:
        checker = Checker(root)
    except LayersError as error:
        print(f"check_layers: {error}", file=sys.stderr)
        return 2
    violations = checker.run()
    for violation in violations:
        print(violation)
    print(f"layers: {checker.files} files, {len(checker.floors)} modules, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
