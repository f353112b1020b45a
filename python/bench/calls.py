"""Cost of one call, in nanoseconds: the raw module, the layer above, and what Python itself charges.

    python python/bench/calls.py [--rows N] [--rounds N] [--file]

Best of several rounds, one thread, a ":memory:" database whose rows are recent commits; with --file one in a
temporary file, drained, so that reads come from cached pages of its trees. CPU time of that thread, so that other programs disturb
little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import timeit
from collections.abc import Callable

import keel
from keel import _raw

BATCH = 1000


def measure(operation: Callable[[], object], calls: int, rounds: int) -> float:
    """Nanoseconds per call of `operation`, best of `rounds`."""
    timer = timeit.Timer("operation()", timer=time.thread_time, globals={"operation": operation})
    return min(timer.repeat(rounds, calls)) / calls * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--file", action="store_true")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        keel.open(f"{folder}/bench.keel" if arguments.file else ":memory:") as db,
    ):
        rows = db["rows"]
        keys = [b"%015d" % (i * 7919 % arguments.rows) for i in range(arguments.rows)]
        rows.put_many((key, b"v" * 100) for key in keys)
        if arguments.file:
            db.make_checkpoint()
        key = keys[len(keys) // 2]
        many = keys[:BATCH]
        dictionary = {key: b"v" for key in keys}
        txn = db.begin(read_only=True)
        handle, space = txn._handle, rows._handle
        inside = txn[rows]
        writing = db.begin()

        print(f"{arguments.rows} rows, keys of 15 bytes, values of 100 bytes; nanoseconds per call or row")
        nothing = measure(lambda: None, 200_000, arguments.rounds)

        def report(name: str, operation: Callable[[], object], calls: int = 100_000, per: int = 1) -> None:
            # The lambda around each operation is the bench's, not the binding's: its cost is taken off.
            print(f"{name:44} {(measure(operation, calls, arguments.rounds) - nothing) / per:9.1f}")

        report("dict[key], for comparison", lambda: dictionary[key])
        report("raw.status_is_retryable (crossing alone)", lambda: _raw.status_is_retryable(0))
        report("raw.get of a missing key", lambda: _raw.get(handle, space, b"missing"))
        report("raw.get", lambda: _raw.get(handle, space, key))
        report("txn.get(keyspace, key)", lambda: txn.get(rows, key))
        report("txn[keyspace][key]", lambda: inside[key])
        report("key in txn[keyspace]", lambda: key in inside)
        report("keyspace[key], its own transaction", lambda: rows[key], 20_000)
        report("view and release", lambda: inside.view(key).release())
        report(f"txn.get_many, per key of {BATCH}", lambda: txn.get_many(rows, many), 100, BATCH)
        report("items(), per row", lambda: sum(1 for _ in inside.items()), 3, arguments.rows)
        report("raw.put", lambda: _raw.put(writing._handle, space, key, b"v"))
        report("txn.put(keyspace, key, value)", lambda: writing.put(rows, key, b"v"))
        pairs = [(key, b"v") for key in many]
        report(f"put_many, per row of {BATCH}", lambda: writing[rows].put_many(pairs), 100, BATCH)
        report("keyspace[key] = value, its own transaction", lambda: rows.put(key, b"v"), 5_000)
        writing.rollback()
        txn.rollback()


if __name__ == "__main__":
    main()
