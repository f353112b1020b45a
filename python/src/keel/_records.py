"""What the library fills in, as named tuples.

Generated from bindings/api/keel.yml by tools/swig. Do not edit: change the description and run `./dev gen`.
"""

from __future__ import annotations

from typing import NamedTuple


class LoadReport(NamedTuple):
    """What a bulk load has taken."""

    finished: int
    """1 when the keyspace is there."""
    rows: int
    """Rows that were given; of several with one key the keyspace has the last one."""
    bytes: int
    """Of their keys and values. In bytes."""
    runs: int
    """Sorted parts that were written so far: 1 when rows came in the order of their keys."""


class Checkpoint(NamedTuple):
    """The newest checkpoint of a database. All fields are 0 for `:memory:`."""

    log_needed: int
    """1 when recovery needs the log, 0 when everything is in the database file."""
    sequence: int
    """1 at creation, one more with each checkpoint."""
    timestamp: int
    """Commits up to this timestamp are in the tree."""
    log_position: int
    """Where replay of the log starts. In bytes."""
    wall_time_ns: int
    """When it was written. In nanoseconds since 1970-01-01 UTC."""


class Stats(NamedTuple):
    """Counters of one engine since it was opened. They are read one by one, not at one instant."""

    poisoned: int
    """1 when a failed write or sync has ended all further writing."""
    commits: int
    """Transactions that wrote and were committed."""
    commits_read_only: int
    """Transactions that wrote nothing and were committed."""
    rollbacks: int
    """Transactions that were rolled back."""
    conflicts: int
    """Commits that were answered with a conflict."""
    groups: int
    """Log batches; `commits / groups` is the mean group size."""
    gets: int
    """Keys looked up."""
    puts: int
    """Keys stored."""
    deletes: int
    """Keys removed."""
    cursor_steps: int
    """Rows that cursors stepped over."""
    transactions_live: int
    """Transactions that have not ended."""
    snapshots_live: int
    """Snapshots that are held."""
    views_live: int
    """Views that are not released."""
    oldest_snapshot_age_ns: int
    """Age of the oldest snapshot; 0 when none is held. In nanoseconds."""
    visible_timestamp: int
    """Commit timestamp that a new snapshot reads at."""
    keyspaces: int
    """Keyspaces that exist."""
    delta_keys: int
    """Distinct keys in the in-memory index of recent commits."""
    delta_versions: int
    """Versions in it."""
    delta_bytes: int
    """Memory that it takes. In bytes."""
    log_start: int
    """Position of the oldest byte that the log keeps. In bytes."""
    log_tail: int
    """Position after the last append. In bytes."""
    log_durable: int
    """Everything below this position is on stable storage. In bytes."""
    log_file_bytes: int
    """Size of the log file. In bytes."""
    log_segments: int
    """Segments of the log file."""
    log_segments_recycled: int
    """Segments that were used again."""
    log_appends: int
    """Batches appended."""
    log_appended_bytes: int
    """Bytes appended. In bytes."""
    log_syncs: int
    """Syncs of the log file."""
    log_syncs_shared: int
    """Requests that another request's sync served."""
    log_sync_ns_total: int
    """Time spent in syncs. In nanoseconds."""
    log_sync_ns_max: int
    """Longest sync. In nanoseconds."""
    log_uses_dsync: int
    """1 when the log writes with `O_DSYNC`, 0 when it uses `fdatasync`."""
    recovery_batches: int
    """Log batches that were replayed at open."""
    recovery_bytes: int
    """Bytes that were replayed at open. In bytes."""
    recovery_ns: int
    """Time that the replay took. In nanoseconds."""
    memory_bytes: int
    """Memory counted against `memory_limit`. In bytes."""
    memory_limit: int
    """The limit in force. In bytes."""
    checkpoints: int
    """Checkpoints that drains have published; a drain that changes much publishes several."""
    drain_failures: int
    """Drains that failed, and were or will be tried again."""
    drain_ns: int
    """Time spent in drains. In nanoseconds."""
    drain_pages_written: int
    """Pages that drains wrote."""
    drain_pages_read: int
    """Pages that drains read from the file."""
    drain_bytes_written: int
    """What drains wrote: pages and large values. In bytes."""
    spills: int
    """How often writes of a transaction were moved to the file before its commit."""
    spilled_bytes: int
    """Keys and values that were. In bytes."""
    drain_threads: int
    """Threads that a drain may use."""
    drain_parts: int
    """Parts of trees that drains have merged side by side; 0: all of them were merged on one thread."""
    throttled_ns: int
    """Time that commits were held up because drains were behind. In nanoseconds."""
    throttle_waits: int
    """Commits that waited because `memory_limit` was reached."""
    cache_limit: int
    """The limit of the page cache in force. In bytes."""
    cache_resident: int
    """Memory that the page cache takes. In bytes."""
    cache_pages: int
    """Pages in the cache."""
    cache_pinned: int
    """Memory of pages that views pin. In bytes."""
    cache_loads: int
    """Pages read from the file: misses."""
    cache_evictions: int
    """Pages that made room for others."""
    file_bytes: int
    """Size of the database file. In bytes."""
    file_used: int
    """What the newest checkpoint uses of it. In bytes."""
    file_free: int
    """What can be written anew. In bytes."""
    file_held: int
    """What only old snapshots or the checkpoint before the newest still need. In bytes."""


class CheckReport(NamedTuple):
    """How far a verification or a salvage has come, and what it has found so far."""

    finished: int
    """1 when there is nothing left to do."""
    problems: int
    """Everything that is not as it should be. 0 at the end: the database is sound, or all of it was
    copied.
    """
    done_bytes: int
    """Read so far. In bytes."""
    total_bytes: int
    """What will have been read at the end: an estimate, and never below `done_bytes`. In bytes."""
    checkpoint: int
    """Number of the checkpoint that is looked at."""
    keyspaces: int
    """Keyspaces that were found."""
    pages: int
    """Pages that are sound."""
    extents: int
    """Values that are stored outside of pages, and sound."""
    rows: int
    """Rows on sound pages; of a salvage, rows that were copied from pages."""
    value_bytes: int
    """Bytes of `extents`. In bytes."""
    lost_pages: int
    """Pages that cannot be read, or are not what they should be."""
    lost_extents: int
    """Likewise, values that are stored outside of pages."""
    lost_rows: int
    """Rows that are lost with those, as far as other pages tell."""
    unreached_bytes: int
    """Space that is in use and belongs to nothing. No data is lost with it. In bytes."""
    log_commits: int
    """Of a salvage: commits that were applied from the log."""
    problem_texts: tuple[str, ...] = ()
    """The first 32 of the problems, one line each: file, block, keyspace and keys where they are known."""


__all__ = ["LoadReport", "Checkpoint", "Stats", "CheckReport"]
