"""Transactions: atomicity, isolation, ends, retry."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest

import keel


def test_commit_at_the_end_of_the_block(db: keel.Database, rows: keel.Keyspace) -> None:
    with db.transaction() as txn:
        txn[rows][b"k"] = b"v"
        txn["more"][b"l"] = b"w"
        assert txn[rows][b"k"] == b"v"
        assert b"k" not in rows
        assert txn.is_open
    assert not txn.is_open
    assert txn.timestamp
    assert rows[b"k"] == b"v"
    assert db["more"][b"l"] == b"w"


def test_rollback_when_the_block_raises(db: keel.Database, rows: keel.Keyspace) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as txn:
        txn[rows][b"k"] = b"v"
        raise ZeroDivisionError
    assert not txn.is_open
    assert b"k" not in rows


def test_explicit_ends(db: keel.Database, rows: keel.Keyspace) -> None:
    txn = db.begin()
    txn.put(rows, b"k", b"v")
    first = txn.commit()
    second = db.begin()
    second.put(rows, b"k", b"w")
    second.rollback()
    third = db.begin()
    assert third.get(rows, b"k") == b"v"
    assert third.commit() == 0
    assert first > 0
    with db.transaction() as early:
        early.put(rows, b"k", b"x")
        early.rollback()
    with db.transaction() as early:
        early.commit()
    assert rows[b"k"] == b"v"


def test_shortcuts(db: keel.Database, rows: keel.Keyspace) -> None:
    with db.transaction() as txn:
        assert txn.database is db
        txn.put(rows, b"k", b"v")
        assert txn.get(rows, b"k") == b"v"
        assert txn.get(rows, b"l", b"default") == b"default"
        assert txn.get_many(rows, [b"k", b"l"]) == [b"v", None]
        with txn.view(rows, b"k") as view:
            assert bytes(view) == b"v"
        with pytest.raises(KeyError):
            txn.view(rows, b"l")
        txn.delete(rows, b"k")
        assert txn.get(rows, b"k") is None
        assert txn[rows].transaction is txn


def test_a_finished_transaction_says_so(db: keel.Database, rows: keel.Keyspace) -> None:
    txn = db.begin()
    inside = txn[rows]
    inside[b"k"] = b"v"
    half_read = inside.items()
    txn.commit()
    uses: list[Callable[[], object]] = [
        txn.commit,
        txn.rollback,
        lambda: inside[b"k"],
        lambda: inside.put(b"k", b"w"),
        lambda: inside.get_many([]),
        lambda: inside.write_many([]),
        lambda: inside.items(),
        lambda: inside.clear(),
        lambda: next(half_read),
        lambda: inside.view(b"k"),
    ]
    for use in uses:
        with pytest.raises(keel.FinishedError):
            use()
    assert rows[b"k"] == b"v"


def test_read_only(db: keel.Database, rows: keel.Keyspace) -> None:
    rows[b"k"] = b"v"
    with db.transaction(read_only=True) as txn:
        assert txn.read_only
        rows[b"k"] = b"w"
        assert txn.get(rows, b"k") == b"v"
        with pytest.raises(keel.ReadOnlyError):
            txn.put(rows, b"k", b"x")


def test_options_are_checked(db: keel.Database) -> None:
    with pytest.raises(ValueError, match="isolation must be one of 'serializable'"):
        db.begin(isolation="chaos")  # type: ignore[arg-type]
    with pytest.raises(keel.InvalidError):
        db.begin(label="x" * (keel.MAX_LABEL_SIZE + 1))
    with pytest.raises(TypeError):
        db.begin(label=b"bytes")  # type: ignore[arg-type]
    db.begin(isolation="snapshot", durability="none", label="näme").rollback()
    assert db.stats().transactions_live == 0


def test_foreign_keyspace(db: keel.Database, rows: keel.Keyspace) -> None:
    with keel.open(":memory:") as other, other.transaction() as txn, pytest.raises(keel.HandleError):
        txn.get(rows, b"k")


def test_an_abandoned_transaction_warns_and_rolls_back(db: keel.Database, rows: keel.Keyspace) -> None:
    txn = db.begin()
    txn.put(rows, b"k", b"v")
    with pytest.warns(ResourceWarning, match="neither committed nor rolled back"):
        del txn
        gc.collect()
    assert db.stats().transactions_live == 0
    assert b"k" not in rows


def test_conflict(db: keel.Database, rows: keel.Keyspace) -> None:
    rows[b"k"] = b"0"
    txn = db.begin()
    txn.put(rows, b"k", txn[rows][b"k"] + b"1")
    rows[b"k"] = b"2"
    with pytest.raises(keel.ConflictError) as error:
        txn.commit()
    assert error.value.retryable
    assert error.value.name == "conflict"
    assert isinstance(error.value, keel.TransactionError)
    assert not txn.is_open
    assert rows[b"k"] == b"2"


def test_transact_runs_again(db: keel.Database, rows: keel.Keyspace) -> None:
    rows[b"k"] = b"0"
    attempts = []

    def append(txn: keel.Transaction) -> int:
        attempts.append(txn.attempt)
        txn.put(rows, b"k", txn[rows][b"k"] + b"+")
        if txn.attempt < 4:
            rows[b"k"] = rows[b"k"] + b"!"  # someone else gets in between
        return txn.attempt

    assert db.transact(append) == 4
    assert attempts == [1, 2, 3, 4]
    assert rows[b"k"] == b"0!!!+"
    assert db.stats().conflicts == 3


def test_transact_gives_up(db: keel.Database, rows: keel.Keyspace) -> None:
    def lose(txn: keel.Transaction) -> None:
        txn.put(rows, b"k", b"mine")
        rows[b"k"] = b"theirs"

    with pytest.raises(keel.ConflictError) as error:
        db.transact(lose, retries=2)
    assert error.value.attempts == 3
    assert error.value.__notes__ == ["the transaction ran 3 times and lost each time"]
    assert rows[b"k"] == b"theirs"
    assert db.stats().transactions_live == 0


def test_transact_passes_other_errors_on(db: keel.Database, rows: keel.Keyspace) -> None:
    runs = []

    def fail(txn: keel.Transaction) -> None:
        runs.append(txn.attempt)
        txn.put(rows, b"k", b"v")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.transact(fail)

    def misuse(txn: keel.Transaction) -> None:
        runs.append(txn.attempt)
        txn.put(rows, b"k" * 2000, b"v")

    with pytest.raises(keel.KeySizeError):
        db.transact(misuse)
    assert runs == [1, 1]
    assert b"k" not in rows
    assert db.stats().transactions_live == 0


def test_transact_wants_plain_functions(db: keel.Database) -> None:
    async def coroutine(txn: keel.Transaction) -> None: ...

    with pytest.raises(TypeError, match="not coroutines"):
        db.transact(coroutine)  # type: ignore[unused-coroutine]
    with pytest.raises(TypeError, match="not coroutines"):
        keel.transactional(coroutine)


@keel.transactional
def add(txn: keel.Transaction, rows: keel.Keyspace, key: bytes, amount: int) -> int:
    """Add to a number."""
    total = int(txn.get(rows, key, b"0")) + amount
    txn.put(rows, key, b"%d" % total)
    return total


@keel.transactional(retries=3, label="both")
def add_to_both(txn: keel.Transaction, rows: keel.Keyspace, amount: int) -> None:
    add(txn, rows, b"a", amount)
    add(txn, rows, b"b", -amount)
    if amount > 100:
        raise ValueError("too much")


def test_transactional_functions_compose(db: keel.Database, rows: keel.Keyspace) -> None:
    assert add(db, rows, b"a", 5) == 5
    add_to_both(db, rows, 10)
    assert dict(rows.items()) == {b"a": b"15", b"b": b"-10"}
    with pytest.raises(ValueError, match="too much"):
        add_to_both(db, rows, 1000)
    assert dict(rows.items()) == {b"a": b"15", b"b": b"-10"}
    assert add.__doc__ == "Add to a number."


def test_increments_from_threads_are_not_lost(db: keel.Database, rows: keel.Keyspace) -> None:
    threads, rounds = 4, 50
    start = threading.Barrier(threads)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            for _ in range(rounds):
                db.transact(lambda txn: add(txn, rows, b"n", 1), retries=1000)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert rows[b"n"] == b"%d" % (threads * rounds)


def test_blind_autocommit_writes_from_threads(db: keel.Database, rows: keel.Keyspace) -> None:
    failures: list[BaseException] = []

    def work(name: bytes) -> None:
        try:
            for i in range(100):
                rows[b"shared"] = name
                rows[name + b"%d" % i] = b"v"
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(b"%d/" % n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert len(list(rows)) == 401
