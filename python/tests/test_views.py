"""Views: pinned values outlive everything, and the buffer protocol never shows memory that has gone."""

from __future__ import annotations

import gc
import struct
from pathlib import Path

import pytest

import keel


def test_buffer_protocol(rows: keel.Keyspace) -> None:
    value = struct.pack("<IHd", 7, 8, 9.5)
    rows[b"k"] = value
    with rows.view(b"k") as view:
        assert struct.unpack_from("<IHd", view) == (7, 8, 9.5)
        assert bytes(view) == value
        assert bytearray(view) == value
        with memoryview(view) as memory:
            assert memory.readonly
            assert memory.format == "B"
            assert memory.nbytes == len(value)
            assert memory[0] == 7
            with pytest.raises(TypeError):
                memory[0] = 1
    rows[b"copy"] = rows.view(b"k")  # a view is a buffer as any other
    assert rows[b"copy"] == value


def test_missing_key(rows: keel.Keyspace) -> None:
    with pytest.raises(keel.NotFoundError):
        rows.view(b"k")


def test_release(db: keel.Database, rows: keel.Keyspace) -> None:
    rows[b"k"] = b"value"
    view = rows.view(b"k")
    assert repr(view) == "<keel.View of 5 bytes>"
    assert db.stats().views_live == 1
    assert not view.released
    view.release()
    view.release()
    assert view.released
    assert db.stats().views_live == 0
    assert repr(view) == "<keel.View released>"
    for use in (memoryview, bytes, len, lambda v: v.nbytes, lambda v: v.__enter__()):
        with pytest.raises(ValueError, match="has been released"):
            use(view)


def test_release_refuses_while_exported(rows: keel.Keyspace) -> None:
    rows[b"k"] = b"value"
    view = rows.view(b"k")
    memory = memoryview(view)
    part = memory[1:3]
    with pytest.raises(BufferError, match="2 exported buffers|1 exported buffers"):
        view.release()
    assert bytes(part) == b"al"
    part.release()
    memory.release()
    view.release()


def test_memoryview_keeps_the_view(db: keel.Database, rows: keel.Keyspace) -> None:
    rows[b"k"] = b"value"
    memory = memoryview(rows.view(b"k"))
    gc.collect()
    assert db.stats().views_live == 1
    assert bytes(memory) == b"value"
    del memory
    assert db.stats().views_live == 0


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 2_000_000])
def test_outlives_transaction_overwrite_and_database(path: Path, size: int) -> None:
    value = bytes(i % 251 for i in range(size))
    with keel.open(path) as db:
        rows = db["rows"]
        rows[b"k"] = value
        with db.transaction() as txn:
            before = txn.view(rows, b"k")
            txn.put(rows, b"k", b"overwritten")
            own = txn.view(rows, b"k")
        rows.delete(b"k")
        for i in range(200):
            rows[b"k"] = b"%d" % i * 50
        db.drop_keyspace("rows")
    gc.collect()
    assert bytes(before) == value
    assert bytes(own) == b"overwritten"
    memory = memoryview(before)
    assert memory == value


def test_view_of_own_write_is_not_changed_by_the_next(db: keel.Database, rows: keel.Keyspace) -> None:
    with db.transaction() as txn:
        txn.put(rows, b"k", b"first value")
        view = txn.view(rows, b"k")
        txn.put(rows, b"k", b"SECOND VALUE")
        assert bytes(view) == b"first value"
    assert bytes(view) == b"first value"


def test_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        keel.View()
