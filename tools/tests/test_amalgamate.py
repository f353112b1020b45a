"""tools/amalgamate.py: order, includes, names that collide."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(tmp_path: Path) -> ModuleType:
    """The tool over a small tree of its own."""
    spec = importlib.util.spec_from_file_location("amalgamate", ROOT / "tools/amalgamate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = {
        "core/LAYERS": "# floors\nbase\nos\n",
        "core/base/a.h": "#ifndef A\n#define A\n#include <stddef.h>\nint kl_a(void);\n#endif\n",
        "core/base/a.c": '#include "a.h"\nstatic int a_one(void) {\n  return 1;\n}\nint kl_a(void) {\n  return a_one();\n}\n',
        "core/os/b.h": '#ifndef B\n#define B\n#include "../base/a.h"\nint kl_b(void);\n#endif\n',
        "core/os/b.c": '#include "b.h"\n#include <string.h>\n#if defined(__linux__)\n#include <sched.h>\n#endif\n'
                       "int kl_b(void) {\n  return kl_a();\n}\n",
        "core/os/sim/sim.c": "int never(void);\n",
        "capi/api.c": '#include "../core/os/b.h"\n#include "include/keel/keel.h"\nint keel_c(void) {\n  return kl_b();\n}\n',
        "capi/include/keel/keel.h": '#define KEEL_VERSION "9.8.7"\nint keel_c(void);\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    module.ROOT = tmp_path
    module.PUBLIC_HEADER = tmp_path / "capi/include/keel/keel.h"
    module.LEFT_OUT = (tmp_path / "core/os/sim",)
    return module


def test_each_file_once_in_order(tool: ModuleType) -> None:
    text = tool.amalgamate()["keel.c"]
    marks = [f"/* ---- {n} ---- */" for n in ("core/base/a.c", "core/base/a.h", "core/os/b.c", "core/os/b.h", "capi/api.c")]
    assert [text.count(mark) for mark in marks] == [1] * len(marks)
    assert [text.index(mark) for mark in marks] == sorted(text.index(mark) for mark in marks)
    assert "Keel 9.8.7" in text
    assert "never" not in text
    assert text.count('#include "') == 1 and '#include "keel.h"' in text


def test_system_headers_come_first(tool: ModuleType) -> None:
    text = tool.amalgamate()["keel.c"]
    for header in ("<stddef.h>", "<string.h>"):
        assert text.index(f"#include {header}") < text.index("visibility push(hidden)")
    assert text.index("#include <sched.h>") > text.index("#if defined(__linux__)")  # a conditional one stays where it is


def test_deterministic(tool: ModuleType) -> None:
    assert tool.amalgamate() == tool.amalgamate()


@pytest.mark.parametrize("clash", [
    "static int a_one(void) {\n  return 2;\n}\n",
    "static const char a_one[] = {1};\n",
    "#define a_one 1\n",
    "enum { a_zero, a_one };\n",
    "typedef struct {\n  int x;\n} a_one;\n",
])
def test_private_names_that_collide_are_refused(tool: ModuleType, clash: str) -> None:
    path = tool.ROOT / "core/os/b.c"
    path.write_text(path.read_text(encoding="utf-8") + clash, encoding="utf-8")
    with pytest.raises(tool.AmalgamationError) as error:
        tool.amalgamate()
    assert "a_one: core/base/a.c and core/os/b.c" in str(error.value)


def test_a_missing_header_is_named(tool: ModuleType) -> None:
    (tool.ROOT / "core/os/b.h").unlink()
    with pytest.raises(tool.AmalgamationError, match='core/os/b.c: includes "b.h", which does not exist'):
        tool.amalgamate()
