#!/usr/bin/env python3
"""Writes every file that is generated from bindings/api/keel.yml.

    python3 tools/gen/main.py            write what differs
    python3 tools/gen/main.py --check    write nothing; show a diff and exit with 1 when a committed file differs
    python3 tools/gen/main.py --list     the paths that it owns
    python3 tools/gen/main.py --render TEMPLATE OUT    one more template (tests render theirs into the build folder)

Needs PyYAML and jinja2, nothing else.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))

import model  # noqa: E402
import render  # noqa: E402


def write(path: Path, text: str) -> bool:
    """Writes `text` unless the file has it already; says whether it wrote."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def check(path: Path, text: str) -> bool:
    """Shows how the committed file differs; says whether it does."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if old == text:
        return False
    name = str(path.relative_to(ROOT))
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), f"{name} (committed)",
                                               f"{name} (generated)"))
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail with a diff when a committed file differs")
    parser.add_argument("--list", action="store_true", help="print the paths of the generated files")
    parser.add_argument("--render", nargs=2, metavar=("TEMPLATE", "OUT"), help="render one template of another folder")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(o.path for o in render.OUTPUTS))
        return 0
    try:
        api = model.load(ROOT / "bindings/api/keel.yml")
    except model.DescriptionError as error:
        print(f"tools/gen: {error}", file=sys.stderr)
        return 1
    if arguments.render:
        template, out = arguments.render
        write(Path(out), render.render(api, render.Output(out, template)))
        return 0
    differing = []
    for output in render.OUTPUTS:
        text = render.render(api, output)
        if (check if arguments.check else write)(ROOT / output.path, text):
            differing.append(output.path)
    if arguments.check and differing:
        print(f"tools/gen: {len(differing)} generated files differ; run ./dev gen", file=sys.stderr)
        return 1
    for path in differing:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
