/* core/wal/wal.h: the write-ahead log: segments in one file, batches in segments, group sync, one reader.
 *
 * The log is a sequence of bytes addressed by LSN (a 64-bit logical position that only grows, for the life of the
 * database). It is stored in NAME-wal as segments of equal size; a segment whose bytes all lie below the release point
 * is recycled: it gets the next sequence number, and every checksum in it covers the LSN and so that number (the
 * generation), so that stale bytes never look like a record. Space ahead of the tail is allocated, prewritten with
 * zeros and synced before any batch is written there, so that a durable commit changes no metadata. Byte tables:
 * docs/format.md. Invariants, and why it is crash-safe: core/wal/README.md.
 *
 * One batch = one unit of atomicity: header + payload, checksummed together; a torn batch is as if never written.
 * Payloads are opaque here (core/wal/commit_record.h has the codec of commits, shared by commit and replay).
 *
 * Durability: kl_wal_append returns with the batch handed to the operating system; kl_wal_sync returns when everything
 * below an LSN is on stable storage. Syncs are shared: threads that ask while one runs ride on the next. A batch that
 * was synced is never in one 512-byte block with bytes that are written later.
 *
 * Poisoning: after a failed write or sync the log refuses every append, and every sync of what is not durable yet, with
 * KL_E_POISONED until it is opened anew (after a failed fsync the kernel has marked the pages clean: nothing can be
 * known about them). The message carries the first error.
 *
 * Thread rules: append by one thread at a time (the commit turn of core/txn orders them); sync, release, stats from any
 * thread, also while an append runs. A reader by one thread at a time; several readers at once are fine. */
#ifndef KL_WAL_WAL_H
#define KL_WAL_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../os/os.h"

typedef struct kl_wal kl_wal;
typedef uint64_t kl_lsn;

typedef struct kl_wal_options {
  uint8_t database_id[16]; /* of the superblock; a log of another database is refused with KL_E_FORMAT */
  uint64_t segment_size;   /* bytes, a power of two, 64 KiB ... 1 GiB, 0: 16 MiB; used at creation, then the file's */
  kl_lsn start_lsn;        /* used at creation: the log begins here, rounded up to the next segment; 0 for a new
                              database, the checkpoint's position when a log is made anew, so that LSNs only grow */
  uint32_t file_mode;      /* permission bits for creation, 0: 0600 */
  bool read_only;          /* no write at all: for read-only databases; appends give KL_E_READ_ONLY */
  bool prewrite;           /* zero ahead of the tail and sync it; off: only reserved, for databases that never sync */
} kl_wal_options;

/* Creates NAME-wal, durable when it returns (file and directory entry), ready for appending. KL_E_EXISTS when there is
 * one, KL_E_INVALID for a bad segment size. A creation that fails removes what it made. */
kl_status kl_wal_create(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err);

/* Opens an existing log for recovery: reading comes first, appending is possible after kl_wal_recover_end.
 * KL_E_NO_FILE; KL_E_NOT_A_FILE; KL_E_FORMAT: not a log, or of another database; KL_E_VERSION: of a newer Keel;
 * KL_E_CORRUPT: both copies of the header are damaged. Nothing is written. */
kl_status kl_wal_open(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err);
/* Stops the log's threads, closes the file. Does not sync. Readers have been freed. NULL is allowed. */
void kl_wal_close(kl_wal *wal);

/* One batch as read. Borrowed until the next call. */
typedef struct kl_wal_batch {
  kl_lsn lsn;     /* of its first byte */
  kl_lsn end_lsn; /* first byte after it */
  uint64_t ts;    /* as given to append: the highest commit timestamp in it */
  kl_slice payload;
} kl_wal_batch;

/* The one reader: recovery, and later followers, change feeds and restore. On a log that is open for appending it sees
 * what has been handed to the operating system, and may go on after KL_E_NOT_FOUND when more was appended. */
typedef struct kl_wal_reader kl_wal_reader;
/* `from`: 0 or start of a fresh log, or an end_lsn or lsn of a batch. KL_E_CORRUPT when the file does not hold it. */
kl_status kl_wal_reader_new(kl_wal *wal, kl_lsn from, kl_wal_reader **out_reader, kl_error *err);
/* What the caller knows to have been durable (a checkpoint says so): an end before it is KL_E_CORRUPT. */
void kl_wal_reader_expect(kl_wal_reader *reader, kl_lsn known_durable);
/* KL_E_NOT_FOUND at the end of the log. KL_E_CORRUPT when a batch is damaged that is known to have been durable (a
 * later valid batch, the log's header, or kl_wal_reader_expect says so): then nothing is dropped silently, and the
 * message names file, offset and LSN. A torn tail that nobody was promised is the end. KL_E_VERSION for a batch of a
 * newer Keel; KL_E_INVALID when the position has been released meanwhile. */
kl_status kl_wal_reader_next(kl_wal_reader *reader, kl_wal_batch *out_batch, kl_error *err);
/* Where the next batch is looked for: the end of the last one read. */
kl_lsn kl_wal_reader_position(const kl_wal_reader *reader);
void kl_wal_reader_free(kl_wal_reader *reader); /* NULL is allowed */

/* After a reader came to the end (KL_E_NOT_FOUND): the tail is set to `end`, its position, and what was torn behind it
 * is made unreadable, durably, before anything new is written; appends may start. KL_E_INVALID for another `end`:
 * nothing that could be read is dropped. With read_only only the tail is set. Segments below the checkpoint are still
 * held: call kl_wal_release with its position next. */
kl_status kl_wal_recover_end(kl_wal *wal, kl_lsn end, kl_error *err);

/* Appends one batch made of `parts`. *out_lsn is its start, *out_end what to pass to kl_wal_sync (both nullable).
 * KL_E_DISK_FULL: there is no room for it; nothing was appended and the log is in order: make room and go on.
 * KL_E_NO_MEMORY likewise. KL_E_READ_ONLY, KL_E_POISONED. */
kl_status kl_wal_append(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn, kl_lsn *out_end,
                        kl_error *err);
/* As kl_wal_append, by a caller who will call kl_wal_sync for it next: the batch may stay in memory until then, so that
 * one O_DSYNC write can both store it and make it durable. Use this for commits with durability `full`: the probe for
 * the faster method works on these alone. Until the sync a crash of the process loses it. */
kl_status kl_wal_append_deferred(kl_wal *wal, const kl_slice *parts, size_t count, uint64_t ts, kl_lsn *out_lsn,
                                 kl_lsn *out_end, kl_error *err);
/* Returns when every byte below `upto` is durable; at once when it is already (also in a poisoned log: what was
 * durable stays so). KL_E_INVALID when `upto` is behind the tail. */
kl_status kl_wal_sync(kl_wal *wal, kl_lsn upto, kl_error *err);
/* Durability `group`: asks that everything appended be durable within `interval_ns`; returns at once. A thread of the
 * log (started at the first such call) does it; without threads the next append or sync_soon past the deadline does. */
kl_status kl_wal_sync_soon(kl_wal *wal, uint64_t interval_ns, kl_error *err);

/* Everything below `lsn` may be recycled (a checkpoint at or past it is durable). A lower `lsn` than before is no
 * error. */
kl_status kl_wal_release(kl_wal *wal, kl_lsn lsn, kl_error *err);

typedef struct kl_wal_stats {
  kl_lsn start_lsn;                                      /* oldest byte kept */
  kl_lsn tail_lsn;                                       /* first byte after the last append */
  kl_lsn durable_lsn;                                    /* everything below is on stable storage */
  uint64_t file_bytes, segments, segments_recycled;      /* size of NAME-wal; slots in it; slots used again */
  uint64_t appends, appended_bytes, syncs, syncs_shared; /* shared: requests that another request's sync served */
  uint64_t sync_ns_total, sync_ns_max;
  bool uses_dsync; /* the probe chose O_DSYNC over fdatasync */
  bool poisoned;
} kl_wal_stats;
void kl_wal_get_stats(kl_wal *wal, kl_wal_stats *out_stats);

/* Who has the database open, written beside the log's header so that a second process can name the holder. Advisory
 * text (process id, name, time), read without a lock and validated; not synced. */
kl_status kl_wal_write_owner(kl_wal *wal, kl_error *err);
/* "process 4711 (python3), since 2026-01-31 12:00:00 UTC". KL_E_NOT_FOUND when there is none that is intact, with "" in
 * out_text. */
kl_status kl_wal_read_owner(kl_os *os, const char *path, char *out_text, size_t capacity);

#endif
