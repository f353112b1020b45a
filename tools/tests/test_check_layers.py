"""check_layers.py: a clean tree passes; each rule, broken once, is found at its file and line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "check_layers.py"
LAYERS = "# lowest first\nbase\nos\nstore wal  # two of one floor\ntxn\ndb\n"
CLEAN = {
    "core/LAYERS": LAYERS,
    "core/base/a.h": "#include <stdint.h>\n",
    "core/base/a.c": '#include "a.h"\n',
    "core/base/a_private.h": "",
    "core/os/os.h": '#include "../base/a.h"\n',
    "core/os/posix/file.c": '#include "../os.h"\n#include <unistd.h>\n',
    "core/store/store.h": '#include "../os/os.h"\n',
    "core/wal/wal.h": '/* #include "../txn/txn.h" */\n// #include "../db/db.h"\n#include "../os/os.h"\n',
    "core/txn/txn.h": '#include "../wal/wal.h"\n#include "../store/store.h"\n',
    "core/db/db.h": '#include "../txn/txn.h"\n',
    "capi/include/keel/keel.h": "#include <stdint.h>\n",
    "capi/handle.h": "",
    "capi/api.c": '#include "handle.h"\n#include "keel/keel.h"\n#include "../core/db/db.h"\n',
}


def run(root: Path, files: dict[str, str]) -> tuple[int, str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_clean_tree_passes(tmp_path: Path) -> None:
    status, output = run(tmp_path, CLEAN)
    assert status == 0, output
    assert "0 violations" in output


def test_this_project_passes() -> None:
    done = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("rule", "path", "line", "text"),
    [
        ("upwards", "core/base/up.c", 2, '#include "a.h"\n#include "../txn/txn.h"\n'),
        ("upwards", "core/os/posix/up.c", 1, '#include "../../wal/wal.h"\n'),
        ("upwards", "core/base/up.h", 3, "/* a\n comment */\n  #  include   <wal/wal.h>\n"),
        ("upwards", "core/base/up.c", 2, '#include "a.h"\n#include "core/wal/wal.h"\n'),
        ("outside", "core/base/up.c", 1, '#include \\\n"../wal/wal.h"\n'),
        ("upwards", "core/base/string.c", 2, 'const char *s = "/*"; const char *t = "*/";\n#include "../os/os.h"\n'),
        ("sideways", "core/wal/side.c", 1, '#include "../store/store.h"\n'),
        ("sideways", "core/store/side.c", 1, '#include <core/wal/wal.h>\n'),
        ("private", "core/txn/peek.c", 1, '#include "../base/a_private.h"\n'),
        ("capi", "capi/low.c", 2, '#include "handle.h"\n#include "../core/txn/txn.h"\n'),
        ("capi", "core/db/high.c", 1, "#include <keel/keel.h>\n"),
        ("capi", "core/db/high.c", 1, '#include "../../capi/handle.h"\n'),
        ("unlisted", "core/ghost/ghost.c", 1, '#include "../base/a.h"\n'),
        ("unlisted", "core/loose.c", 1, ""),
        ("outside", "core/base/out.c", 1, '#include "../../tests/x.h"\n'),
        ("outside", "core/base/out.c", 1, '#include "absent.h"\n'),
        ("outside", "core/base/out.c", 1, "#include HEADER\n"),
    ],
)
def test_each_rule_is_enforced(tmp_path: Path, rule: str, path: str, line: int, text: str) -> None:
    status, output = run(tmp_path, CLEAN | {"tests/x.h": "", path: text})
    assert status == 1, output
    found = [entry for entry in output.splitlines() if entry.startswith(f"{path}:{line}: {rule}: ")]
    assert len(found) == 1, output
    assert output.rstrip().endswith("1 violations")


def test_an_include_of_an_unlisted_module_names_both(tmp_path: Path) -> None:
    status, output = run(tmp_path, CLEAN | {"core/ghost/ghost.h": "", "core/db/use.c": '#include "../ghost/ghost.h"\n'})
    assert status == 1
    assert "core/ghost/ghost.h:1: unlisted: " in output
    assert "core/db/use.c:1: unlisted: includes core/ghost/ghost.h" in output


@pytest.mark.parametrize(("layers", "message"), [("base\nos base\n", "'base' is listed twice"), ("# none\n", "no module")])
def test_bad_layers_are_refused(tmp_path: Path, layers: str, message: str) -> None:
    status, output = run(tmp_path, {"core/LAYERS": layers})
    assert status == 2
    assert message in output


def test_missing_layers_are_refused(tmp_path: Path) -> None:
    status, output = run(tmp_path, {"core/base/a.h": ""})
    assert status == 2
    assert "cannot read" in output
