"""A database that is many times larger than what is committed between two drains, and than the page cache."""

from __future__ import annotations

import gc
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keel

ROWS = 200_000
COMMIT = 2_000
VALUE = 100
DELTA = 64 << 10
CACHE = 8 << 20  # the least that there is; the rows alone are three times as much


def key(number: int) -> bytes:
    return b"row %08d" % number


def value(number: int) -> bytes:
    return (b"value of %d " % number * 12)[:VALUE]


def reopen(path: Path) -> keel.Database:
    return keel.open(path, create=False, cache_size=CACHE, delta_size=DELTA)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database that was loaded in random order, and closed."""
    path = tmp_path_factory.mktemp("loaded") / "rows.keel"
    order = list(range(ROWS))
    random.Random(1).shuffle(order)
    with keel.open(path, durability="none", cache_size=CACHE, delta_size=DELTA) as db:
        rows = db["rows"]
        for start in range(0, ROWS, COMMIT):
            rows.put_many((key(n), value(n)) for n in order[start : start + COMMIT])
        stats = db.stats()
        assert stats.checkpoints > 3
        assert stats.drain_failures == 0
        assert stats.cache_limit == CACHE
    assert [file.name for file in path.parent.iterdir()] == ["rows.keel"], "a clean close leaves one file"
    assert path.stat().st_size > ROWS * VALUE
    return path


@pytest.fixture
def copy(loaded: Path, path: Path) -> Path:
    """The file alone, under another name."""
    return Path(shutil.copy(loaded, path))


@pytest.fixture
def db(copy: Path) -> Iterator[keel.Database]:
    with reopen(copy) as database:
        yield database


def test_the_file_alone_is_the_database(copy: Path) -> None:
    with keel.open(copy, read_only=True) as db:
        assert db.last_checkpoint().log_needed == 0
        assert db.keyspaces() == ["rows"]
        assert sum(1 for _ in db["rows"].keys()) == ROWS
        assert db.stats().recovery_bytes == 0
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


def test_scans_in_both_directions(db: keel.Database) -> None:
    rows = db["rows"]
    expected = [(key(n), value(n)) for n in range(ROWS)]
    assert list(rows.items()) == expected
    expected.reverse()
    assert list(rows.items(reverse=True)) == expected
    assert list(rows.items(key(150_000), key(150_003))) == [(key(n), value(n)) for n in range(150_000, 150_003)]
    stats = db.stats()
    assert stats.cache_loads > 0
    assert stats.cache_evictions > 0, "the scans did not fit into the cache"


def test_lookups_in_random_order(db: keel.Database) -> None:
    rows = db["rows"]
    wanted = random.Random(2).sample(range(2 * ROWS), 50_000)
    with db.transaction(read_only=True) as txn:
        found = txn[rows].get_many(key(n) for n in wanted)
        assert found == [value(n) if n < ROWS else None for n in wanted]
        for n in wanted[:5_000]:
            assert txn[rows].get(key(n)) == (value(n) if n < ROWS else None)
            assert (key(n) in txn[rows]) == (n < ROWS)


def scan(db: keel.Database) -> int:
    return sum(1 for _ in db["rows"].items())


def test_views_outlive_eviction_and_close(copy: Path) -> None:
    big = random.Random(3).randbytes(3 << 20)
    with reopen(copy) as db:
        rows = db["rows"]
        rows[b"big"] = big
        db.make_checkpoint()
        pinned = {n: rows.view(key(n)) for n in range(0, ROWS, 5_000)}
        large = rows.view(b"big")
        with db.transaction() as txn:
            assert txn[rows].delete_range(key(0), key(100_000)) == 100_000
            txn[rows].put_many((key(n), b"new") for n in range(100_000, ROWS, 100))
        del rows[b"big"]
        db.make_checkpoint()
        scan(db)
        scan(db)
        assert db.stats().cache_evictions > 0
        assert db.stats().views_live == len(pinned) + 1
    gc.collect()
    for n, view in pinned.items():
        assert bytes(view) == value(n)
    assert memoryview(large) == big
    for view in pinned.values():
        view.release()
    del large, view
    with reopen(copy) as db:
        assert db["rows"].get(key(0)) is None
        assert db["rows"][key(100_000)] == b"new"
        assert b"big" not in db["rows"]


def test_a_snapshot_outlives_checkpoints(db: keel.Database) -> None:
    rows = db["rows"]
    with db.transaction(read_only=True) as snapshot:
        before = db.stats().checkpoints
        for round_number in range(5):
            rows.put_many((key(n), b"%d" % round_number) for n in range(0, ROWS, 50))
            db.make_checkpoint()
        assert db.stats().checkpoints >= before + 5
        for n in range(0, ROWS, 1_000):
            assert snapshot[rows][key(n)] == value(n)
        assert all(found == value(n) for n, found in enumerate(snapshot[rows].values()))
    assert rows[key(0)] == b"4"


def delete_every_seventh(rows: keel.Keyspace) -> set[int]:
    gone = set(range(0, ROWS, 7))
    rows.delete_many(key(n) for n in gone)
    return gone


def delete_a_range(rows: keel.Keyspace) -> set[int]:
    assert rows.delete_range(key(30_000), key(130_000)) == 100_000
    return set(range(30_000, 130_000))


def delete_all(rows: keel.Keyspace) -> set[int]:
    assert rows.clear() == ROWS
    return set(range(ROWS))


@pytest.mark.parametrize("delete", [delete_every_seventh, delete_a_range, delete_all])
def test_deletes(copy: Path, delete: Callable[[keel.Keyspace], set[int]]) -> None:
    with reopen(copy) as db:
        rows = db["rows"]
        gone = delete(rows)
        left = [key(n) for n in range(ROWS) if n not in gone]
        assert list(rows) == left
        db.make_checkpoint()
        assert list(reversed(rows)) == left[::-1]
        assert rows.get_many(key(n) for n in range(0, ROWS, 11)) == [
            None if n in gone else value(n) for n in range(0, ROWS, 11)
        ]
    with reopen(copy) as db:
        assert list(db["rows"]) == left


def test_a_checkpoint_empties_the_log(path: Path) -> None:
    with keel.open(path) as db:
        db["rows"].put_many((key(n), value(n)) for n in range(1_000))
        before = db.last_checkpoint()
        db.make_checkpoint()
        after = db.last_checkpoint()
        assert after.sequence > before.sequence
        assert after.timestamp == db.stats().visible_timestamp
        assert after.log_position > before.log_position
        assert db.stats().delta_keys == 0
    with keel.open(path, read_only=True) as db, pytest.raises(keel.ReadOnlyError):
        db.make_checkpoint()
    with keel.open(":memory:") as db:
        db["rows"][b"k"] = b"v"
        db.make_checkpoint()
        assert db["rows"][b"k"] == b"v"
    with pytest.raises(keel.ClosedError):
        db.make_checkpoint()


def test_compact_makes_the_file_short(copy: Path) -> None:
    before = copy.stat().st_size
    with reopen(copy) as db:
        rows = db["rows"]
        with db.transaction() as txn:
            txn[rows].delete_range(key(0), key(ROWS - 1_000))
        db.compact()
        assert copy.stat().st_size < before / 20
        assert list(rows) == [key(n) for n in range(ROWS - 1_000, ROWS)]
    with pytest.raises(keel.ClosedError):
        db.compact()
    with keel.open(copy, read_only=True) as db, pytest.raises(keel.ReadOnlyError):
        db.compact()


def test_the_cache_grows_and_shrinks_when_told(copy: Path) -> None:
    with reopen(copy) as db:
        rows = db["rows"]
        db.set_cache_size(64 << 20)
        assert len(list(rows)) == len(list(rows))
        wide = db.stats()
        assert wide.cache_limit == 64 << 20
        db.set_cache_size(1)
        narrow = db.stats()
        assert narrow.cache_limit == 8 << 20
        assert narrow.cache_resident <= 8 << 20
        assert wide.cache_resident > narrow.cache_resident
        assert rows[key(ROWS - 1)]
        with pytest.raises(keel.InvalidError, match="limit"):
            db.set_cache_size(1 << 60)
        with pytest.raises(OverflowError):
            db.set_cache_size(-1)
    with pytest.raises(keel.ClosedError):
        db.set_cache_size(8 << 20)


def test_the_options_of_a_second_opening_must_agree(path: Path) -> None:
    with keel.open(path, delta_size=DELTA, cache_size=CACHE):
        keel.open(path).close()
        keel.open(path, delta_size=DELTA, cache_size=CACHE).close()
        with pytest.raises(keel.InvalidError, match="delta_size"):
            keel.open(path, delta_size=2 * DELTA)
        with pytest.raises(keel.InvalidError, match="cache_size"):
            keel.open(path, cache_size=2 * CACHE)


def test_threads_of_drains(path: Path) -> None:
    with keel.open(path, drain_threads=3) as db:
        assert db.stats().drain_threads == 3
        with pytest.raises(keel.InvalidError, match="drain_threads"):
            keel.open(path, drain_threads=2)
    with pytest.raises(keel.InvalidError, match="drain_threads"):
        keel.open(path, drain_threads=65)
    with keel.open(":memory:") as db:
        assert db.stats().drain_threads == 1


def test_threads_among_drains(path: Path) -> None:
    """Writers, readers, views and checkpoints at once, through deltas that are drained all the time."""
    keys_each, threads, rounds = 500, 4, 30
    errors: list[BaseException] = []
    with keel.open(path, durability="none", delta_size=DELTA, cache_size=CACHE) as db:
        rows = db["rows"]
        done = threading.Event()

        def row(thread: int, round_number: int) -> bytes:
            return b"%d %d " % (thread, round_number) * 25

        def write(thread: int) -> None:
            for round_number in range(rounds):
                rows.put_many((b"%d %04d" % (thread, n), row(thread, round_number)) for n in range(keys_each))

        def read() -> None:
            while not done.is_set():
                with db.transaction(read_only=True) as txn:
                    here = txn[rows]
                    for thread in range(threads):
                        first = here.get(b"%d 0000" % thread)
                        expected = [first] * (keys_each if first is not None else 0)
                        prefix = b"%d " % thread
                        assert list(here.values(prefix=prefix)) == expected, "a commit is seen whole or not at all"
                        if first is None:
                            continue
                        with here.view(prefix + b"0007") as view:
                            assert view.nbytes == len(first)
                            assert bytes(view) == first
                        assert here.get_many(prefix + b"%04d" % n for n in range(keys_each)) == expected

        def checkpoint() -> None:
            while not done.is_set():
                db.make_checkpoint()

        def run(work: Callable[..., None], *arguments: int) -> threading.Thread:
            def guarded() -> None:
                try:
                    work(*arguments)
                except BaseException as error:
                    errors.append(error)

            thread = threading.Thread(target=guarded)
            thread.start()
            return thread

        others = [run(read), run(read), run(checkpoint)]
        for writer in [run(write, thread) for thread in range(threads)]:
            writer.join()
        done.set()
        for other in others:
            other.join()
        assert errors == []
        assert db.stats().checkpoints > 3
        assert db.stats().views_live == db.stats().snapshots_live == 0
    with reopen(path) as db:
        assert list(db["rows"].values()) == [row(t, rounds - 1) for t in range(threads) for _ in range(keys_each)]
