"""Ranges: cursors that fetch rows in batches, and what keeps them alive.

A range that is dropped half-consumed must let go of its cursor (and, outside a transaction, of the snapshot that it
reads) at once. So the generator owns a small object that closes both when the generator ends, is closed, or is
collected, also one that was never started.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from . import _raw

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ITEMS: Literal[0] = 0
KEYS: Literal[1] = 1
VALUES: Literal[2] = 2

Row = TypeVar("Row")

# The first batch is small, for ranges of which only the beginning is wanted; later ones grow up to the bound.
FIRST_ROWS = 64
MOST_ROWS = 4096


class Range:
    """An open cursor, and the function that ends its snapshot when the range has one of its own."""

    __slots__ = ("cursor", "on_close")

    def __init__(self, cursor: int, on_close: Callable[[], None] | None) -> None:
        self.cursor = cursor
        self.on_close = on_close

    def close(self, _cursor_close: Callable[[int], None] = _raw.cursor_close) -> None:
        cursor, self.cursor = self.cursor, 0
        if cursor:
            try:
                _cursor_close(cursor)
            except Exception:  # a forked child; see Database.__del__
                pass
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    __del__ = close


def _batches(range_: Range, reverse: bool, columns: Literal[0, 1, 2]) -> Generator[object, None, None]:
    wanted = FIRST_ROWS
    try:
        while rows := _raw.cursor_rows(range_.cursor, wanted, 0, reverse, cast(Literal[0], columns)):
            yield from rows
            wanted = min(wanted * 4, MOST_ROWS)
    finally:
        range_.close()


def rows(
    txn: int,
    keyspace: int,
    bounds: tuple[ReadableBuffer | None, ReadableBuffer | None, ReadableBuffer | None],
    reverse: bool,
    columns: Literal[0, 1, 2],
    on_close: Callable[[], None] | None,
) -> Generator[object, None, None]:
    """The rows of a range. The cursor is opened now, so that mistakes in the bounds show here, not at the first row."""
    start, stop, prefix = bounds
    try:
        cursor = _raw.cursor_open(txn, keyspace, start, stop, prefix)
    except BaseException:
        if on_close is not None:
            on_close()
        raise
    return _batches(Range(cursor, on_close), reverse, columns)
