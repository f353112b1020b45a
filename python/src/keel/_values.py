"""Values in parts: files over them, and writing them from streams."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from . import _raw

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._keyspace import Keyspace
    from ._transaction import Transaction

PIECE = 1 << 20


@runtime_checkable
class Readable(Protocol):
    """What has a `read` as files have it."""

    def read(self, size: int, /) -> ReadableBuffer | None: ...


class ValueReader(io.RawIOBase):
    """A value as a file that is read: from `Keyspace.open_value`, or `open_value` of a keyspace in a transaction.

    It reads what it is asked for, and keeps 64 KiB whatever the size of the value. All of it is of one snapshot. It has
    what binary files have (`read`, `readinto`, `seek`, `tell`, ...), and `size`; wrap it in `io.BufferedReader` for lines.
    Used by one thread at a time, as its transaction is.
    """

    def __init__(self, txn: Transaction, keyspace: Keyspace, key: ReadableBuffer, owns: bool) -> None:
        super().__init__()
        self._txn = txn
        self._keyspace = keyspace
        self._key = bytes(key)
        self._owns = owns
        self._position = 0
        _, self._size = self._into(bytearray(), 0)

    def _into(self, buffer: WriteableBuffer, offset: int) -> tuple[int, int]:
        return _raw.get_part_into(self._txn._handle, self._keyspace._handle, self._key, offset, buffer)

    def __repr__(self) -> str:
        return f"<keel.ValueReader of {self._size} bytes{' closed' if self.closed else ''}>"

    @property
    def size(self) -> int:
        """Size of the value in bytes."""
        return self._size

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def readable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._check_open()
        got, self._size = self._into(buffer, self._position)
        self._position += got
        return got

    def readall(self) -> bytes:
        self._check_open()
        left = max(self._size - self._position, 0)
        data = _raw.get_part(self._txn._handle, self._keyspace._handle, self._key, self._position, left)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}.get(whence)
        if start is None:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if start + offset < 0:
            raise ValueError(f"position {start + offset} lies before the value")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        self._check_open()
        return self._position

    def close(self) -> None:
        if not self.closed and self._owns:
            self._txn._abandon()
        super().close()


def get_part(txn: int, keyspace: int, key: ReadableBuffer, offset: int, size: int) -> bytes:
    if offset < 0 or size < 0:
        raise ValueError("offset and size must not be negative")
    return _raw.get_part(txn, keyspace, key, offset, size)


def pieces(source: Readable | Iterable[ReadableBuffer]) -> Iterable[ReadableBuffer]:
    """What a source gives: a file, or anything that iterates over bytes."""
    if isinstance(source, (bytes, bytearray, memoryview, str)):
        raise TypeError("source must be a file or an iterable of bytes; a value that is there already takes put()")
    if not isinstance(source, Readable):
        yield from source
        return
    while True:
        piece = source.read(PIECE)
        if piece is None:
            raise BlockingIOError("the source has nothing to read at the moment; a source must wait")
        if not memoryview(piece).nbytes:
            return
        yield piece


def put_stream(
    txn: int, keyspace: int, key: ReadableBuffer, size: int, source: Readable | Iterable[ReadableBuffer]
) -> None:
    if size < 0:
        raise ValueError("size must not be negative")
    value = _raw.value_begin(txn, keyspace, key, size)
    try:
        for piece in pieces(source):
            _raw.value_write(value, piece)
        _raw.value_finish(value)
    finally:
        _raw.value_end(value)


__all__ = ["Readable", "ValueReader", "get_part", "put_stream"]
