"""Values in parts: reading some of them, files over them, writing them from streams."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import keel

SIZE = (3 << 20) + 12_345


def body(size: int = SIZE, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture(params=["memory", "file"])
def values(request: pytest.FixtureRequest, path: Path) -> Iterator[keel.Keyspace]:
    """A keyspace with b"large", in memory, or in the pages of a file."""
    with keel.open(":memory:" if request.param == "memory" else path) as db:
        db["values"].put(b"large", body())
        db["values"].put(b"small", b"0123456789")
        if request.param == "file":
            db.make_checkpoint()
        yield db["values"]


def test_parts(values: keel.Keyspace) -> None:
    whole = body()
    for offset, size in [(0, 0), (0, 1), (65535, 2), (65536, 65536), (100, 1 << 20), (SIZE - 5, 100), (SIZE, 1), (1 << 60, 9)]:
        assert values.get_part(b"large", offset, size) == whole[offset : offset + size]
    assert values.get_part(b"small", 3, 4) == b"3456"
    assert values.get_part(b"small", 8, 1 << 62) == b"89"
    with pytest.raises(keel.NotFoundError):
        values.get_part(b"absent", 0, 1)
    with pytest.raises(ValueError, match="negative"):
        values.get_part(b"large", -1, 1)


def test_parts_see_the_writes_of_their_transaction(values: keel.Keyspace) -> None:
    with values.database.transaction() as txn:
        txn[values][b"large"] = b"abc"
        assert txn[values].get_part(b"large", 1, 9) == b"bc"
        assert txn.get_part(values, b"large", 2, 9) == b"c"
        assert values.get_part(b"large", 1, 9) == body()[1:10]


def test_a_value_is_a_file(values: keel.Keyspace) -> None:
    whole, expected = body(), io.BytesIO(body())
    chance = random.Random(2)
    with values.open_value(b"large") as file:
        assert file.size == SIZE
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        for _ in range(200):
            if chance.random() < 0.3:
                place = chance.choice([(chance.randrange(SIZE), os.SEEK_SET), (-5, os.SEEK_END), (3, os.SEEK_CUR)])
                assert file.seek(*place) == expected.seek(*place)
            size = chance.choice([0, 1, 4096, 65536, 70_001])
            assert file.read(size) == expected.read(size)
            assert file.tell() == expected.tell()
        file.seek(10)
        assert file.read() == whole[10:]
        assert file.read(5) == b""
        with pytest.raises(ValueError, match="before"):
            file.seek(-1)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 9)
    for call in (file.readall, file.tell, file.readable, file.seekable, lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(keel.NotFoundError):
        values.open_value(b"absent")


def test_files_fit_the_standard_library(values: keel.Keyspace) -> None:
    values.put(b"text", "größe\nzwei\n".encode())
    with values.open_value(b"text") as file:
        assert [*io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8")] == ["größe\n", "zwei\n"]
    with values.open_value(b"large") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(body()).digest()


def test_an_open_value_is_of_one_snapshot(values: keel.Keyspace) -> None:
    with values.open_value(b"large") as file:
        first = file.read(100_000)
        values.put(b"large", b"other")
        if values.database.path != ":memory:":
            values.database.make_checkpoint()
        assert first + file.read() == body()
    assert values[b"large"] == b"other"


def test_an_open_value_ends_with_its_transaction(values: keel.Keyspace) -> None:
    with values.database.transaction() as txn:
        file = txn[values].open_value(b"large")
        assert file.read(3) == body()[:3]
    with pytest.raises(keel.FinishedError):
        file.read(3)
    file.close()


def test_forgotten_files_let_their_snapshot_go(values: keel.Keyspace) -> None:
    file = values.open_value(b"large")
    assert values.database.stats().snapshots_live == 1
    del file
    gc.collect()
    assert values.database.stats().snapshots_live == 0


@pytest.mark.parametrize("source", ["file", "pieces", "memoryviews"])
def test_streams(values: keel.Keyspace, source: str) -> None:
    whole = body(seed=3)
    pieces = [whole[i : i + 100_001] for i in range(0, SIZE, 100_001)]
    if source == "file":
        values.put_stream(b"new", SIZE, io.BytesIO(whole))
    elif source == "pieces":
        values.put_stream(b"new", SIZE, iter(pieces))
    else:
        values.put_stream(b"new", SIZE, [memoryview(piece) for piece in pieces])
    assert values[b"new"] == whole
    values.put_stream(b"empty", 0, [])
    assert values[b"empty"] == b""


def test_a_value_is_copied_by_its_file(values: keel.Keyspace) -> None:
    with values.open_value(b"large") as file:
        values.put_stream(b"copy", file.size, file)
    assert values[b"copy"] == body()


def test_streams_that_do_not_fit_leave_nothing(values: keel.Keyspace) -> None:
    with pytest.raises(keel.InvalidError, match="too many"):
        values.put_stream(b"new", 5, [b"abc", b"def"])
    with pytest.raises(keel.InvalidError, match="write the others"):
        values.put_stream(b"new", 7, [b"abc", b"def"])
    with pytest.raises(ValueError, match="negative"):
        values.put_stream(b"new", -1, [])
    with pytest.raises(keel.ValueSizeError):
        values.put_stream(b"new", keel.MAX_LARGE_VALUE_SIZE + 1, [])
    for wrong in (b"bytes", "text"):
        with pytest.raises(TypeError, match="put"):
            values.put_stream(b"new", 5, wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes-like"):
        values.put_stream(b"new", 5, ["text"])  # type: ignore[list-item]

    def fails() -> Iterator[bytes]:
        yield b"abc"
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="gone"):
        values.put_stream(b"new", 5, fails())
    assert b"new" not in values
    with values.database.transaction() as txn, pytest.raises(keel.InvalidError):
        txn[values].put_stream(b"new", 5, [b"abc"])
    assert b"new" not in values


def test_one_transaction_writes_several(values: keel.Keyspace) -> None:
    with values.database.transaction() as txn:
        for number in range(3):
            txn[values].put_stream(b"%d" % number, 100_000, io.BytesIO(body(100_000, number)))
        assert txn[values].get_part(b"1", 500, 10) == body(100_000, 1)[500:510]
    for number in range(3):
        assert values[b"%d" % number] == body(100_000, number)


def test_threads_read_the_same_value(values: keel.Keyspace) -> None:
    whole, wrong = body(), []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        with values.open_value(b"large") as file:
            for _ in range(50):
                file.seek(chance.randrange(SIZE))
                place = file.tell()
                if file.read(9_000) != whole[place : place + 9_000]:
                    wrong.append(place)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
