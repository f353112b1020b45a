"""check_docs.py: finds links to files and anchors that are not there, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "check_docs.py"
GOOD = """# The *first* `heading`, with marks!

[itself](#the-first-heading-with-marks) [other](sub/other.md) [there](sub/other.md#twice-1) [folder](sub)
[escaped](sub/with%20space.txt) [site](https://example.org/no#where) ![image](sub/with%20space.txt "title")
[reference][r] `[code](absent.md)`

[r]: sub/other.md

```
[fenced](absent.md)
```
"""
FILES = {"a.md": GOOD, "sub/other.md": "## Twice\n## Twice\n<a id='by-hand'></a>\n[up](../a.md#) [hand](#by-hand)\n",
         "sub/with space.txt": ""}


def run(root: Path, files: dict[str, str]) -> tuple[int, str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_good_links_pass(tmp_path: Path) -> None:
    status, output = run(tmp_path, FILES)
    assert status == 0, output
    assert "docs: 2 pages, 9 links inside the project, 0 broken, 1 links elsewhere" in output


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x\n[a](absent.md)\n", "b.md:2: 'absent.md': there is no absent.md"),
        ("[a](a.md#nowhere)\n", "b.md:1: 'a.md#nowhere': a.md has no heading for #nowhere"),
        ("[a](#nowhere)\n", "b.md:1: '#nowhere': b.md has no heading"),
        ("[a](sub/other.md#twice-2)\n", "b.md:1: 'sub/other.md#twice-2'"),
        ("[a](../outside.md)\n", "b.md:1: '../outside.md' leads out of the project"),
        ("\n\n[r]: absent.md\n", "b.md:3: 'absent.md'"),
        ("```\n```\n[a](absent.md)\n", "b.md:3: 'absent.md'"),
    ],
)
def test_broken_links_are_found(tmp_path: Path, text: str, complaint: str) -> None:
    status, output = run(tmp_path, FILES | {"b.md": text})
    assert status == 1, output
    assert complaint in output
    assert " 1 broken" in output
