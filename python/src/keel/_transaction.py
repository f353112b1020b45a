"""Transactions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, overload

from . import _raw
from ._errors import ConcurrentUseError
from ._keyspace import Keyspace, TransactionKeyspace, missing
from ._values import get_part

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ._database import Database

Default = TypeVar("Default")


class Transaction:
    """Reads one snapshot, sees its own writes, commits across keyspaces. From `db.transaction()` or `db.begin()`.

    As a context manager it commits at the end of the block, and rolls back when the block raises. `txn[keyspace]` is
    the keyspace inside the transaction, with everything that `Keyspace` has. A transaction may move between threads,
    but only one may use it at a time (`ConcurrentUseError`).
    """

    __slots__ = ("__weakref__", "_db", "_handle", "_open", "attempt", "read_only", "timestamp")

    def __init__(self, db: Database, handle: int, read_only: bool, attempt: int) -> None:
        self._db = db
        self._handle = handle
        self._open = True
        self.read_only = read_only
        self.attempt = attempt
        """Which run of `Database.transact` this is: 1 for the first."""
        self.timestamp: int | None = None
        """The commit timestamp, once committed; 0 when nothing was written."""

    def __repr__(self) -> str:
        kind = "read-only " if self.read_only else ""
        return f"<keel.Transaction {kind}{'open' if self._open else 'finished'} on {self._db!r}>"

    @property
    def database(self) -> Database:
        return self._db

    @property
    def is_open(self) -> bool:
        """False once committed or rolled back."""
        return self._open

    # --- end ---

    def commit(self) -> int:
        """Commit all writes at once, and return the commit timestamp (0 when nothing was written).

        The transaction is over whatever the outcome. `ConflictError`: another one got in between and nothing was
        stored; run the whole transaction again, as `Database.transact` does.
        """
        try:
            self.timestamp = _raw.commit(self._handle)
        except ConcurrentUseError:
            raise  # another thread is inside: the transaction goes on
        except BaseException:
            self._finished()
            raise
        self._finished()
        return self.timestamp

    def rollback(self) -> None:
        """End the transaction and forget its writes."""
        _raw.rollback(self._handle)
        self._finished()

    def _finished(self) -> None:
        self._open = False
        self._db._transactions.discard(self._handle)

    def _abandon(self, _rollback: Callable[[int], None] = _raw.rollback) -> None:
        """Roll back unless it is over, and complain about nothing: the last thing before the object goes."""
        if self._open:
            to_be_ended = self._handle in self._db._transactions
            self._finished()
            if to_be_ended:
                try:
                    _rollback(self._handle)
                except Exception:  # a forked child, or another thread was faster; see Database.__del__
                    pass

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        if kind is None:
            self.commit()
        else:
            self._abandon()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._open and not self._db.closed:
            _warn(f"transaction was neither committed nor rolled back: {self!r}", ResourceWarning, 2, source=self)
        self._abandon()

    # --- data ---

    def __getitem__(self, keyspace: Keyspace | str) -> TransactionKeyspace:
        """A keyspace inside this transaction, by object or by name (one that does not exist is made)."""
        return TransactionKeyspace(self, keyspace if isinstance(keyspace, Keyspace) else self._db.keyspace(keyspace))

    @overload
    def get(self, keyspace: Keyspace, key: ReadableBuffer) -> bytes | None: ...
    @overload
    def get(self, keyspace: Keyspace, key: ReadableBuffer, default: Default) -> bytes | Default: ...
    def get(self, keyspace: Keyspace, key: ReadableBuffer, default: object = None) -> object:
        """The value of a key, or `default`: the shortest way to `txn[keyspace].get(key)`."""
        value = _raw.get(self._handle, keyspace._handle, key)
        return default if value is None else value

    def view(self, keyspace: Keyspace, key: ReadableBuffer) -> _raw.View:
        """The pinned value of a key; see `Keyspace.view`."""
        view = _raw.get_view(self._handle, keyspace._handle, key)
        if view is None:
            raise missing(key)
        return view

    def get_part(self, keyspace: Keyspace, key: ReadableBuffer, offset: int, size: int) -> bytes:
        """Bytes of a value: `size` from `offset` on, fewer at its end; see `Keyspace.get_part`."""
        return get_part(self._handle, keyspace._handle, key, offset, size)

    def put(self, keyspace: Keyspace, key: ReadableBuffer, value: ReadableBuffer) -> None:
        """Store a value under a key."""
        _raw.put(self._handle, keyspace._handle, key, value)

    def delete(self, keyspace: Keyspace, key: ReadableBuffer) -> None:
        """Remove a key. One that is absent is no error."""
        _raw.delete(self._handle, keyspace._handle, key)

    def get_many(self, keyspace: Keyspace, keys: Iterable[ReadableBuffer]) -> list[bytes | None]:
        """The values of many keys in one call; see `Keyspace.get_many`."""
        return _raw.get_many(self._handle, keyspace._handle, keys)
