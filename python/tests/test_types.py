"""Types: the package and its tests are clean under mypy --strict, and the stub says what the module has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "keel"

pytest.importorskip("mypy")


def run(*arguments: str, cwd: Path = HERE.parent) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("what", [PACKAGE, HERE])
def test_mypy_strict(what: Path, tmp_path: Path) -> None:
    done = run("mypy", "--strict", "--cache-dir", str(tmp_path), str(what))
    assert done.returncode == 0, done.stdout + done.stderr


def test_stub_agrees_with_the_extension(tmp_path: Path) -> None:
    # The runtime shows a type's buffer slot as __buffer__ from Python 3.12 on only.
    allowed = tmp_path / "allowed"
    allowed.write_text("" if sys.version_info >= (3, 12) else "keel._raw.View.__buffer__\n")
    arguments = ["keel._raw", "--ignore-missing-stub", "--concise", "--allowlist", str(allowed)]
    done = run("mypy.stubtest", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_raw_function_is_in_the_stub() -> None:
    import ast

    from keel import _raw

    tree = ast.parse((PACKAGE / "_raw.pyi").read_text())
    described = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    present = {name for name in dir(_raw) if not name.startswith(("_", "SWIG"))}
    assert described == present


def test_a_user_sees_the_types(tmp_path: Path) -> None:
    program = tmp_path / "user.py"
    program.write_text(
        "import keel\n"
        "with keel.open(':memory:') as db:\n"
        "    rows = db['rows']\n"
        "    reveal_type(rows.get(b'k'))\n"
        "    reveal_type(rows.get(b'k', 0))\n"
        "    reveal_type(next(rows.items()))\n"
        "    reveal_type(db.transact(lambda txn: txn.attempt))\n"
        "    @keel.transactional(retries=3)\n"
        "    def f(txn: keel.Transaction, n: int) -> str: return ''\n"
        "    reveal_type(f(db, 5))\n"
        "    f(db, 'five')\n"
        "    rows['text'] = b''\n"
    )
    done = run("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program), cwd=tmp_path)
    for expected in (
        '4: note: Revealed type is "bytes | None"',
        '5: note: Revealed type is "bytes | int"',
        '6: note: Revealed type is "tuple[bytes, bytes]"',
        '7: note: Revealed type is "int"',
        '10: note: Revealed type is "str"',
        '11: error: Argument 2 to "f" has incompatible type "str"; expected "int"',
        "12: error: ",
    ):
        assert expected in done.stdout.replace("builtins.", ""), done.stdout
