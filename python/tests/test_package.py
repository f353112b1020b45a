"""The source distribution builds without the source tree, and what it installs works in an empty environment."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

pytest.importorskip("build")
pytestmark = pytest.mark.filterwarnings("default")


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(a) for a in arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, PROJECT, cwd=folder)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def test_sdist_has_all_that_it_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {
        "ext/keel.c",
        "ext/keel.h",
        "ext/keelpy.h",
        "ext/raw_wrap.c",
        "LICENSE",
        "README.md",
        "src/keel/_raw.pyi",
    }
    assert needed <= names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]


def test_install_from_sdist_elsewhere(sdist: Path, tmp_path: Path) -> None:
    # Built with setuptools alone, from the archive alone, in a folder that knows nothing of the checkout.
    wheels = tmp_path / "wheels"
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "-w",
        wheels,
        sdist,
        cwd=tmp_path,
    )
    (wheel,) = wheels.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "keel/py.typed" in names
    assert [name for name in names if name.endswith(".abi3.so")] == ["keel/_raw.abi3.so"]
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    interpreter = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", "-q", "--no-index", wheel, cwd=tmp_path)
    program = (
        "import keel, sys\n"
        "with keel.open('data.keel') as db: db['rows'][b'k'] = b'v'\n"
        "with keel.open('data.keel') as db: print(db['rows'][b'k'], keel.__file__.startswith(sys.prefix))\n"
    )
    assert run(interpreter, "-c", program, cwd=tmp_path) == "b'v' True\n"


def test_extension_exports_its_init_function_only() -> None:
    import keel._raw

    symbols = run("nm", "-D", "--defined-only", keel._raw.__file__, cwd=PROJECT).split()
    assert [symbol for symbol in symbols if symbol.startswith(("keel", "kl", "Py"))] == ["PyInit__raw"]
