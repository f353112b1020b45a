"""What a keyspace offers, alone and inside a transaction: every test here runs on both."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator

import pytest

import keel

Rows = keel.Keyspace | keel.TransactionKeyspace


@pytest.fixture(params=["alone", "in a transaction"])
def rows(db: keel.Database, request: pytest.FixtureRequest) -> Iterator[Rows]:
    if request.param == "alone":
        yield db["rows"]
    else:
        with db.transaction() as txn:
            yield txn["rows"]


def test_single_keys(rows: Rows) -> None:
    assert rows.get(b"k") is None
    assert rows.get(b"k", 7) == 7
    assert b"k" not in rows
    with pytest.raises(keel.NotFoundError, match=r"no value for key b'k'") as error:
        rows[b"k"]
    assert isinstance(error.value, KeyError)
    assert error.value.code == -201
    rows[b"k"] = b"v"
    assert (rows[b"k"], rows.get(b"k"), b"k" in rows) == (b"v", b"v", True)
    rows.put(b"k", b"w")
    assert rows[b"k"] == b"w"
    del rows[b"k"]
    with pytest.raises(KeyError):
        del rows[b"k"]
    rows.delete(b"k")
    assert rows.get(b"k") is None


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 5000, 3_000_000])
def test_values_of_every_size(rows: Rows, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    rows[b"k"] = value
    assert rows[b"k"] == value
    assert rows.get_many([b"k"]) == [value]
    assert list(rows.values()) == [value]
    with rows.view(b"k") as view:
        assert bytes(view) == value
        assert len(view) == view.nbytes == size


def test_empty_key_and_longest_key(rows: Rows) -> None:
    longest = b"k" * keel.MAX_KEY_SIZE
    rows[b""] = b"empty"
    rows[longest] = b"longest"
    assert list(rows.items()) == [(b"", b"empty"), (longest, b"longest")]
    with pytest.raises(keel.KeySizeError) as error:
        rows[longest + b"k"] = b""
    assert isinstance(error.value, ValueError)
    with pytest.raises(keel.KeySizeError):
        rows.put_many([(longest + b"k", b"")])
    assert list(rows.keys()) == [b"", longest]


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: array.array("B", b)])
def test_buffers_are_accepted(rows: Rows, make: type) -> None:
    rows[make(b"k1")] = make(b"v1")
    rows.put_many([(make(b"k2"), make(b"v2"))])
    rows.put_many({b"k3": make(b"v3")})
    assert rows[make(b"k1")] == b"v1"
    assert make(b"k2") in rows
    assert rows.get_many([make(b"k1"), make(b"k9")]) == [b"v1", None]
    assert list(rows.keys(make(b"k2"), make(b"k3"))) == [b"k2"]
    assert list(rows.keys(prefix=make(b"k"))) == [b"k1", b"k2", b"k3"]
    assert type(rows[b"k1"]) is bytes
    rows.delete(make(b"k1"))
    assert rows.delete_range(make(b"k2"), make(b"k3")) == 1
    assert list(rows) == [b"k3"]


def test_text_is_refused(rows: Rows) -> None:
    uses: list[Callable[[], object]] = [
        lambda: rows["k"],  # type: ignore[index]
        lambda: rows.put("k", b"v"),  # type: ignore[arg-type]
        lambda: rows.get_many(["k"]),  # type: ignore[list-item]
        lambda: rows.put_many([("k", b"v")]),  # type: ignore[list-item]
        lambda: rows.items("k"),  # type: ignore[arg-type]
        lambda: rows.view("k"),  # type: ignore[arg-type]
        lambda: "k" in rows,  # type: ignore[operator]
    ]
    for use in uses:
        with pytest.raises(TypeError, match=r"must be bytes-like, not str: encode it"):
            use()
    with pytest.raises(TypeError, match="value must be bytes-like, not str"):
        rows[b"k"] = "v"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="value must be bytes-like, not int"):
        rows[b"k"] = 5  # type: ignore[assignment]
    with pytest.raises(TypeError, match="key must be bytes-like, not NoneType"):
        rows.get(None)  # type: ignore[call-overload]
    assert list(rows) == []


def test_a_strided_buffer_is_refused(rows: Rows) -> None:
    with pytest.raises(BufferError):
        rows[memoryview(b"abcdef")[::2]] = b""


def fill(rows: Rows, count: int) -> dict[bytes, bytes]:
    content = {b"%05d" % i: b"v%d" % i for i in range(count)}
    rows.put_many(content)
    return content


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 320, 5000])
def test_ranges_of_every_size(rows: Rows, count: int) -> None:
    content = fill(rows, count)
    assert dict(rows.items()) == content
    assert list(rows.items()) == list(content.items())
    assert list(rows.keys()) == list(rows) == list(content)
    assert list(rows.values()) == list(content.values())
    assert list(rows.items(reverse=True)) == list(reversed(content.items()))
    assert list(reversed(rows)) == list(reversed(content))


def test_bounds(rows: Rows) -> None:
    keys = [b"a", b"ab", b"abc", b"b", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]
    rows.put_many((key, b"") for key in keys)
    for start in [None, b"", *keys, b"bb"]:
        for stop in [None, b"", *keys, b"bb"]:
            for prefix in [None, b"", b"a", b"ab", b"b", b"b\xff", b"\xff", b"x"]:
                expected = [
                    key
                    for key in keys
                    if (start is None or key >= start)
                    and (stop is None or key < stop)
                    and (prefix is None or key.startswith(prefix))
                ]
                found = list(rows.keys(start, stop, prefix=prefix))
                assert found == expected, (start, stop, prefix)
                assert list(rows.keys(start, stop, prefix=prefix, reverse=True)) == expected[::-1], (
                    start,
                    stop,
                    prefix,
                )


@pytest.mark.parametrize("prefix", [b"", b"a", b"b\xff", b"\xff", b"\xff\xff", b"x"])
@pytest.mark.parametrize(
    "start,stop", [(None, None), (b"ab", None), (None, b"b\xff\xff"), (b"b", b"c"), (b"c", b"a")]
)
def test_delete_range(rows: Rows, prefix: bytes, start: bytes | None, stop: bytes | None) -> None:
    keys = {b"a", b"ab", b"abc", b"b", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"}
    rows.put_many((key, b"") for key in keys)
    gone = {
        key
        for key in keys
        if key.startswith(prefix) and (start is None or key >= start) and (stop is None or key < stop)
    }
    assert rows.delete_range(start, stop, prefix=prefix) == len(gone)
    assert set(rows) == keys - gone


def test_delete_range_wants_a_bound(rows: Rows) -> None:
    fill(rows, 10)
    with pytest.raises(TypeError, match="clear"):
        rows.delete_range()
    assert rows.clear() == 10
    assert list(rows) == []


def test_many(rows: Rows) -> None:
    content = fill(rows, 40_000)  # more than one chunk
    keys = list(content)
    assert rows.get_many(keys) == list(content.values())
    assert rows.get_many(iter([b"nope", keys[5], b""])) == [None, content[keys[5]], None]
    assert rows.get_many([]) == []
    rows.write_many([(keys[0], None), (b"new", b"1"), (keys[1], None)])
    assert rows.get_many([keys[0], b"new", keys[1]]) == [None, b"1", None]
    rows.delete_many(keys)
    assert list(rows) == [b"new"]


def test_large_values_among_many(rows: Rows) -> None:
    large = b"L" * (3 << 20)
    rows.write_many([(b"a", b"1"), (b"b", large), (b"a", b"2"), (b"c", b"3"), (b"b", large[:-1])])
    assert rows.get_many([b"a", b"b", b"c"]) == [b"2", large[:-1], b"3"]


def test_bad_operations(rows: Rows) -> None:
    with pytest.raises(ValueError, match="must be a .key, value. pair, not 3 items"):
        rows.write_many([(b"a", b"b", b"c")])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        rows.write_many([5])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        rows.write_many(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        rows.get_many(5)  # type: ignore[arg-type]

    def failing() -> Iterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rows.get_many(failing())
    with pytest.raises(ZeroDivisionError):
        rows.put_many((key, b"") for key in failing())


def test_half_consumed_ranges(db: keel.Database, rows: Rows) -> None:
    fill(rows, 500)
    before = db.stats().snapshots_live
    dropped = rows.items()
    next(dropped)
    never_started = rows.keys()
    closed = rows.values()
    next(closed)
    closed.close()
    with pytest.raises(StopIteration):
        next(closed)
    abandoned = rows.items()
    del dropped, never_started, abandoned
    assert db.stats().snapshots_live == before


def test_two_ranges_at_once(rows: Rows) -> None:
    content = fill(rows, 300)
    pairs = list(zip(rows.keys(), rows.keys(reverse=True), strict=True))
    assert pairs == list(zip(content, reversed(content), strict=True))
