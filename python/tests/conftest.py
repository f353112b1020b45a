from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keel


@pytest.fixture
def db() -> Iterator[keel.Database]:
    with keel.open(":memory:") as database:
        yield database


@pytest.fixture
def rows(db: keel.Database) -> keel.Keyspace:
    return db["rows"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.keel"


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    """Runs a program in a fresh interpreter and returns its output; a crash, a hang or a word on stderr fails the
    test."""

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run
