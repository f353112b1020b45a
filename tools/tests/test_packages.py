"""The pinned packages agree with one another and with what the bindings ask for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "tools/packages"


def pins() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (PACKAGES / "requirements.txt").read_text(encoding="utf-8").splitlines():
        line = line.split("#", 1)[0].strip()
        if line:
            name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+]+)", line).groups()  # type: ignore[union-attr]
            key = re.sub(r"[-_.]+", "-", name).lower()
            assert key not in found, f"{name} is pinned twice"
            found[key] = version
    return found


def test_every_package_has_one_exact_version() -> None:
    assert len(pins()) > 10


def test_the_python_binding_builds_with_what_is_installed() -> None:
    project = tomllib.loads((ROOT / "python/pyproject.toml").read_text(encoding="utf-8"))
    for requirement in project["build-system"]["requires"]:
        name, version = requirement.split("==")
        assert pins()[name.lower()] == version


def test_swig_is_the_one_that_the_raw_layers_are_made_with() -> None:
    tool = (ROOT / "tools/swig/run.py").read_text(encoding="utf-8")
    assert f'VERSION = "{pins()["swig"]}"' in tool


def test_debian_packages_are_well_formed() -> None:
    checks = re.compile(r"(cmd|header|file):\S+|fuzzer|python-venv|python-dev")
    seen = set()
    for line in (PACKAGES / "debian.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            group, package, check = line.split()
            assert group in {"build", "clang", "check", "python", "bench"}
            assert checks.fullmatch(check), line
            assert package not in seen, f"{package} is listed twice"
            seen.add(package)
    assert seen
