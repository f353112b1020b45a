"""Constants and statuses of Keel 0.1.0.

Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`.
"""

from __future__ import annotations

from typing import NamedTuple

VERSION = "0.1.0"
VERSION_NUMBER = 1000

# Limits.
MAX_KEY_SIZE = 1024  # bytes
MAX_VALUE_SIZE = 2147483647  # bytes
MAX_LARGE_VALUE_SIZE = 281474976710656  # bytes
MAX_KEYSPACE_NAME_SIZE = 255  # bytes
MAX_PATH_SIZE = 4095  # bytes
MAX_LABEL_SIZE = 255  # bytes
MAX_GET_MANY = 16777216  # keys
MAX_WRITE_BATCH = 2147483647  # bytes
MAX_STRUCT_SIZE = 4096  # bytes
CHECK_PROBLEMS = 32  # problems
CHECK_TEXT_SIZE = 768  # bytes
ERROR_MESSAGE_SIZE = 248  # bytes

# Flags of keel_options.
OPEN_READ_ONLY = 1
OPEN_NO_CREATE = 2
OPEN_MUST_CREATE = 4

# Flags of keel_keyspace_options.
KEYSPACE_NO_CREATE = 1

# Flags of keel_load_options.
LOAD_REPLACE = 1

# Flags of keel_txn_options.
TXN_READ_ONLY = 1

# When a commit is acknowledged.
DURABILITY_DEFAULT = 0
DURABILITY_FULL = 1
DURABILITY_GROUP = 2
DURABILITY_NONE = 3

# What a transaction that writes is protected from.
ISOLATION_DEFAULT = 0
ISOLATION_SERIALIZABLE = 1
ISOLATION_SNAPSHOT = 2
ISOLATION_READ_COMMITTED = 3
ISOLATION_REPEATABLE_READ = 4
ISOLATION_READ_UNCOMMITTED = 5

# What an entry of a packed buffer for keel_write_batch does.
BATCH_PUT = 1
BATCH_DELETE = 2

# Statuses.
OK = 0
E_INVALID = -101
E_HANDLE = -102
E_FINISHED = -103
E_READ_ONLY = -104
E_KEY_SIZE = -105
E_VALUE_SIZE = -106
E_BUFFER_SIZE = -107
E_CONCURRENT_USE = -108
E_FORKED = -109
E_CLOSED = -110
E_UNSUPPORTED = -111
E_NOT_FOUND = -201
E_KEYSPACE_NOT_FOUND = -202
E_NO_FILE = -203
E_EXISTS = -204
E_CONFLICT = -301
E_DEADLOCK = -302
E_SNAPSHOT_TOO_OLD = -303
E_COMMIT_UNKNOWN = -304
E_LOCKED = -401
E_TIMEOUT = -402
E_CANCELLED = -403
E_IO = -501
E_DISK_FULL = -502
E_PERMISSION = -503
E_READ_ONLY_MEDIA = -504
E_NOT_A_FILE = -505
E_POISONED = -506
E_CORRUPT = -601
E_FORMAT = -602
E_VERSION = -603
E_NO_MEMORY = -701
E_LIMIT = -702
E_INTERNAL = -901


class StatusInfo(NamedTuple):
    """What is known about a status."""

    code: int
    symbol: str
    name: str
    class_name: str
    camel: str
    retryable: bool
    doc: str
    todo: str


STATUSES: dict[int, StatusInfo] = {
    0: StatusInfo(
        0,
        "KEEL_OK",
        "ok",
        "ok",
        "Ok",
        False,
        "Success.",
        "Nothing.",
    ),
    -101: StatusInfo(
        -101,
        "KEEL_E_INVALID",
        "invalid",
        "usage",
        "Invalid",
        False,
        "An argument or option has a value that is never valid (a null pointer, an unknown flag, a number out of range, text that is not UTF-8).",
        "Correct the call; the message names the argument.",
    ),
    -102: StatusInfo(
        -102,
        "KEEL_E_HANDLE",
        "handle",
        "usage",
        "Handle",
        False,
        "A handle is 0, was never given out, is closed, is of another kind, or belongs to another database than the other handles of the call.",
        "Correct the program; nothing was touched.",
    ),
    -103: StatusInfo(
        -103,
        "KEEL_E_FINISHED",
        "finished",
        "usage",
        "Finished",
        False,
        "The transaction was committed or rolled back before (also seen through a cursor of it).",
        "Begin a new transaction.",
    ),
    -104: StatusInfo(
        -104,
        "KEEL_E_READ_ONLY",
        "read_only",
        "usage",
        "ReadOnly",
        False,
        "A write was asked of a read-only transaction or of a database that was opened read-only.",
        "Begin a transaction that may write, or open the database without `KEEL_OPEN_READ_ONLY`.",
    ),
    -105: StatusInfo(
        -105,
        "KEEL_E_KEY_SIZE",
        "key_size",
        "usage",
        "KeySize",
        False,
        "A key is longer than `KEEL_MAX_KEY_SIZE` bytes.",
        "Use shorter keys, for example a hash of the long one.",
    ),
    -106: StatusInfo(
        -106,
        "KEEL_E_VALUE_SIZE",
        "value_size",
        "usage",
        "ValueSize",
        False,
        "A value is longer than `KEEL_MAX_VALUE_SIZE` bytes, or one that is written in parts than `KEEL_MAX_LARGE_VALUE_SIZE`.",
        "Write the value in parts (`keel_value_begin`), or split it over several keys.",
    ),
    -107: StatusInfo(
        -107,
        "KEEL_E_BUFFER_SIZE",
        "buffer_size",
        "usage",
        "BufferSize",
        False,
        "The caller's buffer is too small; the size that is needed was stored.",
        "Call again with a buffer of that size.",
    ),
    -108: StatusInfo(
        -108,
        "KEEL_E_CONCURRENT_USE",
        "concurrent_use",
        "usage",
        "ConcurrentUse",
        False,
        "Another thread is inside a call on the same transaction, cursor or batch at this moment.",
        "Use a transaction, its cursors and a batch from one thread at a time.",
    ),
    -109: StatusInfo(
        -109,
        "KEEL_E_FORKED",
        "forked",
        "usage",
        "Forked",
        False,
        "The handle was made before `fork()` and is used in the child. Nothing of the parent's was touched.",
        "Open the database anew in the child.",
    ),
    -110: StatusInfo(
        -110,
        "KEEL_E_CLOSED",
        "closed",
        "usage",
        "Closed",
        False,
        "The database is being closed.",
        "Open it again.",
    ),
    -111: StatusInfo(
        -111,
        "KEEL_E_UNSUPPORTED",
        "unsupported",
        "usage",
        "Unsupported",
        False,
        "The program asks for something that this version of the library does not know or does not have (for example a field of an option struct from a newer header, set to a value other than 0).",
        "Use a newer library, or leave the option at its default.",
    ),
    -201: StatusInfo(
        -201,
        "KEEL_E_NOT_FOUND",
        "not_found",
        "not_found",
        "NotFound",
        False,
        "The key has no value, or the cursor has no row there.",
        "An ordinary answer.",
    ),
    -202: StatusInfo(
        -202,
        "KEEL_E_KEYSPACE_NOT_FOUND",
        "keyspace_not_found",
        "not_found",
        "KeyspaceNotFound",
        False,
        "The keyspace does not exist, or was dropped after it was opened.",
        "Open it without `KEEL_KEYSPACE_NO_CREATE` to make it.",
    ),
    -203: StatusInfo(
        -203,
        "KEEL_E_NO_FILE",
        "no_file",
        "not_found",
        "NoFile",
        False,
        "There is no database at that path, and the options forbid to make one; or the directory does not exist.",
        "Correct the path, or open without `KEEL_OPEN_NO_CREATE` and `KEEL_OPEN_READ_ONLY`.",
    ),
    -204: StatusInfo(
        -204,
        "KEEL_E_EXISTS",
        "exists",
        "not_found",
        "Exists",
        False,
        "There is something already where something new was to be made.",
        "Choose another path, or open without `KEEL_OPEN_MUST_CREATE`.",
    ),
    -301: StatusInfo(
        -301,
        "KEEL_E_CONFLICT",
        "conflict",
        "conflict",
        "Conflict",
        True,
        "Another transaction committed a write that this one depends on. Nothing of this one was stored.",
        "Run the whole transaction again from its beginning, on a new snapshot.",
    ),
    -302: StatusInfo(
        -302,
        "KEEL_E_DEADLOCK",
        "deadlock",
        "conflict",
        "Deadlock",
        True,
        "The transaction was chosen to end a circle of transactions that wait for each other. Nothing of it was stored.",
        "Run the whole transaction again.",
    ),
    -303: StatusInfo(
        -303,
        "KEEL_E_SNAPSHOT_TOO_OLD",
        "snapshot_too_old",
        "conflict",
        "SnapshotTooOld",
        True,
        "The transaction's snapshot was ended because it was older than a limit allows.",
        "Run the whole transaction again, on a new snapshot; keep transactions shorter.",
    ),
    -304: StatusInfo(
        -304,
        "KEEL_E_COMMIT_UNKNOWN",
        "commit_unknown",
        "conflict",
        "CommitUnknown",
        False,
        "It cannot be told whether the commit took effect.",
        "Look whether its writes are there before running it again, or make the transaction safe to repeat.",
    ),
    -401: StatusInfo(
        -401,
        "KEEL_E_LOCKED",
        "locked",
        "busy",
        "Locked",
        False,
        "Another process has the database open; the message names it where it can.",
        "Wait for the other process, or end it, and open again.",
    ),
    -402: StatusInfo(
        -402,
        "KEEL_E_TIMEOUT",
        "timeout",
        "busy",
        "Timeout",
        False,
        "The time that the caller allowed is over.",
        "Try again later or allow more time.",
    ),
    -403: StatusInfo(
        -403,
        "KEEL_E_CANCELLED",
        "cancelled",
        "busy",
        "Cancelled",
        False,
        "The caller cancelled the operation.",
        "Nothing.",
    ),
    -501: StatusInfo(
        -501,
        "KEEL_E_IO",
        "io",
        "io",
        "IO",
        False,
        "The operating system failed to read or write; `system_errno` and the message say which call, which file, and why.",
        "Look at the device and its log; reopen the database when it is healthy again.",
    ),
    -502: StatusInfo(
        -502,
        "KEEL_E_DISK_FULL",
        "disk_full",
        "io",
        "DiskFull",
        False,
        "The file system has no room (or the quota is used up). Everything acknowledged before is safe.",
        "Make room, then go on; reopen when the message says that the database is poisoned.",
    ),
    -503: StatusInfo(
        -503,
        "KEEL_E_PERMISSION",
        "permission",
        "io",
        "Permission",
        False,
        "The operating system does not allow access to the file or its directory.",
        "Correct the permissions, or run as another user.",
    ),
    -504: StatusInfo(
        -504,
        "KEEL_E_READ_ONLY_MEDIA",
        "read_only_media",
        "io",
        "ReadOnlyMedia",
        False,
        "The file system is mounted read-only.",
        "Open with `KEEL_OPEN_READ_ONLY`, or mount it writable.",
    ),
    -505: StatusInfo(
        -505,
        "KEEL_E_NOT_A_FILE",
        "not_a_file",
        "io",
        "NotAFile",
        False,
        "The path names a directory, a device or something else that is not a regular file.",
        "Correct the path.",
    ),
    -506: StatusInfo(
        -506,
        "KEEL_E_POISONED",
        "poisoned",
        "io",
        "Poisoned",
        False,
        "An earlier write or sync failed, so that nothing more can be promised; everything acknowledged before is safe.",
        "Close every handle of the database, look at the cause (the first error named it), and open again.",
    ),
    -601: StatusInfo(
        -601,
        "KEEL_E_CORRUPT",
        "corrupt",
        "corrupt",
        "Corrupt",
        False,
        "A checksum or structure in the file is wrong; the message names file and offset. The file was left as it was.",
        "Check the device; restore from a backup.",
    ),
    -602: StatusInfo(
        -602,
        "KEEL_E_FORMAT",
        "format",
        "corrupt",
        "Format",
        False,
        "The file is not a Keel database.",
        "Correct the path.",
    ),
    -603: StatusInfo(
        -603,
        "KEEL_E_VERSION",
        "version",
        "corrupt",
        "Version",
        False,
        "The file was written by a newer Keel, in a format that this version does not know. It was left as it was.",
        "Use a newer library.",
    ),
    -701: StatusInfo(
        -701,
        "KEEL_E_NO_MEMORY",
        "no_memory",
        "resource",
        "NoMemory",
        False,
        "Memory could not be allocated. Nothing was changed.",
        "Free memory and try again.",
    ),
    -702: StatusInfo(
        -702,
        "KEEL_E_LIMIT",
        "limit",
        "resource",
        "Limit",
        False,
        "A bound was reached (memory limit of the database, number of handles, number of rows); the message names it.",
        "Raise the limit in the options, or do less at once.",
    ),
    -901: StatusInfo(
        -901,
        "KEEL_E_INTERNAL",
        "internal",
        "internal",
        "Internal",
        False,
        "Something that Keel takes for impossible happened; the database is poisoned.",
        "Please report it with the message. Close every handle of the database and open it again.",
    ),
}

FEATURES: tuple[str, ...] = (
    "crc32c_hardware",
    "memory_database",
    "serializable",
)

# Fields of the structs that the library fills, in order, without struct_size.
LOAD_REPORT_FIELDS: tuple[str, ...] = (
    "finished",
    "rows",
    "bytes",
    "runs",
)
CHECKPOINT_FIELDS: tuple[str, ...] = (
    "log_needed",
    "sequence",
    "timestamp",
    "log_position",
    "wall_time_ns",
)
STATS_FIELDS: tuple[str, ...] = (
    "poisoned",
    "commits",
    "commits_read_only",
    "rollbacks",
    "conflicts",
    "groups",
    "gets",
    "puts",
    "deletes",
    "cursor_steps",
    "transactions_live",
    "snapshots_live",
    "views_live",
    "oldest_snapshot_age_ns",
    "visible_timestamp",
    "keyspaces",
    "delta_keys",
    "delta_versions",
    "delta_bytes",
    "log_start",
    "log_tail",
    "log_durable",
    "log_file_bytes",
    "log_segments",
    "log_segments_recycled",
    "log_appends",
    "log_appended_bytes",
    "log_syncs",
    "log_syncs_shared",
    "log_sync_ns_total",
    "log_sync_ns_max",
    "log_uses_dsync",
    "recovery_batches",
    "recovery_bytes",
    "recovery_ns",
    "memory_bytes",
    "memory_limit",
    "checkpoints",
    "drain_failures",
    "drain_ns",
    "drain_pages_written",
    "drain_pages_read",
    "drain_bytes_written",
    "spills",
    "spilled_bytes",
    "drain_threads",
    "drain_parts",
    "throttled_ns",
    "throttle_waits",
    "cache_limit",
    "cache_resident",
    "cache_pages",
    "cache_pinned",
    "cache_loads",
    "cache_evictions",
    "file_bytes",
    "file_used",
    "file_free",
    "file_held",
)
CHECK_REPORT_FIELDS: tuple[str, ...] = (
    "finished",
    "problems",
    "done_bytes",
    "total_bytes",
    "checkpoint",
    "keyspaces",
    "pages",
    "extents",
    "rows",
    "value_bytes",
    "lost_pages",
    "lost_extents",
    "lost_rows",
    "unreached_bytes",
    "log_commits",
)
