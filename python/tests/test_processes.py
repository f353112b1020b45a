"""Threads, fork, a second process, and what happens when the interpreter ends with things open."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keel

Python = Callable[[str], str]


def test_second_process_is_locked_out(path: Path) -> None:
    program = "import keel, sys\ntry:\n keel.open(sys.argv[1])\nexcept keel.LockedError as e: print(e.name, e)"
    with keel.open(path):
        done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.startswith("locked ")
    assert str(os.getpid()) in done.stdout


def test_reading_and_writing_from_threads(db: keel.Database, rows: keel.Keyspace) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for i in range(300):
                with db.transaction() as txn:
                    txn[rows].put_many((b"%02d" % k, b"%d" % i) for k in range(20))
        except BaseException as error:
            failures.append(error)
        finally:
            stop.set()

    def read() -> None:
        try:
            while not stop.is_set():
                with db.transaction(read_only=True) as txn:
                    seen = {*txn[rows].values(), *txn[rows].get_many(b"%02d" % k for k in range(20))}
                    assert len(seen) == 1, seen
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write), threading.Thread(target=read), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_transaction_may_move_between_threads(db: keel.Database, rows: keel.Keyspace) -> None:
    txn = db.begin()
    for i in range(10):
        thread = threading.Thread(target=txn.put, args=(rows, b"%d" % i, b"v"))
        thread.start()
        thread.join()
    txn.commit()
    assert len(list(rows)) == 10


def test_closing_under_other_threads(path: Path) -> None:
    """Every call gives a result or an error; nothing crashes, and the file is free afterwards."""
    for _ in range(5):
        db = keel.open(path, durability="none")
        rows = db["rows"]
        start = threading.Barrier(4)
        unexpected: list[BaseException] = []

        def work(db: keel.Database = db, rows: keel.Keyspace = rows, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                while True:
                    rows.put_many((b"%d" % i, b"v" * 100) for i in range(50))
                    list(rows.items())
                    rows.get(b"1")
            except (keel.ClosedError, keel.HandleError, keel.FinishedError, keel.ConcurrentUseError):
                pass
            except BaseException as error:
                unexpected.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        start.wait()
        db.close()
        for thread in threads:
            thread.join()
        assert unexpected == []
        keel.open(path, create=False).close()
    # Another process gets in, so nothing has kept the engine.
    subprocess.run(
        [sys.executable, "-c", "import keel, sys; keel.open(sys.argv[1]).close()", path], check=True, timeout=60
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork(python: Python) -> None:
    output = python(
        """
import os, keel
db = keel.open("data.keel")
rows = db["rows"]
rows[b"k"] = b"v"
txn = db.begin()
half_read = rows.items()
next(half_read)
view = rows.view(b"k")
child = os.fork()
if child == 0:
    uses = [lambda: rows[b"k"], lambda: rows.put(b"k", b"w"), db.stats, db.flush, txn.commit, txn.rollback, db.begin,
            lambda: db["rows"], lambda: txn.get(rows, b"k"), lambda: txn[rows].put_many([(b"a", b"b")])]
    for use in uses:
        try:
            use()
        except keel.ForkedError:
            pass
        else:
            os._exit(1)
    assert bytes(view) == b"v"
    del half_read, view, txn
    db.close()
    del rows, db
    # A new opening in the child is the child's own.
    with keel.open(":memory:") as own:
        own["rows"][b"k"] = b"child"
        assert own["rows"][b"k"] == b"child"
    raise SystemExit(0)
assert os.waitpid(child, 0)[1] == 0
txn.put(rows, b"k", b"parent")
txn.commit()
assert rows[b"k"] == b"parent"
db.close()
print("ok")
"""
    )
    assert output == "ok\n"


def _child_of_pool(number: int) -> bytes:
    with keel.open(":memory:") as db:
        db["rows"][b"k"] = b"%d" % number
        return db["rows"][b"k"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(db: keel.Database, rows: keel.Keyspace, method: str) -> None:
    rows[b"k"] = b"v"
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_child_of_pool, [1, 2, 3]) == [b"1", b"2", b"3"]
    assert rows[b"k"] == b"v"


EVERYTHING_OPEN = """
import keel, threading
db = keel.open("data.keel", durability="group", group_interval_ms=60000)
rows = db["rows"]
rows.put_many((b"%04d" % i, b"v" * 3000) for i in range(500))
txn = db.begin()
txn.put(rows, b"never committed", b"v")
half_read = rows.items()
next(half_read)
inside = txn[rows].keys()
next(inside)
view = rows.view(b"0001")
memory = memoryview(rows.view(b"0002"))
"""


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "raise SystemExit(0)",
        "it = [db, txn, half_read, view, memory]; it.append(it); del db, txn, rows, half_read, inside, view, memory",
        "import builtins; builtins.kept = (db, txn, half_read, view, memory)",
        "import gc; gc.disable(); keel.kept = [db, txn, half_read, inside, view, memory]; keel.kept.append(keel.kept)",
        "import atexit; atexit.register(lambda: list(keel.open('data.keel')['rows']))",
        "threading.Thread(target=lambda: [list(rows) for _ in range(5)]).start()",
        "threading.Thread(target=lambda: [list(rows) for _ in iter(int, 1)], daemon=True).start()",
    ],
)
def test_interpreter_exit_with_everything_open(python: Python, tmp_path: Path, ending: str) -> None:
    if "daemon" in ending:
        # The database is closed under the thread, which may say so on stderr; what counts is that nothing crashes or
        # hangs.
        ending = ending.replace("[list(rows) for _ in iter(int, 1)]", "run()")
        ending = "def run():\n try:\n  while True: list(rows)\n except keel.Error: pass\n" + ending
    python(EVERYTHING_OPEN + ending)
    with keel.open(tmp_path / "data.keel", create=False) as db:
        assert len(list(db["rows"])) == 500


def test_subinterpreters(python: Python) -> None:
    """Interpreters that share the lock work side by side; one with a lock of its own is refused by Python, cleanly."""
    output = python(
        """
import sys
import keel
if sys.version_info < (3, 13):
    import _xxsubinterpreters as interpreters
    def run(program, shared_lock):
        interpreter = interpreters.create(isolated=not shared_lock)
        try:
            interpreters.run_string(interpreter, program)
        except interpreters.RunFailedError as error:
            return str(error)
        finally:
            interpreters.destroy(interpreter)
else:
    import _interpreters as interpreters
    def run(program, shared_lock):
        interpreter = interpreters.create("legacy" if shared_lock else "isolated")
        failed = interpreters.run_string(interpreter, program)
        interpreters.destroy(interpreter)
        return failed and failed.formatted
program = '''
import keel
with keel.open(":memory:") as db:
    db["rows"][b"k"] = b"v"
    with db["rows"].view(b"k") as view:
        assert type(view) is keel.View and bytes(view) == b"v"
    try:
        db["rows"][b"k" * 2000]
    except keel.KeySizeError:
        pass
    else:
        raise AssertionError
'''
with keel.open(":memory:") as db:
    db["rows"][b"k"] = b"main"
    view = db["rows"].view(b"k")
    for _ in range(3):
        failed = run(program, True)
        assert failed is None, failed
    assert bytes(view) == b"main" and type(view) is keel.View
    if sys.version_info >= (3, 12):
        assert "does not support loading in subinterpreters" in run(program, False)
    del view
print("ok")
"""
    )
    assert output == "ok\n"


def test_closing_before_a_transaction_goes_on(path: Path) -> None:
    """What another thread is in the middle of, outside of the engine, ends with an error, and the file is free."""
    db = keel.open(path, durability="none")
    rows = db["rows"]
    entered, closed = threading.Event(), threading.Event()
    outcome: list[object] = []

    def keys() -> Iterator[bytes]:
        entered.set()
        closed.wait()
        yield b"k"

    def work() -> None:
        txn = db.begin()
        try:
            # close() comes while this thread is in the iterator, before the engine is entered.
            outcome.append(txn.get_many(rows, keys()))
        except keel.Error as error:
            outcome.append(error)
        try:
            txn.rollback()
        except keel.FinishedError:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait()
    db.close()
    closed.set()
    thread.join()
    assert len(outcome) == 1 and isinstance(outcome[0], keel.FinishedError | keel.HandleError)
    subprocess.run(
        [sys.executable, "-c", "import keel, sys; keel.open(sys.argv[1]).close()", path], check=True, timeout=60
    )
