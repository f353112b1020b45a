"""Exceptions of Keel: `Error`, one class per class of statuses, one per status.

Generated from bindings/api/keel.yml by tools/swig. Do not edit: change the description and run `./dev gen`.
"""

from __future__ import annotations

import builtins
from typing import Any, ClassVar

from ._gen import STATUSES


def _fill_os_error(error: BaseException, message: str, system_errno: int) -> None:
    if isinstance(error, OSError):
        error.errno = system_errno or None
        error.strerror = message


class Error(Exception):
    """Every error of Keel. `str(error)` is one line: what was wrong and what to do."""

    code: int
    """The status, one of `keel.E_*`: a negative number that never changes its meaning."""
    name: str
    """The stable lower-case name of the status, for example "conflict"."""
    message: str
    system_errno: int
    """`errno` of the system call that failed, or 0."""
    attempts: int
    """How many times the transaction ran, when `Database.transact` gave up; otherwise 0."""
    retryable: ClassVar[bool] = False
    """Whether running the whole transaction again, on a new snapshot, is the right answer."""

    def __init__(self, code: int, message: str, system_errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.name = STATUSES[code].name if code in STATUSES else "unknown"
        self.message = message
        self.system_errno = system_errno
        self.attempts = 0
        _fill_os_error(self, message, system_errno)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.code, self.message, self.system_errno))


class UsageError(Error):
    """The program made a mistake; calling again in the same way fails in the same way."""


class PresenceError(Error):
    """Something is absent (or present) that should not be; often an ordinary answer."""


class TransactionError(Error):
    """The transaction lost against another one."""


class BusyError(Error):
    """Someone else is in the way; the same call may succeed later."""


class StorageError(Error, OSError):
    """The operating system refused or failed an operation on a file."""


class BadFileError(Error):
    """Bytes of a file are not what Keel wrote."""


class ResourceError(Error):
    """Memory or another bound is used up."""


class InvalidError(UsageError, builtins.ValueError):
    """An argument or option has a value that is never valid (a null pointer, an unknown flag, a number
    out of range, text that is not UTF-8). Correct the call; the message names the argument.
    """


class HandleError(UsageError):
    """A handle is 0, was never given out, is closed, is of another kind, or belongs to another database
    than the other handles of the call. Correct the program; nothing was touched.
    """


class FinishedError(UsageError):
    """The transaction was committed or rolled back before (also seen through a cursor of it). Begin a
    new transaction.
    """


class ReadOnlyError(UsageError):
    """A write was asked of a read-only transaction or of a database that was opened read-only. Begin a
    transaction that may write, or open the database without `OPEN_READ_ONLY`.
    """


class KeySizeError(UsageError, builtins.ValueError):
    """A key is longer than `MAX_KEY_SIZE` bytes. Use shorter keys, for example a hash of the long one."""


class ValueSizeError(UsageError, builtins.ValueError):
    """A value is longer than `MAX_VALUE_SIZE` bytes, or one that is written in parts than
    `MAX_LARGE_VALUE_SIZE`. Write the value in parts (`keel_value_begin`), or split it over several
    keys.
    """


class BufferSizeError(UsageError):
    """The caller's buffer is too small; the size that is needed was stored. Call again with a buffer of
    that size.
    """


class ConcurrentUseError(UsageError):
    """Another thread is inside a call on the same transaction, cursor or batch at this moment. Use a
    transaction, its cursors and a batch from one thread at a time.
    """


class ForkedError(UsageError):
    """The handle was made before `fork()` and is used in the child. Nothing of the parent's was
    touched. Open the database anew in the child.
    """


class ClosedError(UsageError):
    """The database is being closed. Open it again."""


class UnsupportedError(UsageError):
    """The program asks for something that this version of the library does not know or does not have
    (for example a field of an option struct from a newer header, set to a value other than 0). Use a
    newer library, or leave the option at its default.
    """


class NotFoundError(PresenceError, builtins.KeyError):
    """The key has no value, or the cursor has no row there. An ordinary answer."""


class KeyspaceNotFoundError(PresenceError, builtins.KeyError):
    """The keyspace does not exist, or was dropped after it was opened. Open it without
    `KEYSPACE_NO_CREATE` to make it.
    """


class NoFileError(PresenceError, builtins.FileNotFoundError):
    """There is no database at that path, and the options forbid to make one; or the directory does not
    exist. Correct the path, or open without `OPEN_NO_CREATE` and `OPEN_READ_ONLY`.
    """


class ExistsError(PresenceError, builtins.FileExistsError):
    """There is something already where something new was to be made. Choose another path, or open
    without `OPEN_MUST_CREATE`.
    """


class ConflictError(TransactionError):
    """Another transaction committed a write that this one depends on. Nothing of this one was stored.
    Run the whole transaction again from its beginning, on a new snapshot.
    """

    retryable = True


class DeadlockError(TransactionError):
    """The transaction was chosen to end a circle of transactions that wait for each other. Nothing of
    it was stored. Run the whole transaction again.
    """

    retryable = True


class SnapshotTooOldError(TransactionError):
    """The transaction's snapshot was ended because it was older than a limit allows. Run the whole
    transaction again, on a new snapshot; keep transactions shorter.
    """

    retryable = True


class CommitUnknownError(TransactionError):
    """It cannot be told whether the commit took effect. Look whether its writes are there before
    running it again, or make the transaction safe to repeat.
    """


class LockedError(BusyError):
    """Another process has the database open; the message names it where it can. Wait for the other
    process, or end it, and open again.
    """


class TimeoutError(BusyError, builtins.TimeoutError):
    """The time that the caller allowed is over. Try again later or allow more time."""


class CancelledError(BusyError):
    """The caller cancelled the operation. Nothing."""


class IOError(StorageError):
    """The operating system failed to read or write; `system_errno` and the message say which call,
    which file, and why. Look at the device and its log; reopen the database when it is healthy again.
    """


class DiskFullError(StorageError):
    """The file system has no room (or the quota is used up). Everything acknowledged before is safe.
    Make room, then go on; reopen when the message says that the database is poisoned.
    """


class PermissionError(StorageError, builtins.PermissionError):
    """The operating system does not allow access to the file or its directory. Correct the permissions,
    or run as another user.
    """


class ReadOnlyMediaError(StorageError):
    """The file system is mounted read-only. Open with `OPEN_READ_ONLY`, or mount it writable."""


class NotAFileError(StorageError):
    """The path names a directory, a device or something else that is not a regular file. Correct the path."""


class PoisonedError(StorageError):
    """An earlier write or sync failed, so that nothing more can be promised; everything acknowledged
    before is safe. Close every handle of the database, look at the cause (the first error named it),
    and open again.
    """


class CorruptError(BadFileError):
    """A checksum or structure in the file is wrong; the message names file and offset. The file was
    left as it was. Check the device; restore from a backup.
    """


class FormatError(BadFileError):
    """The file is not a Keel database. Correct the path."""


class VersionError(BadFileError):
    """The file was written by a newer Keel, in a format that this version does not know. It was left as
    it was. Use a newer library.
    """


class NoMemoryError(ResourceError, builtins.MemoryError):
    """Memory could not be allocated. Nothing was changed. Free memory and try again."""


class LimitError(ResourceError):
    """A bound was reached (memory limit of the database, number of handles, number of rows); the
    message names it. Raise the limit in the options, or do less at once.
    """


class InternalError(Error):
    """Something that Keel takes for impossible happened; the database is poisoned. Please report it
    with the message. Close every handle of the database and open it again.
    """


CLASSES: dict[int, type[Error]] = {
    -101: InvalidError,
    -102: HandleError,
    -103: FinishedError,
    -104: ReadOnlyError,
    -105: KeySizeError,
    -106: ValueSizeError,
    -107: BufferSizeError,
    -108: ConcurrentUseError,
    -109: ForkedError,
    -110: ClosedError,
    -111: UnsupportedError,
    -201: NotFoundError,
    -202: KeyspaceNotFoundError,
    -203: NoFileError,
    -204: ExistsError,
    -301: ConflictError,
    -302: DeadlockError,
    -303: SnapshotTooOldError,
    -304: CommitUnknownError,
    -401: LockedError,
    -402: TimeoutError,
    -403: CancelledError,
    -501: IOError,
    -502: DiskFullError,
    -503: PermissionError,
    -504: ReadOnlyMediaError,
    -505: NotAFileError,
    -506: PoisonedError,
    -601: CorruptError,
    -602: FormatError,
    -603: VersionError,
    -701: NoMemoryError,
    -702: LimitError,
    -901: InternalError,
}


def from_status(code: int, message: str, system_errno: int = 0) -> Error:
    """The exception of a status; called by the raw layer."""
    return CLASSES.get(code, Error)(code, message, system_errno)


__all__ = [
    "BadFileError",
    "BufferSizeError",
    "BusyError",
    "CancelledError",
    "ClosedError",
    "CommitUnknownError",
    "ConcurrentUseError",
    "ConflictError",
    "CorruptError",
    "DeadlockError",
    "DiskFullError",
    "Error",
    "ExistsError",
    "FinishedError",
    "ForkedError",
    "FormatError",
    "HandleError",
    "IOError",
    "InternalError",
    "InvalidError",
    "KeySizeError",
    "KeyspaceNotFoundError",
    "LimitError",
    "LockedError",
    "NoFileError",
    "NoMemoryError",
    "NotAFileError",
    "NotFoundError",
    "PermissionError",
    "PoisonedError",
    "PresenceError",
    "ReadOnlyError",
    "ReadOnlyMediaError",
    "ResourceError",
    "SnapshotTooOldError",
    "StorageError",
    "TimeoutError",
    "TransactionError",
    "UnsupportedError",
    "UsageError",
    "ValueSizeError",
    "VersionError",
]
