"""No call leaks an object or a handle, whether it succeeds or fails."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import keel
from keel import _raw


def quietly(call: Callable[[], object]) -> Callable[[], None]:
    """The call, with its error swallowed."""

    def run() -> None:
        try:
            call()
        except (keel.Error, TypeError, ValueError, BufferError, ZeroDivisionError):
            pass

    return run


def failing() -> Iterator[bytes]:
    yield b"a"
    raise ZeroDivisionError


def calls(db: keel.Database, txn: keel.Transaction, writing: keel.Transaction) -> dict[str, Callable[[], object]]:
    rows = db["rows"]
    inside, outside = writing[rows], txn[rows]
    inside.put_many((b"%03d" % i, b"v" * i) for i in range(300))
    inside.put(b"large", b"L" * 100_000)
    rows.put(b"committed", b"v")

    def views() -> None:
        view = inside.view(b"large")
        memory = memoryview(view)
        quietly(view.release)()
        memory.release()
        view.release()

    def transactions() -> None:
        db.begin().rollback()
        db.begin(label="label").commit()

    def loads() -> None:
        db.load("loaded", [(b"a", bytearray(b"1")), (b"large", b"L" * (1 << 20))], replace=True)
        with db.loading("loaded", replace=True) as loader:
            loader.put(bytearray(b"k"), bytearray(b"v"))
            loader.put_many({b"a": b"1"})

    def half_read() -> None:
        next(inside.items())
        next(rows.keys())
        outside.items()
        rows.values()

    return {
        "get": lambda: (inside.get(b"001"), inside.get(b"nope"), inside.get(b"large"), inside.get(bytearray(b"001"))),
        "get, failing": quietly(lambda: inside[b"nope"]),
        "get of text": quietly(lambda: _raw.get(txn._handle, rows._handle, "text")),  # type: ignore[arg-type]
        "get with a bad handle": quietly(lambda: _raw.get(1, rows._handle, bytearray(b"x"))),
        "get with too few arguments": quietly(lambda: _raw.get(1)),  # type: ignore[call-arg]
        "contains": lambda: (b"001" in inside, bytearray(b"nope") in inside),
        "get_many": lambda: inside.get_many([b"001", b"nope", bytearray(b"002"), b"large"]),
        "get_many, failing": quietly(lambda: inside.get_many(failing())),
        "get_many of text": quietly(lambda: inside.get_many([b"001", "text"])),  # type: ignore[list-item]
        "ranges": lambda: (list(inside.items()), list(inside.keys(b"1", b"2")), list(inside.values(reverse=True))),
        "ranges, half-read": half_read,
        "ranges, failing": quietly(lambda: inside.items(b"k" * 5000)),
        "views": views,
        "views, failing": quietly(lambda: inside.view(b"nope")),
        "put": lambda: writing.put(rows, bytearray(b"k"), bytearray(b"v")),
        "put, failing": quietly(lambda: writing.put(rows, bytearray(5000), bytearray(b"v"))),
        "put of text": quietly(lambda: writing.put(rows, bytearray(b"k"), "text")),  # type: ignore[arg-type]
        "write_many": lambda: writing[rows].write_many([(b"a", bytearray(b"1")), (bytearray(b"b"), None)]),
        "write_many, failing": quietly(lambda: writing[rows].write_many([(b"a", b"1"), (b"k" * 5000, None)])),
        "write_many of text": quietly(lambda: writing[rows].write_many([(b"a", "text")])),  # type: ignore[list-item]
        "write_many of triples": quietly(lambda: writing[rows].write_many([(1, 2, 3)])),  # type: ignore[list-item]
        "loads": loads,
        "loads, failing": quietly(lambda: db.load("failing", ((key, b"1") for key in failing()))),
        "loads of text": quietly(lambda: db.load("failing", [(b"a", "text")])),  # type: ignore[list-item]
        "loads of triples": quietly(lambda: db.load("failing", [(1, 2, 3)])),  # type: ignore[list-item]
        "loads, badly named": quietly(lambda: db.load("", [])),
        "verify": db.verify,
        "verify, failing": quietly(lambda: db.verify(progress=lambda report: next(failing()) and 1 / 0)),
        "salvage, failing": quietly(lambda: keel.salvage("/nope/nope/nope", bytearray())),  # type: ignore[arg-type]
        "transactions": transactions,
        "a finished transaction": quietly(lambda: _raw.commit(0)),
        "keyspaces": lambda: (db["rows"], db.keyspaces(), db.stats(), db.last_checkpoint()),
        "keyspaces, failing": quietly(lambda: db.keyspace("nope", create=False)),
        "databases": lambda: keel.open(":memory:").close(),
        "databases, failing": quietly(lambda: keel.open("/nope/nope/nope")),
        "databases, badly named": quietly(lambda: keel.open("a\0b")),
    }


@contextmanager
def open_calls() -> Iterator[tuple[keel.Database, dict[str, Callable[[], object]]]]:
    with keel.open(":memory:") as db, db.begin(read_only=True) as txn, db.begin() as writing:
        yield db, calls(db, txn, writing)
        writing.rollback()


with open_calls() as (_, _calls):
    NAMES = list(_calls)


@pytest.mark.parametrize("name", NAMES)
def test_no_call_leaks(name: str) -> None:
    rounds = 20 if name in ("databases", "loads") else 300
    with open_calls() as (db, every):
        call = every[name]
        growths = []
        tracemalloc.start()
        try:
            before_stats = db.stats()
            for _ in range(4):
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(rounds):
                    call()
                gc.collect()
                growths.append(tracemalloc.get_traced_memory()[0] - before)
            after_stats = db.stats()
        finally:
            tracemalloc.stop()
    # A leak shows in every window, by 16 bytes a call at least; the interpreter's free lists fill up in some of them
    # only.
    assert min(growths) < rounds * 8, f"{growths} bytes after {rounds} calls each"
    assert after_stats.views_live == before_stats.views_live
    assert after_stats.transactions_live == before_stats.transactions_live
    assert after_stats.snapshots_live == before_stats.snapshots_live
