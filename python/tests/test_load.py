"""Bulk loads: any order, large values, all or nothing."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import keel

ROWS = 30_000


def key(number: int) -> bytes:
    return b"row %08d" % number


def value(number: int) -> bytes:
    return (b"value of %d " % number * 12)[:100]


def pairs(numbers: Iterable[int]) -> Iterator[tuple[bytes, bytes]]:
    return ((key(n), value(n)) for n in numbers)


def shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(3).shuffle(order)
    return order


@pytest.fixture
def file(path: Path) -> Iterator[keel.Database]:
    with keel.open(path) as db:
        yield db


@pytest.mark.parametrize(
    ("order", "buffer_size"), [(range(ROWS), 0), (shuffled(ROWS), 1 << 20)], ids=["in order", "out of order"]
)
def test_rows_in_any_order(path: Path, order: Iterable[int], buffer_size: int) -> None:
    with keel.open(path) as db:
        report = db.load("rows", pairs(order), buffer_size=buffer_size)
        assert (report.finished, report.rows, report.bytes) == (1, ROWS, ROWS * 112)
        assert (report.runs == 1) == isinstance(order, range)
    with keel.open(path) as db:
        assert db.keyspaces() == ["rows"]
        assert list(db["rows"].items()) == list(pairs(range(ROWS)))
        assert db.verify().problems == 0


def test_of_several_rows_with_one_key_the_last_one_stays(db: keel.Database) -> None:
    report = db.load("rows", [(b"b", b"1"), (b"a", b"2"), (b"b", b"3"), (b"", b"empty"), (b"c", b"")])
    assert report.rows == 5
    assert list(db["rows"].items()) == [(b"", b"empty"), (b"a", b"2"), (b"b", b"3"), (b"c", b"")]


def test_mappings_and_whatever_has_a_buffer(db: keel.Database) -> None:
    mapping: dict[bytes, bytes | bytearray] = {b"a": b"1", b"b": bytearray(b"2")}
    db.load("mapping", mapping)
    assert dict(db["mapping"].items()) == {b"a": b"1", b"b": b"2"}
    db.load("buffers", [[bytearray(b"a"), memoryview(b"1")]])  # type: ignore[list-item]
    assert dict(db["buffers"].items()) == {b"a": b"1"}


def test_large_values(file: keel.Database) -> None:
    chunk = 1 << 20
    rows = {b"%d" % size: bytes([size % 251]) * size for size in (0, 1, chunk - 1, chunk, chunk + 1, 5 * chunk)}
    rows[b"k" * keel.MAX_KEY_SIZE] = b"longest key"
    file.load("rows", rows)
    assert dict(file["rows"].items()) == rows


def test_an_empty_load_makes_an_empty_keyspace(file: keel.Database) -> None:
    report = file.load("rows", [])
    assert (report.finished, report.rows) == (1, 0)
    assert file.keyspaces() == ["rows"]
    assert list(file["rows"]) == []


def test_what_exists_is_replaced_only_when_asked(file: keel.Database) -> None:
    file["rows"][b"old"] = b"1"
    with pytest.raises(keel.ExistsError):
        file.load("rows", [(b"new", b"2")])
    assert list(file["rows"]) == [b"old"]
    old = file["rows"]
    half_read = old.items()
    with file.loading("rows", replace=True) as loader:
        loader.put(b"new", b"2")
        assert list(old) == [b"old"]
    assert list(half_read) == [(b"old", b"1")]
    assert list(file["rows"]) == [b"new"]
    with pytest.raises(keel.KeyspaceNotFoundError):
        old.get(b"old")


class Broken(Exception):
    pass


def broken() -> Iterator[tuple[bytes, bytes]]:
    yield from pairs(range(ROWS))  # more than one batch
    raise Broken


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (broken(), Broken),
        ([(b"a", b"1"), (b"k" * (keel.MAX_KEY_SIZE + 1), b"2")], keel.KeySizeError),
        ([(b"a", b"1"), (b"b", None)], TypeError),
        ([(b"a", b"1"), ("b", b"2")], TypeError),
        ([(b"a", b"1"), (b"b",)], ValueError),
        (5, TypeError),
    ],
    ids=["the source", "a long key", "no value", "text", "no pair", "no iterable"],
)
def test_a_load_that_fails_leaves_nothing(file: keel.Database, rows: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        file.load("rows", rows)  # type: ignore[arg-type]
    assert file.keyspaces() == []
    assert file._loads == set()
    file.load("rows", [(b"a", b"1")])
    assert dict(file["rows"].items()) == {b"a": b"1"}


def test_a_block_is_finished_at_its_end(file: keel.Database) -> None:
    with file.loading("rows") as loader:
        loader.put(b"b", b"2")
        loader.put_many([(b"c", b"3"), (b"a", b"0")])
        loader.put_many({b"a": b"1"})
        assert loader.report is None
        assert file.keyspaces() == []
    assert loader.name == "rows"
    assert loader.report is not None
    assert loader.report.rows == 4
    assert list(file["rows"].items()) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    loader.close()
    with pytest.raises(keel.HandleError):
        loader.put(b"d", b"4")
    with pytest.raises(keel.HandleError):
        loader.put_many([])
    with pytest.raises(keel.HandleError):
        loader.finish()


def test_a_block_that_raises_leaves_nothing(file: keel.Database) -> None:
    with pytest.raises(Broken), file.loading("rows") as loader:
        loader.put_many(pairs(range(ROWS)))
        raise Broken
    assert file.keyspaces() == []
    assert loader.report is None
    with file.loading("rows") as loader:
        loader.put(b"a", b"1")
        loader.close()
    assert file.keyspaces() == []


def test_finish_may_be_called_again(file: keel.Database) -> None:
    loader = file.loading("rows")
    loader.put(b"a", b"mine")
    file["rows"][b"a"] = b"theirs"
    with pytest.raises(keel.ExistsError):
        loader.finish()
    file.drop_keyspace("rows")
    loader.put(b"b", b"too")
    assert loader.finish().rows == 2
    assert dict(file["rows"].items()) == {b"a": b"mine", b"b": b"too"}


def test_a_block_whose_end_fails_leaves_nothing(file: keel.Database) -> None:
    with pytest.raises(keel.ExistsError), file.loading("rows") as loader:
        loader.put(b"a", b"mine")
        file["rows"][b"a"] = b"theirs"
    assert dict(file["rows"].items()) == {b"a": b"theirs"}
    assert file._loads == set()


def test_bad_arguments(file: keel.Database, path: Path) -> None:
    with pytest.raises(TypeError):
        file.load(b"rows", [])  # type: ignore[arg-type]
    with pytest.raises(keel.InvalidError):
        file.load("", [])
    with pytest.raises(keel.InvalidError):
        file.load("rows", [], buffer_size=1)
    file.close()
    with pytest.raises(keel.ClosedError):
        file.load("rows", [])
    with keel.open(path, read_only=True) as db, pytest.raises(keel.ReadOnlyError):
        db.load("rows", [])


def test_closing_the_database_ends_loads(path: Path) -> None:
    db = keel.open(path)
    loader = db.loading("rows")
    loader.put_many(pairs(range(ROWS)))
    db.close()
    with pytest.raises(keel.HandleError):
        loader.put(b"a", b"1")
    loader.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with keel.open(path) as db:
        assert db.keyspaces() == []


def test_a_forgotten_load_ends(file: keel.Database) -> None:
    loader = file.loading("rows")
    loader.put(b"a", b"1")
    with pytest.warns(ResourceWarning, match="load was neither finished nor closed"):
        del loader
        gc.collect()
    assert file._loads == set()
    assert file.keyspaces() == []


def test_others_go_on_meanwhile(file: keel.Database) -> None:
    others = file["others"]
    done = threading.Event()
    counted = 0

    def work() -> None:
        nonlocal counted
        while not done.is_set():
            others[b"n"] = b"%d" % counted
            counted += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        file.load("rows", pairs(shuffled(ROWS)), buffer_size=1 << 20)
    finally:
        done.set()
        thread.join()
    assert counted > 0
    assert others[b"n"] == b"%d" % (counted - 1)
    assert sum(1 for _ in file["rows"].keys()) == ROWS
