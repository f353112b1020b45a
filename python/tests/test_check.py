"""Verification of sound and damaged databases, and salvage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import keel

ROWS = 30_000


def key(number: int) -> bytes:
    return b"row %08d" % number


def value(number: int) -> bytes:
    return (b"value of %d " % number * 12)[:100]


@pytest.fixture
def loaded(path: Path) -> Path:
    with keel.open(path) as db:
        db.load("rows", ((key(n), value(n)) for n in range(ROWS)))
    return path


@pytest.fixture
def damaged(loaded: Path) -> Path:
    """One byte of a row in the middle is another one."""
    content = bytearray(loaded.read_bytes())
    at = content.index(value(ROWS // 2)[:20])
    content[at] ^= 1
    loaded.write_bytes(content)
    return loaded


@pytest.fixture
def db(loaded: Path) -> Iterator[keel.Database]:
    with keel.open(loaded) as database:
        yield database


def test_a_sound_database(db: keel.Database) -> None:
    db["others"][b"large"] = bytes(100_000)
    db.make_checkpoint()
    reports: list[keel.CheckReport] = []
    report = db.verify(progress=reports.append)
    assert (report.finished, report.problems, report.problem_texts) == (1, 0, ())
    assert (report.keyspaces, report.rows, report.extents) == (2, ROWS + 1, 1)
    assert report.done_bytes == report.total_bytes
    assert reports[-1] == report
    assert [r.finished for r in reports] == [0] * (len(reports) - 1) + [1]
    assert reports[0].done_bytes < reports[1].done_bytes
    assert report == db.verify()
    assert db.stats().snapshots_live == 0


def test_the_steps_are_as_large_as_asked(db: keel.Database) -> None:
    def steps(step_bytes: int) -> int:
        reports: list[keel.CheckReport] = []
        db.verify(progress=reports.append, step_bytes=step_bytes)
        return len(reports)

    assert steps(64 << 10) > 4 * steps(1 << 20) > 4 * steps(1 << 30)


def test_a_database_without_files() -> None:
    with keel.open(":memory:") as db:
        db["rows"][b"a"] = b"1"
        report = db.verify()
        assert (report.finished, report.problems) == (1, 0)


def test_an_exception_of_progress_ends_it(db: keel.Database) -> None:
    calls = 0

    def progress(report: keel.CheckReport) -> None:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.verify(progress=progress)
    assert calls == 1
    assert db.stats().snapshots_live == 0


def test_closing_the_database_ends_it(db: keel.Database) -> None:
    with pytest.raises(keel.ClosedError):
        db.verify(progress=lambda report: db.close())
    with pytest.raises(keel.ClosedError):
        db.verify()


def test_a_flipped_byte_is_found(damaged: Path) -> None:
    with keel.open(damaged) as db:
        reports: list[keel.CheckReport] = []
        report = db.verify(progress=reports.append)
        assert report.finished == 1
        assert report.problems > 0
        assert report.lost_pages == 1
        assert report.rows < ROWS
        assert len(report.problem_texts) == min(report.problems, 32)
        assert any("rows" in text for text in report.problem_texts)
        assert all(text and "\n" not in text for text in report.problem_texts)
        assert reports[0].problem_texts == ()


def test_salvage(damaged: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.keel"
    before = damaged.read_bytes()
    reports: list[keel.CheckReport] = []
    report = keel.salvage(damaged, saved, progress=reports.append)
    assert (report.finished, report.keyspaces) == (1, 1)
    assert report.problems == len(report.problem_texts) > 0
    assert ROWS - 1000 < report.rows < ROWS
    assert reports[-1] == report
    assert len(reports) > 2
    assert damaged.read_bytes() == before
    with keel.open(saved) as db:
        rows = dict(db["rows"].items())
        assert len(rows) == report.rows
        assert key(ROWS // 2) not in rows
        assert all(rows[name] == value(int(name[4:])) for name in rows)
        assert db.verify().problems == 0


def test_salvage_of_a_sound_database_copies_all(loaded: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.keel"
    report = keel.salvage(str(loaded), bytes(saved))
    assert (report.problems, report.problem_texts, report.rows) == (0, (), ROWS)
    with keel.open(saved) as db:
        assert list(db["rows"].items()) == [(key(n), value(n)) for n in range(ROWS)]


def test_salvage_that_is_interrupted_leaves_what_it_has(loaded: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.keel"

    def progress(report: keel.CheckReport) -> None:
        if report.rows > 1000:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keel.salvage(loaded, saved, progress=progress)
    with keel.open(saved, create=False) as db:
        assert 0 < sum(1 for _ in db["rows"].keys()) < ROWS


def test_salvage_of_what_cannot_be(db: keel.Database, loaded: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.keel"
    with pytest.raises(keel.LockedError):
        keel.salvage(loaded, saved)
    db.close()
    with pytest.raises(FileNotFoundError):
        keel.salvage(tmp_path / "nothing", saved)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"x" * 100_000)
    with pytest.raises(keel.FormatError):
        keel.salvage(garbage, saved)
    assert not saved.exists()
    saved.write_bytes(b"x" * 10_000)
    with pytest.raises(FileExistsError):
        keel.salvage(loaded, saved)
    with pytest.raises(TypeError):
        keel.salvage(5, saved)  # type: ignore[arg-type]
