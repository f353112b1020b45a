"""The README's examples run, in order, in one program."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_examples(python: Callable[[str], str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    program = "\n".join(blocks)
    expected = re.findall(r"print\(.*\)\s+# prints (.*)$", program, re.MULTILINE)
    assert expected
    assert python(program).splitlines() == expected
