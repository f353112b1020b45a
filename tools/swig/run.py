#!/usr/bin/env python3
"""Runs SWIG on bindings/swig/keel.i for every language that has a typemap file there, and puts the output in its place.

Without arguments the committed files are written; with --check nothing is written and the exit status is 1 when one
differs. The SWIG that is used is the pinned one (pip install swig==4.5.1): --swig PATH, $SWIG, .venv/bin/swig, or
swig on the PATH.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import records  # first: it makes tools/gen importable
import python_api

ROOT = Path(__file__).resolve().parents[2]
INTERFACE = ROOT / "bindings" / "swig"
VERSION = "4.5.1"


@dataclass(frozen=True)
class Target:
    """One language: what SWIG is told, and where the files that it writes belong."""

    language: str
    typemaps: str
    flags: tuple[str, ...]
    wrapper: str  # file name of the C or C++ wrapper
    outputs: dict[str, str]  # file that SWIG writes -> its place in the tree


TARGETS = (
    Target(
        "python",
        "python.i",
        ("-python", "-noproxy", "-module", "_raw"),
        "raw_wrap.c",
        {"raw_wrap.c": "python/ext/raw_wrap.c"},
    ),
    Target(
        "go",
        "go.i",
        ("-go", "-cgo", "-intgosize", "64", "-package", "keel", "-no-unique-id"),
        "raw_wrap.c",
        {"raw_wrap.c": "go/raw_wrap.c", "raw.go": "go/raw.go"},
    ),
    Target(
        "node", "node.i", ("-javascript", "-napi", "-c++"), "raw_wrap.cxx", {"raw_wrap.cxx": "node/src/raw_wrap.cxx"}
    ),
)


# Warnings of SWIG that do not apply: 321 (a name such as open is also a builtin: the raw module is never
# star-imported).
SUPPRESSED = ("321",)


def find_swig(given: str | None) -> str:
    candidates = [given, os.environ.get("SWIG"), str(ROOT / ".venv" / "bin" / "swig"), shutil.which("swig")]
    wrong = []
    for candidate in candidates:
        if not candidate or not shutil.which(candidate):
            continue
        text = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=True).stdout
        if f"SWIG Version {VERSION}\n" in text:
            return candidate
        wrong.append(candidate)
    found = f" (found another version: {', '.join(wrong)})" if wrong else ""
    sys.exit(
        f"swig {VERSION} not found{found}: install it with `pip install swig=={VERSION}`, or name it with --swig"
    )


def tidy(text: str) -> str:
    """SWIG leaves blanks at the ends of lines and a varying number of empty lines at the end of the file."""
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n") + "\n"


def unexport_go(text: str) -> str:
    """SWIG gives every Go function an exported name; the raw layer is not for users of the package: X becomes rawX."""
    names = set(re.findall(r"^func (\w+)\(", text, re.MULTILINE)) | {"Swig_escape_always_false", "Swig_escape_val"}
    pattern = re.compile(r"(?<![\w.])(" + "|".join(sorted(names, key=len, reverse=True)) + r")\b")
    camel = {name: "raw" + "".join(part[:1].upper() + part[1:] for part in name.split("_")) for name in names}
    return pattern.sub(lambda match: camel[match.group(1)], text)


def run_target(swig: str, target: Target) -> dict[str, str]:
    """The files of one language: place in the tree -> content."""
    with tempfile.TemporaryDirectory() as folder:
        # Run inside the folder of the interface, with relative names only, so that no path of this machine gets into
        # the output.
        command = [swig, *target.flags, "-Wextra", "-Werror", "-w" + ",".join(SUPPRESSED), "-I.", "-outdir", folder]
        command += ["-o", str(Path(folder) / target.wrapper), "keel.i"]
        done = subprocess.run(command, cwd=INTERFACE, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"swig failed for {target.language}:\n{done.stdout}{done.stderr}")
        texts = {place: tidy((Path(folder) / name).read_text()) for name, place in target.outputs.items()}
    return {place: unexport_go(text) if place.endswith(".go") else text for place, text in texts.items()}


def store(place: str, content: str, check: bool) -> bool:
    """Writes the file when it differs, or says so. True when it was right already."""
    path = ROOT / place
    present = path.read_text() if path.exists() else ""
    if present == content:
        return True
    if check:
        print(f"{place} is not what bindings/swig gives: run ./dev gen", file=sys.stderr)
        difference = difflib.unified_diff(
            present.splitlines(), content.splitlines(), place, "generated", n=1, lineterm=""
        )
        print("\n".join(list(difference)[:40]), file=sys.stderr)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        print(f"wrote {place}")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a committed file differs")
    parser.add_argument("--swig", help=f"the SWIG {VERSION} to run")
    parser.add_argument("languages", nargs="*", help="python, go, node (default: every one that has a typemap file)")
    arguments = parser.parse_args()
    unknown = set(arguments.languages) - {target.language for target in TARGETS}
    if unknown:
        parser.error(f"unknown language {', '.join(sorted(unknown))}: python, go and node exist")
    api = records.load()
    same = store("bindings/swig/records.gen.i", records.interface(api), arguments.check)
    same = store("node/src/records.gen.h", records.header(api), arguments.check) and same
    if not same and arguments.check:
        return 1
    for place, content in python_api.files(api).items():
        same = store(place, content, arguments.check) and same
    swig = find_swig(arguments.swig)
    for target in TARGETS:
        wanted = not arguments.languages or target.language in arguments.languages
        if wanted and (INTERFACE / target.typemaps).exists():
            for place, content in run_target(swig, target).items():
                same = store(place, content, arguments.check) and same
    return 0 if same or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
