"""Keyspaces: ordered maps of bytes to bytes, alone (each call its own transaction) and inside a transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar, cast, overload

from . import _raw
from ._errors import Error, NotFoundError
from ._gen import E_NOT_FOUND, TXN_READ_ONLY
from ._ranges import ITEMS, KEYS, VALUES, rows
from ._values import Readable, ValueReader, get_part, put_stream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ._database import Database
    from ._transaction import Transaction

Default = TypeVar("Default")
Result = TypeVar("Result")


def missing(key: ReadableBuffer) -> NotFoundError:
    shown = bytes(key)
    return NotFoundError(E_NOT_FOUND, f"no value for key {shown[:64]!r}{'...' if len(shown) > 64 else ''}")


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after all keys that start with the prefix; None when there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


class _Rows(ABC):
    """What a keyspace offers, in a transaction or on its own."""

    __slots__ = ()

    # --- single keys ---

    @overload
    def get(self, key: ReadableBuffer) -> bytes | None: ...
    @overload
    def get(self, key: ReadableBuffer, default: Default) -> bytes | Default: ...
    @abstractmethod
    def get(self, key: ReadableBuffer, default: object = None) -> object:
        """The value of a key, or `default`."""

    @abstractmethod
    def view(self, key: ReadableBuffer) -> _raw.View:
        """The value of a key without copying it, pinned: it stays valid until released, whatever becomes of the
        transaction and the database. `NotFoundError` (a `KeyError`) when the key has none. Use it as a context manager.
        """

    @abstractmethod
    def get_part(self, key: ReadableBuffer, offset: int, size: int) -> bytes:
        """Bytes of a value: `size` from `offset` on, fewer at its end. Of a large value only those parts are read that
        they lie in. `NotFoundError` (a `KeyError`) when the key has none.
        """

    @abstractmethod
    def open_value(self, key: ReadableBuffer) -> ValueReader:
        """A value as a binary file to read and seek in, for values of any size. `NotFoundError` (a `KeyError`) when the
        key has none. Use it as a context manager.
        """

    @abstractmethod
    def put(self, key: ReadableBuffer, value: ReadableBuffer) -> None:
        """Store a value under a key, replacing the one that was there."""

    @abstractmethod
    def put_stream(self, key: ReadableBuffer, size: int, source: Readable | Iterable[ReadableBuffer]) -> None:
        """Store a value of exactly `size` bytes, read piece by piece from a file or an iterable of bytes. A large one goes
        straight to where it stays, and is never in memory as a whole. `InvalidError` when the source has more or less.
        """

    @abstractmethod
    def delete(self, key: ReadableBuffer) -> None:
        """Remove a key. One that is absent is no error (`del keyspace[key]` makes it one)."""

    def __getitem__(self, key: ReadableBuffer) -> bytes:
        value = self.get(key)
        if value is None:
            raise missing(key)
        return value

    def __setitem__(self, key: ReadableBuffer, value: ReadableBuffer) -> None:
        self.put(key, value)

    @abstractmethod
    def __delitem__(self, key: ReadableBuffer) -> None: ...

    @abstractmethod
    def __contains__(self, key: ReadableBuffer) -> bool: ...

    # --- many keys ---

    @abstractmethod
    def get_many(self, keys: Iterable[ReadableBuffer]) -> list[bytes | None]:
        """The values of many keys in one call, in their order, None for those that have none."""

    @abstractmethod
    def write_many(self, operations: Iterable[tuple[ReadableBuffer, ReadableBuffer | None]]) -> None:
        """Store many (key, value) pairs in one call; a value of None removes its key.

        Inside a transaction: when it raises, a part may have been written, so roll back.
        """

    def put_many(
        self, items: Mapping[bytes, ReadableBuffer] | Iterable[tuple[ReadableBuffer, ReadableBuffer]]
    ) -> None:
        """Store many pairs in one call, from a mapping or from (key, value) pairs."""
        self.write_many(items.items() if isinstance(items, Mapping) else items)

    def delete_many(self, keys: Iterable[ReadableBuffer]) -> None:
        """Remove many keys in one call."""
        self.write_many((key, None) for key in keys)

    @abstractmethod
    def _delete_between(self, start: ReadableBuffer | None, stop: ReadableBuffer | None) -> int: ...

    def delete_range(
        self,
        start: ReadableBuffer | None = None,
        stop: ReadableBuffer | None = None,
        *,
        prefix: ReadableBuffer | None = None,
    ) -> int:
        """Remove every key from `start` (inclusive) to `stop` (exclusive) that starts with `prefix`; return how many.

        Something must bound the range: `clear()` removes everything.
        """
        if start is None and stop is None and prefix is None:
            raise TypeError("delete_range needs start, stop or prefix; clear() removes everything")
        if prefix is not None:
            lower, upper = bytes(prefix), prefix_end(bytes(prefix))
            start = lower if start is None else max(bytes(start), lower)
            if upper is not None:
                stop = upper if stop is None else min(bytes(stop), upper)
        return self._delete_between(start, stop)

    def clear(self) -> int:
        """Remove every key; return how many there were."""
        return self._delete_between(None, None)

    # --- ranges ---

    @abstractmethod
    def _rows(
        self,
        bounds: tuple[ReadableBuffer | None, ReadableBuffer | None, ReadableBuffer | None],
        reverse: bool,
        columns: Literal[0, 1, 2],
    ) -> Generator[object, None, None]: ...

    def items(
        self,
        start: ReadableBuffer | None = None,
        stop: ReadableBuffer | None = None,
        *,
        prefix: ReadableBuffer | None = None,
        reverse: bool = False,
    ) -> Generator[tuple[bytes, bytes], None, None]:
        """The (key, value) pairs from `start` (inclusive) to `stop` (exclusive), in byte order or backwards.

        Rows are fetched in batches. The iterator may be dropped at any point; `close()` lets go at once.
        """
        generator = self._rows((start, stop, prefix), reverse, ITEMS)
        return cast("Generator[tuple[bytes, bytes], None, None]", generator)

    def keys(
        self,
        start: ReadableBuffer | None = None,
        stop: ReadableBuffer | None = None,
        *,
        prefix: ReadableBuffer | None = None,
        reverse: bool = False,
    ) -> Generator[bytes, None, None]:
        """The keys of a range; see `items`."""
        return cast("Generator[bytes, None, None]", self._rows((start, stop, prefix), reverse, KEYS))

    def values(
        self,
        start: ReadableBuffer | None = None,
        stop: ReadableBuffer | None = None,
        *,
        prefix: ReadableBuffer | None = None,
        reverse: bool = False,
    ) -> Generator[bytes, None, None]:
        """The values of a range; see `items`."""
        return cast("Generator[bytes, None, None]", self._rows((start, stop, prefix), reverse, VALUES))

    def __iter__(self) -> Iterator[bytes]:
        return self.keys()

    def __reversed__(self) -> Iterator[bytes]:
        return self.keys(reverse=True)


class TransactionKeyspace(_Rows):
    """A keyspace as a transaction sees it: its snapshot and its own writes. From `txn[keyspace]`.

    A range sees the writes that the transaction makes while it is being read.
    """

    __slots__ = ("_handle", "_keyspace", "_txn")

    def __init__(self, txn: Transaction, keyspace: Keyspace) -> None:
        self._txn = txn
        self._keyspace = keyspace
        self._handle = keyspace._handle

    def __repr__(self) -> str:
        return f"<keel.TransactionKeyspace {self.name!r} in {self._txn!r}>"

    @property
    def name(self) -> str:
        return self._keyspace.name

    @property
    def transaction(self) -> Transaction:
        return self._txn

    @overload
    def get(self, key: ReadableBuffer) -> bytes | None: ...
    @overload
    def get(self, key: ReadableBuffer, default: Default) -> bytes | Default: ...
    def get(self, key: ReadableBuffer, default: object = None) -> object:
        value = _raw.get(self._txn._handle, self._handle, key)
        return default if value is None else value

    def __getitem__(self, key: ReadableBuffer) -> bytes:
        value = _raw.get(self._txn._handle, self._handle, key)
        if value is None:
            raise missing(key)
        return value

    def view(self, key: ReadableBuffer) -> _raw.View:
        view = _raw.get_view(self._txn._handle, self._handle, key)
        if view is None:
            raise missing(key)
        return view

    def get_part(self, key: ReadableBuffer, offset: int, size: int) -> bytes:
        return get_part(self._txn._handle, self._handle, key, offset, size)

    def open_value(self, key: ReadableBuffer) -> ValueReader:
        """A value as a binary file. It sees the transaction's own writes, and ends with the transaction."""
        return ValueReader(self._txn, self._keyspace, key, False)

    def put(self, key: ReadableBuffer, value: ReadableBuffer) -> None:
        _raw.put(self._txn._handle, self._handle, key, value)

    __setitem__ = put

    def put_stream(self, key: ReadableBuffer, size: int, source: Readable | Iterable[ReadableBuffer]) -> None:
        put_stream(self._txn._handle, self._handle, key, size, source)

    def delete(self, key: ReadableBuffer) -> None:
        _raw.delete(self._txn._handle, self._handle, key)

    def __delitem__(self, key: ReadableBuffer) -> None:
        if not _raw.contains(self._txn._handle, self._handle, key):
            raise missing(key)
        _raw.delete(self._txn._handle, self._handle, key)

    def __contains__(self, key: ReadableBuffer) -> bool:
        return _raw.contains(self._txn._handle, self._handle, key)

    def get_many(self, keys: Iterable[ReadableBuffer]) -> list[bytes | None]:
        return _raw.get_many(self._txn._handle, self._handle, keys)

    def write_many(self, operations: Iterable[tuple[ReadableBuffer, ReadableBuffer | None]]) -> None:
        _raw.write_many(self._txn._handle, self._handle, operations)

    def _delete_between(self, start: ReadableBuffer | None, stop: ReadableBuffer | None) -> int:
        return _raw.delete_range(self._txn._handle, self._handle, start, stop)

    def _rows(
        self,
        bounds: tuple[ReadableBuffer | None, ReadableBuffer | None, ReadableBuffer | None],
        reverse: bool,
        columns: Literal[0, 1, 2],
    ) -> Generator[object, None, None]:
        return rows(self._txn._handle, self._handle, bounds, reverse, columns, None)


class Keyspace(_Rows):
    """A named, ordered map of a database. From `db[name]`.

    Each call is a transaction of its own: a read sees what is committed at that moment, a write is durable (as the
    database says) when it returns, and one that loses against another transaction is run again. A range reads one
    snapshot. For several calls that belong together use `db.transaction()` and `txn[keyspace]`.
    """

    __slots__ = ("__weakref__", "_db", "_handle", "_name")

    def __init__(self, db: Database, name: str, handle: int) -> None:
        self._db = db
        self._name = name
        self._handle = handle

    def __repr__(self) -> str:
        return f"<keel.Keyspace {self._name!r} of {self._db!r}>"

    def __del__(self, _close: Callable[[int], None] = _raw.keyspace_close) -> None:
        if self._handle in self._db._keyspaces:
            self._db._keyspaces.discard(self._handle)
            try:
                _close(self._handle)
            except Exception:  # a forked child, or another thread was faster; see Database.__del__
                pass

    @property
    def name(self) -> str:
        return self._name

    @property
    def database(self) -> Database:
        return self._db

    def _read(self, operation: Callable[[int, int, ReadableBuffer], Result], key: ReadableBuffer) -> Result:
        txn = _raw.begin(self._db._open_handle(), TXN_READ_ONLY, 0, 0, None)
        try:
            return operation(txn, self._handle, key)
        finally:
            _raw.rollback(txn)

    def _write(self, operation: Callable[[TransactionKeyspace], Result]) -> Result:
        return self._db.transact(lambda txn: operation(TransactionKeyspace(txn, self)))

    def _write_one(self, operation: Callable[..., None], *arguments: ReadableBuffer) -> None:
        """One raw operation in a transaction: `_write` for the case that nearly always goes well at once."""
        txn = _raw.begin(self._db._open_handle(), 0, 0, 0, None)
        try:
            operation(txn, self._handle, *arguments)
        except BaseException:
            _raw.rollback(txn)
            raise
        try:
            _raw.commit(txn)
        except Error as error:
            if not error.retryable:
                raise
            self._db.transact(lambda again: operation(again._handle, self._handle, *arguments))

    @overload
    def get(self, key: ReadableBuffer) -> bytes | None: ...
    @overload
    def get(self, key: ReadableBuffer, default: Default) -> bytes | Default: ...
    def get(self, key: ReadableBuffer, default: object = None) -> object:
        value = self._read(_raw.get, key)
        return default if value is None else value

    def view(self, key: ReadableBuffer) -> _raw.View:
        view = self._read(_raw.get_view, key)
        if view is None:
            raise missing(key)
        return view

    def get_part(self, key: ReadableBuffer, offset: int, size: int) -> bytes:
        return self._read(lambda txn, keyspace, key: get_part(txn, keyspace, key, offset, size), key)

    def open_value(self, key: ReadableBuffer) -> ValueReader:
        """A value as a binary file, of the snapshot at this moment; close it to let the snapshot go."""
        txn = self._db.begin(read_only=True)
        try:
            return ValueReader(txn, self, key, True)
        except BaseException:
            txn._abandon()
            raise

    def put(self, key: ReadableBuffer, value: ReadableBuffer) -> None:
        self._write_one(_raw.put, key, value)

    def put_stream(self, key: ReadableBuffer, size: int, source: Readable | Iterable[ReadableBuffer]) -> None:
        """As in a transaction. It is run once, since the source cannot be read again: `ConflictError` when another
        transaction wrote the same key meanwhile."""
        with self._db.transaction() as txn:
            put_stream(txn._handle, self._handle, key, size, source)

    def delete(self, key: ReadableBuffer) -> None:
        self._write_one(_raw.delete, key)

    def __delitem__(self, key: ReadableBuffer) -> None:
        self._write(lambda rows: rows.__delitem__(key))

    def __contains__(self, key: ReadableBuffer) -> bool:
        return self._read(_raw.contains, key)

    def get_many(self, keys: Iterable[ReadableBuffer]) -> list[bytes | None]:
        txn = _raw.begin(self._db._open_handle(), TXN_READ_ONLY, 0, 0, None)
        try:
            return _raw.get_many(txn, self._handle, keys)
        finally:
            _raw.rollback(txn)

    def write_many(self, operations: Iterable[tuple[ReadableBuffer, ReadableBuffer | None]]) -> None:
        again = list(operations)  # the transaction may have to run more than once
        self._write(lambda rows: rows.write_many(again))

    def _delete_between(self, start: ReadableBuffer | None, stop: ReadableBuffer | None) -> int:
        return self._write(lambda rows: rows._delete_between(start, stop))

    def _rows(
        self,
        bounds: tuple[ReadableBuffer | None, ReadableBuffer | None, ReadableBuffer | None],
        reverse: bool,
        columns: Literal[0, 1, 2],
    ) -> Generator[object, None, None]:
        txn = self._db.begin(read_only=True)
        return rows(txn._handle, self._handle, bounds, reverse, columns, txn._abandon)
