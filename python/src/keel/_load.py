"""Bulk loads: a keyspace of very many rows, past the log."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from . import _raw
from ._records import LoadReport

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ._database import Database


class Loader:
    """A load under way, from `Database.loading`: a context manager that finishes it, or leaves nothing when its block
    raises. Used by one thread at a time.

    A row that is given again replaces the one before.
    """

    __slots__ = ("__weakref__", "_db", "_handle", "_name", "_open", "_report")

    def __init__(self, db: Database, name: str, handle: int) -> None:
        self._db = db
        self._name = name
        self._handle = handle
        self._open = True
        self._report: LoadReport | None = None

    def __repr__(self) -> str:
        state = "" if self._open else " finished" if self._report is not None else " closed"
        return f"<keel.Loader {self._name!r}{state}>"

    @property
    def name(self) -> str:
        """The name that the keyspace gets."""
        return self._name

    @property
    def report(self) -> LoadReport | None:
        """What was loaded; None until the load is finished."""
        return self._report

    def put(self, key: ReadableBuffer, value: ReadableBuffer) -> None:
        """Take a row. `put_many` is faster for many."""
        _raw.load_put(self._handle, key, value)

    def put_many(self, rows: Mapping[bytes, ReadableBuffer] | Iterable[tuple[ReadableBuffer, ReadableBuffer]]) -> None:
        """Take many rows, from a mapping or from (key, value) pairs. When it raises, some of them may have been taken."""
        _raw.load_many(self._handle, rows.items() if isinstance(rows, Mapping) else rows)

    def finish(self) -> LoadReport:
        """Make the keyspace of the rows: it is there, and on stable storage, when this returns.

        When it raises the load is as before: call it again, or `close`.
        """
        self._report = LoadReport._make(_raw.load_finish(self._handle))
        self.close()
        return self._report

    def close(self, _load_end: Callable[[int], None] = _raw.load_end) -> None:
        """End the load. Unless it was finished, nothing is left of it. Twice is harmless."""
        if self._open:
            to_be_ended = self._handle in self._db._loads
            self._open = False
            self._db._loads.discard(self._handle)
            if to_be_ended:
                _load_end(self._handle)

    def _abandon(self) -> None:
        """Close, and complain about nothing: another error is on its way, or the object goes."""
        try:
            self.close()
        except Exception:  # a forked child, or another thread is inside; see Database.__del__
            pass

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        try:
            if kind is None:
                self.finish()
        finally:
            self._abandon()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._open and not self._db.closed:
            _warn(f"load was neither finished nor closed: {self!r}", ResourceWarning, 2, source=self)
        self._abandon()
