"""Keel: an embedded, transactional, ordered database.

    import keel

    with keel.open("cities.keel") as db:
        cities = db["cities"]
        cities[b"ulm"] = b"126790"                   # a transaction of its own
        with db.transaction() as txn:                # all or nothing
            txn[cities][b"bonn"] = b"335975"
            txn[cities][b"jena"] = b"110731"
        for name, population in cities.items(prefix=b"b"):
            print(name, population)

`Database`, `Transaction`, `Keyspace`, `TransactionKeyspace`, `ValueReader` and `Loader` are the whole interface; `Error` and its subclasses
are what goes wrong. Keys and values are bytes; everything with a buffer is accepted, text is not (encode it).
"""

from __future__ import annotations

from . import _errors, _raw
from ._check import salvage
from ._database import Database, Durability, Isolation, open, transactional
from ._errors import *  # noqa: F403
from ._gen import (
    MAX_GET_MANY,
    MAX_KEY_SIZE,
    MAX_KEYSPACE_NAME_SIZE,
    MAX_LABEL_SIZE,
    MAX_LARGE_VALUE_SIZE,
    MAX_PATH_SIZE,
    MAX_VALUE_SIZE,
    VERSION as __version__,
)
from ._keyspace import Keyspace, TransactionKeyspace
from ._load import Loader
from ._raw import View
from ._records import CheckReport, Checkpoint, LoadReport, Stats
from ._transaction import Transaction
from ._values import ValueReader


def version() -> str:
    """The version of the library that runs."""
    return _raw.version()


def feature(name: str) -> bool:
    """Whether a feature ("crc32c_hardware", "memory_database") is present in this library on this machine."""
    return _raw.feature(name)


__all__ = [
    "MAX_GET_MANY",
    "MAX_KEYSPACE_NAME_SIZE",
    "MAX_KEY_SIZE",
    "MAX_LABEL_SIZE",
    "MAX_LARGE_VALUE_SIZE",
    "MAX_PATH_SIZE",
    "MAX_VALUE_SIZE",
    "CheckReport",
    "Checkpoint",
    "Database",
    "Durability",
    "Isolation",
    "Keyspace",
    "LoadReport",
    "Loader",
    "Stats",
    "Transaction",
    "TransactionKeyspace",
    "ValueReader",
    "View",
    "__version__",
    "feature",
    "open",
    "salvage",
    "transactional",
    "version",
]
__all__ += _errors.__all__
