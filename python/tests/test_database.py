"""Opening, closing, keyspaces, statistics."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import keel


def test_memory_database_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with keel.open(":memory:") as db:
        db["rows"][b"k"] = b"v"
        assert db["rows"][b"k"] == b"v"
    assert list(tmp_path.iterdir()) == []


def test_data_outlives_close(path: Path) -> None:
    with keel.open(path) as db:
        db["rows"][b"k"] = b"v"
    with keel.open(path, create=False) as db:
        assert db["rows"][b"k"] == b"v"
        assert db.keyspaces() == ["rows"]


@pytest.mark.parametrize("form", [str, os.fsencode, Path])
def test_every_form_of_path(path: Path, form: type) -> None:
    with keel.open(form(path)) as db:
        assert db.path == str(path)
    assert path.exists()


def test_path_with_zero_byte_is_refused() -> None:
    with pytest.raises(ValueError):
        keel.open("a\0b")


def test_path_of_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError):
        keel.open(5)  # type: ignore[arg-type]


def test_create_and_exist_ok(path: Path) -> None:
    with pytest.raises(keel.NoFileError) as missing:
        keel.open(path, create=False)
    assert isinstance(missing.value, FileNotFoundError)
    assert str(path) in str(missing.value)
    keel.open(path, exist_ok=False).close()
    with pytest.raises(keel.ExistsError) as present:
        keel.open(path, exist_ok=False)
    assert isinstance(present.value, FileExistsError)


def test_read_only(path: Path) -> None:
    with keel.open(path) as db:
        db["rows"][b"k"] = b"v"
    with keel.open(path, read_only=True) as db:
        assert db.read_only
        assert db["rows"][b"k"] == b"v"
        with pytest.raises(keel.ReadOnlyError):
            db["rows"][b"k"] = b"w"
        assert db["rows"][b"k"] == b"v"


def test_a_directory_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(keel.NotAFileError):
        keel.open(tmp_path)


def test_a_foreign_file_is_refused_and_left_alone(path: Path) -> None:
    content = b"not a database\n" * 1000
    path.write_bytes(content)
    with pytest.raises(keel.FormatError):
        keel.open(path)
    assert path.read_bytes() == content


def test_options_are_checked(path: Path) -> None:
    with pytest.raises(ValueError, match="durability must be one of 'full', 'group', 'none', not 'default'"):
        keel.open(path, durability="default")  # type: ignore[arg-type]
    with pytest.raises(keel.InvalidError) as error:
        keel.open(path, page_size=5000)
    assert isinstance(error.value, ValueError)
    with pytest.raises(OverflowError):
        keel.open(path, page_size=-1)
    assert not path.exists()


@pytest.mark.parametrize("durability", ["full", "group", "none"])
def test_durabilities(path: Path, durability: keel.Durability) -> None:
    with keel.open(path, durability=durability, group_interval_ms=5) as db:
        db["rows"][b"k"] = b"v"
        with db.transaction(durability="none") as txn:
            txn["rows"][b"l"] = b"w"
        db.flush()
    with keel.open(path) as db:
        assert dict(db["rows"].items()) == {b"k": b"v", b"l": b"w"}


def test_close_is_idempotent_and_final(path: Path) -> None:
    db = keel.open(path)
    rows = db["rows"]
    assert not db.closed
    db.close()
    db.close()
    assert db.closed
    uses: list[Callable[[], object]] = [
        lambda: db["rows"],
        db.begin,
        db.stats,
        db.flush,
        db.keyspaces,
        db.__enter__,
        lambda: rows[b"k"],
    ]
    for use in uses:
        with pytest.raises(keel.ClosedError, match="is closed"):
            use()


def test_close_ends_what_is_open(path: Path) -> None:
    db = keel.open(path)
    rows = db["rows"]
    rows.put_many((b"%03d" % i, b"v") for i in range(300))
    half_read = rows.items()
    next(half_read)
    txn = db.begin()
    txn.put(rows, b"lost", b"v")
    db.close()
    # Nothing holds the engine any more, so another opening may demand anew what only the first one can decide.
    with keel.open(path, create=False) as again:
        assert b"lost" not in again["rows"]
        assert again.stats().snapshots_live <= 1
    with pytest.raises(keel.FinishedError):
        txn.commit()
    with pytest.raises(keel.Error):
        list(half_read)


def test_two_openings_share_one_engine(path: Path) -> None:
    with keel.open(path, durability="group") as first, keel.open(path) as second:
        first["rows"][b"k"] = b"v"
        assert second["rows"][b"k"] == b"v"
        with pytest.raises(keel.InvalidError, match="durability"):
            keel.open(path, durability="none")


def test_unclosed_database_warns_and_closes(path: Path) -> None:
    db = keel.open(path)
    db["rows"][b"k"] = b"v"
    with pytest.warns(ResourceWarning, match="unclosed database"):
        del db
        gc.collect()
    with keel.open(path) as db:
        assert db["rows"][b"k"] == b"v"


def test_a_keyspace_keeps_its_database(recwarn: pytest.WarningsRecorder) -> None:
    rows = keel.open(":memory:")["rows"]
    gc.collect()
    rows[b"k"] = b"v"
    assert rows[b"k"] == b"v"
    rows.database.close()


def test_keyspaces(db: keel.Database) -> None:
    assert db.keyspaces() == []
    with pytest.raises(keel.KeyspaceNotFoundError) as error:
        db.keyspace("städte", create=False)
    assert isinstance(error.value, KeyError)
    towns = db["städte"]
    assert towns.name == "städte"
    assert towns.database is db
    db["a"][b"k"] = b"a"
    towns[b"k"] = b"b"
    assert db.keyspaces() == ["a", "städte"]
    assert (db["a"][b"k"], db["städte"][b"k"]) == (b"a", b"b")
    db.drop_keyspace("städte")
    assert db.keyspaces() == ["a"]
    with pytest.raises(keel.KeyspaceNotFoundError):
        towns.get(b"k")
    with pytest.raises(keel.KeyspaceNotFoundError):
        db.drop_keyspace("städte")
    assert b"k" not in db["städte"]


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_bad_keyspace_names(db: keel.Database, name: str) -> None:
    with pytest.raises(keel.InvalidError):
        db.keyspace(name)


def test_keyspace_name_is_text(db: keel.Database) -> None:
    with pytest.raises(TypeError, match="is str, not bytes"):
        db.keyspace(b"rows")  # type: ignore[arg-type]


def test_stats_count(db: keel.Database, rows: keel.Keyspace) -> None:
    before = db.stats()
    rows[b"k"] = b"v"
    rows.get(b"k")
    with db.transaction() as txn:
        during = db.stats()
        txn.get(rows, b"k")
    after = db.stats()
    assert after.puts == before.puts + 1
    assert after.gets >= before.gets + 2
    assert during.transactions_live == before.transactions_live + 1
    assert after.transactions_live == before.transactions_live
    assert after.keyspaces == 1
    assert after.poisoned == 0


def test_last_checkpoint(path: Path) -> None:
    with keel.open(":memory:") as db:
        assert db.last_checkpoint() == (0, 0, 0, 0, 0)
    with keel.open(path) as db:
        assert db.last_checkpoint().sequence >= 1


def test_reprs(db: keel.Database, rows: keel.Keyspace) -> None:
    assert repr(db) == "<keel.Database ':memory:'>"
    assert repr(rows) == "<keel.Keyspace 'rows' of <keel.Database ':memory:'>>"
    with db.transaction(read_only=True) as txn:
        assert repr(txn) == "<keel.Transaction read-only open on <keel.Database ':memory:'>>"
        assert "'rows' in <keel.Transaction" in repr(txn[rows])
    assert "finished" in repr(txn)


def test_version_and_features() -> None:
    assert keel.version() == keel.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", keel.__version__)
    assert keel.feature("memory_database") is True
    assert keel.feature("crc32c_hardware") in (True, False)
    with pytest.raises(keel.InvalidError):
        keel.feature("no such thing")
