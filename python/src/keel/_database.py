"""Databases: open, close, keyspaces, transactions, retry."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import random
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, overload

from . import _gen, _raw
from ._check import STEP_BYTES, Progress, run_check
from ._errors import ClosedError, ConcurrentUseError, Error, ForkedError
from ._keyspace import Keyspace
from ._load import Loader
from ._records import CheckReport, Checkpoint, LoadReport, Stats
from ._transaction import Transaction

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Path: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Durability: TypeAlias = Literal["full", "group", "none"]
Isolation: TypeAlias = Literal["serializable", "snapshot", "read_committed", "repeatable_read", "read_uncommitted"]

P = ParamSpec("P")
Result = TypeVar("Result")

# Retry: runs after the first, and the pause before run n + 1, drawn from 0 ... min(CAP, BASE * 2^n) seconds ("full
# jitter").
RETRIES = 20
BACKOFF_BASE = 0.0002
BACKOFF_CAP = 0.1


def _choice(kind: str, value: str | None) -> int:
    """The number of a named choice; None is the default."""
    if value is None:
        return 0
    names = [n.removeprefix(f"{kind}_").lower() for n in vars(_gen) if n.startswith(f"{kind}_")]
    if not isinstance(value, str) or value not in names or value == "default":
        allowed = ", ".join(repr(name) for name in names if name != "default")
        raise ValueError(f"{kind.lower()} must be one of {allowed}, not {value!r}")
    number = getattr(_gen, f"{kind}_{value.upper()}")
    assert isinstance(number, int)
    return number


class Database:
    """An open database. Made by `keel.open`; a context manager that closes it.

    May be shared by threads. Closing ends what is open on it: ranges stop, transactions that were not committed are
    rolled back, loads that were not finished leave nothing. Views stay valid.
    """

    __slots__ = ("__weakref__", "_handle", "_keyspaces", "_loads", "_path", "_read_only", "_transactions")

    def __init__(self, handle: int, path: str, read_only: bool) -> None:
        self._handle = handle
        self._path = path
        self._read_only = read_only
        # Handles that are to be ended, by their objects or by close(). Single operations on a set are atomic, and a
        # handle that is ended twice is an error that is swallowed, never another handle: so nobody needs to come
        # first.
        self._keyspaces: set[int] = set()
        self._loads: set[int] = set()
        self._transactions: set[int] = set()
        _open_databases.add(self)

    def __repr__(self) -> str:
        state = "" if self._handle else " closed"
        return f"<keel.Database {self._path!r}{' read-only' if self._read_only else ''}{state}>"

    # --- life ---

    @property
    def path(self) -> str:
        return self._path

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def closed(self) -> bool:
        return self._handle == 0

    def _open_handle(self) -> int:
        if not self._handle:
            raise ClosedError(_gen.E_CLOSED, f"the database {self._path!r} is closed: open it again")
        return self._handle

    def close(
        self,
        _rollback: Callable[[int], None] = _raw.rollback,
        _load_end: Callable[[int], None] = _raw.load_end,
        _keyspace_close: Callable[[int], None] = _raw.keyspace_close,
        _close: Callable[[int], None] = _raw.close,
    ) -> None:
        """Close it; twice is harmless. What was acknowledged with durability "group" is on stable storage afterwards.

        When nothing else in the process uses the database (a view, another opening), all commits are drained into its
        file and the log beside it is removed: what remains is one file.

        In a forked child it does nothing: the database is the parent's.
        """
        handle, self._handle = self._handle, 0
        if not handle:
            return
        for handles, end in (
            (self._transactions, _rollback),
            (self._loads, _load_end),
            (self._keyspaces, _keyspace_close),
        ):
            for child in list(handles):
                try:
                    end(child)
                except ConcurrentUseError:  # another thread is inside: it stays listed, and its object ends it
                    continue
                except Error:  # ended meanwhile
                    pass
                handles.discard(child)
        try:
            _close(handle)
        except ForkedError:
            pass

    def __enter__(self) -> Database:
        self._open_handle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._handle:
            _warn(f"unclosed database {self!r}", ResourceWarning, 2, source=self)
            try:
                self.close()
            except Exception:  # nobody is there to be told; at the interpreter's end errors cannot even be made
                pass

    def flush(self) -> None:
        """Return when everything acknowledged so far is on stable storage, whatever its durability."""
        _raw.flush(self._open_handle())

    def make_checkpoint(self) -> None:
        """Drain what has been committed into the trees of the database file; return when a checkpoint holds it.

        The engine does so by itself, in the background and when the database is closed. This is for measurements,
        before the file is copied, and before a long idle time. Others go on reading and writing meanwhile.
        """
        _raw.make_checkpoint(self._open_handle())

    def compact(self) -> None:
        """Give space back: move data towards the front of the file and cut it, until it is hardly longer than its data.

        What old snapshots hold is not waited for. Others go on reading and writing meanwhile; an error loses nothing,
        and calling it again goes on. A file that is mostly free becomes shorter by itself, slowly.
        """
        _raw.compact(self._open_handle())

    def set_cache_size(self, size: int) -> None:
        """Change how many bytes of memory are for pages of the database file, for all who have it open in this process.

        More counts at once; for less, pages go until it is met. Less than 8 MiB counts as that; `InvalidError` for more
        than four times what it was opened with, if that is more than 16 GiB.
        """
        _raw.set_cache_size(self._open_handle(), size)

    def verify(self, *, progress: Progress | None = None, step_bytes: int = STEP_BYTES) -> CheckReport:
        """Verify the database while it is in use: is every page and value what it should be, and nothing lost?

        Everything that the newest checkpoint reaches is read from the file, past the cache, and compared with
        checksums, order, key ranges and counts; what was committed since lies in the log, which opening has checked.
        Damage is no exception: the database is sound when the report says 0 `problems`, and `problem_texts` tells
        the first of them. A report is given to `progress`, too, after each `step_bytes` or so; when that raises, the
        verification is over. A snapshot is held meanwhile.
        """
        return run_check(_raw.verify_begin(self._open_handle()), progress, step_bytes, self._open_handle)

    def stats(self) -> Stats:
        """Counters since the database was opened."""
        return Stats._make(_raw.get_stats(self._open_handle()))

    def last_checkpoint(self) -> Checkpoint:
        """The newest checkpoint; all zero for ":memory:"."""
        return Checkpoint._make(_raw.last_checkpoint(self._open_handle()))

    # --- keyspaces ---

    def keyspace(self, name: str, *, create: bool = True) -> Keyspace:
        """Open a keyspace, and make it when it does not exist (unless `create` is false: `KeyspaceNotFoundError`).

        Keep the object: opening it each time is not free.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a keyspace is str, not {type(name).__name__}")
        flags = 0 if create else _gen.KEYSPACE_NO_CREATE
        handle = _raw.keyspace_open(self._open_handle(), name.encode(), flags)
        self._keyspaces.add(handle)
        return Keyspace(self, name, handle)

    def __getitem__(self, name: str) -> Keyspace:
        return self.keyspace(name)

    def keyspaces(self) -> list[str]:
        """The names of all keyspaces, in byte order."""
        return [name.decode() for name in _raw.keyspace_list(self._open_handle())]

    def drop_keyspace(self, name: str) -> None:
        """Remove a keyspace with all that is in it. `KeyspaceNotFoundError` when there is none."""
        _raw.keyspace_drop(self._open_handle(), name.encode())

    # --- bulk loads ---

    def load(
        self,
        name: str,
        rows: Mapping[bytes, ReadableBuffer] | Iterable[tuple[ReadableBuffer, ReadableBuffer]],
        *,
        replace: bool = False,
        buffer_size: int = 0,
    ) -> LoadReport:
        """Make a keyspace of very many rows, from a mapping or from (key, value) pairs, much faster than transactions.

        The rows go past the log, straight into the file. They may come in any order; in that of their keys each is
        written once, otherwise they are sorted on disk. Of several with one key the last one stays. The keyspace is
        there, whole and on stable storage, when the call returns; before, nobody sees anything of it, and when it
        raises (an error of `rows` included), or the process dies, nothing is left.

        `ExistsError` when there is a keyspace of that name, unless `replace` is true: then that one is dropped in the
        moment in which the new one is there (`Keyspace` objects of the old one raise `KeyspaceNotFoundError`: open it
        anew). `buffer_size` is how many bytes of rows out of order are collected before
        they are sorted and written, from 64 KiB to 1 GiB (an eighth of `memory_limit`, from 1 to 32 MiB).
        """
        with self.loading(name, replace=replace, buffer_size=buffer_size) as loader:
            loader.put_many(rows)
            return loader.finish()

    def loading(self, name: str, *, replace: bool = False, buffer_size: int = 0) -> Loader:
        """A load for a `with` block that gives the rows bit by bit: finished at its end, nothing left when it raises.

            with db.loading("cities") as loader:
                loader.put(b"ulm", b"126790")
                loader.put_many(others)

        See `load`.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a keyspace is str, not {type(name).__name__}")
        flags = _gen.LOAD_REPLACE if replace else 0
        handle = _raw.load_begin(self._open_handle(), name.encode(), flags, buffer_size)
        self._loads.add(handle)
        return Loader(self, name, handle)

    # --- transactions ---

    def begin(
        self,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        durability: Durability | None = None,
        label: str | None = None,
        _attempt: int = 1,
    ) -> Transaction:
        """Begin a transaction, to be ended with `commit()` or `rollback()`. It is a context manager, too.

        `isolation` is the strongest that this version of the engine gives unless said otherwise (`"snapshot"` today;
        asking for a stronger one raises `UnsupportedError`); `durability` is the database's; `label` shows up in
        statistics.
        """
        flags = _gen.TXN_READ_ONLY if read_only else 0
        isolation_number = _choice("ISOLATION", isolation) if isolation is not None else 0
        durability_number = _choice("DURABILITY", durability) if durability is not None else 0
        handle = _raw.begin(self._open_handle(), flags, isolation_number, durability_number, label)
        self._transactions.add(handle)
        return Transaction(self, handle, read_only, _attempt)

    def transaction(
        self,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        durability: Durability | None = None,
        label: str | None = None,
    ) -> Transaction:
        """A transaction for a `with` block: committed at its end, rolled back when it raises.

        It runs once; a conflict comes out as `ConflictError`. Use `transact` to have the block run again.
        """
        return self.begin(read_only=read_only, isolation=isolation, durability=durability, label=label)

    def transact(
        self,
        function: Callable[[Transaction], Result],
        /,
        *,
        retries: int = RETRIES,
        read_only: bool = False,
        isolation: Isolation | None = None,
        durability: Durability | None = None,
        label: str | None = None,
    ) -> Result:
        """Run `function(txn)` in a transaction, commit, and return its result; run it again when it loses a conflict.

        The function must be safe to repeat: everything it does to the database is undone between runs, anything else
        is not. `txn.attempt` counts the runs. After `retries` repetitions the last error comes out, with `attempts`
        set and said in a note. Between runs it sleeps for a random time with an exponentially growing, bounded
        maximum.
        """
        if inspect.iscoroutinefunction(function):
            raise TypeError("transact runs plain functions, not coroutines")
        attempt = 1
        while True:
            txn = self.begin(
                read_only=read_only, isolation=isolation, durability=durability, label=label, _attempt=attempt
            )
            try:
                result = function(txn)
                if txn.is_open:
                    txn.commit()
                return result
            except Error as error:
                txn._abandon()
                if not error.retryable:
                    raise
                if attempt > retries:
                    error.attempts = attempt
                    error.add_note(f"the transaction ran {attempt} times and lost each time")
                    raise
            except BaseException:
                txn._abandon()
                raise
            time.sleep(random.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt, 30))))
            attempt += 1


# Databases that are open, to be closed when the interpreter ends: with durability "group" that syncs the last commits.
_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for db in list(_open_databases):
        try:
            db.close()
        except Error:
            pass


def open(
    path: Path,
    *,
    read_only: bool = False,
    create: bool = True,
    exist_ok: bool = True,
    durability: Durability | None = None,
    group_interval_ms: int | None = None,
    page_size: int | None = None,
    file_mode: int | None = None,
    log_segment_size: int | None = None,
    memory_limit: int | None = None,
    cache_size: int | None = None,
    delta_size: int | None = None,
    drain_threads: int | None = None,
) -> Database:
    """Open the database at `path`, or ":memory:" for one without files.

    read_only          shared lock, never writes; works on read-only media
    create             make it when it is not there (else `NoFileError`, a `FileNotFoundError`)
    exist_ok           when false, it must not be there yet (`ExistsError`, a `FileExistsError`)
    durability         "full" (the default): a commit that returned is on stable storage. "group": within
                       `group_interval_ms` (10). "none": when the system gets round to it. Nothing is ever half-done.
    page_size          4096 ... 65536, a power of two; fixed when the database is made
    file_mode          permissions of new files (0o600)
    log_segment_size   bytes, a power of two; fixed when the log is made
    memory_limit       most memory for commits that are not in the file's trees yet, in bytes (half of the machine's);
                       commits are slowed as it fills
    cache_size         most memory for pages of the file, in bytes (a quarter of the machine's; at least 8 MiB)
    delta_size         how much is committed before it is drained into the trees, in bytes (a 32nd of memory_limit, from
                       4 to 256 MiB)
    drain_threads      threads that a drain of much merges on (half of the processors, from 1 to 4)

    A second process gets `LockedError`. Opening a path twice in one process gives two objects on one engine; options
    of the second that are given must be those of the first.
    """
    flags = 0
    flags |= _gen.OPEN_READ_ONLY if read_only else 0
    flags |= 0 if create else _gen.OPEN_NO_CREATE
    flags |= 0 if exist_ok else _gen.OPEN_MUST_CREATE
    handle = _raw.open(
        path,
        flags,
        _choice("DURABILITY", durability),
        page_size or 0,
        group_interval_ms or 0,
        file_mode or 0,
        log_segment_size or 0,
        memory_limit or 0,
        cache_size or 0,
        delta_size or 0,
        drain_threads or 0,
    )
    return Database(handle, os.fsdecode(path), read_only)


@overload
def transactional(
    function: Callable[Concatenate[Transaction, P], Result], /
) -> Callable[Concatenate[Database | Transaction, P], Result]: ...
@overload
def transactional(
    *, retries: int = RETRIES, read_only: bool = False, isolation: Isolation | None = None, label: str | None = None
) -> Callable[
    [Callable[Concatenate[Transaction, P], Result]], Callable[Concatenate[Database | Transaction, P], Result]
]: ...
def transactional(function: Callable[..., Any] | None = None, /, **options: Any) -> Callable[..., Any]:
    """Decorator: the function's first argument is a transaction, and callers may pass a database instead.

    With a database the function runs as `Database.transact` runs it; with a transaction it is part of that one. So
    transactional functions compose.

        @keel.transactional
        def move(txn, accounts, source, target, amount): ...

        move(db, accounts, b"ada", b"bob", 5)
    """
    if function is None:
        return functools.partial(transactional, **options)
    if inspect.iscoroutinefunction(function):
        raise TypeError("transactional takes plain functions, not coroutines")

    @functools.wraps(function)
    def wrapper(where: Database | Transaction, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(where, Transaction):
            return function(where, *args, **kwargs)
        return where.transact(lambda txn: function(txn, *args, **kwargs), **options)

    return wrapper
